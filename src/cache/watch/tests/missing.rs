//! Kinds that a cluster need not have.

use std::sync::atomic::AtomicBool;

use kanary_core::{ParsedKanary, api::Kanary, observation::Keda};

use super::*;
use crate::cache::ScaledObject;

/// A Kanary in the cache, with this scale.
fn kanary(sink: &Sink, name: &str, scale: &Value) -> ParsedKanary {
    let object: Kanary = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1", "generation": 1},
        "spec": {"template": {"spec": {}}, "scale": scale},
    }))
    .unwrap();
    let part = sink.cache.open_part();
    assert_eq!(sink.cache.admit_kanary(KanaryKind::Deployment, &object, part), Ok(true));
    ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap()
}

fn absent() -> Value {
    json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not here"})
}

#[test]
fn nothing_waits_for_scaled_objects_that_the_cluster_does_not_know_and_they_may_come_later() {
    let (log, installed) = (Log::default(), Arc::new(AtomicBool::new(false)));
    run(async |rig| {
        let scaled = kanary(&rig.sink, "scaled", &json!({"keda": {"triggers": [{"type": "cpu"}]}}));
        kanary(&rig.sink, "other", &json!({}));
        let is_there = installed.clone();
        let client = scripted(&log, move |watch| match (is_there.load(Ordering::SeqCst), watch) {
            (false, _) => (404, absent()),
            (true, false) => (200, json!({"metadata": {"resourceVersion": "9"}, "items": []})),
            (true, true) => (200, Value::Null),
        });
        let heartbeat = Heartbeat::default();
        let api: Api<ScaledObject> = Api::all(client);
        let task = tokio::spawn(objects(api, watch(&rig.sink, None, &heartbeat)));
        sleep(Duration::from_secs(1)).await;
        assert!(heartbeat.get(), "the replica is ready without KEDA");
        let keda = || rig.sink.cache.observe(&scaled, &scaled.spec).keda;
        assert_eq!(keda(), Keda::Missing);
        assert_eq!(
            rig.sink.queue.ready().await,
            std::slice::from_ref(&scaled.key),
            "only this one is concerned"
        );
        rig.sink.queue.done(&scaled.key, None);
        sleep(Duration::from_hours(1)).await;
        assert!(
            (100..=121).contains(&asked(&log, false).len()),
            "{}",
            asked(&log, false).len()
        );
        assert_eq!(heartbeat.restarts(), 0, "this is no trouble");
        installed.store(true, Ordering::SeqCst);
        sleep(MINUTE).await;
        assert_eq!(keda(), Keda::Served);
        assert_eq!(
            rig.sink.queue.ready().await,
            std::slice::from_ref(&scaled.key),
            "it goes on by itself"
        );
        rig.sink.queue.done(&scaled.key, None);
        installed.store(false, Ordering::SeqCst);
        sleep(MINUTE).await;
        assert_eq!(keda(), Keda::Missing, "KEDA was removed");
        task.abort();
    });
}

#[test]
fn other_kinds_have_to_be_there() {
    let log = Log::default();
    run(async |rig| {
        let running = follow(scripted(&log, |_| (404, absent())), None, &rig.sink);
        sleep(MINUTE).await;
        assert!(!running.heartbeat.get());
        assert!(running.heartbeat.restarts() > 0);
    });
}
