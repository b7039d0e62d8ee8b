mod late;
mod routes;

use std::{
    convert::Infallible,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Response;
use k8s_openapi::api::apps::v1::Deployment;
use kanary_core::{
    api::{EPOCH_RULE, KanaryKind, Layout, WorkloadKind, WorkloadRef},
    hash,
    observation::{Likeness, LiveTarget},
};
use kube::client::Body;
use tower::service_fn;

use super::*;
use crate::cluster::clock::Monotonic;

/// A writer whose API server always answers `code`.
fn writer(code: u16) -> (Writer, Arc<Cache>) {
    let answer = service_fn(move |_: http::Request<Body>| async move {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "no"});
        let body = Body::from(status.to_string().into_bytes());
        Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
    });
    let cache = Arc::new(Cache::default());
    let client = Client::new(answer, "default");
    (
        Writer::new(client, cache.clone(), Arc::new(Fence::standalone()), "test".to_owned()),
        cache,
    )
}

/// A writer whose API server answers every write with this object.
fn answering(object: Value) -> Writer {
    behind(Fence::standalone(), object)
}

fn behind(fence: Fence, object: Value) -> Writer {
    let answer = service_fn(move |_: http::Request<Body>| {
        let body = Body::from(object.to_string().into_bytes());
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let client = Client::new(answer, "default");
    Writer::new(client, Arc::default(), Arc::new(fence), "test".to_owned())
}

fn right(kanary: &ParsedKanary) -> Right {
    Fence::standalone().begin(kanary.slot).unwrap()
}

fn batman() -> Kanary {
    serde_json::from_value(json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_delete_that_failed_is_to_be_done_again() {
    let (writer, cache) = writer(500);
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let existing = json!({
        "metadata": {"name": "myapp-kanary-batman", "namespace": "shop", "uid": "d", "resourceVersion": "2"},
    });
    Deployment::put(&cache, &serde_json::from_value(existing).unwrap());
    let delete = Action::Delete {
        object: ObjectKind::Workload(WorkloadKind::Deployment),
        name: "myapp-kanary-batman".to_owned(),
        uid: "d".to_owned(),
        unchanged: false,
    };
    let error = writer.act(&batman, &delete, right(&batman)).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    let seen = cache.observe(&batman, &batman.spec);
    assert!(!seen.canary.unwrap().deleting);
}

#[tokio::test]
async fn a_status_that_the_api_server_refuses_is_retried_and_not_reported_by_another_status() {
    let (writer, _) = writer(422);
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let error = writer
        .write_status(&batman, &batman.status, right(&batman), Timestamp::UNIX_EPOCH)
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Transient);
}

#[tokio::test]
async fn a_scale_that_a_webhook_caps_is_a_refusal() {
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let scale = |replicas| Action::ScaleCanary {
        canary: WorkloadRef::new(WorkloadKind::Deployment, "x"),
        uid: "d".to_owned(),
        replicas,
    };
    let writer = answering(json!({
        "metadata": {"name": "x", "namespace": "shop", "uid": "d", "resourceVersion": "2"},
        "spec": {"replicas": 3, "selector": {}, "template": {}},
    }));
    writer.act(&batman, &scale(3), right(&batman)).await.unwrap();
    let error = writer.act(&batman, &scale(5), right(&batman)).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    assert_eq!(
        error.message(),
        "could not scale Deployment x: requested 5 replicas, but it has 3: an admission webhook or policy changed the number"
    );
}

#[tokio::test]
async fn labels_that_a_webhook_puts_back_are_a_refusal() {
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let unlabel = Action::Unlabel {
        pod: "x-1".to_owned(),
        uid: "p".to_owned(),
        labels: vec!["app".to_owned(), "tier".to_owned()],
    };
    let writer = answering(json!({
        "metadata": {"name": "x-1", "namespace": "shop", "uid": "p", "resourceVersion": "2", "labels": {"app": "myapp"}},
    }));
    let error = writer.act(&batman, &unlabel, right(&batman)).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    assert!(
        error.message().contains("it still has app: an admission webhook"),
        "{}",
        error.message()
    );
}

#[tokio::test]
async fn a_pod_gets_its_kanary_as_one_more_owner_that_controls_nothing() {
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let adopt = Action::Adopt {
        pod: "x-1".to_owned(),
        uid: "p".to_owned(),
    };
    let pod = |owners: Value| json!({"metadata": {"name": "x-1", "namespace": "shop", "uid": "p", "resourceVersion": "2", "ownerReferences": owners}});
    let owner = json!({
        "apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment", "name": batman.key.name, "uid": batman.uid,
    });
    let (writer, asked) = replying(vec![(200, pod(json!([owner]))), (200, pod(json!([])))]);
    writer.act(&batman, &adopt, right(&batman)).await.unwrap();
    assert_eq!(
        asked.lock().unwrap()[0].1,
        json!({"metadata": {"uid": "p", "ownerReferences": [owner]}})
    );
    let error = writer.act(&batman, &adopt, right(&batman)).await.unwrap_err();
    assert!(
        error.message().contains("removed its ownerReference"),
        "{}",
        error.message()
    );
}

#[tokio::test]
async fn the_reply_to_a_creation_tells_what_was_made_of_it() {
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let create = Action::Create {
        object: ObjectKind::Workload(WorkloadKind::Deployment),
        name: "x".to_owned(),
        manifest: json!({}),
    };
    let made = json!({
        "metadata": {"name": "x", "namespace": "shop", "uid": "d", "resourceVersion": "2"},
        "spec": {"selector": {}, "template": {"metadata": {"annotations": {"by": "a webhook"}}}},
    });
    let created = answering(made.clone())
        .act(&batman, &create, right(&batman))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(created.uid, "d");
    assert_eq!(
        created.template_hash,
        hash::of(&typed_template(&made["spec"]["template"]))
    );
}

/// Writes the status of a Kanary whose epoch is stored, to an API server that stores it as `stored`. `owned` is the epoch of
/// the shard; without one this is the only replica.
async fn writes(epoch: Option<i64>, owned: Option<i64>, stored: Value) -> Result<bool, ApiError> {
    let mut kanary = serde_json::to_value(batman()).unwrap();
    kanary["status"] = json!({"epoch": epoch});
    let canary = ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(kanary.clone()).unwrap()).unwrap();
    kanary["status"] = stored;
    let fence = match owned {
        None => Fence::standalone(),
        Some(epoch) => {
            let fence = Fence::new(Layout::DEFAULT, Monotonic::default());
            let shard = fence.layout().shard_of(canary.slot);
            fence.take(shard, epoch);
            fence.open(shard);
            fence.renew(Duration::MAX);
            fence
        }
    };
    let right = fence.begin(canary.slot).unwrap();
    let status = KanaryStatus::default();
    let now = Timestamp::from_second(1_800_000_010).unwrap();
    behind(fence, kanary).write_status(&canary, &status, right, now).await
}

#[tokio::test]
async fn the_only_replica_keeps_the_epoch_that_others_stored() {
    let kept = writes(Some(7), None, json!({"epoch": 7, "report": {}})).await;
    assert!(kept.unwrap(), "what was written is what is stored");
}

#[tokio::test]
async fn a_status_that_is_not_stored_as_it_was_written_is_noticed() {
    let kept = writes(None, None, json!({"run": 3, "report": {}})).await;
    assert!(!kept.unwrap(), "fields that an older CRD does not have are lost");
}

#[tokio::test]
async fn an_epoch_of_no_replica_costs_no_shard() {
    let forged = json!({"epoch": 2_000_000_000, "report": {}});
    assert!(writes(Some(2_000_000_000), Some(1_800_000_000), forged).await.unwrap());
    let later = writes(Some(1_800_000_005), Some(1_800_000_000), Value::Null).await;
    assert_eq!(later.unwrap_err().class(), Class::Fenced, "one of a later owner");
}

/// Requests, each with its body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A writer whose API server answers with these, one after the other, and what it was asked.
fn replying(answers: Vec<(u16, Value)>) -> (Writer, Asked) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
    let answer = service_fn(move |request: http::Request<Body>| {
        let (seen, answers) = (seen.clone(), answers.clone());
        async move {
            let what = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            seen.lock().unwrap().push((what, body));
            let (code, answer) = answers.lock().unwrap().next().unwrap();
            let body = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    let client = Client::new(answer, "default");
    let fence = Arc::new(Fence::standalone());
    (
        Writer::new(client, Arc::new(Cache::default()), fence, "test".to_owned()),
        asked,
    )
}

fn target(image: &str, entries: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "myapp", "namespace": "shop", "uid": "t", "resourceVersion": "7", "managedFields": entries},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
    })
}

fn live(image: &str) -> LiveTarget {
    let template = target(image, &json!([]))["spec"]["template"].clone();
    LiveTarget {
        uid: "t".to_owned(),
        template_hash: hash::of(&typed_template(&template)),
        template,
        ..LiveTarget::default()
    }
}

#[tokio::test]
async fn a_target_has_the_template_that_would_change_nothing() {
    let refused = json!({"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": "policy"});
    for (code, answer, expected) in [
        (200, target("i", &json!([])), Likeness::Same),
        (200, target("i@sha256:0", &json!([])), Likeness::Other),
        (422, refused, Likeness::Unknown),
    ] {
        let (writer, asked) = replying(vec![(code, answer)]);
        let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
        let spec = &batman.spec;
        let likeness = writer.compare(&batman, spec, &live("i"), right(&batman)).await;
        assert_eq!(likeness.unwrap(), expected);
        let asked = asked.lock().unwrap();
        assert!(asked[0].0.contains("dryRun=All"), "{asked:?}");
        let seen = writer.cache.observe(&batman, spec);
        assert_eq!(seen.target, None, "nobody has what was only tried");
    }
}

#[tokio::test]
async fn what_a_promotion_changed_is_handed_over_on_top_of_the_version_that_was_read() {
    let entry = |manager: &str, operation: &str, field: &str| {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:template": {field: {}}}},
        })
    };
    let before = json!([entry("git", "Apply", "f:spec"), entry("kanary", "Update", "f:metadata")]);
    let mut after = json!([entry("git", "Apply", "f:spec")]);
    after[0]["fieldsV1"]["f:spec"]["f:template"]["f:metadata"] = json!({});
    let (writer, asked) = replying(vec![(200, target("i", &before)), (200, target("i", &after))]);
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let hand_over = Action::HandOver {
        target: WorkloadRef::new(WorkloadKind::Deployment, "myapp"),
        uid: "t".to_owned(),
    };
    writer.act(&batman, &hand_over, right(&batman)).await.unwrap();
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": "t"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "replace", "path": "/metadata/managedFields", "value": after},
    ]);
    assert_eq!(asked.lock().unwrap()[1].1, patch);
    let seen = writer.cache.observe(&batman, &batman.spec);
    assert!(!seen.target.unwrap().holds_fields);
}

#[tokio::test]
async fn a_status_that_was_not_sent_in_time_says_nothing_about_who_owns_the_shard() {
    let now = Arc::new(AtomicU64::new(1));
    let read = now.clone();
    let time = Monotonic::from_source(move || Duration::from_secs(read.load(Ordering::Relaxed)));
    let canary = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let fence = Fence::new(Layout::DEFAULT, time);
    let shard = fence.layout().shard_of(canary.slot);
    fence.take(shard, 7);
    fence.open(shard);
    fence.renew(Duration::from_secs(10));
    let right = fence.begin(canary.slot).unwrap();
    now.store(11, Ordering::Relaxed);
    let refusal = json!({
        "kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": EPOCH_RULE,
    });
    let answer = service_fn(move |_: http::Request<Body>| {
        let body = Body::from(refusal.to_string().into_bytes());
        async { Ok::<_, Infallible>(Response::builder().status(422).body(body).unwrap()) }
    });
    let fence = Arc::new(fence);
    let client = Client::new(answer, "default");
    let writer = Writer::new(client, Arc::default(), fence.clone(), "test".to_owned());
    let status = KanaryStatus::default();
    let refused = async || {
        let written = writer
            .write_status(&canary, &status, right, Timestamp::UNIX_EPOCH)
            .await;
        written.unwrap_err().class() == Class::Fenced
    };
    assert!(refused().await, "the session was not renewed");
    fence.renew(Duration::from_secs(20));
    assert_eq!(fence.begin(canary.slot), Some(right), "the shard is still owned");
    assert!(refused().await, "by the API server");
    assert_eq!(fence.begin(canary.slot), None, "somebody has a later epoch");
}
