//! What others do to the target, its pods and the Kanary in mid-run.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{assert_restored, edit, held_run, in_place, kanary_until, pods_run, running};
use crate::support::{
    KANARY_STATEFULSET, POD, STATEFUL_SET, World, again, held, merge, message, phase, reason, stateful_set, template,
};

#[tokio::test]
async fn a_kanary_whose_finalizer_somebody_removed_gives_the_template_back_all_the_same() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 2).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"validation": held()})))
        .await;
    let finalizers = running(&world).await["metadata"]["finalizers"].clone();
    assert!(finalizers.is_array(), "{finalizers}");
    // As `kubectl replace` does.
    let free = json!({"metadata": {"finalizers": null}});
    world.patch(&KANARY_STATEFULSET, "batman", free).await;
    kanary_until(&world, "is held again", |kanary| {
        kanary["metadata"]["finalizers"] == finalizers
    })
    .await;
    world.delete(&KANARY_STATEFULSET, "batman").await;
    world.gone(&KANARY_STATEFULSET, "batman").await;
    assert_restored(&world, 2).await;
}

/// Sets the image of the target's container, as `kubectl set image` does.
async fn set_image(world: &World, image: &str) {
    let name = &world.get(&STATEFUL_SET, "db").await["spec"]["template"]["spec"]["containers"][0]["name"];
    let containers = json!([{"name": name, "image": image}]);
    let theirs = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.patch(&STATEFUL_SET, "db", theirs).await;
}

#[tokio::test]
async fn a_template_of_somebody_else_goes_with_that_of_the_run_and_stays_in_the_history() {
    for theirs in ["db:v3", "db:v2@sha256:1"] {
        let world = held_run(3).await;
        set_image(&world, theirs).await;
        let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
        assert_eq!(reason(&ended, "Failed"), "TargetChanged");
        let told = message(&ended, "Failed");
        assert!(told.contains("kubectl rollout history statefulset/db"), "{told}");
        assert_restored(&world, 3).await;
        assert_eq!(world.revisions("db").await.len(), 3);
        // As a GitOps tool does, or its user.
        set_image(&world, theirs).await;
        let theirs = theirs.trim_start_matches("db:");
        pods_run(&world, &[theirs; 3]).await;
    }
}

#[tokio::test]
async fn a_partition_above_the_pods_of_the_run_leaves_none_of_them() {
    let world = held_run(3).await;
    let strategy = json!({"rollingUpdate": {"partition": 3}});
    world
        .patch(&STATEFUL_SET, "db", json!({"spec": {"updateStrategy": strategy}}))
        .await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    assert_restored(&world, 3).await;
}

#[tokio::test]
async fn a_canary_beside_the_target_starts_after_the_run_in_place() {
    let world = held_run(3).await;
    let mut robin = in_place(1, json!({"scale": null, "verdict": "valid"}));
    robin["metadata"]["name"] = json!("robin");
    robin["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:v3");
    world.create(&KANARY_STATEFULSET, &robin).await;
    let waits = |kanary: &Value| reason(kanary, "Errored") == "TargetRollingOut";
    world.until(&KANARY_STATEFULSET, "robin", "waits", waits).await;
    assert_eq!(world.list(&STATEFUL_SET, "").await.len(), 1, "there is no canary yet");
    edit(&world, json!({"verdict": "invalid"})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    world.ends_as(&KANARY_STATEFULSET, "robin", "DeploymentUpdated").await;
    pods_run(&world, &["v3", "v3", "v3"]).await;
}

#[tokio::test]
async fn a_restart_in_mid_run_restarts_the_pods_with_the_former_template() {
    let world = held_run(3).await;
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
    let restart = json!({"spec": {"template": {"metadata": {"annotations": restarted}}}});
    world.patch(&STATEFUL_SET, "db", restart).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    for ordinal in 0..3 {
        let is_restarted =
            |pod: &Value| pod["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string();
        world
            .until(&POD, &format!("db-{ordinal}"), "is restarted", is_restarted)
            .await;
    }
    assert_restored(&world, 3).await;
}

#[tokio::test]
async fn a_label_on_a_pod_fails_the_run_soon() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 2).await;
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"bad": "true"}}});
    let validation = json!({"validation": {"validationPeriod": "1h", "items": [watch]}});
    world.create(&KANARY_STATEFULSET, &in_place(1, validation)).await;
    running(&world).await;
    world
        .patch(&POD, "db-1", json!({"metadata": {"labels": {"bad": "true"}}}))
        .await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "LabelMatched");
    assert_restored(&world, 2).await;
}

#[tokio::test]
async fn two_bad_runs_at_once_leave_the_target_as_it_was() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 3).await;
    let items = json!([{"manual": {"statusAfterDeadline": "invalid"}}]);
    let judged = json!({"validation": {"validationPeriod": "2s", "items": items}});
    let robin = {
        let mut robin = in_place(1, judged.clone());
        robin["metadata"]["name"] = json!("robin");
        robin["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:v3");
        robin
    };
    let batman = in_place(1, judged);
    tokio::join!(
        world.create(&KANARY_STATEFULSET, &batman),
        world.create(&KANARY_STATEFULSET, &robin)
    );
    for kanary in ["batman", "robin"] {
        world.ends_as(&KANARY_STATEFULSET, kanary, "Failed").await;
    }
    assert_restored(&world, 3).await;
}

#[tokio::test]
async fn a_pod_whose_image_a_user_sets_is_never_promoted() {
    let world = held_run(2).await;
    pods_run(&world, &["v1", "v2"]).await;
    let mut containers = world.get(&POD, "db-1").await["spec"]["containers"].clone();
    containers[0]["image"] = json!("db:evil");
    world
        .patch(&POD, "db-1", json!({"spec": {"containers": containers}}))
        .await;
    edit(&world, json!({"verdict": "valid"})).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "CanaryChanged");
    assert_restored(&world, 2).await;
}

#[tokio::test]
async fn a_target_that_is_scaled_to_zero_and_up_again_gets_its_template_back() {
    let world = held_run(2).await;
    world.patch(&STATEFUL_SET, "db", json!({"spec": {"replicas": 0}})).await;
    let forgets = |target: &Value| {
        let status = &target["status"];
        status["replicas"] == 0 && status["currentRevision"] == status["updateRevision"]
    };
    let what = "calls the template of the run the current one";
    world.until(&STATEFUL_SET, "db", what, forgets).await;
    world.patch(&STATEFUL_SET, "db", json!({"spec": {"replicas": 2}})).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    assert_restored(&world, 2).await;
}

#[tokio::test]
async fn whoever_applies_the_target_may_set_the_partition_after_a_run() {
    let world = World::of_stateful_sets("in-place").await;
    let api = world.api(&STATEFUL_SET);
    let apply = async |manifest: &Value| {
        let params = PatchParams::apply("git");
        let applied = again(async || api.patch("db", &params, &Patch::Apply(manifest)).await).await;
        applied.expect("no other manager owns these fields")
    };
    let partitioned = |partition: i32| {
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        let mut manifest = stateful_set("db", 2);
        merge(&mut manifest, json!({"spec": {"updateStrategy": rolling}}));
        manifest
    };
    apply(&partitioned(0)).await;
    pods_run(&world, &["v1", "v1"]).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"verdict": "valid"})))
        .await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    let is_nobodys = |target: &Value| {
        let owners = target["metadata"]["managedFields"].as_array().unwrap();
        let partition = "/fieldsV1/f:spec/f:updateStrategy/f:rollingUpdate/f:partition";
        let mut ours = owners.iter().filter(|owner| owner["manager"] == "kanary");
        ours.all(|owner| owner.pointer(partition).is_none())
    };
    let what = "is handed over";
    world.until(&STATEFUL_SET, "db", what, is_nobodys).await;
    let mut next = partitioned(1);
    next["spec"]["template"] = template("db", "v2");
    apply(&next).await;
}

#[tokio::test]
async fn a_canary_beside_the_target_is_promoted_after_the_run_in_place() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 3).await;
    let mut robin = in_place(1, json!({"scale": null, "validation": held()}));
    robin["metadata"]["name"] = json!("robin");
    robin["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:v3");
    robin["spec"]["rollout"] = json!({"onTargetChange": "promote"});
    world.create(&KANARY_STATEFULSET, &robin).await;
    let is_running = |kanary: &Value| phase(kanary) == "Running";
    world
        .until(&KANARY_STATEFULSET, "robin", "is Running", is_running)
        .await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"validation": held()})))
        .await;
    running(&world).await;
    let valid = json!({"spec": {"verdict": "valid"}});
    world.patch(&KANARY_STATEFULSET, "robin", valid).await;
    let waits = |kanary: &Value| reason(kanary, "Errored") == "TargetRollingOut";
    world.until(&KANARY_STATEFULSET, "robin", "waits", waits).await;
    pods_run(&world, &["v1", "v1", "v2"]).await;
    edit(&world, json!({"verdict": "invalid"})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    world.ends_as(&KANARY_STATEFULSET, "robin", "DeploymentUpdated").await;
    pods_run(&world, &["v3", "v3", "v3"]).await;
}
