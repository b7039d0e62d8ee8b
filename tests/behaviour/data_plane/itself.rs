//! The data plane without Kanary: it does what a cluster does, and failures show.

use std::time::{Duration, Instant};

use kanary_dataplane::load::Failure;
use serde_json::{Value, json};

use super::{
    assert_served, assert_share,
    site::{Dialect, GATEWAY_API, ISTIO, Site, until_answered},
};
use crate::support::{DEPLOYMENT, HTTP_ROUTE, poll};

/// Two versions, and a route to the first one.
async fn two_versions(site: &Site, dialect: Dialect) {
    site.app("next", "v2").await;
    site.route(dialect, json!([(dialect.split)(&[("app", 100)])])).await;
}

async fn split(dialect: Dialect) {
    let Some(site) = Site::new().await else { return };
    two_versions(&site, dialect).await;
    let rules = json!([(dialect.split)(&[("app", 80), ("next", 20)])]);
    site.change_route(dialect, rules).await;
    site.plane.until_answers(&site.requests(dialect), "v2").await;
    let load = site.requests(dialect).start().unwrap();
    until_answered(&load, 3000).await;
    let answers = load.stop().await;
    assert_served(&answers);
    assert_share(&answers, "v2", 20.0);
}

#[tokio::test]
async fn a_split_of_an_http_route_is_exact() {
    split(GATEWAY_API).await;
}

#[tokio::test]
async fn a_split_of_a_virtual_service_is_exact() {
    split(ISTIO).await;
}

#[tokio::test]
async fn a_header_decides_which_version_answers() {
    let Some(site) = Site::new().await else { return };
    two_versions(&site, GATEWAY_API).await;
    let mut tagged = (GATEWAY_API.split)(&[("next", 1)]);
    tagged["matches"] = json!([{"headers": [{"name": "x-canary", "value": "always"}]}]);
    site.change_route(GATEWAY_API, json!([tagged, (GATEWAY_API.split)(&[("app", 1)])]))
        .await;
    let tagged = site.requests(GATEWAY_API).header("x-canary", "always");
    site.plane.until_answers(&tagged, "v2").await;
    for (load, version) in [(tagged, "v2"), (site.requests(GATEWAY_API), "v1")] {
        let load = load.start().unwrap();
        until_answered(&load, 300).await;
        let answers = load.stop().await;
        assert_eq!(answers.of(version), answers.total(), "{answers}");
    }
}

#[tokio::test]
async fn a_mirror_gets_its_part_and_answers_nobody() {
    let Some(site) = Site::new().await else { return };
    two_versions(&site, GATEWAY_API).await;
    let mut rule = (GATEWAY_API.split)(&[("app", 1)]);
    let mirror = json!({"backendRef": {"name": "next", "port": 80}, "percent": 100});
    rule["filters"] = json!([{"type": "RequestMirror", "requestMirror": mirror}]);
    site.change_route(GATEWAY_API, json!([rule])).await;
    let one = site.requests(GATEWAY_API);
    poll("version v2 gets copies", async || {
        let answer = one.once().await;
        (site.received("v2").await > 0)
            .then_some(())
            .ok_or(format!("{answer:?}"))
    })
    .await;
    let before = site.received("v2").await;
    let load = site.requests(GATEWAY_API).start().unwrap();
    until_answered(&load, 1000).await;
    let answers = load.stop().await;
    assert_eq!(answers.of("v1"), answers.total(), "{answers}");
    poll("all copies arrived", async || {
        match site.received("v2").await - before {
            copies if copies >= answers.total() => Ok(()),
            copies => Err(format!("{copies} of {answers}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_to_pods_that_are_not_there_fails() {
    let Some(site) = Site::new().await else { return };
    two_versions(&site, GATEWAY_API).await;
    site.change_route(GATEWAY_API, json!([(GATEWAY_API.split)(&[("next", 1)])]))
        .await;
    site.plane.until_answers(&site.requests(GATEWAY_API), "v2").await;
    site.world
        .patch(&DEPLOYMENT, "next", json!({"spec": {"replicas": 0}}))
        .await;
    let load = site.requests(GATEWAY_API).start().unwrap();
    poll("requests fail", async || {
        let failed = load.answers().failures();
        let unavailable = failed.keys().any(|failure| *failure == Failure::Status(503));
        unavailable.then_some(()).ok_or(format!("{failed:?}"))
    })
    .await;
}

/// Pods that linger take what comes while proxies learn that they go.
#[tokio::test]
async fn pods_that_are_deleted_fail_no_request() {
    let Some(site) = Site::new().await else { return };
    site.world
        .patch(&DEPLOYMENT, "app", json!({"spec": {"replicas": 4}}))
        .await;
    let available = |app: &Value| app["status"]["availableReplicas"] == 4;
    site.world.until(&DEPLOYMENT, "app", "four pods", available).await;
    site.route(GATEWAY_API, json!([(GATEWAY_API.split)(&[("app", 1)])]))
        .await;
    let load = site.requests(GATEWAY_API).start().unwrap();
    until_answered(&load, 200).await;
    site.world
        .patch(&DEPLOYMENT, "app", json!({"spec": {"replicas": 1}}))
        .await;
    let three_are_gone = |app: &Value| app["status"]["replicas"] == 1;
    site.world
        .until(&DEPLOYMENT, "app", "one pod is left", three_are_gone)
        .await;
    // They are gone six seconds later.
    until_answered(&load, load.answers().total() + 1600).await;
    assert_served(&load.stop().await);
}

fn says_generation(route: &Value) -> bool {
    let parents = route["status"]["parents"].as_array().into_iter().flatten();
    let mut conditions = parents.flat_map(|parent| parent["conditions"].as_array().into_iter().flatten());
    conditions.any(|is| is["type"] == "Accepted" && is["observedGeneration"] == route["metadata"]["generation"])
}

/// What makes a settling time necessary.
#[tokio::test]
async fn a_status_comes_before_the_traffic_of_a_control_plane_that_is_late() {
    let Some(site) = Site::alone().await else { return };
    two_versions(&site, GATEWAY_API).await;
    site.plane.restart_istiod("2s").await;
    let changed = site
        .change_route(GATEWAY_API, json!([(GATEWAY_API.split)(&[("next", 1)])]))
        .await;
    let since = Instant::now();
    let generation = changed["metadata"]["generation"].clone();
    let is_taken = |route: &Value| route["metadata"]["generation"] == generation && says_generation(route);
    site.world
        .until(&HTTP_ROUTE, "app", "the gateway takes it over", is_taken)
        .await;
    let said = since.elapsed();
    site.plane.until_answers(&site.requests(GATEWAY_API), "v2").await;
    let followed = since.elapsed();
    site.plane.restart_istiod("").await;
    println!("the status came after {said:?}, the traffic after {followed:?}");
    assert!(
        followed > said + Duration::from_secs(1),
        "the status came after {said:?}, the traffic after {followed:?}"
    );
}

/// A control plane that hangs accepts routes and says nothing about them.
#[tokio::test]
async fn a_control_plane_that_hangs_keeps_the_old_generation_in_the_status() {
    let Some(site) = Site::alone().await else { return };
    two_versions(&site, GATEWAY_API).await;
    site.plane.signal_istiod("STOP").await;
    let rules = json!([(GATEWAY_API.split)(&[("next", 1)])]);
    let changed = site.change_route(GATEWAY_API, rules).await;
    let load = site.requests(GATEWAY_API).start().unwrap();
    until_answered(&load, 400).await;
    let answers = load.stop().await;
    let hanging = site.world.get(&HTTP_ROUTE, "app").await;
    site.plane.signal_istiod("CONT").await;
    assert_eq!(answers.of("v1"), answers.total(), "{answers}");
    assert_eq!(hanging["metadata"]["generation"], changed["metadata"]["generation"]);
    assert!(!says_generation(&hanging), "{hanging:#}");
    site.plane.until_answers(&site.requests(GATEWAY_API), "v2").await;
}
