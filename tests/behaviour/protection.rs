//! Edits while a canary runs: only a template that was validated as the spec requires is promoted, and no edit shields a
//! bad canary.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, KANARY, POD, World, held, is_true, message, phase, reason};

const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

fn version(name: &str) -> Value {
    json!({"template": {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}})
}

/// A canary behind the production Service that waits for a manual verdict.
async fn running(more: Value) -> World {
    let world = World::new("protection").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let mut spec = json!({"serviceName": "app", "traffic": {"source": "service"}, "validation": held()});
    crate::support::merge(&mut spec, more);
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world
}

fn label_watch() -> Value {
    json!([{"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}}])
}

async fn label_pods(world: &World) {
    let pods = world
        .until_all(&POD, OF_BATMAN, "the canary has a pod", |pods| !pods.is_empty())
        .await;
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        world
            .patch(&POD, name, json!({"metadata": {"labels": {"alert": "high-cpu"}}}))
            .await;
    }
}

#[tokio::test]
async fn a_verdict_that_stays_in_the_spec_does_not_promote_the_next_template() {
    let world = World::new("protection").await;
    world.target("app", 1).await;
    let spec = json!({"verdict": "valid", "validation": held()});
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;

    // As a GitOps tool applies it: the verdict is still set.
    world.edit("batman", version("app:v3")).await;
    let held = world
        .until(&KANARY, "batman", "the second run is held", |kanary| {
            kanary["status"]["run"] == 2 && phase(kanary) == "Running"
        })
        .await;
    assert!(is_true(&held, "VerdictIgnored"), "{held:#}");
    assert!(
        message(&held, "VerdictIgnored").contains("spec.verdict valid"),
        "{held:#}"
    );

    let edited = world.edit("batman", json!({"verdict": null})).await;
    let seen = world
        .until(&KANARY, "batman", "the controller has observed the edit", |kanary| {
            kanary["status"]["observedGeneration"] == edited["metadata"]["generation"]
        })
        .await;
    assert_eq!(phase(&seen), "Running", "{seen:#}");
    assert!(!is_true(&seen, "VerdictIgnored"), "{seen:#}");
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v2");

    world.edit("batman", json!({"verdict": "valid"})).await;
    world
        .until(&KANARY, "batman", "the second run is promoted", |kanary| {
            kanary["status"]["run"] == 2 && phase(kanary) == "DeploymentUpdated"
        })
        .await;
    assert_eq!(image(&world.get(&DEPLOYMENT, "app").await), "app:v3");

    // The verdict arrives together with the template.
    let mut both = version("app:v4");
    both["verdict"] = json!("invalid");
    world.edit("batman", both).await;
    let ended = world
        .until(&KANARY, "batman", "the third run fails", |kanary| {
            kanary["status"]["run"] == 3 && phase(kanary) == "Failed"
        })
        .await;
    assert_eq!(reason(&ended, "Failed"), "VerdictInvalid");
}

#[tokio::test]
async fn another_traffic_source_is_judged_anew_with_that_traffic() {
    let world = running(json!({"traffic": {"source": "none"}})).await;
    let first = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    world
        .edit("batman", json!({"traffic": {"source": "service"}, "verdict": "valid"}))
        .await;
    let ended = world
        .until(
            &KANARY,
            "batman",
            "it is validated with traffic and promoted",
            |kanary| kanary["status"]["run"] == 2 && phase(kanary) == "DeploymentUpdated",
        )
        .await;
    assert_eq!(ended["status"]["currentTraffic"], "service app");
    assert_eq!(ended["status"]["report"]["traffic"], "service");
    let label = |object: &Value| object["spec"]["template"]["metadata"]["labels"]["app"].clone();
    assert_eq!(label(&first), Value::Null);
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 2);
}

#[tokio::test]
async fn an_edit_that_cannot_be_run_takes_no_protection_away() {
    let world = running(json!({"validation": {"validationPeriod": "1h", "items": label_watch()}})).await;
    let mut items = label_watch();
    let query = json!({"prometheusService": "nowhere:9090", "query": "up{{ nonsense }}", "boolean": {}});
    items
        .as_array_mut()
        .expect("items are a list")
        .push(json!({"promQL": query}));
    world
        .edit("batman", json!({"verdict": "valid", "validation": {"items": items}}))
        .await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "InvalidSpec");
    assert!(message(&errored, "Errored").contains("items[1]"), "{errored:#}");
    assert!(is_true(&errored, "Running"), "the run continues: {errored:#}");
    label_pods(&world).await;
    let ended = world
        .until(&KANARY, "batman", "the label fails the run", |kanary| {
            is_true(kanary, "Failed")
        })
        .await;
    assert_eq!(reason(&ended, "Failed"), "LabelMatched");
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_pause_does_not_shield_a_bad_canary() {
    let world = running(json!({})).await;
    world.edit("batman", json!({"paused": true})).await;
    world
        .until(&KANARY, "batman", "is paused", |kanary| {
            reason(kanary, "Reconciling") == "Paused"
        })
        .await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "VerdictInvalid");
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn a_kanary_that_a_finalizer_holds_does_not_keep_its_canary_in_production() {
    let world = running(json!({"rollout": {"onFailure": "retain"}})).await;
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    world
        .patch(&KANARY, "batman", finalizers(json!(["example.com/hold"])))
        .await;
    world.delete(&KANARY, "batman").await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let held = world
        .until(
            &KANARY,
            "batman",
            "the status says that it is being deleted",
            |kanary| phase(kanary) == "Deleting",
        )
        .await;
    assert!(message(&held, "Reconciling").contains("example.com/hold"), "{held:#}");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
    world.patch(&KANARY, "batman", finalizers(Value::Null)).await;
    world.gone(&KANARY, "batman").await;
}

#[tokio::test]
async fn a_period_that_is_edited_moves_the_deadline() {
    let world = running(json!({})).await;
    let period =
        json!({"validation": {"validationPeriod": "1s", "items": [{"manual": {"statusAfterDeadline": "valid"}}]}});
    world.edit("batman", period).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "AllItemsGood");
    assert!(
        ended["status"]["report"]["duration"].to_string().contains("/1s"),
        "{ended:#}"
    );
}

#[tokio::test]
async fn a_kanary_belongs_to_one_target_whatever_names_it() {
    let world = World::new("protection").await;
    let mut manifest = crate::support::kanary("batman", "app", json!({"schedule": "2999-01-01T00:00:00Z"}));
    let spec = manifest["spec"].as_object_mut().expect("a spec is an object");
    spec.remove("deploymentName");
    manifest["spec"]["template"]["metadata"] = json!({"name": "app"});
    world.create(&KANARY, &manifest).await;
    for edit in [
        json!({"template": {"metadata": {"name": "other"}}}),
        json!({"template": {"metadata": null}}),
        json!({"deploymentName": "other"}),
    ] {
        let refused = world.try_patch(&KANARY, "batman", &json!({"spec": edit})).await;
        assert!(refused.is_err_and(|why| why.contains("can't change")), "{edit}");
    }
    let same = json!({"spec": {"deploymentName": "app", "template": {"metadata": {"name": "other"}}}});
    world.patch(&KANARY, "batman", same).await;
}
