//! After a run: the Kanary stays readable, does not run again, and a changed template starts a new run.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, KANARY, World, held, labels, message, phase, reason, since};

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

fn version(name: &str) -> Value {
    json!({"template": {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}})
}

#[tokio::test]
async fn a_failed_template_is_remembered_and_only_retry_runs_it_again() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"verdict": "invalid"})).await;
    let failed = world.ends("batman", "Failed").await;
    let remembered = failed["status"]["failedTemplates"].as_array().expect("it is a list");
    assert_eq!(remembered.len(), 1);
    assert_eq!(remembered[0], failed["status"]["currentHash"]);

    // Another template runs as a dry-run and passes; the failed one is refused without a canary.
    let mut good = version("app:v3");
    good["verdict"] = Value::Null;
    good["rollout"] = json!({"mode": "dry-run"});
    world.edit("batman", good).await;
    world
        .until(&KANARY, "batman", "the changed template passes", |kanary| {
            phase(kanary) == "Succeeded"
        })
        .await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let deployments = world.record(DEPLOYMENT).await;
    world.edit("batman", version("app:v2")).await;
    let refused = world
        .until(&KANARY, "batman", "the failed template is refused", |kanary| {
            reason(kanary, "Failed") == "TemplateFailedBefore"
        })
        .await;
    assert_eq!(phase(&refused), "Failed");
    assert!(
        message(&refused, "Failed").contains("spec.retry"),
        "the message says how to continue"
    );

    world.edit("batman", json!({"retry": 1})).await;
    world
        .until(&KANARY, "batman", "the retry passes", |kanary| {
            phase(kanary) == "Succeeded"
        })
        .await;
    let canary = deployments
        .first("the canary of the retry", |seen| {
            seen.object["metadata"]["name"] == "app-kanary-batman"
        })
        .await;
    assert_eq!(image(&canary.object), "app:v2");
    let run = labels(&canary.object, "/metadata/labels");
    assert!(
        run["kanary.k8s-operators.dev/run"].ends_with("-4"),
        "the refused run had no canary: {run:?}"
    );
}

#[tokio::test]
async fn a_finished_run_is_not_run_again_by_an_edit_that_leaves_the_template() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"verdict": "invalid"})).await;
    let failed = world.ends("batman", "Failed").await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let deployments = world.record(DEPLOYMENT).await;
    world
        .edit(
            "batman",
            json!({"verdict": null, "validation": {"validationPeriod": "3s"}}),
        )
        .await;
    world.kill_controller();
    world.start_controller();
    // A complete run of another Kanary gives the controller enough time for a forbidden action.
    world
        .kanary("clock", "app", json!({"rollout": {"mode": "dry-run"}}))
        .await;
    world.ends("clock", "Succeeded").await;
    let still = world.get(&KANARY, "batman").await;
    assert_eq!(phase(&still), "Failed");
    assert_eq!(still["status"]["completedAt"], failed["status"]["completedAt"]);
    assert_eq!(since(&still, "Failed"), since(&failed, "Failed"));
    deployments
        .first("the other run's canary is gone", |seen| seen.deleted)
        .await;
    assert!(deployments.of("app-kanary-batman").is_empty());
}

#[tokio::test]
async fn a_changed_template_after_a_promotion_starts_a_new_run() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    world.edit("batman", version("app:v3")).await;
    world
        .until(&KANARY, "batman", "the second run has ended", |kanary| {
            kanary["status"]["run"] == 2 && phase(kanary) == "DeploymentUpdated"
        })
        .await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(
        (image(&target), &target["metadata"]["generation"]),
        (&json!("app:v3"), &json!(3))
    );
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn a_template_that_changes_under_a_run_replaces_the_canary() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    let first = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    let mut edit = version("app:v3");
    edit["validation"] = json!({"items": [{"manual": {"status": "valid"}}]});
    world.edit("batman", edit).await;
    world
        .until(&KANARY, "batman", "the second run has ended", |kanary| {
            kanary["status"]["run"] == 2 && phase(kanary) == "DeploymentUpdated"
        })
        .await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(image(&target), "app:v3");
    assert_eq!(target["metadata"]["generation"], 2, "v2 was never promoted");
    assert_eq!(image(&first), "app:v2");
}
