//! What the status of an application says.

use jiff::Timestamp;

use super::*;
use crate::status::{DEPLOYMENT_UPDATED, Draft, RUNNING, SUCCEEDED};

/// The own fields after conditions and traffic were written over `own`.
fn told(own: &Value, conditions: &[(&str, Reason)], weight: Option<u8>) -> Value {
    let mut status = json!({"observedGeneration": 1, "report": {}});
    status.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let app = parsed(sample(), Some(status));
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let mut draft = Draft::of(&app, now);
    for (condition, reason) in conditions {
        draft.set(condition, true, *reason, "because");
    }
    if let Some(weight) = weight {
        let traffic =
            json!({"route": {"kind": "VirtualService", "name": "hello"}, "step": 1, "weight": weight, "since": now});
        draft.status.traffic = Some(serde_json::from_value(traffic).unwrap());
    }
    let status = serde_json::to_value(draft.finish(&app, &app.spec).unwrap()).unwrap();
    let own = CanaryApp
        .own_fields()
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), status.get(*name)?.clone())));
    Value::Object(own.collect())
}

#[test]
fn the_status_says_what_the_published_one_said() {
    let (v0, v1) = ("registry.example/hello:v0", "registry.example/hello:v1");
    assert_eq!(
        told(&json!({}), &[(RUNNING, Reason::TargetCreated)], None),
        json!({"successfulRelease": false, "testRunning": false, "trafficShift": 0})
    );
    assert_eq!(
        told(&json!({}), &[(DEPLOYMENT_UPDATED, Reason::TargetRolledOut)], None),
        json!({
            "successfulRelease": true, "testRunning": false, "trafficShift": 0, "lastSuccessfulTag": v1, "primaryTag": v1,
        })
    );
    assert_eq!(
        told(
            &json!({"lastSuccessfulTag": v0, "successfulRelease": true}),
            &[(RUNNING, Reason::Validating)],
            Some(20)
        ),
        json!({
            "successfulRelease": true, "testRunning": true, "trafficShift": 20, "lastSuccessfulTag": v0,
            "lastTrafficShift": "2026-01-01T12:00:00Z",
        })
    );
    assert_eq!(
        told(
            &json!({"lastSuccessfulTag": v0, "successfulRelease": true}),
            &[(SUCCEEDED, Reason::AllItemsGood)],
            None
        ),
        json!({"successfulRelease": true, "testRunning": false, "trafficShift": 0, "lastSuccessfulTag": v0})
    );
    assert_eq!(
        told(
            &json!({"lastSuccessfulTag": v0, "successfulRelease": true}),
            &[(FAILED, Reason::PromQLFailed)],
            None
        ),
        json!({
            "successfulRelease": false, "testRunning": false, "trafficShift": 0, "lastSuccessfulTag": v0, "lastFailedTag": v1,
        })
    );
    let blameless = told(
        &json!({"lastSuccessfulTag": v0}),
        &[(FAILED, Reason::TargetChanged)],
        None,
    );
    assert_eq!(blameless["lastFailedTag"], Value::Null);
}

#[test]
fn the_image_of_the_primary_is_remembered_before_all_its_pods_run_it() {
    let (v0, v1) = ("registry.example/hello:v0", "registry.example/hello:v1");
    let own = json!({"lastSuccessfulTag": v0, "promotedHash": "h"});
    let promoted = told(&own, &[(SUCCEEDED, Reason::AllItemsGood)], None);
    assert_eq!(
        [&promoted["lastSuccessfulTag"], &promoted["primaryTag"]],
        [v0, v1],
        "not all pods run it"
    );
    let next = told(
        &json!({"lastSuccessfulTag": "old", "primaryTag": v0}),
        &[(RUNNING, Reason::Validating)],
        None,
    );
    assert_eq!(
        [&next["lastSuccessfulTag"], &next["primaryTag"]],
        [v0, v0],
        "another image came meanwhile"
    );
}
