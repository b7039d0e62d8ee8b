//! `spec.traffic`: the requests that reach the canary.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, ENDPOINT_SLICE, KANARY, POD, SERVICE, World, is_true, labels, message, phase, reason,
};

const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

/// A Kanary with traffic from `source` that waits for a manual verdict.
fn from(source: &str) -> Value {
    json!({"serviceName": "app", "traffic": {"source": source}, "validation": {"items": [{"manual": {}}]}})
}

/// Names of the pods that receive a Service's requests.
fn behind(slices: &[&Value]) -> BTreeSet<String> {
    slices
        .iter()
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten()
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .filter_map(|endpoint| Some(endpoint["targetRef"]["name"].as_str()?.to_owned()))
        .collect()
}

/// Waits until exactly this many pods are behind a Service, and returns how many of them are canary pods.
async fn canaries_behind(world: &World, service: &str, pods: usize) -> usize {
    let selector = format!("kubernetes.io/service-name={service}");
    let what = format!("{pods} pods are behind Service {service}");
    let slices = world
        .until_all(&ENDPOINT_SLICE, &selector, &what, |slices| behind(slices).len() == pods)
        .await;
    let canaries: BTreeSet<_> = world
        .list(&POD, OF_BATMAN)
        .await
        .iter()
        .filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    behind(&slices.iter().collect::<Vec<_>>())
        .intersection(&canaries)
        .count()
}

async fn running(source: &str) -> World {
    let world = World::new("traffic").await;
    world.target("app", 2).await;
    world.service("app", "app").await;
    world.kanary("batman", "app", from(source)).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["report"]["traffic"], source);
    assert_eq!(running["status"]["report"]["service"], "app");
    assert_eq!(is_true(&running, "Traffic"), source != "none");
    world
}

#[tokio::test]
async fn source_service_puts_the_canary_behind_the_production_service() {
    let world = running("service").await;
    assert_eq!(canaries_behind(&world, "app", 3).await, 1);
    assert_eq!(
        world.list(&SERVICE, "").await.len(),
        1,
        "no Service is created for the canary"
    );
}

#[tokio::test]
async fn source_kanary_service_puts_the_canary_behind_a_service_of_its_own_alone() {
    let world = running("kanary-service").await;
    assert_eq!(canaries_behind(&world, "app-kanary-batman", 1).await, 1);
    assert_eq!(canaries_behind(&world, "app", 2).await, 0);
}

#[tokio::test]
async fn source_both_puts_the_canary_behind_both_services() {
    let world = running("both").await;
    assert_eq!(canaries_behind(&world, "app-kanary-batman", 1).await, 1);
    assert_eq!(canaries_behind(&world, "app", 3).await, 1);
}

#[tokio::test]
async fn source_none_brings_no_request_to_the_canary() {
    let world = running("none").await;
    assert_eq!(canaries_behind(&world, "app", 2).await, 0);
    assert_eq!(world.list(&SERVICE, "").await.len(), 1);
}

#[tokio::test]
async fn without_a_source_there_is_no_traffic() {
    let world = World::new("traffic").await;
    world.target("app", 2).await;
    world.service("app", "app").await;
    let spec = json!({"validation": {"items": [{"manual": {}}]}});
    world.kanary("batman", "app", spec).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["report"]["traffic"], "none");
    assert_eq!(canaries_behind(&world, "app", 2).await, 0);
}

#[tokio::test]
async fn a_canary_is_kept_out_of_services_that_nobody_named() {
    let world = World::new("traffic").await;
    let mut target = crate::support::deployment("app", 1);
    target["spec"]["template"]["metadata"]["labels"]["tier"] = json!("web");
    world.create(&DEPLOYMENT, &target).await;
    let mut by_tier = crate::support::service("by-tier", "app");
    by_tier["spec"]["selector"] = json!({"tier": "web"});
    world.create(&SERVICE, &by_tier).await;
    let mut spec = from("none");
    spec["template"] = json!({"spec": {"template": {"metadata": {"labels": {"tier": "web"}}}}});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    assert_eq!(canaries_behind(&world, "by-tier", 1).await, 0);
}

#[tokio::test]
async fn the_canarys_own_service_has_the_production_ports_and_the_name_that_was_asked_for() {
    let world = World::new("traffic").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let mut spec = from("kanary-service");
    spec["traffic"]["kanaryService"] = json!("try-me");
    let kanary = world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    let own = world.get(&SERVICE, "try-me").await;
    let port = &own["spec"]["ports"][0];
    assert_eq!(
        (&port["name"], &port["port"], &port["targetPort"]),
        (&json!("http"), &json!(80), &json!(8080))
    );
    assert_eq!(own["metadata"]["ownerReferences"][0]["uid"], kanary["metadata"]["uid"]);
    assert_eq!(
        labels(&own, "/metadata/labels")["kanary.k8s-operators.dev/iskanary"],
        "true"
    );
}

#[tokio::test]
async fn a_traffic_source_that_is_off_is_refused_with_a_condition_and_fixed_by_another() {
    let world = World::new("traffic").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let mut mirror = from("mirror");
    mirror["traffic"]["mirror"] = json!({"percent": 50});
    world.kanary("mirror", "app", mirror).await;
    let refused = world.phase("mirror", "Errored").await;
    assert_eq!(reason(&refused, "Errored"), "RouteDisabled");
    assert!(message(&refused, "Errored").contains("--routes"), "{refused:#}");
    let mut deployments = world.list(&DEPLOYMENT, "").await;
    deployments.retain(|deployment| deployment["metadata"]["name"] != "app");
    assert_eq!(deployments, Vec::<Value>::new(), "no Deployment was created for them");

    let none = json!({"traffic": {"source": "none", "mirror": null}});
    world.edit("mirror", none).await;
    world
        .until(&KANARY, "mirror", "runs", |kanary| phase(kanary) == "Running")
        .await;
}

#[tokio::test]
async fn the_canarys_selector_never_overlaps_the_targets() {
    let world = running("service").await;
    // Three pods in total: neither Deployment adopted the other's pods.
    let target = world
        .until(&DEPLOYMENT, "app", "has two pods", |app| app["status"]["replicas"] == 2)
        .await;
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(canary["status"]["replicas"], 1);
    let wanted = labels(&canary, "/spec/selector/matchLabels");
    assert!(!wanted.is_empty());
    assert_eq!(canary["spec"]["selector"]["matchExpressions"], Value::Null);
    let of_target = labels(&target, "/spec/template/metadata/labels");
    assert!(!wanted.iter().all(|(name, value)| of_target.get(name) == Some(value)));
}
