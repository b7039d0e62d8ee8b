use kanary_core::observation::{Outage, Versions};
use serde_json::{Value, json};

use super::*;
use crate::cache::table::View;

fn deployment_at(generation: i64, observed: i64) -> Workload {
    let object = json!({
        "metadata": {"name": "myapp", "uid": "u", "generation": generation},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "myapp"}}, "template": {}},
        "status": {
            "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            ],
        },
    });
    deployment(&serde_json::from_value(object).unwrap())
}

#[test]
fn the_status_of_a_former_spec_of_a_deployment_does_not_count_for_the_new_one() {
    let seen = deployment_at(2, 2);
    assert!(seen.progress_failed && seen.rolled_out);
    let updated = deployment_at(3, 2);
    assert!(!updated.progress_failed && !updated.rolled_out);
    assert!(
        updated.available_since.is_some(),
        "being scaled makes nobody unavailable"
    );
}

/// A canary with these fields of `metadata`, `spec.strategy.rollingUpdate` and `status`.
#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
fn canary(meta: Value, rolling: Value, status: Value) -> Workload {
    let mut object = json!({
        "metadata": {"name": "x", "uid": "u", "labels": {names::IS_KANARY: "true"}},
        "spec": {
            "replicas": 1, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        },
        "status": status,
    });
    for (name, value) in meta.as_object().unwrap() {
        object["metadata"][name] = value.clone();
    }
    deployment(&serde_json::from_value(object).unwrap())
}

fn whole() -> Value {
    json!({"maxUnavailable": 0, "maxSurge": 1})
}

fn available(since: &str) -> Value {
    json!({"availableReplicas": 1, "conditions": [{"type": "Available", "status": "True", "lastTransitionTime": since}]})
}

fn unavailable(since: &str) -> Value {
    json!({"conditions": [{"type": "Available", "status": "False", "lastTransitionTime": since}]})
}

#[test]
fn the_versions_of_a_canary_are_counted_by_who_knows() {
    let versions = |generation: i64, observed: i64, revision: Option<&str>| {
        let annotations = revision.map(|revision| json!({names::REVISION: revision}));
        let meta = json!({"generation": generation, "annotations": annotations});
        canary(meta, whole(), json!({"observedGeneration": observed})).versions
    };
    assert_eq!(versions(1, 0, None), Versions::Untouched);
    assert_eq!(versions(2, 2, Some("1")), Versions::One);
    assert_eq!(versions(3, 2, Some("1")), Versions::Unknown, "it may be another by now");
    assert_eq!(versions(3, 2, Some("2")), Versions::Several);
    assert_eq!(versions(3, 3, None), Versions::Unknown);
}

#[test]
fn a_deployment_that_gets_new_templates_is_available_once_all_its_pods_run_the_newest() {
    let seen = |(generation, observed): (i64, i64), (updated, reason): (i64, &str), available: &str| {
        let labels = json!({names::IS_KANARY: "true", names::APPLIED: "x"});
        let progressing = json!({
            "type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": "2026-01-01T00:07:00Z",
        });
        let status = json!({
            "observedGeneration": observed, "replicas": 2, "updatedReplicas": updated, "availableReplicas": 2,
            "conditions": [
                {"type": "Available", "status": available, "lastTransitionTime": "2026-01-01T00:00:00Z"}, progressing,
            ],
        });
        let seen = canary(json!({"generation": generation, "labels": labels}), whole(), status);
        let time = |at: Option<Timestamp>| at.map(|at| at.strftime("%M").to_string());
        (time(seen.available_since), time(seen.unavailable_since))
    };
    let since = Some("07".to_owned());
    assert_eq!(
        seen((2, 2), (2, "NewReplicaSetAvailable"), "True"),
        (since.clone(), None)
    );
    assert_eq!(
        seen((2, 2), (2, "NewReplicaSetAvailable"), "False"),
        (None, since.clone())
    );
    // The pods of the former template are available meanwhile.
    assert_eq!(seen((3, 2), (2, "NewReplicaSetAvailable"), "True"), (None, None));
    assert_eq!(seen((3, 3), (1, "ReplicaSetUpdated"), "True"), (None, since.clone()));
    // A ReplicaSet that exists already leaves the condition as it was at first.
    assert_eq!(seen((3, 3), (0, "NewReplicaSetAvailable"), "True"), (None, since));
}

#[test]
fn a_canary_whose_strategy_was_changed_is_never_available_as_a_whole() {
    let strategies = [
        json!({"maxUnavailable": 1}),
        json!({"maxUnavailable": "25%"}),
        json!({"maxSurge": 1}),
    ];
    for rolling in strategies {
        let seen = canary(json!({}), rolling, available("2026-01-01T00:00:00Z"));
        assert_eq!(seen.available_since, None);
        assert_eq!(seen.cause.unwrap().reason, "StrategyChanged");
    }
    let seen = canary(
        json!({}),
        json!({"maxUnavailable": "0%"}),
        available("2026-01-01T00:00:00Z"),
    );
    assert!(seen.available_since.is_some() && seen.cause.is_none());
}

#[test]
fn an_outage_is_remembered_by_who_watched_it() {
    let mut seen = canary(json!({}), whole(), available("2026-01-01T00:00:00Z"));
    let (first, from) = (seen.available_since.unwrap(), "2026-01-01T00:05:00Z".parse().unwrap());
    let mut next = |status: Value| {
        let mut now = WorkloadRow::from(canary(json!({}), whole(), status));
        now.inherit(&seen.clone().into());
        seen = now.workload();
        seen.outage
    };
    let outage = Some(Outage { from, before: first });
    assert_eq!(next(unavailable("2026-01-01T00:05:00Z")), outage);
    assert_eq!(next(available("2026-01-01T00:06:00Z")), outage);
    assert_eq!(next(available("2026-01-01T00:06:00Z")), outage);
    assert_eq!(next(available("2026-01-01T00:09:00Z")), None, "one that nobody saw");
}

/// A pod of the canary with this status.
#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
fn seen_pod(image: &str, status: Value) -> PodRow {
    let object = json!({
        "metadata": {"name": "x-1", "uid": "p", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x-abc", "uid": "r"},
        ]},
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": status,
    });
    pod(&serde_json::from_value(object).unwrap()).unwrap()
}

fn waiting(reason: &str, message: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    json!({"containerStatuses": [{
        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }]})
}

#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
fn crashed(state: Value) -> Value {
    let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    json!({"containerStatuses": [{
        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 2, "state": state, "lastState": last,
    }]})
}

#[test]
fn the_reason_why_a_pod_is_not_ready_is_short() {
    let unschedulable = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
    ]});
    let back_off = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
    let cases = [
        (unschedulable, "Unschedulable: 0/3 nodes are available"),
        (
            waiting("ErrImagePull", "not found"),
            "ImagePullBackOff: container main: not found",
        ),
        (
            waiting("SomethingNew", "why"),
            "CreateContainerError: container main: SomethingNew: why",
        ),
        (waiting("ContainerCreating", ""), ""),
        (
            crashed(back_off),
            "CrashLoopBackOff: container main ended with exit code 137 (OOMKilled)",
        ),
        (
            crashed(json!({"running": {}})),
            "CrashLoopBackOff: container main ended with exit code 137 (OOMKilled)",
        ),
    ];
    for (status, expected) in cases {
        let cause = seen_pod("i", status).rest.cause;
        let reported = cause.map_or(String::new(), |cause| format!("{}: {}", cause.reason, cause.message));
        assert_eq!(reported, expected);
    }
}

#[test]
fn a_cause_whose_text_counts_attempts_causes_no_reconcile() {
    let first = seen_pod("i", waiting("ImagePullBackOff", "try 1"));
    let mut second = seen_pod("i", waiting("ErrImagePull", "try 2"));
    second.inherit(&first);
    assert_eq!(first, second);
}

#[test]
fn a_pod_whose_image_was_changed_in_place_stays_marked() {
    let first = seen_pod("good:v2", json!({}));
    let mut edited = seen_pod("other:v3", json!({}));
    edited.inherit(&first);
    let mut back = seen_pod("good:v2", json!({}));
    back.inherit(&edited);
    assert_eq!([&first, &edited, &back].map(|row| row.rest.edited), [false, true, true]);
}

#[test]
fn a_deployment_without_a_pod_is_not_available() {
    let object = json!({
        "metadata": {"name": "myapp", "uid": "u"},
        "spec": {"replicas": 0, "selector": {}, "template": {}},
        "status": {"conditions": [
            {"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]},
    });
    let seen = deployment(&serde_json::from_value(object).unwrap());
    assert_eq!(seen.available_since, None);
}

/// A Deployment whose rollout is under way, with these conditions.
fn rolling_out(generation: i64, conditions: &Value) -> Workload {
    let object = json!({
        "metadata": {"name": "myapp", "uid": "u", "generation": generation},
        "spec": {"replicas": 2, "selector": {}, "template": {}, "paused": true},
        "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "conditions": conditions},
    });
    deployment(&serde_json::from_value(object).unwrap())
}

#[test]
fn a_rollout_says_when_it_made_progress_and_what_keeps_it_from_that() {
    let conditions = json!([
        {"type": "Progressing", "status": "True", "lastUpdateTime": "2026-01-01T00:00:07Z"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
    ]);
    let seen = rolling_out(2, &conditions);
    assert_eq!(seen.progressed, Some("2026-01-01T00:00:07Z".parse().unwrap()));
    assert_eq!(seen.replica_failure.as_deref(), Some("exceeded quota"));
    assert!(seen.paused);
    let updated = rolling_out(3, &conditions);
    assert_eq!(
        (updated.progressed, updated.replica_failure),
        (None, None),
        "not of this spec"
    );
    let over = json!([{"type": "ReplicaFailure", "status": "False", "reason": "FailedCreate"}]);
    assert_eq!(rolling_out(2, &over).replica_failure, None);
}

#[test]
fn a_controller_that_is_no_kanary_is_known_by_its_name() {
    let owned = |api_version: &str, kind: &str, controller: bool| {
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": "a", "uid": "u", "controller": controller});
        let owners = json!([owner]);
        let seen = canary(json!({"ownerReferences": owners}), whole(), json!({}));
        (seen.owner_name, seen.other_controller)
    };
    let owned_by = |kind: &str, controller| owned("kanary.k8s-operators.dev/v1alpha1", kind, controller);
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        owned("kanary.k8s.io/v1alpha1", "KanaryDeployment", true),
        (named("KanaryDeployment.kanary.k8s.io/a"), None)
    );
    assert_eq!(
        owned("example.com/v1", "KanaryDeployment", true),
        (None, named("KanaryDeployment/a"))
    );
    assert_eq!(owned_by("KanaryDeployment", true), (named("KanaryDeployment/a"), None));
    assert_eq!(owned_by("Application", true), (None, named("Application/a")));
    assert_eq!(owned_by("KanaryDeployment", false), (None, None));
}

/// Runs know templates by this hash, in statuses and annotations that earlier versions of Kanary wrote.
#[test]
fn the_hash_of_a_deployment_is_that_of_its_canonical_template() {
    let container = json!({
        "name": "web", "image": "web:1", "args": ["b", "a"], "env": [{"name": "B", "value": ""}, {"name": "A", "valueFrom": {
            "secretKeyRef": {"optional": true, "name": "s", "key": "k"}}}],
        "ports": [{"protocol": "TCP", "name": "http", "hostPort": 1, "containerPort": 80}], "stdinOnce": true, "tty": false,
        "readinessProbe": {"timeoutSeconds": 1, "httpGet": {"scheme": "HTTP", "port": "http", "path": "/", "httpHeaders": [
            {"value": "v", "name": "n"}]}, "failureThreshold": 3},
        "resources": {"requests": {"memory": "1Gi", "cpu": 1, "example.com/gpu": "2"}, "limits": {"cpu": "1500m"}},
        "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"], "add": []}, "allowPrivilegeEscalation": false},
        "volumeMounts": [{"name": "data", "mountPath": "/data", "subPathExpr": "$(A)", "readOnly": true}],
    });
    let template = json!({
        "metadata": {"labels": {"b": "2", "a": "1", "B": "3"}, "annotations": {"z/é": "\u{1f600}", "a": "\n"}},
        "spec": {
            "containers": [container.clone(), container], "hostname": "h", "hostPID": true, "hostIPC": false, "hostAliases": [],
            "hostUsers": true, "hostNetwork": true, "dnsPolicy": "ClusterFirst", "nodeSelector": {"x": "y", "A": "b"},
            "tolerations": [{"value": "v", "key": "k", "operator": "Equal", "tolerationSeconds": 30}],
            "topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule", "topologyKey": "z", "maxSkew": 1,
                "labelSelector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}],
            "volumes": [{"name": "data", "projected": {"sources": [{"downwardAPI": {"items": [{"path": "p", "fieldRef": {
                "fieldPath": "metadata.name", "apiVersion": "v1"}}]}}], "defaultMode": 420}},
                {"name": "cache", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}}],
        },
    });
    let object = json!({"metadata": {}, "spec": {"selector": {}, "template": template}});
    let object = serde_json::from_value::<KubeDeployment>(object).unwrap();
    let canonical = serde_json::to_value(&object.spec.as_ref().unwrap().template).unwrap();
    assert_eq!(canonical["spec"]["containers"][1]["resources"]["requests"]["cpu"], "1");
    assert_eq!(template_hash(&object), kanary_core::hash::of(&canonical));
}
