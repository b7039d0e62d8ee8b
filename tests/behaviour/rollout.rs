//! Guarantees for the target: several Kanaries on one target, a target that changes, and rollbacks.

use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Faults, KANARY, Strike, World, held, is_true, message, phase, reason, slow_deployment, waited,
};

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

fn version(name: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}})
}

#[tokio::test]
async fn of_several_kanaries_on_one_target_the_first_to_promote_wins() {
    let world = World::new("rollout").await;
    world.target("app", 1).await;
    for name in ["thor", "hulk", "loki"] {
        let spec = json!({"validation": held(), "template": version(&format!("app:{name}"))});
        world.kanary(name, "app", spec).await;
    }
    for name in ["thor", "hulk", "loki"] {
        world.phase(name, "Running").await;
    }
    world.edit("hulk", json!({"verdict": "valid"})).await;
    world.ends("hulk", "DeploymentUpdated").await;
    for name in ["thor", "loki"] {
        let ended = world.ends(name, "Failed").await;
        assert_eq!(reason(&ended, "Failed"), "TargetChanged");
        world.gone(&DEPLOYMENT, &format!("app-kanary-{name}")).await;
    }
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(
        (image(&target), &target["metadata"]["generation"]),
        (&json!("app:hulk"), &json!(2))
    );
}

#[tokio::test]
async fn of_kanaries_that_pass_together_one_promotes() {
    let world = World::new("rollout").await;
    world.target("app", 1).await;
    let names = ["one", "two", "three", "four"];
    for name in names {
        let spec = json!({"validation": held(), "template": version(&format!("app:{name}"))});
        world.kanary(name, "app", spec).await;
    }
    for name in names {
        world.phase(name, "Running").await;
    }
    futures::future::join_all(names.map(|name| world.edit(name, json!({"verdict": "valid"})))).await;
    let mut promoted = Vec::new();
    for name in names {
        let ended = world
            .until(&KANARY, name, "has ended", |kanary| {
                !kanary["status"]["completedAt"].is_null()
            })
            .await;
        match phase(&ended) {
            "DeploymentUpdated" => promoted.push(name),
            other => assert_eq!((other, reason(&ended, "Failed")), ("Failed", "TargetChanged")),
        }
    }
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(promoted.len(), 1, "{promoted:?}");
    assert_eq!(image(&target), &format!("app:{}", promoted[0]));
    assert_eq!(target["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_target_that_a_user_changes_fails_the_run() {
    let world = World::new("rollout").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    world.set_image("app", "app:hotfix").await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    assert!(message(&ended, "Failed").contains("Deployment app"), "{ended:#}");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:hotfix");
}

#[tokio::test]
async fn a_target_that_is_scaled_or_labelled_has_not_changed() {
    let world = World::new("rollout").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    world
        .patch(
            &DEPLOYMENT,
            "app",
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 2}}),
        )
        .await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(
        (image(&target), &target["spec"]["replicas"]),
        (&json!("app:v2"), &json!(2))
    );
}

#[tokio::test]
async fn on_target_change_promote_goes_on_and_overwrites() {
    let world = World::new("rollout").await;
    world.target("app", 1).await;
    let spec = json!({"validation": held(), "rollout": {"onTargetChange": "promote"}});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.set_image("app", "app:hotfix").await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v2");
}

/// A target whose new pods do not count as available for the next ten minutes after its promotion, although the canary
/// became available at once.
async fn promoted_and_not_available(rollback: bool) -> World {
    let world = World::new("rollout").await;
    world.create(&DEPLOYMENT, &slow_deployment("app")).await;
    let spec = json!({"verdict": "valid", "rollout": {"rollbackOnFailure": rollback}});
    world.kanary("batman", "app", spec).await;
    world
        .until(&DEPLOYMENT, "app", "rolls out, so its history has v1 and v2", |app| {
            app["metadata"]["generation"] == 2 && app["status"]["observedGeneration"] == 2
        })
        .await;
    world
        .edit("batman", json!({"rollout": {"progressDeadline": "1s"}}))
        .await;
    world
}

#[tokio::test]
async fn rollback_on_failure_puts_the_former_template_back() {
    let world = promoted_and_not_available(true).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetNotAvailable");
    let target = world
        .until(&DEPLOYMENT, "app", "runs v1 again", |app| {
            app["metadata"]["generation"] == 3 && image(app) == "app:v1"
        })
        .await;
    assert_eq!(
        target["spec"]["template"]["metadata"]["labels"],
        json!({"app": "app"}),
        "exactly the former template"
    );
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn without_a_rollback_a_target_that_does_not_come_up_is_reported_as_stalled() {
    let world = promoted_and_not_available(false).await;
    let stalled = world
        .until(
            &KANARY,
            "batman",
            "the status says that the target is not available",
            |kanary| reason(kanary, "Stalled") == "TargetNotAvailable",
        )
        .await;
    assert_eq!(phase(&stalled), "Succeeded");
    assert!(is_true(&stalled, "Stalled"));
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v2");
}

/// A run whose controller dies before (or after) it sends the promotion that it has decided. Then the target changes.
async fn changed_at_the_promotion(strike: Strike) -> World {
    let world = World::unserved("rollout").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"verdict": "valid"})).await;
    let faults = Faults::at_patch("/deployments/app", 1, strike);
    world.start_faulty_controller(&faults);
    waited("the promotion is sent", String::new, faults.struck()).await;
    world.kill_controller();
    assert_eq!(phase(&world.get(&KANARY, "batman").await), "Succeeded");
    world.set_image("app", "app:hotfix").await;
    world.start_controller();
    world
}

#[tokio::test]
async fn a_target_that_changes_between_the_verdict_and_the_promotion_is_left_alone() {
    let world = changed_at_the_promotion(Strike::Before).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:hotfix");
}

#[tokio::test]
async fn a_target_that_changes_after_the_promotion_is_not_promoted_again() {
    let world = changed_at_the_promotion(Strike::After).await;
    world
        .until(&KANARY, "batman", "has ended", |kanary| {
            !kanary["status"]["completedAt"].is_null()
        })
        .await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(
        (image(&target), &target["metadata"]["generation"]),
        (&json!("app:hotfix"), &json!(3))
    );
}

/// Characters that the API server escapes in JSON of its own, and clients do not.
const ESCAPED: &str = "a && b <c> \u{2028}";

#[tokio::test]
async fn a_template_with_characters_that_the_api_server_escapes_is_promoted_and_rolled_back() {
    let world = World::new("rollout").await;
    let mut target = slow_deployment("app");
    target["spec"]["template"]["spec"]["containers"][0]["args"] = json!([ESCAPED]);
    world.create(&DEPLOYMENT, &target).await;
    let mut spec = json!({"verdict": "valid", "rollout": {"rollbackOnFailure": true}});
    spec["template"] = version("app:v2");
    spec["template"]["spec"]["template"]["spec"]["containers"][0]["args"] = json!([ESCAPED]);
    world.kanary("batman", "app", spec).await;
    world
        .until(&DEPLOYMENT, "app", "was promoted", |app| image(app) == "app:v2")
        .await;
    world
        .edit("batman", json!({"rollout": {"progressDeadline": "1s"}}))
        .await;
    world.ends("batman", "Failed").await;
    let restored = world
        .until(&DEPLOYMENT, "app", "was rolled back", |app| image(app) == "app:v1")
        .await;
    assert_eq!(
        restored["spec"]["template"]["spec"]["containers"][0]["args"],
        json!([ESCAPED])
    );
}
