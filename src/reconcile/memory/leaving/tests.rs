use kanary_core::{
    ParsedKanary,
    api::KanaryKind,
    observation::{Observation, Ways},
};
use kube::core::Status;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn canary(status: &Value) -> ParsedKanary {
    let object = json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
        "status": status,
    });
    ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(object).unwrap()).unwrap()
}

fn failed() -> ParsedKanary {
    canary(&json!({"conditions": [{
        "type": "Failed", "status": "True", "reason": "VerdictInvalid", "message": "",
        "lastTransitionTime": "2026-11-22T12:00:00Z",
    }]}))
}

fn recalled(memory: &Memory, kanary: &ParsedKanary) -> Observation {
    let mut seen = Observation::default();
    memory.recall(kanary, &kanary.spec, &mut seen);
    seen
}

fn answered(code: u16) -> ApiError {
    let status = Status::failure("denied", "Forbidden").with_code(code);
    let error = kube::Error::Api(Box::new(status));
    ApiError::new("take labels off", "Pod".into(), "shop", "x", error)
}

fn unlabel() -> Action {
    Action::Unlabel {
        pod: "x".to_owned(),
        uid: "u".to_owned(),
        labels: Vec::new(),
    }
}

#[test]
fn attempts_that_failed_are_remembered_by_their_way_until_one_works() {
    let (memory, canary) = (Memory::default(), failed());
    assert_eq!(recalled(&memory, &canary).ways, Ways::default());
    memory.could_not_leave(&canary.key, &unlabel(), &answered(500), at(1), at(6));
    memory.could_not_leave(&canary.key, &unlabel(), &answered(403), at(7), at(8));
    let ways = recalled(&memory, &canary).ways;
    let labels = Attempt {
        first: at(1),
        last: at(8),
        times: 2,
        refused: true,
        message: "could not take labels off Pod x: denied".to_owned(),
    };
    assert_eq!(
        ways,
        Ways {
            labels: Some(labels),
            ..Ways::default()
        }
    );
    memory.left(&canary.key, &unlabel());
    assert_eq!(recalled(&memory, &canary).ways, Ways::default());
}

#[test]
fn a_scaled_object_that_cannot_be_deleted_is_a_failed_way_to_scale() {
    let (memory, canary) = (Memory::default(), failed());
    assert_eq!(recalled(&memory, &canary).ways, Ways::default());
    let delete = |object| Action::Delete {
        object,
        name: "x".to_owned(),
        uid: "u".to_owned(),
        unchanged: false,
    };
    memory.could_not_leave(
        &canary.key,
        &delete(ObjectKind::ScaledObject),
        &answered(403),
        at(1),
        at(2),
    );
    let ways = recalled(&memory, &canary).ways;
    assert!(ways.scale.is_some() && ways.deletion.is_none(), "{ways:?}");
}

#[test]
fn what_was_refused_before_the_verdict_does_not_hold_up_what_follows_it() {
    let (memory, running, failed) = (Memory::default(), canary(&json!({})), failed());
    recalled(&memory, &running);
    memory.refuse(&running.key, &answered(403), at(1));
    memory.status_written(&running.key, &running.status, &running.status);
    assert!(recalled(&memory, &running).refusal.is_some(), "the status tells of it");
    memory.status_written(&running.key, &running.status, &failed.status);
    assert_eq!(recalled(&memory, &failed).refusal, None);
    memory.refuse(&failed.key, &answered(403), at(2));
    memory.status_written(&failed.key, &failed.status, &failed.status);
    assert!(recalled(&memory, &failed).refusal.is_some());
}
