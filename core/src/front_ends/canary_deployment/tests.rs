use serde_json::{Value, json};

use super::*;
use crate::{
    ParsedKanary,
    api::{Kanary, KanaryKind},
    observation::{Observation, Workload},
    spec::Spec,
    status::{Phase, find},
    validation::Item,
};

fn manifest(over: &Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "emoji"}},
        "template": {
            "metadata": {"labels": {"app": "emoji"}},
            "spec": {"containers": [{"name": "emoji", "image": "emoji:1.0"}]},
        },
        "tracks": {
            "canary": {
                "replicas": 1, "labels": {"track": "canary"}, "metricsCheckDelaySeconds": 60,
                "metrics": [{"type": "Object", "object": {
                    "describedObject": {"kind": "Service", "name": "emoji-canary"},
                    "metric": {"name": "failure_rate:1m"},
                    "target": {"type": "Value", "value": 0.1},
                }}],
            },
            "stable": {"replicas": 3, "labels": {"track": "stable"}},
        },
    });
    crate::tests::merge(&mut spec, over);
    spec
}

fn parsed(spec: Value, status: Option<Value>) -> ParsedKanary {
    let metadata = json!({"name": "emoji", "namespace": "shop", "uid": "u", "generation": 1});
    let object = Kanary {
        metadata: serde_json::from_value(metadata).unwrap(),
        spec,
        status,
    };
    ParsedKanary::parse(KanaryKind::CanaryDeployment, &object).unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
fn spec(over: Value) -> Spec {
    Spec::clone(&parsed(manifest(&over), None).spec)
}

fn problems(over: Value) -> Vec<String> {
    spec(over).problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn the_tracks_are_named_after_the_object_and_have_labels_of_their_own() {
    let spec = spec(json!({}));
    assert_eq!(spec.problems, []);
    assert_eq!(
        (&*spec.canary.name, &*spec.target.name),
        ("emoji-canary", "emoji-stable")
    );
    let tracked = spec.tracked.unwrap();
    assert_eq!(tracked.canary.labels["track"], "canary");
    assert_eq!(tracked.target.replicas, Some(3));
    let selector = json!({"matchLabels": {"app": "emoji", TRACK: "stable"}});
    assert_eq!(tracked.selector, selector);
    assert_eq!(spec.template.spec()["progressDeadlineSeconds"], 600);
}

#[test]
fn metrics_are_checked_once_after_the_delay_and_fail_when_they_reach_the_target() {
    let spec = spec(json!({}));
    assert_eq!(
        (
            spec.validation.initial_delay.as_secs(),
            spec.validation.period.as_secs()
        ),
        (0, 60)
    );
    let [Item::Metric(metric)] = spec.validation.items.as_slice() else {
        panic!("{:?}", spec.validation.items);
    };
    assert!(metric.terms.at_the_end);
    assert_eq!((metric.name(), metric.limited()), ("failure_rate:1m", "value"));
    assert_eq!(metric.described().map(|object| &*object.api_version), Some("v1"));
}

#[test]
fn without_metrics_the_canary_has_to_be_available_until_the_delay_is_over() {
    for metrics in [json!([]), Value::Null] {
        let spec = spec(json!({"tracks": {"canary": {"metrics": metrics}}}));
        assert_eq!(spec.problems, []);
        assert_eq!(spec.validation.initial_delay.as_secs(), 60);
        assert!(matches!(spec.validation.items.as_slice(), [Item::Manual { .. }]));
    }
    assert_eq!(
        problems(json!({"tracks": {"canary": {"metrics": [], "metricsCheckDelaySeconds": 0}}})),
        [""; 0]
    );
}

#[test]
fn a_template_has_the_same_hash_whatever_the_tracks_are() {
    let other = json!({"tracks": {"stable": {"replicas": 9, "labels": {"x": "y"}}, "canary": {"labels": {"x": "z"}}}});
    assert_eq!(spec(json!({})).template_hash, spec(other).template_hash);
    let image = json!([{"name": "emoji", "image": "emoji:2.0"}]);
    let next = json!({"template": {"spec": {"containers": image}}});
    assert_ne!(spec(json!({})).template_hash, spec(next).template_hash);
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_its_users() {
    for (over, says) in [
        (
            json!({"selector": {"matchLabels": {"app": "other"}}}),
            "does not match the labels of spec.template.metadata",
        ),
        (json!({"selector": null}), "spec.selector is missing"),
        (
            json!({"template": {"spec": {"containers": []}}}),
            "spec.template.spec.containers has no container",
        ),
        (
            json!({"tracks": {"canary": {"replicas": 0}}}),
            "spec.tracks.canary.replicas is 0: use 1 or more",
        ),
        (json!({"minReadySeconds": 700}), "spec.progressDeadlineSeconds is 600"),
        (
            json!({"tracks": {"stable": {"labels": {TRACK: "x"}}}}),
            "which the controller sets",
        ),
        (
            json!({"tracks": {"canary": {"metrics": [{"type": "Object"}]}}}),
            "spec.tracks.canary.metrics[0]",
        ),
        (
            json!({"tracks": {"canary": {"metrics": [{"type": "External", "external": {
                "metric": {"name": "x"}, "target": {"type": "Value", "value": 0},
            }}]}}}),
            "has the target 0",
        ),
    ] {
        let problems = problems(over.clone());
        assert!(
            problems.iter().any(|problem| problem.contains(says)),
            "{over}: {problems:?}"
        );
        assert!(
            !problems.iter().any(|problem| problem.contains("validation.items")),
            "{problems:?}"
        );
    }
}

#[test]
fn a_status_says_the_same_in_the_published_fields() {
    let condition = |name: &str, reason: &str| json!({"type": name, "status": "True", "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:01:00Z"});
    let read = |conditions: Value| {
        let mut canary = parsed(manifest(&json!({})), None);
        let hash = canary.spec.template_hash.clone();
        let status = json!({
            "currentHash": hash, "availableSince": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:01:00Z",
            "items": [{"name": "metric[0]", "lastValue": 0.1, "good": 0, "bad": 1, "errors": 0, "state": "Bad"}],
            "conditions": conditions,
        });
        canary.status = serde_json::from_value(status).unwrap();
        let mut next = canary.status.clone();
        let told = Told {
            frame: canary.spec.frame.as_ref().unwrap(),
            template: (&canary.spec.template, &canary.spec.template_hash),
            items: &canary.spec.validation.items,
            former: &canary.status,
            generation: 1,
            is_sound: true,
            now: "2026-01-01T00:02:00Z".parse().unwrap(),
        };
        told::tell(&told, &mut next);
        (hash, serde_json::to_value(&next).unwrap(), told::notices(&next))
    };
    let (hash, status, notices) = read(json!([condition("Failed", "MetricFailed")]));
    assert_eq!(status["observedTemplateHash"], json!(hash));
    assert_eq!(
        status["deploymentReadyStatusCheckpoint"],
        json!({"templateHash": hash, "latestReadyTimestamp": "2026-01-01T00:00:00Z", "metricCheckResult": "Failure"})
    );
    assert_eq!(status["latestFailedDeploymentSnapshot"]["templateHash"], json!(hash));
    assert_eq!(
        status["latestMetrics"],
        json!([{"type": "Object", "object": {
            "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "emoji-canary"},
            "metric": {"name": "failure_rate:1m"}, "current": {"value": "0.1"},
        }}])
    );
    let reasons: Vec<_> = notices.iter().map(|notice| notice.reason.as_str()).collect();
    assert_eq!(reasons, ["MetricsCheckResult", "MetricsCheckUnsuccessful"]);
    let (_, status, notices) = read(json!([
        condition("Succeeded", "AllItemsGood"),
        condition("DeploymentUpdated", "TargetRolledOut")
    ]));
    assert_eq!(
        Phase::of(&serde_json::from_value(status.clone()).unwrap()),
        Phase::DeploymentUpdated
    );
    assert_eq!(
        status["deploymentReadyStatusCheckpoint"]["metricCheckResult"],
        "Success"
    );
    let reasons: Vec<_> = notices.iter().map(|notice| notice.reason.as_str()).collect();
    assert_eq!(reasons, ["MetricsCheckResult", "DoneProcessing"]);
    let conditions = status["conditions"].as_array().unwrap();
    let of = |name: &str| conditions.iter().find(|condition| condition["type"] == name).unwrap();
    assert_eq!(
        (&of("Ready")["status"], &of("Progressing")["status"]),
        (&json!("True"), &json!("False"))
    );
}

#[test]
fn what_keeps_a_run_from_beginning_is_said_by_all_conditions() {
    let object = parsed(manifest(&json!({})), None);
    let theirs = Workload {
        uid: "theirs".to_owned(),
        generation: 1,
        ..Workload::default()
    };
    let seen = Observation {
        canary: Some(theirs),
        ..Observation::default()
    };
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let status = crate::decide(&object, &seen, now).status.unwrap();
    for (condition, value) in [
        ("Errored", "True"),
        ("Progressing", "False"),
        ("Ready", "False"),
        ("Failure", "False"),
    ] {
        let said = find(&status, condition).unwrap();
        assert_eq!((&*said.status, &*said.reason), (value, "NameTaken"), "{condition}");
    }
}
