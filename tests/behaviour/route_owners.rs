//! A route belongs to its user, who finds, edits and shares it.

use serde_json::json;

use crate::{
    routes::{assert_untouched, held, one_step, reject, rules},
    support::{CANARY, DEPLOYMENT, HTTP_ROUTE, KANARY, SERVICE, World, condition, is_true, message, reason},
};

#[tokio::test]
async fn edits_of_other_parts_of_the_route_are_kept() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let mut all = rules();
    let other = json!({"name": "other", "matches": [{"path": {"type": "PathPrefix", "value": "/other"}}],
                       "backendRefs": [{"name": "app", "port": 80, "weight": 0}, {"name": "other", "port": 80}]});
    all.as_array_mut().unwrap().push(other);
    let original = world.http_route(all).await;
    world.kanary("batman", "app", held(one_step())).await;
    world.until_percent(CANARY, 20.0).await;
    let now = world.get(&HTTP_ROUTE, "app").await;
    assert_eq!(
        now["spec"]["rules"][1], original["spec"]["rules"][1],
        "it sends no request to production"
    );
    let hosts = json!([world.host(), format!("www.{}", world.host())]);
    world
        .patch(
            &HTTP_ROUTE,
            "app",
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostnames": hosts}}),
        )
        .await;
    reject(&world, "batman").await;
    world.gone(&DEPLOYMENT, CANARY).await;
    let after = world.get(&HTTP_ROUTE, "app").await;
    assert_eq!(after["spec"]["hostnames"], hosts);
    assert_eq!(after["spec"]["rules"], original["spec"]["rules"]);
    assert_eq!(after["metadata"]["labels"]["a"], "b");
}

#[tokio::test]
async fn a_route_that_somebody_reverts_is_reported_and_written_again() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    world.kanary("batman", "app", held(one_step())).await;
    world.until_percent(CANARY, 20.0).await;
    let first = world
        .until(&KANARY, "batman", "is in force", |kanary| {
            !kanary["status"]["traffic"]["since"].is_null()
        })
        .await;
    world
        .patch(
            &HTTP_ROUTE,
            "app",
            json!({"spec": {"rules": original["spec"]["rules"]}}),
        )
        .await;
    world.until_percent(CANARY, 0.0).await;
    let reported = world
        .until(&KANARY, "batman", "the condition Traffic says so", |kanary| {
            reason(kanary, "Traffic") == "TrafficReverted"
        })
        .await;
    assert!(!is_true(&reported, "Traffic"), "{:#}", condition(&reported, "Traffic"));
    assert!(
        message(&reported, "Traffic").contains("HTTPRoute app"),
        "{:#}",
        condition(&reported, "Traffic")
    );
    world.until_percent(CANARY, 20.0).await;
    let again = world
        .until(&KANARY, "batman", "is in force again", |kanary| {
            let since = &kanary["status"]["traffic"]["since"];
            is_true(kanary, "Traffic") && !since.is_null() && *since != first["status"]["traffic"]["since"]
        })
        .await;
    assert_eq!(again["status"]["traffic"]["step"], 1);
}

#[tokio::test]
async fn two_kanaries_share_a_route() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    world.target("b", 1).await;
    world.service("b", "b").await;
    let at = |path: &str, service: &str| json!({"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": [{"name": service, "port": 80}]});
    let original = world.http_route(json!([at("/", "app"), at("/b", "b")])).await;
    world.kanary("batman", "app", held(one_step())).await;
    let mut spec = held(one_step());
    spec["serviceName"] = json!("b");
    world.kanary("robin", "b", spec).await;
    world.until_percent(CANARY, 20.0).await;
    world
        .until_percent_of(&world.request().path("/b"), "b-kanary-robin", 20.0)
        .await;
    reject(&world, "batman").await;
    world.gone(&DEPLOYMENT, CANARY).await;
    let one = world.get(&HTTP_ROUTE, "app").await;
    assert_eq!(one["spec"]["rules"][0], original["spec"]["rules"][0]);
    assert_ne!(one["spec"]["rules"][1], original["spec"]["rules"][1]);
    reject(&world, "robin").await;
    world.gone(&DEPLOYMENT, "b-kanary-robin").await;
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
}

#[tokio::test]
async fn a_route_that_cannot_be_found_is_reported_and_found_later() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    world.kanary("batman", "app", held(one_step())).await;
    let refused = world.phase("batman", "Errored").await;
    assert_eq!(reason(&refused, "Errored"), "RouteNotFound", "{refused:#}");
    assert!(world.find(&DEPLOYMENT, CANARY).await.is_none());
    world.http_route(rules()).await;
    world.until_percent(CANARY, 20.0).await;
    assert!(!is_true(&world.get(&KANARY, "batman").await, "Errored"));
}

#[tokio::test]
async fn of_several_routes_the_spec_has_to_name_one() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    world.http_route(rules()).await;
    world
        .virtual_service(json!([{"route": [{"destination": {"host": "app"}}]}]))
        .await;
    world.kanary("batman", "app", held(one_step())).await;
    let refused = world.phase("batman", "Errored").await;
    assert_eq!(reason(&refused, "Errored"), "RouteAmbiguous", "{refused:#}");
    let named = json!({"traffic": {"route": {"kind": "HTTPRoute", "name": "app"}}});
    world.edit("batman", named).await;
    world
        .until(&KANARY, "batman", "is in force", |kanary| {
            kanary["status"]["traffic"]["weight"] == 20
        })
        .await;
}

#[tokio::test]
async fn a_canary_without_the_port_that_the_service_names_gets_no_requests() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    let mut ports = world.get(&SERVICE, "app").await["spec"]["ports"].clone();
    let number = ports[0]["targetPort"].take();
    ports[0]["targetPort"] = json!("web");
    world.patch(&SERVICE, "app", json!({"spec": {"ports": ports}})).await;
    world.kanary("batman", "app", held(one_step())).await;
    let waits = world
        .until(&KANARY, "batman", "waits for the port", |kanary| {
            reason(kanary, "Errored") == "PortMissing" && message(kanary, "Errored").contains("no port named web")
        })
        .await;
    assert!(is_true(&waits, "Errored"), "{:#}", condition(&waits, "Errored"));
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    // As the message says.
    ports[0]["targetPort"] = number;
    world.patch(&SERVICE, "app", json!({"spec": {"ports": ports}})).await;
    world.delete(&SERVICE, CANARY).await;
    world.until_percent(CANARY, 20.0).await;
}
