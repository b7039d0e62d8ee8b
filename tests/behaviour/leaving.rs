//! A failed canary is removed from production traffic whatever else fails, and a good one removes nothing else from it.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Faults, KANARY, POD, SERVICE, World, deployment, held, labels, message, phase, reason, service,
};

/// A Kanary behind the production Service that waits for a manual verdict.
fn behind(service: &str) -> Value {
    json!({"serviceName": service, "traffic": {"source": "service"}, "validation": held()})
}

fn retained(service: &str) -> Value {
    let mut spec = behind(service);
    spec["rollout"] = json!({"onFailure": "retain"});
    spec
}

/// Waits until the only pod of a canary has lost `label`.
async fn loses(world: &World, kanary: &str, label: &str) {
    let selector = format!("kanary.k8s-operators.dev/name={kanary}");
    let what = format!("the pods of {kanary} have lost {label}");
    world
        .until_all(&POD, &selector, &what, |pods| {
            !pods.is_empty()
                && pods
                    .iter()
                    .all(|pod| !labels(pod, "/metadata/labels").contains_key(label))
        })
        .await;
}

/// A template with the label `track`.
fn track(value: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {"track": value}}}}})
}

#[tokio::test]
async fn a_service_that_would_lose_the_target_stands_in_the_way_before_anything_is_created_and_later() {
    let world = World::new("leaving").await;
    let mut target = deployment("app", 1);
    crate::support::merge(
        &mut target["spec"]["template"],
        json!({"metadata": {"labels": {"track": "stable"}}}),
    );
    world.create(&DEPLOYMENT, &target).await;
    let mut stable = service("app", "app");
    stable["spec"]["selector"]["track"] = json!("stable");
    world.create(&SERVICE, &stable).await;
    let mut spec = behind("app");
    spec["template"] = track("canary");
    world.kanary("batman", "app", spec).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "ServiceMismatch");
    let said = message(&errored, "Errored");
    assert!(said.contains("track=stable") && said.contains("track=canary"), "{said}");
    assert_eq!(world.list(&DEPLOYMENT, "").await.len(), 1, "nothing was created");

    world.edit("batman", json!({"template": track("stable")})).await;
    world.phase("batman", "Running").await;
    let narrow = |tier: Value| json!({"spec": {"selector": {"tier": tier}}});
    world.patch(&SERVICE, "app", narrow(json!("web"))).await;
    let errored = world.phase("batman", "Errored").await;
    assert!(message(&errored, "Errored").contains("tier=web"), "{errored:#}");
    assert_eq!(reason(&errored, "Traffic"), "ServiceMismatch");
    world.patch(&SERVICE, "app", narrow(Value::Null)).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(reason(&running, "Traffic"), "TrafficSet");
}

#[tokio::test]
async fn a_failed_canary_whose_labels_cannot_be_taken_off_leaves_by_deletion_or_scale() {
    let world = World::unserved("leaving").await;
    let faults = Faults::none();
    world.start_faulty_controller(&faults);
    for (kanary, app) in [("batman", "app"), ("robin", "nest")] {
        world.target(app, 1).await;
        world.service(app, app).await;
        let spec = if kanary == "batman" { behind(app) } else { retained(app) };
        world.kanary(kanary, app, spec).await;
        world.phase(kanary, "Running").await;
    }
    faults.answer(Method::PATCH, "/pods/", 403, "a policy wants the label app");
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let because = |reason_: &str, kanary: &Value| {
        let said = message(kanary, "Traffic");
        reason(kanary, "Traffic") == reason_ && said.contains("a policy wants the label app")
    };
    let what = "the status says why it was deleted";
    world
        .until(&KANARY, "batman", what, |kanary| because("LeftByDeletion", kanary))
        .await;

    faults.answer_no_more();
    faults.answer(
        Method::PATCH,
        "/pods/",
        500,
        "a policy wants the label app: its webhook is down",
    );
    world.edit("robin", json!({"verdict": "invalid"})).await;
    let scaled = |canary: &Value| canary["spec"]["replicas"] == 0;
    world
        .until(&DEPLOYMENT, "nest-kanary-robin", "has no replicas", scaled)
        .await;
    let what = "the status says why it was scaled to 0";
    let robin = world
        .until(&KANARY, "robin", what, |kanary| because("LeftByScale", kanary))
        .await;
    assert_eq!(phase(&robin), "Failed");
}

#[tokio::test]
async fn a_failed_canary_leaves_the_service_that_was_named_before() {
    let world = World::new("leaving").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    world.service("other", "another").await;
    world.kanary("batman", "app", retained("app")).await;
    world.phase("batman", "Running").await;
    world
        .edit("batman", json!({"serviceName": "other", "verdict": "invalid"}))
        .await;
    world.ends("batman", "Failed").await;
    let what = "no canary pod is behind the former Service";
    let behind = "app=app,kanary.k8s-operators.dev/name=batman";
    world.until_all(&POD, behind, what, |pods| pods.is_empty()).await;
}

#[tokio::test]
async fn a_retained_canary_leaves_also_a_service_that_comes_later_or_says_that_it_does_not() {
    let world = World::new("leaving").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let mut spec = retained("app");
    spec["template"] = json!({"spec": {"template": {"metadata": {"labels": {"zone": "east"}}}}});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    loses(&world, "batman", "app").await;
    let mut later = service("later", "app");
    later["spec"]["selector"] = json!({"zone": "east"});
    world.create(&SERVICE, &later).await;
    loses(&world, "batman", "zone").await;

    // One Service for canaries, and one that selects a label whose removal would make the ReplicaSet create another pod.
    let mut canaries = service("canaries", "app");
    canaries["spec"]["selector"] = json!({"kanary.k8s-operators.dev/name": "batman"});
    world.create(&SERVICE, &canaries).await;
    let what = "names the Service";
    world
        .until(&KANARY, "batman", what, |kanary| {
            message(kanary, "Activated").contains("Service canaries")
        })
        .await;
    let pods = world.list(&POD, "kanary.k8s-operators.dev/name=batman").await;
    let hash = &pods[0]["metadata"]["labels"]["pod-template-hash"];
    let mut by_hash = service("by-hash", "app");
    by_hash["spec"]["selector"] = json!({"pod-template-hash": hash});
    world.create(&SERVICE, &by_hash).await;
    let scaled = |canary: &Value| canary["spec"]["replicas"] == 0;
    world
        .until(&DEPLOYMENT, "app-kanary-batman", "has no replicas", scaled)
        .await;
}

#[tokio::test]
async fn a_canary_carries_what_a_policy_asks_of_deployments_and_nothing_that_a_tool_prunes_by() {
    let world = World::new("leaving").await;
    let mut target = deployment("app", 1);
    target["metadata"]["labels"] = json!({"team": "heroes", "app.kubernetes.io/instance": "shop"});
    target["metadata"]["annotations"] = json!({"pager": "bruce", "argocd.argoproj.io/tracking-id": "shop"});
    world.create(&DEPLOYMENT, &target).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    let canary = world.until(&DEPLOYMENT, "app-kanary-batman", "exists", |_| true).await;
    let carried = |pointer: &str| {
        let mut carried = labels(&canary, pointer);
        carried.retain(|name, _| !name.starts_with("kanary.") && !name.starts_with("deployment."));
        carried.into_iter().collect::<Vec<_>>()
    };
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!(carried("/metadata/labels"), one("team", "heroes"));
    assert_eq!(carried("/metadata/annotations"), one("pager", "bruce"));
}

#[tokio::test]
async fn a_canary_is_no_target() {
    let world = World::new("leaving").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    world.kanary("robin", "app-kanary-batman", json!({})).await;
    let errored = world.phase("robin", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "TargetIsCanary");
    assert_eq!(world.list(&DEPLOYMENT, "").await.len(), 2, "nothing was created");
}

/// A patch that removes the ownerReferences of an object.
fn disowned() -> Value {
    json!({"metadata": {"ownerReferences": null}})
}

#[tokio::test]
async fn a_canary_whose_owner_reference_is_removed_fails_its_run_and_is_not_left_behind() {
    let world = World::new("leaving").await;
    for (kanary, app) in [("batman", "app"), ("robin", "nest")] {
        world.target(app, 1).await;
        world.service(app, app).await;
        let spec = if kanary == "batman" { behind(app) } else { retained(app) };
        world.kanary(kanary, app, spec).await;
        world.phase(kanary, "Running").await;
    }
    world.patch(&DEPLOYMENT, "app-kanary-batman", disowned()).await;
    let failed = world.ends("batman", "Failed").await;
    assert_eq!(reason(&failed, "Failed"), "CanaryChanged");
    let said = message(&failed, "Failed");
    assert!(
        said.contains("ownerReference") && said.contains("app-kanary-batman"),
        "{said}"
    );
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;

    // A retained canary is deleted with its Kanary, while a finalizer still blocks the Kanary.
    world.edit("robin", json!({"verdict": "invalid"})).await;
    loses(&world, "robin", "app").await;
    world.patch(&DEPLOYMENT, "nest-kanary-robin", disowned()).await;
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    world
        .patch(&KANARY, "robin", finalizers(json!(["example.com/hold"])))
        .await;
    world.delete(&KANARY, "robin").await;
    world.gone(&DEPLOYMENT, "nest-kanary-robin").await;
    world.patch(&KANARY, "robin", finalizers(Value::Null)).await;
    world.gone(&KANARY, "robin").await;
}

/// Starts a canary behind the Service `app` and releases its pod from its ReplicaSet. Returns the name of the pod.
async fn with_a_released_pod(world: &World, label: &str) -> String {
    world.target("app", 1).await;
    world.service("app", "app").await;
    world.kanary("batman", "app", behind("app")).await;
    world.phase("batman", "Running").await;
    let of_batman = "kanary.k8s-operators.dev/name=batman";
    let pods = world
        .until_all(&POD, of_batman, "the canary has a pod", |pods| !pods.is_empty())
        .await;
    let pod = pods[0]["metadata"]["name"].as_str().expect("a pod has a name");
    let uid = &pods[0]["metadata"]["ownerReferences"][0]["uid"];
    world.label(&POD, pod, label, "edited").await;
    world
        .until(&POD, pod, "has no controller", |pod| {
            let mut owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.all(|owner| owner["uid"] != *uid)
        })
        .await;
    pod.to_owned()
}

/// Waits until a pod is no longer behind the Service `app`.
async fn leaves(world: &World, pod: &str) -> Value {
    world
        .until(&POD, pod, "is no longer behind the Service", |pod| {
            !labels(pod, "/metadata/labels").contains_key("app")
        })
        .await
}

#[tokio::test]
async fn a_pod_that_its_replica_set_released_leaves_the_service_after_a_run_that_passed() {
    let world = World::new("leaving").await;
    let pod = &with_a_released_pod(&world, "pod-template-hash").await;
    let what = "the status warns about the pod";
    world
        .until(&KANARY, "batman", what, |kanary| {
            message(kanary, "Running").contains(pod)
        })
        .await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let left = leaves(&world, pod).await;
    assert_eq!(left["metadata"]["labels"]["pod-template-hash"], "edited");
}

#[tokio::test]
async fn a_released_pod_leaves_the_service_when_its_run_is_replaced_by_a_paused_one_and_goes_with_its_kanary() {
    let world = World::new("leaving").await;
    let pod = with_a_released_pod(&world, "pod-template-hash").await;
    world.edit("batman", json!({"retry": 1, "paused": true})).await;
    leaves(&world, &pod).await;
    let next = world
        .until(&KANARY, "batman", "starts a new run", |kanary| {
            kanary["status"]["run"] == 2
        })
        .await;
    assert_eq!(next["status"]["failedTemplates"], Value::Null);

    let is_owned = |pod: &Value| pod["metadata"]["ownerReferences"][0]["kind"] == "KanaryDeployment";
    world.until(&POD, &pod, "is the Kanary's own", is_owned).await;
    world.delete(&KANARY, "batman").await;
    world.gone(&POD, &pod).await;
}

#[tokio::test]
async fn a_pod_that_lost_the_label_of_its_run_leaves_the_service_while_the_run_goes_on() {
    let world = World::new("leaving").await;
    let pod = with_a_released_pod(&world, "kanary.k8s-operators.dev/run").await;
    leaves(&world, &pod).await;
    let running = world.get(&KANARY, "batman").await;
    assert_eq!(running["status"]["completedAt"], Value::Null, "{running:#}");
}
