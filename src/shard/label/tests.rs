use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{Request, Response};
use kanary_core::api::Layout;
use kube::client::Body;
use serde_json::json;
use tokio::time::sleep;
use tower::{BoxError, service_fn};

use super::*;
use crate::cluster::clock::Monotonic;

fn unlabelled(version: &str) -> Kanary {
    serde_json::from_value(json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": version},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
    }))
    .unwrap()
}

fn labelled(version: &str) -> Kanary {
    let mut labelled = unlabelled(version);
    let slot = slot_of(&labelled).to_string();
    labelled.labels_mut().insert(SLOT.to_owned(), slot);
    labelled
}

/// Slot labels that nobody writes, and the key of the Kanary.
fn unwritten() -> (SlotLabels, Key) {
    let client = Client::new(
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>()),
        "shop",
    );
    let labels = SlotLabels::new(client, Arc::new(Fence::standalone()), Arc::default());
    let place = ("shop".to_owned(), "batman".to_owned());
    (labels, Key::at(KanaryKind::Deployment, place))
}

/// An API server that answers what is written with `code`, and what is read with `live`. How often each was asked within
/// a minute.
async fn asked(code: u16, live: Option<Kanary>) -> (usize, usize) {
    let (reads, writes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (reads.clone(), writes.clone());
    let service = service_fn(move |request: Request<Body>| {
        let is_read = request.method() == http::Method::GET;
        let count = if is_read { &counts.0 } else { &counts.1 };
        count.fetch_add(1, Ordering::Relaxed);
        let code = if is_read {
            live.as_ref().map_or(404, |_| 200)
        } else {
            code
        };
        let reason = if code == 404 { "NotFound" } else { "" };
        let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": reason, "code": code});
        let live = live.as_ref().filter(|_| is_read);
        let body = live.map_or(status, |live| json!(live));
        async move {
            let reply = Response::builder().status(code);
            reply.body(Body::from(body.to_string().into_bytes()))
        }
    });
    let client = Client::new(service, "shop");
    let labels = Arc::new(SlotLabels::new(client, Arc::new(Fence::standalone()), Arc::default()));
    let task = tokio::spawn(labels.clone().run(Box::new(|_, _, _| {})));
    assert!(!labels.check(KanaryKind::Deployment, &unlabelled("1")));
    sleep(Duration::from_mins(1)).await;
    task.abort();
    (reads.load(Ordering::Relaxed), writes.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_or_was_given_its_label_is_left_alone() {
    for (code, live) in [(404, None), (409, None), (409, Some(labelled("2")))] {
        assert_eq!(asked(code, live.clone()).await, (1, 1), "{code} {live:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_tried_again() {
    let (reads, writes) = asked(500, None).await;
    assert!(reads == 0 && (10..60).contains(&writes), "{reads} {writes}");
    let (reads, writes) = asked(409, Some(unlabelled("2"))).await;
    assert!(reads == writes && (10..60).contains(&writes), "{reads} {writes}");
}

#[tokio::test]
async fn one_that_went_from_no_slot_to_a_wrong_one_is_not_forgotten() {
    let (labels, key) = unwritten();
    labels.check(KanaryKind::Deployment, &unlabelled("1"));
    labels.forget_slotless(&key);
    assert!(labels.lock().is_empty(), "it was given its slot, or is gone");

    let mut forged = unlabelled("2");
    let wrong = if slot_of(&forged).to_string() == "00" {
        "ff"
    } else {
        "00"
    };
    forged.labels_mut().insert(SLOT.to_owned(), wrong.to_owned());
    labels.check(KanaryKind::Deployment, &unlabelled("1"));
    // The watch of the wrong slot is faster than the one of those without.
    assert!(!labels.check(KanaryKind::Deployment, &forged));
    labels.forget_slotless(&key);
    assert!(labels.lock().contains_key(&key));
}

#[tokio::test]
async fn a_late_watch_does_not_hide_newer_events_of_another() {
    let (labels, key) = unwritten();
    let version = || labels.lock().get(&key).map(|stray| stray.version.clone());
    // Its label was stripped, put back, and stripped again: the last is told first.
    assert!(!labels.check(KanaryKind::Deployment, &unlabelled("12")));
    assert!(labels.check(KanaryKind::Deployment, &labelled("11")));
    assert_eq!(version(), Some("12".to_owned()));
    assert!(!labels.check(KanaryKind::Deployment, &unlabelled("10")));
    assert_eq!(version(), Some("12".to_owned()));
    assert!(labels.check(KanaryKind::Deployment, &labelled("13")));
    assert_eq!(version(), None);
}

/// The versions that are passed on after a label was written, if the API server stores `stored`.
async fn passed_on(stored: Kanary, fence: Fence) -> Vec<(Option<String>, Option<i64>)> {
    let service = service_fn(move |_: Request<Body>| {
        let body = Body::from(json!(stored).to_string().into_bytes());
        async move { Ok::<_, BoxError>(Response::new(body)) }
    });
    let client = Client::new(service, "shop");
    let labels = Arc::new(SlotLabels::new(client, Arc::new(fence), Arc::default()));
    let passed = Arc::new(Mutex::new(Vec::new()));
    let heard = passed.clone();
    let task = tokio::spawn(labels.clone().run(Box::new(move |_, kanary, right| {
        heard.lock().unwrap().push((kanary.resource_version(), right.epoch));
    })));
    labels.check(KanaryKind::Deployment, &unlabelled("1"));
    sleep(Duration::from_secs(1)).await;
    task.abort();
    passed.lock().unwrap().clone()
}

/// A fence that holds one shard, which has been read.
fn holding(shard: u16) -> Fence {
    let fence = Fence::new(Layout::DEFAULT, Monotonic::default());
    fence.renew(Duration::from_hours(1_000_000));
    fence.take(shard, 7);
    fence.open(shard);
    fence
}

#[tokio::test(start_paused = true)]
async fn the_reply_to_the_label_is_passed_on_with_the_right_of_its_shard() {
    let shard = Layout::DEFAULT.shard_of(slot_of(&unlabelled("1")));
    let stored = passed_on(labelled("2"), holding(shard)).await;
    assert_eq!(stored, [(Some("2".to_owned()), Some(7))]);

    let refused = passed_on(unlabelled("1"), holding(shard)).await;
    assert_eq!(refused, [], "an admission webhook removed the label");
}

#[tokio::test(start_paused = true)]
async fn a_label_is_being_written_until_its_reply_arrives() {
    let service = service_fn(|_: Request<Body>| async {
        sleep(Duration::from_secs(1)).await;
        let body = Body::from(json!(labelled("2")).to_string().into_bytes());
        Ok::<_, BoxError>(Response::new(body))
    });
    let client = Client::new(service, "shop");
    let labels = Arc::new(SlotLabels::new(client, Arc::new(Fence::standalone()), Arc::default()));
    let task = tokio::spawn(labels.clone().run(Box::new(|_, _, _| {})));
    let key = Key::at(KanaryKind::Deployment, ("shop".to_owned(), "batman".to_owned()));
    labels.check(KanaryKind::Deployment, &unlabelled("1"));
    assert!(!labels.is_being_written(&key));
    sleep(Duration::from_millis(500)).await;
    assert!(labels.is_being_written(&key));
    // The watch is faster than the reply.
    assert!(labels.check(KanaryKind::Deployment, &labelled("2")));
    assert!(labels.is_being_written(&key));
    sleep(Duration::from_secs(1)).await;
    assert!(!labels.is_being_written(&key));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn some_that_hang_hold_up_no_others() {
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let reported = asked.clone();
    let service = service_fn(move |request: Request<Body>| {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        reported.lock().unwrap().insert(name);
        std::future::pending::<Result<Response<Body>, BoxError>>()
    });
    let client = Client::new(service, "shop");
    let labels = Arc::new(SlotLabels::new(client, Arc::new(Fence::standalone()), Arc::default()));
    let task = tokio::spawn(labels.clone().run(Box::new(|_, _, _| {})));
    let check_in = |namespace: &str, name: &str| {
        let mut kanary = unlabelled("1");
        kanary.metadata.namespace = Some(namespace.to_owned());
        kanary.metadata.name = Some(name.to_owned());
        labels.check(KanaryKind::Deployment, &kanary);
    };
    let check = |name: &str| check_in("shop", name);
    let is_asked = |name: &str| asked.lock().unwrap().contains(name);
    for number in 0..AT_ONCE / 4 {
        check(&format!("batman-{number:02}"));
    }
    sleep(Duration::from_secs(1)).await;
    check("robin");
    sleep(Duration::from_millis(1)).await;
    assert!(is_asked("robin"), "there is a place for it");

    // More than there are places for: all have their turn.
    for number in 0..3 * AT_ONCE {
        check(&format!("catwoman-{number:02}"));
    }
    check("zorro");
    sleep(Duration::from_millis(1)).await;
    assert!(!is_asked("zorro"));
    for number in 0..3 {
        check_in(&format!("ns-{number}"), &format!("flash-{number}"));
    }
    sleep(Duration::from_millis(1)).await;
    assert!(
        (0..3).all(|number| is_asked(&format!("flash-{number}"))),
        "other namespaces have places of their own"
    );
    sleep(CALL_TIMEOUT * 6).await;
    task.abort();
    assert!(is_asked("zorro") && is_asked("catwoman-47"), "{asked:?}");
}
