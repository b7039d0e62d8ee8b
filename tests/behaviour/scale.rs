//! `spec.scale`: the number of canary pods.

use serde_json::json;

use crate::support::{DEPLOYMENT, HPA, KANARY, World, is_true, labels, phase, version};

/// A validation that waits for a manual verdict.
fn held() -> serde_json::Value {
    json!({"validationPeriod": "2s", "items": [{"manual": {}}]})
}

#[tokio::test]
async fn a_canary_without_a_scale_has_one_replica() {
    let world = World::new("scale").await;
    world.target("app", 3).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    let running = world.phase("batman", "Running").await;
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(canary["spec"]["replicas"], 1);
    assert_eq!(running["status"]["report"]["scale"], "static");
}

#[tokio::test]
async fn a_static_scale_says_how_many_replicas_the_canary_has() {
    let world = World::new("scale").await;
    world.target("app", 1).await;
    let spec = json!({"scale": {"static": {"replicas": 3}}, "validation": held()});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(canary["spec"]["replicas"], 3);
    assert_eq!(canary["status"]["availableReplicas"], 3);
}

#[tokio::test]
async fn a_percentage_is_rounded_up_and_follows_the_target() {
    let world = World::new("scale").await;
    world.target("app", 5).await;
    let spec = json!({"scale": {"percent": {"value": 30}}, "validation": held()});
    world.kanary("batman", "app", spec).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["report"]["scale"], "percent");
    assert_eq!(world.get(&DEPLOYMENT, "app-kanary-batman").await["spec"]["replicas"], 2);

    world.patch(&DEPLOYMENT, "app", json!({"spec": {"replicas": 10}})).await;
    world
        .until(&DEPLOYMENT, "app-kanary-batman", "has 30 % of 10", |canary| {
            canary["spec"]["replicas"] == 3
        })
        .await;
}

#[tokio::test]
async fn a_percentage_stays_within_min_and_max() {
    let world = World::new("scale").await;
    world.target("app", 6).await;
    let scale = |percent: serde_json::Value| json!({"scale": {"percent": percent}, "validation": held()});
    world.kanary("few", "app", scale(json!({"value": 1, "min": 2}))).await;
    world
        .kanary("many", "app", scale(json!({"value": 100, "max": 3})))
        .await;
    world.phase("few", "Running").await;
    world.phase("many", "Running").await;
    assert_eq!(world.get(&DEPLOYMENT, "app-kanary-few").await["spec"]["replicas"], 2);
    assert_eq!(world.get(&DEPLOYMENT, "app-kanary-many").await["spec"]["replicas"], 3);
}

#[tokio::test]
async fn an_hpa_is_owned_by_the_kanary_and_bound_to_the_canary() {
    let world = World::new("scale").await;
    world.target("app", 1).await;
    let spec = json!({"scale": {"hpa": {"minReplicas": 2, "maxReplicas": 5}}, "validation": held()});
    let kanary = world.kanary("batman", "app", spec).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["report"]["scale"], "hpa");

    let hpa = world.get(&HPA, "app-kanary-batman").await;
    assert_eq!(
        hpa["spec"]["scaleTargetRef"],
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "app-kanary-batman"})
    );
    assert_eq!(
        (&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]),
        (&json!(2), &json!(5))
    );
    assert_eq!(hpa["spec"]["metrics"][0]["resource"]["name"], "cpu");
    assert_eq!(
        hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    assert_eq!(hpa["metadata"]["ownerReferences"][0]["uid"], kanary["metadata"]["uid"]);
    assert_eq!(
        labels(&hpa, "/metadata/labels")["kanary.k8s-operators.dev/name"],
        "batman"
    );
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(canary["spec"]["replicas"], 2, "it starts with minReplicas");
}

#[tokio::test]
async fn an_hpa_has_the_metrics_and_the_behaviour_that_the_user_wrote() {
    let world = World::new("scale").await;
    world.target("app", 1).await;
    let metrics = json!([{
        "type": "Pods",
        "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "100"}},
    }]);
    let hpa = json!({
        "maxReplicas": 4,
        "metrics": metrics,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 7}},
    });
    world
        .kanary("batman", "app", json!({"scale": {"hpa": hpa}, "validation": held()}))
        .await;
    world.phase("batman", "Running").await;
    let hpa = world.get(&HPA, "app-kanary-batman").await;
    assert_eq!(hpa["spec"]["metrics"], metrics);
    assert_eq!(hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 7);
}

#[tokio::test]
async fn metrics_in_the_form_of_autoscaling_v2beta1_mean_the_same() {
    let world = World::new("scale").await;
    world.target("app", 1).await;
    let metrics = json!([{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 60}}]);
    let hpa = json!({"maxReplicas": 4, "metrics": metrics});
    world
        .kanary("batman", "app", json!({"scale": {"hpa": hpa}, "validation": held()}))
        .await;
    world.phase("batman", "Running").await;
    let hpa = world.get(&HPA, "app-kanary-batman").await;
    assert_eq!(
        hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        60
    );
}

#[tokio::test]
async fn an_hpa_that_somebody_made_scale_production_is_replaced() {
    let world = World::new("scale").await;
    world.target("app", 1).await;
    let spec = json!({"scale": {"hpa": {"maxReplicas": 5}}, "validation": held()});
    let kanary = world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    let reference = |name: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
    let astray = json!({"spec": {"scaleTargetRef": reference("app")}});
    let edited = world.patch(&HPA, "app-kanary-batman", astray).await;
    let replaced = world
        .until(&HPA, "app-kanary-batman", "scales the canary again", |hpa| {
            hpa["spec"]["scaleTargetRef"] == reference("app-kanary-batman")
        })
        .await;
    assert_ne!(replaced["metadata"]["uid"], edited["metadata"]["uid"]);
    assert_eq!(
        replaced["metadata"]["ownerReferences"][0]["uid"],
        kanary["metadata"]["uid"]
    );
    assert_eq!(phase(&world.get(&KANARY, "batman").await), "Running");
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
    world.gone(&HPA, "app-kanary-batman").await;
}

#[tokio::test]
async fn the_replicas_that_an_hpa_sets_are_left_alone() {
    let world = World::new("scale").await;
    world.target("app", 1).await;
    let spec = json!({"scale": {"hpa": {"maxReplicas": 5}}, "validation": held()});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    let canaries = world.record(DEPLOYMENT).await;
    let scaled = world
        .patch(&DEPLOYMENT, "app-kanary-batman", json!({"spec": {"replicas": 3}}))
        .await;
    world
        .until(&DEPLOYMENT, "app-kanary-batman", "has three pods", |canary| {
            canary["status"]["availableReplicas"] == 3
        })
        .await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(is_true(&ended, "DeploymentUpdated"));
    canaries
        .first("the canary is deleted", |seen| {
            seen.deleted && seen.object["metadata"]["name"] == "app-kanary-batman"
        })
        .await;
    let mut states = canaries.of("app-kanary-batman");
    states.retain(|state| state.version >= version(&scaled));
    assert!(!states.is_empty());
    for state in states {
        assert_eq!(state.object["spec"]["replicas"], 3);
    }
}
