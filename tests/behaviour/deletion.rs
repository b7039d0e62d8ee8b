//! Deleting a Kanary at any time leaves its target unchanged and removes everything else.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, HPA, KANARY, POD, SERVICE, World, held, phase, slow_deployment};

const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

fn spec(more: Value) -> Value {
    let mut spec = json!({
        "serviceName": "app", "traffic": {"source": "both"}, "scale": {"hpa": {"maxReplicas": 2}},
        "validation": held(),
    });
    crate::support::merge(&mut spec, more);
    spec
}

async fn world(more: Value) -> World {
    let world = World::new("deletion").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    world.kanary("batman", "app", spec(more)).await;
    world
}

/// Deletes the Kanary, waits until nothing is left of it, and checks that the target is unchanged.
async fn delete(world: &World) {
    let before = world.get(&DEPLOYMENT, "app").await;
    world.delete(&KANARY, "batman").await;
    world.gone(&KANARY, "batman").await;
    for kind in [DEPLOYMENT, SERVICE, HPA, POD] {
        world.none_left(&kind, OF_BATMAN).await;
    }
    // A complete run of another Kanary gives the controller enough time for a forbidden action.
    let dry_run = json!({"rollout": {"mode": "dry-run"}, "validation": {"validationPeriod": "1s"}});
    world.kanary("clock", "app", dry_run).await;
    world.ends("clock", "Succeeded").await;
    let after = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(world.list(&POD, OF_BATMAN).await, Vec::<Value>::new());
    assert_eq!(world.list(&DEPLOYMENT, OF_BATMAN).await, Vec::<Value>::new());
}

#[tokio::test]
async fn before_its_schedule() {
    let world = world(json!({"schedule": "2999-01-01T00:00:00Z", "scale": null})).await;
    world
        .until(&KANARY, "batman", "waits", |kanary| {
            !kanary["status"]["conditions"].is_null()
        })
        .await;
    delete(&world).await;
}

#[tokio::test]
async fn while_the_canary_comes_up() {
    let template = json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": "never-ready"}}}}});
    let world = world(json!({"template": template})).await;
    world.until(&DEPLOYMENT, "app-kanary-batman", "exists", |_| true).await;
    delete(&world).await;
}

#[tokio::test]
async fn while_it_runs() {
    let world = world(json!({})).await;
    world.phase("batman", "Running").await;
    delete(&world).await;
}

#[tokio::test]
async fn while_it_runs_and_no_controller_does() {
    let world = world(json!({})).await;
    world.phase("batman", "Running").await;
    world.kill_controller();
    world.delete(&KANARY, "batman").await;
    world.gone(&KANARY, "batman").await;
    for kind in [DEPLOYMENT, SERVICE, HPA, POD] {
        world.none_left(&kind, OF_BATMAN).await;
    }
}

#[tokio::test]
async fn after_it_failed_and_its_canary_was_retained() {
    let world = world(json!({"verdict": "invalid", "rollout": {"onFailure": "retain"}})).await;
    world.ends("batman", "Failed").await;
    delete(&world).await;
}

#[tokio::test]
async fn while_the_target_rolls_out() {
    let world = World::new("deletion").await;
    world.create(&DEPLOYMENT, &slow_deployment("app")).await;
    world.service("app", "app").await;
    world.kanary("batman", "app", spec(json!({"verdict": "valid"}))).await;
    world
        .until(&DEPLOYMENT, "app", "is updated", |app| {
            app["metadata"]["generation"] == 2
        })
        .await;
    assert_eq!(phase(&world.get(&KANARY, "batman").await), "Succeeded");
    delete(&world).await;
}

#[tokio::test]
async fn after_it_was_promoted() {
    let world = world(json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
    delete(&world).await;
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 2);
}

#[tokio::test]
async fn with_a_target_that_it_created() {
    let world = World::new("deletion").await;
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    delete(&world).await;
}
