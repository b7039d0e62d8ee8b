//! Guarantees for a target that other clients replace, create, apply, pause and repair while Kanary promotes it.

use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Faults, KANARY, Strike, World, again, deployment, held, is_true, merge, message, phase, poll, reason,
    slow_deployment, template, waited,
};

const PROMOTED_BY: &str = "kanary.k8s-operators.dev/promoted-by";

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

/// A promoted target whose new pods do not count as available for the next ten minutes.
async fn rolling_out(more: Value) -> World {
    let world = World::new("target").await;
    world.create(&DEPLOYMENT, &slow_deployment("app")).await;
    let mut spec = json!({"verdict": "valid"});
    merge(&mut spec, more);
    world.kanary("batman", "app", spec).await;
    promoted(&world).await;
    world
}

async fn promoted(world: &World) {
    let what = "was promoted and observed by the Deployment controller";
    let known = |app: &Value| app["metadata"]["generation"] == 2 && app["status"]["observedGeneration"] == 2;
    world.until(&DEPLOYMENT, "app", what, known).await;
}

#[tokio::test]
async fn a_target_that_is_created_again_with_the_promoted_template_is_updated() {
    let world = rolling_out(json!({})).await;
    world.delete(&DEPLOYMENT, "app").await;
    world.gone(&DEPLOYMENT, "app").await;
    let mut again = deployment("app", 1);
    again["spec"]["template"] = template("app", "v2");
    world.create(&DEPLOYMENT, &again).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["failedTemplates"], Value::Null);
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

/// The generation, which counts changes of the target's spec and annotations.
async fn generation(world: &World) -> i64 {
    let app = world.get(&DEPLOYMENT, "app").await;
    app["metadata"]["generation"].as_i64().expect("there is a generation")
}

/// A promotion from `version` to `v2` whose controller died before it received the reply.
async fn promoted_without_a_reply(version: &str) -> World {
    let world = World::unserved("target").await;
    let mut target = deployment("app", 1);
    target["spec"]["template"] = template("app", version);
    world.create(&DEPLOYMENT, &target).await;
    world.kanary("batman", "app", json!({"verdict": "valid"})).await;
    let faults = Faults::at_patch("/deployments/app", 1, Strike::After);
    world.start_faulty_controller(&faults);
    waited("the promotion is sent", String::new, faults.struck()).await;
    world.kill_controller();
    world
}

#[tokio::test]
async fn a_promotion_of_the_template_that_the_target_had_is_known_without_its_reply() {
    let world = promoted_without_a_reply("v2").await;
    let promoted = generation(&world).await;
    world.start_controller();
    world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(generation(&world).await, promoted, "the target was promoted once");
}

#[tokio::test]
async fn a_promoted_target_that_lost_its_annotation_is_updated() {
    let world = promoted_without_a_reply("v1").await;
    let without = json!({"metadata": {"annotations": {PROMOTED_BY: null}}});
    world.patch(&DEPLOYMENT, "app", without).await;
    let promoted = generation(&world).await;
    world.start_controller();
    world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(generation(&world).await, promoted, "the target was promoted once");
}

#[tokio::test]
async fn a_template_that_ended_because_its_target_changed_runs_again_after_another_one() {
    let world = World::new("target").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    world.set_image("app", "app:hotfix").await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    for (version, run) in [("v3", 2), ("v2", 3)] {
        let edit = json!({"template": {"spec": {"template": template("app", version)}}});
        world.edit("batman", edit).await;
        let what = format!("runs {version}");
        let runs = |kanary: &Value| phase(kanary) == "Running" && kanary["status"]["run"] == run;
        world.until(&KANARY, "batman", &what, runs).await;
    }
}

/// Waits until the controller reports that the target is missing.
async fn looked_for(world: &World, target: &str) {
    poll("the controller reports the missing target", async || {
        let requests = world.requests().await;
        let looked = requests
            .iter()
            .any(|request| request.verb == "get" && request.resource == "deployments" && request.name == target);
        if looked { Ok(()) } else { Err(format!("{requests:#?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_applied_after_its_kanary_is_not_created_from_the_unproven_template() {
    let world = World::new("target").await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    looked_for(&world, "app").await;
    world.target("app", 1).await;
    world.phase("batman", "Running").await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(
        (image(&target), &target["metadata"]["generation"]),
        (&json!("app:v1"), &json!(1))
    );
    world.get(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn a_target_that_got_another_template_after_it_was_created_is_the_target_of_a_new_run() {
    let world = World::new("target").await;
    let never = json!({"metadata": {"labels": {"kanary.test/behaviour": "never-ready"}}});
    let spec = json!({
        "template": {"spec": {"template": never}}, "rollout": {"createTargetAfter": "0s"}, "validation": held(),
    });
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template("app", "v1")}]);
    let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch).unwrap());
    let api = world.api(&DEPLOYMENT);
    let patched = again(async || api.patch("app", &PatchParams::default(), &patch).await).await;
    patched.expect("the manifest is accepted");
    world
        .until(&KANARY, "batman", "starts a new run", |kanary| {
            kanary["status"]["run"] == 2
        })
        .await;
    let canary = world.until(&DEPLOYMENT, "app-kanary-batman", "exists", |_| true).await;
    assert_eq!(image(&canary), "app:v2");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v1");
}

#[tokio::test]
async fn a_target_that_is_missing_is_left_to_others_if_the_user_asks_for_it() {
    let world = World::new("target").await;
    let spec = json!({"rollout": {"onTargetMissing": "wait", "createTargetAfter": "0s"}, "validation": held()});
    world.kanary("batman", "app", spec).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "TargetNotFound");
    assert!(
        message(&errored, "Errored").contains("Deployment app does not exist"),
        "{errored:#}"
    );
    assert_eq!(world.find(&DEPLOYMENT, "app").await, None);
    world.target("app", 1).await;
    world.phase("batman", "Running").await;
}

/// Equivalent of a GitOps tool with server-side apply.
async fn apply(world: &World, manifest: &Value) -> DynamicObject {
    let api = world.api(&DEPLOYMENT);
    let applied = again(async || {
        api.patch("app", &PatchParams::apply("git"), &Patch::Apply(manifest))
            .await
    })
    .await;
    applied.expect("no other manager owns these fields")
}

#[tokio::test]
async fn what_goes_from_an_applied_manifest_after_a_promotion_goes_from_the_target() {
    let world = World::new("target").await;
    let mut manifest = deployment("app", 1);
    let container = &mut manifest["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([{"name": "LEVEL", "value": "info"}]);
    apply(&world, &manifest).await;
    let mut next = template("app", "v2");
    next["spec"]["containers"][0]["env"] =
        json!([{"name": "LEVEL", "value": "debug"}, {"name": "TRACE", "value": "yes"}]);
    let spec = json!({"template": {"spec": {"template": next.clone()}}, "verdict": "valid"});
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;
    manifest["spec"]["template"] = next;
    apply(&world, &manifest).await;
    manifest["spec"]["template"] = template("app", "v2");
    let target = apply(&world, &manifest).await;
    let container = &target.data["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["env"]),
        (&json!("app:v2"), &Value::Null)
    );
}

#[tokio::test]
async fn an_applied_manifest_from_before_a_promotion_takes_it_back_as_a_whole() {
    let world = World::new("target").await;
    let manifest = deployment("app", 1);
    apply(&world, &manifest).await;
    let mut next = template("app", "v2");
    next["spec"]["containers"][0]["env"] = json!([{"name": "TRACE", "value": "yes"}]);
    let spec = json!({"template": {"spec": {"template": next}}, "verdict": "valid"});
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;
    let target = apply(&world, &manifest).await;
    let container = &target.data["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["env"]),
        (&json!("app:v1"), &Value::Null)
    );
}

#[tokio::test]
async fn a_hotfix_after_a_rollback_that_was_cut_off_is_left_alone() {
    let world = World::unserved("target").await;
    world.create(&DEPLOYMENT, &slow_deployment("app")).await;
    let spec = json!({"verdict": "valid", "rollout": {"rollbackOnFailure": true}});
    world.kanary("batman", "app", spec).await;
    let faults = Faults::at_patch("/deployments/app", 2, Strike::Before);
    world.start_faulty_controller(&faults);
    promoted(&world).await;
    world
        .edit("batman", json!({"rollout": {"progressDeadline": "1s"}}))
        .await;
    waited("the rollback is about to be sent", String::new, faults.struck()).await;
    world.kill_controller();
    world.set_image("app", "app:hotfix").await;
    world.start_controller();
    let over = world
        .until(
            &KANARY,
            "batman",
            "the status says that the rollback is complete",
            |kanary| reason(kanary, "RolledBack") == "TargetChanged",
        )
        .await;
    assert!(!is_true(&over, "RolledBack"));
    assert_eq!(reason(&over, "Failed"), "TargetNotAvailable");
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(
        (image(&target), &target["metadata"]["generation"]),
        (&json!("app:hotfix"), &json!(3))
    );
}

#[tokio::test]
async fn a_rollback_that_is_complete_is_reported() {
    let world = rolling_out(json!({"rollout": {"rollbackOnFailure": true}})).await;
    world
        .edit("batman", json!({"rollout": {"progressDeadline": "1s"}}))
        .await;
    world
        .until(
            &KANARY,
            "batman",
            "the status says that the target was rolled back",
            |kanary| is_true(kanary, "RolledBack"),
        )
        .await;
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v1");
}

#[tokio::test]
async fn a_canary_gives_way_to_the_rollout_of_its_target() {
    let world = rolling_out(json!({})).await;
    world
        .edit("batman", json!({"rollout": {"progressDeadline": "8s"}}))
        .await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let stuck = world.get(&KANARY, "batman").await;
    assert_eq!(stuck["status"]["completedAt"], Value::Null, "{stuck:#}");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v2");
}

#[tokio::test]
async fn a_canary_that_is_called_invalid_while_its_target_rolls_out_goes_and_the_target_is_rolled_back_if_asked() {
    let world = rolling_out(json!({})).await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let told = world
        .until(
            &KANARY,
            "batman",
            "the status says that the verdict came too late",
            |kanary| reason(kanary, "Activated") == "VerdictTooLate",
        )
        .await;
    let said = message(&told, "Reconciling");
    assert!(said.contains("kubectl rollout undo deployment/app"), "{said}");
    assert_eq!(phase(&told), "Succeeded");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v2");

    world
        .edit("batman", json!({"rollout": {"rollbackOnFailure": true}}))
        .await;
    let over = world
        .until(
            &KANARY,
            "batman",
            "the status says that the target was rolled back",
            |kanary| is_true(kanary, "RolledBack"),
        )
        .await;
    assert_eq!(reason(&over, "Failed"), "VerdictInvalid");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v1");
}

#[tokio::test]
async fn a_paused_target_is_reported_and_counts_as_updated_once_it_is_resumed() {
    let world = World::new("target").await;
    let mut target = deployment("app", 1);
    target["spec"]["paused"] = json!(true);
    world.create(&DEPLOYMENT, &target).await;
    let spec = json!({"verdict": "valid", "rollout": {"rollbackOnFailure": true}});
    world.kanary("batman", "app", spec).await;
    world
        .until(
            &KANARY,
            "batman",
            "the status says that the target is paused",
            |kanary| reason(kanary, "Stalled") == "TargetPaused",
        )
        .await;
    world
        .patch(&DEPLOYMENT, "app", json!({"spec": {"paused": false}}))
        .await;
    world.ends("batman", "DeploymentUpdated").await;
}
