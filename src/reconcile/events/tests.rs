use std::{collections::BTreeMap, time::Duration};

use http::{Request, Response};
use jiff::Timestamp;
use kanary_core::api::{EventReason, KanaryKind, Layout, Slot};
use kube::{Client, client::Body};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};
use tower::{BoxError, service_fn};

use super::*;
use crate::{
    cluster::{client::CALL_TIMEOUT, clock::Monotonic},
    metrics::WriteLabels,
    shard::Fence,
};

/// Events that are sent, by namespace.
type Sent = Arc<Mutex<BTreeMap<String, usize>>>;

/// A writer whose API server answers after a millisecond, but never in the namespace `hangs`.
fn writer(fence: Fence) -> (Writer, Sent) {
    let sent = Sent::default();
    let told = sent.clone();
    let service = service_fn(move |request: Request<Body>| {
        let namespace = request.uri().path().split('/').nth(5).unwrap_or_default().to_owned();
        *told.lock().unwrap().entry(namespace.clone()).or_default() += 1;
        async move {
            if namespace == "hangs" {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(1)).await;
            let event = json!({"metadata": {}}).to_string().into_bytes();
            Ok::<_, BoxError>(Response::new(Body::from(event)))
        }
    });
    let client = Client::new(service, "default");
    let writer = Writer::new(client, Arc::default(), Arc::new(fence), "test".to_owned());
    (writer, sent)
}

fn announcement(namespace: &str, right: Right) -> Announcement {
    Announcement {
        key: Key::at(KanaryKind::Deployment, (namespace.to_owned(), "batman".to_owned())),
        uid: "u".to_owned(),
        notice: Notice {
            reason: EventReason::Started,
            note: "why".to_owned(),
            warning: false,
            at: Timestamp::UNIX_EPOCH,
        },
        right,
        trace: None,
    }
}

fn slot() -> Slot {
    "07".parse().unwrap()
}

/// Events that are sent by a lone replica.
fn alone() -> (Arc<Events>, Arc<Metrics>, Right, Sent, JoinHandle<()>) {
    let metrics = Arc::new(Metrics::default());
    let events = Arc::new(Events::new(metrics.clone()));
    let right = Fence::standalone().begin(slot()).unwrap();
    let (writer, sent) = writer(Fence::standalone());
    let task = tokio::spawn(events.clone().run(writer));
    (events, metrics, right, sent, task)
}

fn counted(metrics: &Metrics, result: &'static str) -> u64 {
    let labels = WriteLabels { write: "event", result };
    metrics.writes.get(&labels).map_or(0, |count| count.get())
}

#[tokio::test(start_paused = true)]
async fn events_that_hang_do_not_hold_up_those_of_other_namespaces() {
    let (events, metrics, right, sent, task) = alone();
    for _ in 0..100 {
        events.push(announcement("hangs", right));
    }
    sleep(Duration::from_secs(1)).await;
    for namespace in ["shop", "bank"] {
        events.push(announcement(namespace, right));
    }
    sleep(Duration::from_millis(2)).await;
    assert_eq!(counted(&metrics, "ok"), 2);
    assert_eq!(sent.lock().unwrap()["hangs"], 16, "it has half of the places");
    sleep(CALL_TIMEOUT * 11).await;
    assert_eq!(
        (counted(&metrics, "transient"), events.waiting()),
        (100, 0),
        "each is sent once"
    );
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn an_event_for_which_there_is_no_room_is_dropped_and_those_of_others_are_not() {
    let (events, metrics, right, _, task) = alone();
    for _ in 0..2_000 {
        events.push(announcement("hangs", right));
    }
    let dropped = metrics.events_dropped.get();
    assert_eq!(usize::try_from(dropped).unwrap() + events.waiting(), 2_000);
    assert!(events.waiting() <= WAITING / 2, "{}", events.waiting());
    for _ in 0..100 {
        events.push(announcement("shop", right));
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!((metrics.events_dropped.get(), counted(&metrics, "ok")), (dropped, 100));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_shard_that_was_given_away_is_not_sent() {
    let fence = Fence::new(Layout::DEFAULT, Monotonic::from_source(|| Duration::ZERO));
    let shard = Layout::DEFAULT.shard_of(slot());
    fence.renew(Duration::from_secs(10));
    fence.take(shard, 1);
    fence.open(shard);
    let right = fence.begin(slot()).unwrap();
    let metrics = Arc::new(Metrics::default());
    let events = Arc::new(Events::new(metrics.clone()));
    events.push(announcement("shop", right));
    fence.give(shard);
    let (writer, sent) = writer(fence);
    let task = tokio::spawn(events.clone().run(writer));
    events.sent().await;
    assert_eq!((counted(&metrics, "fenced"), sent.lock().unwrap().len()), (1, 0));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_events_that_wait_or_are_on_their_way() {
    let (events, metrics, right, _, task) = alone();
    events.sent().await;
    for _ in 0..50 {
        events.push(announcement("shop", right));
    }
    events.sent().await;
    assert_eq!(counted(&metrics, "ok"), 50);
    task.abort();
}
