//! Arbitrary specs.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::arbitrary::{any_of, time};

/// A duration, usually a valid one: an invalid one makes the whole spec unsound.
fn duration() -> impl Strategy<Value = Value> {
    prop_oneof![
        12 => any_of(&["0s", "1ms", "20s", "1m", "10m", "2562047h", "null"]),
        1 => any_of(&["99999999999999999999h", "-1s", "''"]),
    ]
}

fn item() -> impl Strategy<Value = Value> {
    let sound = any_of(&[
        "{manual: {}}",
        "{manual: {status: valid}}",
        "{manual: {status: invalid}}",
        "{manual: {statusAfterDeadline: valid}}",
        "{manual: {statusAfterDeadline: invalid}}",
        "{labelWatch: {podInvalidationLabels: {bad: 'true'}}}",
        "{labelWatch: {deploymentInvalidationLabels: {bad: 'true'}}}",
        "{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}",
        "{promQL: {prometheusService: 'p:9090', query: up, noResult: {}, onNoData: fail, failureLimit: 1}}",
        "{promQL: {prometheusService: 'p:9090', query: up, boolean: {}, consecutiveErrorLimit: 2, minSamples: 2}}",
    ]);
    prop_oneof![30 => sound, 1 => any_of(&["{}", "7"])]
}

/// A spec, usually a sound one with an occasional invalid field.
pub(super) fn spec() -> BoxedStrategy<Value> {
    let traffic = any_of(&["none", "none", "service", "kanary-service", "both", "mirror", "''"]);
    let scale = any_of(&[
        "{}",
        "{static: {replicas: 2}}",
        "{percent: {value: 20}}",
        "{hpa: {maxReplicas: 3}}",
        "{keda: {maxReplicaCount: 3, triggers: [{type: cpu}]}}",
        "{static: {replicas: -1}}",
    ]);
    let service = any_of(&["svc", "svc", "svc", "''", "null"]);
    let rollout = any_of(&[
        "{}",
        "{mode: dry-run}",
        "{onFailure: retain}",
        "{onTargetChange: promote}",
        "{rollbackOnFailure: true}",
        "{progressDeadline: 0s}",
        "{progressDeadline: 2562047h}",
        "{rollbackOnFailure: true, progressDeadline: 10s}",
        "{onTargetMissing: wait}",
        "{createTargetAfter: 2562047h}",
    ]);
    let labels = any_of(&[
        "{app: myapp}",
        "{app: myapp}",
        "{app: myapp, bad: 'true'}",
        "{}",
        "{'': ''}",
        "null",
        "7",
    ]);
    let schedule =
        prop_oneof![8 => Just(Value::Null), 4 => time().prop_map(|at| json!(at.to_string())), 1 => Just(json!("soon"))];
    let manual_verdicts = (
        any_of(&["null", "null", "null", "valid", "invalid"]),
        any::<bool>(),
        any_of(&["null", "1", "-9223372036854775808"]),
    );
    let validation = (duration(), duration(), vec(item(), 0..4), any::<bool>());
    (traffic, scale, service, rollout, labels, schedule, manual_verdicts, validation)
        .prop_map(|(traffic, scale, service, rollout, labels, schedule, (verdict, paused, retry), validation)| {
            let (delay, period, items, no_update) = validation;
            json!({
                "deploymentName": "myapp", "serviceName": service, "scale": scale, "traffic": {"source": traffic},
                "rollout": rollout, "schedule": schedule, "verdict": verdict, "paused": paused, "retry": retry,
                "template": {"spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": [{}]}}}},
                "validation": {"initialDelay": delay, "validationPeriod": period, "items": items, "noUpdate": no_update},
            })
        })
        .boxed()
}
