//! labelWatch items: pod labels that fail a run.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, POD, World, message, reason};

const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

async fn running(watch: Value) -> World {
    let world = World::new("label-watch").await;
    world.target("app", 1).await;
    let validation = json!({"validationPeriod": "1h", "items": [{"labelWatch": watch}]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["report"]["validation"], "labelWatch");
    world
}

/// Sets labels on the first pod that matches `selector`, and returns its name.
async fn label_pod(world: &World, selector: &str, labels: Value) -> String {
    let pods = world
        .until_all(&POD, selector, "a pod exists", |pods| !pods.is_empty())
        .await;
    let name = pods[0]["metadata"]["name"].as_str();
    let name = name.expect("a pod has a name").to_owned();
    world.patch(&POD, &name, json!({"metadata": {"labels": labels}})).await;
    name
}

#[tokio::test]
async fn a_label_on_a_canary_pod_fails_the_run_at_once() {
    let world = running(json!({"podInvalidationLabels": {"monitoring-alert": "high-cpu"}})).await;
    let pod = label_pod(&world, OF_BATMAN, json!({"monitoring-alert": "high-cpu"})).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "LabelMatched");
    assert!(message(&ended, "Failed").contains(&pod), "{ended:#}");
    assert!(message(&ended, "Failed").contains("labelWatch[0]"), "{ended:#}");
    assert_eq!(ended["status"]["items"][0]["state"], "Bad");
}

#[tokio::test]
async fn a_label_on_the_canary_deployment_fails_the_run_at_once() {
    let world = running(json!({"deploymentInvalidationLabels": {"validation": "failed"}})).await;
    let labels = json!({"metadata": {"labels": {"validation": "failed"}}});
    world.patch(&DEPLOYMENT, "app-kanary-batman", labels).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "LabelMatched");
}

#[tokio::test]
async fn labels_can_be_a_selector() {
    let selector = json!({"matchExpressions": [{"key": "alert", "operator": "In", "values": ["high-cpu", "oom"]}]});
    let world = running(json!({"podInvalidationLabels": selector})).await;
    label_pod(&world, OF_BATMAN, json!({"alert": "oom"})).await;
    world.ends("batman", "Failed").await;
}

#[tokio::test]
async fn labels_can_be_a_selector_with_match_labels() {
    let selector = json!({"matchLabels": {"validation": "failed"}});
    let world = running(json!({"deploymentInvalidationLabels": selector})).await;
    let labels = json!({"metadata": {"labels": {"validation": "failed"}}});
    world.patch(&DEPLOYMENT, "app-kanary-batman", labels).await;
    world.ends("batman", "Failed").await;
}

#[tokio::test]
async fn labels_that_do_not_match_promote_at_the_deadline() {
    let world = World::new("label-watch").await;
    world.target("app", 1).await;
    let watch = json!({
        "podInvalidationLabels": {"alert": "high-cpu", "severity": "page"},
        "deploymentInvalidationLabels": {"validation": "failed"},
    });
    let validation =
        |manual: Value| json!({"validationPeriod": "1s", "items": [{"labelWatch": watch}, {"manual": manual}]});
    world
        .kanary("batman", "app", json!({"validation": validation(json!({}))}))
        .await;
    world.phase("batman", "Running").await;
    // A different value, one label of two, and a pod of the target instead of the canary.
    label_pod(&world, OF_BATMAN, json!({"alert": "high-cpu", "severity": "ticket"})).await;
    let on_target = json!({"metadata": {"labels": {"validation": "failed"}}});
    world.patch(&DEPLOYMENT, "app", on_target).await;
    let not_canary = "app=app,!kanary.k8s-operators.dev/name";
    label_pod(&world, not_canary, json!({"alert": "high-cpu", "severity": "page"})).await;
    world
        .edit("batman", json!({"validation": validation(json!({"status": "valid"}))}))
        .await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["items"][0]["state"], "Good");
}

#[tokio::test]
async fn a_label_on_one_canarys_pod_does_not_fail_another() {
    let world = running(json!({"podInvalidationLabels": {"alert": "high-cpu"}})).await;
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}});
    let validation = |manual: Value| {
        let items = json!([watch, {"manual": manual}]);
        json!({"validation": {"validationPeriod": "1h", "items": items, "noUpdate": true}})
    };
    world.kanary("robin", "app", validation(json!({}))).await;
    world.phase("robin", "Running").await;
    label_pod(&world, OF_BATMAN, json!({"alert": "high-cpu"})).await;
    world.ends("batman", "Failed").await;
    // A manual verdict takes effect only if the labelWatch item agrees.
    world.edit("robin", validation(json!({"status": "valid"}))).await;
    world.ends("robin", "Succeeded").await;
}
