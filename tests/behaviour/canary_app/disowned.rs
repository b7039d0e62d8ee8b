//! Owned objects that somebody takes away, or makes lead elsewhere, while the secondary has a share of the requests.

use serde_json::{Value, json};

use super::{
    PRIMARY, SECONDARY,
    gateway_api::{released_behind_web, served_with_both, weight},
    image, is_scraped, running, served, set, share,
};
use crate::support::{
    CANARY_APP, DEPLOYMENT, ENDPOINT_SLICE, Exporter, HTTP_ROUTE, Kind, POD, SERVICE, VIRTUAL_SERVICE, World, is_true,
    reason, version,
};

fn disowned() -> Value {
    json!({"metadata": {"ownerReferences": null}})
}

/// Waits until the application reports a problem, and no share.
async fn until_errored(world: &World, why: &str) {
    let is_it =
        |app: &Value| is_true(app, "Errored") && reason(app, "Errored") == why && app["status"]["trafficShift"] == 0;
    world
        .until(&CANARY_APP, "hello", &format!("it says {why}"), is_it)
        .await;
}

async fn until_promoted(world: &World, exporter: &Exporter, tag: &str) {
    is_scraped(world, exporter).await;
    let is_there = |app: &Value| app["status"]["lastSuccessfulTag"] == tag;
    world
        .until(&CANARY_APP, "hello", "the image is promoted", is_there)
        .await;
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), tag);
}

#[tokio::test]
async fn the_primary_gets_the_share_back_while_the_service_of_the_secondary_does_not_lead_to_it() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    released_behind_web(&world).await;
    set(&world, json!({"image": "hello:v2"})).await;
    for (meddled, why) in [
        (json!({"spec": {"selector": {"app": "other"}}}), "TrafficLost"),
        (disowned(), "NameTaken"),
    ] {
        let has_share = |route: &Value| weight(route) == 10;
        world
            .until(&HTTP_ROUTE, "hello", "the secondary gets requests", has_share)
            .await;
        world.patch(&SERVICE, SECONDARY, meddled).await;
        let has_none = |route: &Value| weight(route) == 0;
        world
            .until(&HTTP_ROUTE, "hello", "the secondary gets none", has_none)
            .await;
        until_errored(&world, why).await;
        world.delete(&SERVICE, SECONDARY).await;
    }
    until_promoted(&world, &exporter, "hello:v2").await;
}

/// The pods that get requests of the secondary's Service.
fn behind(slices: &[&Value]) -> Vec<String> {
    let endpoints = slices
        .iter()
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready
        .filter_map(|endpoint| Some(endpoint["targetRef"]["name"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_pod_of_a_former_image_that_left_its_replica_set_gets_no_requests_of_the_next_one() {
    let world = served_with_both().await;
    let _open = world.open_gateway().await;
    released_behind_web(&world).await;
    set(&world, json!({"image": "hello:v2"})).await;
    let has_share = |route: &Value| weight(route) == 10;
    world.until(&HTTP_ROUTE, "hello", "v2 gets requests", has_share).await;
    let of_secondary = "service=secondary";
    let pods = world.list(&POD, of_secondary).await;
    let released = pods[0]["metadata"]["name"].as_str().unwrap();
    world.label(&POD, released, "pod-template-hash", "edited").await;
    let others = |pods: &[&Value]| pods.iter().any(|pod| pod["metadata"]["name"] != released);
    world
        .until_all(&POD, of_secondary, "another pod takes its place", others)
        .await;

    set(&world, json!({"image": "hello:v3"})).await;
    let slices = format!("kubernetes.io/service-name={SECONDARY}");
    let is_v3 = |pod: &&Value| pod["spec"]["containers"][0]["image"] == "hello:v3";
    let pods = world
        .until_all(&POD, of_secondary, "v3 has a pod", |pods| pods.iter().any(is_v3))
        .await;
    let v3 = pods.iter().find(is_v3).unwrap()["metadata"]["name"].as_str().unwrap();
    let has_v3 = |slices: &[&Value]| behind(slices).iter().any(|name| name == v3);
    let behind = world
        .until_all(&ENDPOINT_SLICE, &slices, "v3 is behind the Service", has_v3)
        .await;
    let behind = self::behind(&behind.iter().collect::<Vec<_>>());
    assert_eq!(behind, [v3]);
    let left = world.get(&POD, released).await;
    assert!(left["metadata"]["deletionTimestamp"].is_null(), "{left:#}");
}

/// A route that loses its owner in mid-run gives the secondary no requests any more, and stays as its user wants it.
async fn is_left_to_its_user(world: &World, exporter: &Exporter, kind: Kind, share: fn(&Value) -> u64, edit: Value) {
    set(world, json!({"image": "hello:v2"})).await;
    world
        .until(&kind, "hello", "the secondary gets requests", |route| {
            share(route) == 10
        })
        .await;
    world.patch(&kind, "hello", disowned()).await;
    until_errored(world, "NameTaken").await;
    assert_eq!(share(&world.get(&kind, "hello").await), 0);

    let routes = world.record(kind).await;
    let edited = world.patch(&kind, "hello", edit).await;
    set(world, json!({"image": "hello:v3"})).await;
    let is_seen = |app: &Value| {
        app["status"]["observedGeneration"] == app["metadata"]["generation"] && reason(app, "Errored") == "NameTaken"
    };
    world.until(&CANARY_APP, "hello", "the next image waits", is_seen).await;
    world.delete(&kind, "hello").await;
    world
        .until(&kind, "hello", "it is made again", |route| share(route) == 10)
        .await;
    let theirs = routes.of("hello").into_iter().filter(|seen| {
        !seen.deleted && seen.version > version(&edited) && seen.object["metadata"]["uid"] == edited["metadata"]["uid"]
    });
    for seen in theirs {
        assert_eq!(seen.object["spec"], edited["spec"]);
    }
    until_promoted(world, exporter, "hello:v3").await;
}

#[tokio::test]
async fn a_virtual_service_that_loses_its_owner_in_mid_run_is_not_written_any_more() {
    let world = served().await;
    let exporter = Exporter::start(&world).await;
    running(&world).await;
    let edit = json!({"spec": {"hosts": ["other.example"]}});
    is_left_to_its_user(&world, &exporter, VIRTUAL_SERVICE, share, edit).await;
}

#[tokio::test]
async fn an_http_route_that_loses_its_owner_in_mid_run_is_not_written_any_more() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    released_behind_web(&world).await;
    let edit = json!({"spec": {"hostnames": ["other.example"]}});
    is_left_to_its_user(&world, &exporter, HTTP_ROUTE, weight, edit).await;
}
