//! The lifecycle: from creation to the update of the target, or to the end of the canary.

use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, KANARY, POD, REPLICA_SET, SERVICE, World, held, is_true, kanary, labels, phase, pods_are_known, reason,
};

/// A template whose pods have the behaviour `how`, at version `v2`.
fn behaving(how: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": how}}}}})
}

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

#[tokio::test]
async fn a_run_goes_from_scheduled_over_running_and_succeeded_to_deployment_updated() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    let states = world.record(KANARY).await;
    let created = world.kanary("batman", "app", json!({})).await;
    assert_eq!(phase(&created), "Scheduled", "immediately after the creation");
    states.reached(&world.ends("batman", "DeploymentUpdated").await).await;
    let mut phases: Vec<_> = states
        .of("batman")
        .iter()
        .map(|seen| phase(&seen.object).to_owned())
        .collect();
    phases.dedup();
    assert_eq!(phases, ["Scheduled", "Running", "Succeeded", "DeploymentUpdated"]);
}

#[tokio::test]
async fn a_kanary_statefulset_is_the_same_by_another_name() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    let mut manifest = kanary("batman", "app", json!({}));
    manifest["kind"] = json!("KanaryStatefulset");
    let kind = crate::support::KANARY_STATEFULSET;
    world.create(&kind, &manifest).await;
    world.ends_as(&kind, "batman", "DeploymentUpdated").await;
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v2");
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn a_dry_run_stops_at_succeeded_and_leaves_the_target_alone() {
    let world = World::new("lifecycle").await;
    let target = world.target("app", 1).await;
    let no_update = json!({"validation": {"noUpdate": true}});
    world.kanary("batman", "app", no_update).await;
    world
        .kanary("superman", "app", json!({"rollout": {"mode": "dry-run"}}))
        .await;
    for name in ["batman", "superman"] {
        let ended = world.ends(name, "Succeeded").await;
        assert_eq!(reason(&ended, "Succeeded"), "DryRun");
        assert!(!is_true(&ended, "DeploymentUpdated"));
        world.gone(&DEPLOYMENT, &format!("app-kanary-{name}")).await;
    }
    let after = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(after["spec"], target["spec"]);
    assert_eq!(after["metadata"]["generation"], 1);
    assert!(
        world
            .requests()
            .await
            .iter()
            .all(|request| request.verb != "patch" || request.name != "app")
    );
}

#[tokio::test]
async fn a_missing_target_is_created_from_the_template_and_only_checked_for_availability() {
    let world = World::new("lifecycle").await;
    let deployments = world.record(DEPLOYMENT).await;
    let mut spec = json!({"validation": held(), "rollout": {"createTargetAfter": "0s"}});
    spec["template"] = json!({"metadata": {"labels": {"team": "gotham"}}, "spec": {"replicas": 2}});
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "TargetCreated");
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(image(&target), "app:v2");
    assert_eq!(target["status"]["availableReplicas"], 2);
    assert_eq!(labels(&target, "/metadata/labels")["team"], "gotham");
    assert_eq!(
        target["metadata"]["ownerReferences"],
        Value::Null,
        "the target outlives the Kanary"
    );
    deployments.reached(&target).await;
    assert!(deployments.of("app-kanary-batman").is_empty(), "there was no canary");
}

#[tokio::test]
async fn a_created_target_that_does_not_become_available_fails_the_run() {
    let world = World::new("lifecycle").await;
    let spec =
        json!({"template": behaving("never-ready"), "rollout": {"progressDeadline": "3s", "createTargetAfter": "0s"}});
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    assert_eq!(
        image(&world.get(&DEPLOYMENT, "app").await),
        "app:v2",
        "the canary is retained for inspection"
    );
}

#[tokio::test]
async fn every_object_of_a_run_is_labelled_and_owned() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let spec = json!({
        "serviceName": "app", "traffic": {"source": "both"}, "scale": {"hpa": {"maxReplicas": 2}},
        "validation": held(),
    });
    let created = world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    for (kind, name) in [
        (DEPLOYMENT, "app-kanary-batman"),
        (SERVICE, "app-kanary-batman"),
        (crate::support::HPA, "app-kanary-batman"),
    ] {
        let object = world.get(&kind, name).await;
        let its = labels(&object, "/metadata/labels");
        assert_eq!(its["kanary.k8s-operators.dev/iskanary"], "true", "{object:#}");
        assert_eq!(its["kanary.k8s-operators.dev/name"], "batman", "{object:#}");
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["kind"], &owner["uid"]),
            (&json!("KanaryDeployment"), &created["metadata"]["uid"])
        );
    }
    let pods = world
        .list(
            &POD,
            "kanary.k8s-operators.dev/iskanary=true,kanary.k8s-operators.dev/name=batman",
        )
        .await;
    assert_eq!(pods.len(), 1);
}

#[tokio::test]
async fn success_changes_the_targets_pod_template_and_nothing_else_of_it() {
    let world = World::new("lifecycle").await;
    let mut target = crate::support::deployment("app", 3);
    target["metadata"]["labels"] = json!({"team": "gotham"});
    target["metadata"]["annotations"] = json!({"note": "mine"});
    target["spec"]["minReadySeconds"] = json!(1);
    let before = world.create(&DEPLOYMENT, &target).await;
    let mut spec = json!({"template": {"metadata": {"labels": {"team": "metropolis"}}, "spec": {"replicas": 9}}});
    spec["template"]["spec"]["minReadySeconds"] = json!(0);
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;
    let after = world.get(&DEPLOYMENT, "app").await;
    let (mut left, mut right) = (before["spec"].clone(), after["spec"].clone());
    assert_eq!(image(&after), "app:v2");
    left["template"].take();
    right["template"].take();
    assert_eq!(left, right);
    assert_eq!(after["metadata"]["labels"], json!({"team": "gotham"}));
    assert_eq!(after["metadata"]["annotations"]["note"], "mine");
    assert_eq!(after["metadata"]["generation"], 2, "one write");
}

#[tokio::test]
async fn the_rollout_history_names_the_kanary_and_undo_works() {
    let Some(world) = World::with_kubectl("lifecycle").await else {
        return;
    };
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let history = world.kubectl(&["rollout", "history", "deployment/app"]).await;
    assert!(
        history.contains("promoted by KanaryDeployment") && history.contains("/batman"),
        "{history}"
    );
    assert_eq!(
        world
            .list(&REPLICA_SET, "app=app,!kanary.k8s-operators.dev/name")
            .await
            .len(),
        2
    );
    world.kubectl(&["rollout", "undo", "deployment/app"]).await;
    world
        .until(&DEPLOYMENT, "app", "runs v1 again", |app| {
            image(app) == "app:v1" && app["status"]["updatedReplicas"] == 1
        })
        .await;
    let kanary = world.get(&KANARY, "batman").await;
    assert_eq!(
        phase(&kanary),
        "DeploymentUpdated",
        "a finished run does not revert the user's change"
    );
}

#[tokio::test]
async fn the_canary_stays_until_the_target_has_rolled_out_and_then_goes() {
    let world = World::new("lifecycle").await;
    world.target("app", 2).await;
    let deployments = world.record(DEPLOYMENT).await;
    let spec = json!({"template": behaving("slow"), "verdict": "valid"});
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;
    let gone = deployments
        .first("the canary is deleted", |seen| {
            seen.deleted && seen.object["metadata"]["name"] == "app-kanary-batman"
        })
        .await;
    let rolled_out = deployments
        .first("the target has rolled out", |seen| {
            let status = &seen.object["status"];
            seen.object["metadata"]["name"] == "app"
                && image(&seen.object) == "app:v2"
                && status["observedGeneration"] == seen.object["metadata"]["generation"]
                && status["updatedReplicas"] == 2
                && status["availableReplicas"] == 2
                && status["replicas"] == 2
        })
        .await;
    assert!(rolled_out.version < gone.version);
}

#[tokio::test]
async fn a_failed_canary_leaves_the_service_first_and_then_goes() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let spec = json!({
        "serviceName": "app", "traffic": {"source": "service"}, "scale": {"static": {"replicas": 2}},
        "validation": held(),
    });
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    pods_are_known(&world).await;
    let (pods, deployments) = (world.record(POD).await, world.record(DEPLOYMENT).await);
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world.ends("batman", "Failed").await;
    let gone = deployments
        .first("the canary is deleted", |seen| {
            seen.deleted && seen.object["metadata"]["name"] == "app-kanary-batman"
        })
        .await;
    pods.first("the recording of pods is up to date", |seen| {
        seen.version > gone.version
    })
    .await;
    let of_canary = |pod: &Value| pod["metadata"]["labels"]["kanary.k8s-operators.dev/name"] == "batman";
    let mut out: Vec<_> = pods.all(|pod| of_canary(pod) && !labels(pod, "/metadata/labels").contains_key("app"));
    out.retain(|seen| seen.version < gone.version);
    out.sort_by_key(|seen| seen.object["metadata"]["name"].to_string());
    out.dedup_by_key(|seen| seen.object["metadata"]["name"].to_string());
    assert_eq!(
        out.len(),
        2,
        "both pods were out of the Service before the canary was deleted"
    );
}

#[tokio::test]
async fn retain_keeps_a_failed_canary_out_of_traffic() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let spec = json!({
        "serviceName": "app", "traffic": {"source": "both"}, "rollout": {"onFailure": "retain"},
        "validation": held(),
    });
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world.ends("batman", "Failed").await;
    world.gone(&SERVICE, "app-kanary-batman").await;
    let selector = "kubernetes.io/service-name=app";
    world
        .until_all(
            &crate::support::ENDPOINT_SLICE,
            selector,
            "only the target is behind the Service",
            |slices| {
                let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array());
                endpoints.flatten().count() == 1
            },
        )
        .await;
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(canary["metadata"]["deletionTimestamp"], Value::Null);
    assert_eq!(canary["spec"]["replicas"], 1);
}

#[tokio::test]
async fn the_verdict_is_in_the_status_before_the_target_is_touched() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    let (kanaries, deployments) = (world.record(KANARY).await, world.record(DEPLOYMENT).await);
    world.kanary("batman", "app", json!({"verdict": "valid"})).await;
    let verdict = kanaries.first("the status says Succeeded", |seen| is_true(&seen.object, "Succeeded"));
    let touched = deployments.first("the target is changed", |seen| {
        seen.object["metadata"]["name"] == "app" && seen.object["metadata"]["generation"] == 2
    });
    assert!(verdict.await.version < touched.await.version);
}

#[tokio::test]
async fn the_target_is_named_by_the_template_or_else_by_the_kanary() {
    let world = World::new("lifecycle").await;
    world.target("app", 1).await;
    let unnamed = json!({"deploymentName": null, "rollout": {"mode": "dry-run"}});
    let mut by_template = unnamed.clone();
    by_template["template"] = json!({"metadata": {"name": "app"}});
    world.create(&KANARY, &kanary("batman", "app", by_template)).await;
    world.create(&KANARY, &kanary("app", "app", unnamed)).await;
    for name in ["batman", "app"] {
        let ended = world.ends(name, "Succeeded").await;
        assert_eq!(ended["status"]["report"]["deployment"], "app");
    }
}
