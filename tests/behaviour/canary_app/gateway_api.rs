//! Applications behind a Gateway of Gateway API, and what becomes of owned objects when the spec asks for others.

use serde_json::{Value, json};

use super::{PRIMARY, SECONDARY, app, image, is_scraped, owned, running, served, set, share};
use crate::support::{
    CANARY_APP, DEPLOYMENT, DESTINATION_RULE, Exporter, HTTP_ROUTE, ISTIO_GATEWAY, POD, Recording, SERVICE, Seen,
    VIRTUAL_SERVICE, World, is_true, merge, message, reason, version,
};

/// The same, in a cluster with Gateway API.
pub(super) async fn served_with_both() -> World {
    let world = served().await;
    world.install_gateway_api().await;
    world
}

/// The fields by which an application moves to the Gateway `web`.
pub(super) fn behind_web(world: &World) -> Value {
    let query = format!("errors{{ns=\"{}\",service=\"secondary\"}} > 0", world.ns);
    json!({"parentRefs": [{"name": "web"}], "hosts": [world.host()], "prometheusQuery": query})
}

/// An application behind `web` whose first image runs.
pub(super) async fn released_behind_web(world: &World) -> Value {
    let mut manifest = app(world, "hello:v1");
    merge(&mut manifest, json!({"spec": behind_web(world)}));
    world.create(&CANARY_APP, &manifest).await;
    world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await
}

/// The share of the secondary in an `HTTPRoute`, in percent.
pub(super) fn weight(route: &Value) -> u64 {
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    let mut secondary = backends.iter().filter(|backend| backend["name"] == SECONDARY);
    secondary
        .next()
        .map_or(0, |backend| backend["weight"].as_u64().unwrap())
}

fn selects_primary(service: &Value) -> bool {
    service["spec"]["selector"] == json!({"app": "hello", "owner": "canaryop", "service": "primary"})
}

/// The first time at which an object was like this.
async fn first(recording: &Recording, what: &str, which: impl Fn(&Value) -> bool) -> u64 {
    let is_it = |seen: &Seen| !seen.deleted && seen.object["metadata"]["name"] == "hello" && which(&seen.object);
    recording.first(what, is_it).await.version
}

async fn deletion(recording: &Recording, what: &str) -> u64 {
    recording
        .first(what, |seen| seen.deleted && seen.object["metadata"]["name"] == "hello")
        .await
        .version
}

fn is_taken_over(route: &Value) -> bool {
    let accepted = &route["status"]["parents"][0]["conditions"][0];
    accepted["status"] == "True" && accepted["observedGeneration"] == route["metadata"]["generation"]
}

#[tokio::test]
async fn an_application_behind_a_gateway_has_an_http_route_and_nothing_of_istio() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    let app = released_behind_web(&world).await;
    let route = owned(&world, &app, &HTTP_ROUTE, "hello").await;
    assert_eq!(route["spec"]["parentRefs"][0]["name"], "web");
    assert_eq!(route["spec"]["hostnames"], json!([world.host()]));
    let backend = &route["spec"]["rules"][0]["backendRefs"][0];
    assert_eq!((&backend["name"], &backend["port"]), (&json!("hello"), &json!(8088)));
    let service = owned(&world, &app, &SERVICE, "hello").await;
    assert!(selects_primary(&service), "{service:#}");
    for kind in [VIRTUAL_SERVICE, DESTINATION_RULE, ISTIO_GATEWAY] {
        assert!(world.find(&kind, "hello").await.is_none(), "{}", kind.kind);
    }

    let routes = world.record(HTTP_ROUTE).await;
    set(&world, json!({"image": "hello:v2"})).await;
    is_scraped(&world, &exporter).await;
    let is_v2 = |app: &Value| app["status"]["lastSuccessfulTag"] == "hello:v2";
    world.until(&CANARY_APP, "hello", "v2 is promoted", is_v2).await;
    world.gone(&DEPLOYMENT, SECONDARY).await;
    world.gone(&SERVICE, SECONDARY).await;
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v2");
    routes.reached(&world.get(&HTTP_ROUTE, "hello").await).await;
    let seen = routes.of("hello");
    let seen = seen.iter().map(|seen| weight(&seen.object));
    let mut shares: Vec<_> = seen.skip_while(|share| *share == 0).collect();
    shares.dedup();
    assert_eq!(shares, [10, 20, 30, 40, 50, 60, 0]);

    let other =
        json!({"spec": {"hostnames": ["other.example"], "parentRefs": [{"name": "web", "sectionName": "http"}]}});
    world.patch(&HTTP_ROUTE, "hello", other).await;
    set(&world, json!({"replicas": 1})).await;
    let is_back = |route: &Value| {
        route["spec"]["hostnames"] == json!([world.host()]) && route["spec"]["parentRefs"][0]["sectionName"].is_null()
    };
    world
        .until(&HTTP_ROUTE, "hello", "the fields are put back", is_back)
        .await;
    world.delete(&CANARY_APP, "hello").await;
    world.gone(&HTTP_ROUTE, "hello").await;
}

#[tokio::test]
async fn the_way_to_gateway_api_and_back_always_has_a_route_that_serves() {
    let world = served_with_both().await;
    let app = running(&world).await;
    let (istio, routes) = (world.record(VIRTUAL_SERVICE).await, world.record(HTTP_ROUTE).await);
    let (services, rules) = (world.record(SERVICE).await, world.record(DESTINATION_RULE).await);
    set(&world, behind_web(&world)).await;
    let created = first(&routes, "the HTTPRoute is created", |_| true).await;
    let narrowed = first(&services, "the Service leads to the primary alone", selects_primary).await;
    assert!(narrowed < created);
    // No Gateway serves it yet.
    assert!(world.find(&VIRTUAL_SERVICE, "hello").await.is_some());
    let _open = world.open_gateway().await;
    let taken = first(&routes, "the HTTPRoute is taken over", is_taken_over).await;
    let gone = deletion(&istio, "the VirtualService is gone").await;
    assert!(taken < gone, "{taken} {gone}");
    assert!(gone < deletion(&rules, "the DestinationRule is gone").await);
    world.gone(&ISTIO_GATEWAY, "hello").await;
    let route = owned(&world, &app, &HTTP_ROUTE, "hello").await;
    assert_eq!(weight(&route), 0);

    set(&world, json!({"parentRefs": null, "hosts": null})).await;
    world.gone(&HTTP_ROUTE, "hello").await;
    let gone = deletion(&routes, "the HTTPRoute is gone").await;
    let back = world.get(&VIRTUAL_SERVICE, "hello").await;
    let is_back = |route: &Value| route["metadata"]["uid"] == back["metadata"]["uid"];
    assert!(first(&istio, "the VirtualService is back", is_back).await < gone);
    owned(&world, &app, &DESTINATION_RULE, "hello").await;
    owned(&world, &app, &ISTIO_GATEWAY, "hello").await;
    let is_wide = |service: &Value| service["spec"]["selector"] == json!({"app": "hello", "owner": "canaryop"});
    let service = world
        .until(&SERVICE, "hello", "the Service leads to both again", is_wide)
        .await;
    assert!(gone < version(&service));
}

#[tokio::test]
async fn the_first_image_does_not_wait_for_a_gateway_after_a_quick_move() {
    let world = served_with_both().await;
    world.create(&CANARY_APP, &app(&world, "hello:v1")).await;
    world.until(&VIRTUAL_SERVICE, "hello", "it is created", |_| true).await;
    set(&world, behind_web(&world)).await;
    world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await;
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v1");
    // What it had before serves until a Gateway accepts the new route.
    assert!(world.find(&VIRTUAL_SERVICE, "hello").await.is_some());
}

#[tokio::test]
async fn a_run_that_is_under_way_starts_again_through_the_new_route_after_it_has_left_the_old_one() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    running(&world).await;
    let istio = world.record(VIRTUAL_SERVICE).await;
    let services = world.record(SERVICE).await;
    set(&world, json!({"image": "hello:v2"})).await;
    is_scraped(&world, &exporter).await;
    first(&istio, "the secondary gets requests", |route| share(route) > 0).await;
    let former = world.get(&DEPLOYMENT, SECONDARY).await["metadata"]["labels"].clone();
    set(&world, behind_web(&world)).await;
    let narrowed = first(&services, "the Service leads to the primary alone", selects_primary).await;
    let shared = istio
        .of("hello")
        .into_iter()
        .filter(|seen| !seen.deleted && share(&seen.object) > 0);
    let last = shared.map(|seen| seen.version).max().unwrap();
    let left = |seen: &Seen| seen.version > last && seen.version < narrowed && share(&seen.object) == 0;
    assert!(
        istio.of("hello").iter().any(left),
        "the secondary leaves the VirtualService first"
    );
    let is_another = |pod: &Value| {
        pod["metadata"]["labels"]["kanary.k8s-operators.dev/run"] != former["kanary.k8s-operators.dev/run"]
    };
    let is_there = |pods: &[&Value]| pods.iter().any(|pod| is_another(pod));
    world
        .until_all(
            &POD,
            "service=secondary",
            "the secondary of another run has a pod",
            is_there,
        )
        .await;
    is_scraped(&world, &exporter).await;
    let is_v2 = |app: &Value| app["status"]["lastSuccessfulTag"] == "hello:v2";
    let app = world.until(&CANARY_APP, "hello", "v2 is promoted", is_v2).await;
    owned(&world, &app, &HTTP_ROUTE, "hello").await;
    world.gone(&VIRTUAL_SERVICE, "hello").await;
}

#[tokio::test]
async fn a_gateway_that_is_not_wanted_any_more_is_deleted_if_it_belongs_to_the_application() {
    let world = served().await;
    let app = running(&world).await;
    let is_in_mesh =
        |route: &Value| (&route["spec"]["gateways"], &route["spec"]["hosts"]) == (&json!(["mesh"]), &json!(["hello"]));
    set(&world, json!({"gateway": "mesh"})).await;
    world.gone(&ISTIO_GATEWAY, "hello").await;
    let route = owned(&world, &app, &VIRTUAL_SERVICE, "hello").await;
    assert!(is_in_mesh(&route), "{route:#}");

    set(&world, json!({"gateway": null})).await;
    let gateway = world
        .until(&ISTIO_GATEWAY, "hello", "it is created again", |_| true)
        .await;
    let is_outside = |route: &Value| route["spec"]["gateways"] == json!(["hello"]);
    world
        .until(&VIRTUAL_SERVICE, "hello", "it is in force at the Gateway", is_outside)
        .await;
    // Its user keeps it.
    world
        .patch(&ISTIO_GATEWAY, "hello", json!({"metadata": {"ownerReferences": null}}))
        .await;
    set(&world, json!({"gateway": "mesh", "replicas": 3})).await;
    world
        .until(&VIRTUAL_SERVICE, "hello", "it is in force in the mesh", is_in_mesh)
        .await;
    set(&world, json!({"replicas": 1})).await;
    let is_scaled = |primary: &Value| primary["spec"]["replicas"] == 1;
    world.until(&DEPLOYMENT, PRIMARY, "it is scaled", is_scaled).await;
    let kept = world.get(&ISTIO_GATEWAY, "hello").await;
    assert_eq!(kept["metadata"]["uid"], gateway["metadata"]["uid"]);
}

#[tokio::test]
async fn a_spec_that_mixes_istio_and_gateway_api_is_refused() {
    let world = served_with_both().await;
    for (change, why) in [
        (json!({"gateway": "istio"}), "spec.gateway is about Istio"),
        (json!({"parentRefs": []}), "should have at least 1 items"),
        (json!({"parentRefs": [{"namespace": "infra"}]}), "Required value"),
        (
            json!({"hosts": ["Hello_World"]}),
            "spec.hosts are host names of an HTTPRoute",
        ),
        (
            json!({"prometheusQuery": "errors_total > 2"}),
            "select the secondary in spec.prometheusQuery",
        ),
    ] {
        let mut wrong = app(&world, "hello:v1");
        for spec in [behind_web(&world), change.clone()] {
            merge(&mut wrong, json!({"spec": spec}));
        }
        let refused = world.try_create(&CANARY_APP, &wrong).await.unwrap_err();
        assert!(refused.contains(why), "{change}: {refused}");
    }
    let _open = world.open_gateway().await;
    let mut right = app(&world, "hello:v1");
    let named = json!({"hosts": ["*"], "prometheusQuery": "x{workload=\"{{ canary.name }}\"} > 2"});
    for spec in [behind_web(&world), named] {
        merge(&mut right, json!({"spec": spec}));
    }
    world.create(&CANARY_APP, &right).await;
    let route = world.until(&HTTP_ROUTE, "hello", "it has all hosts", |_| true).await;
    assert_eq!(route["spec"]["hostnames"], json!([]));
}

#[tokio::test]
async fn a_query_that_could_not_find_an_error_of_the_secondary_tries_no_image() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    released_behind_web(&world).await;
    for query in [
        "secondary > 0",
        "errors{workload=\"hello\"} > 0 # secondary",
        "errors{pod=~\"hallo-secondary.*\"} > 0",
    ] {
        set(&world, json!({"image": "hello:v2", "prometheusQuery": query})).await;
        let is_refused = |app: &Value| {
            is_true(app, "Errored")
                && reason(app, "Errored") == "InvalidSpec"
                && app["status"]["observedGeneration"] == app["metadata"]["generation"]
        };
        let refused = world
            .until(&CANARY_APP, "hello", "its query is refused", is_refused)
            .await;
        let said = message(&refused, "Errored");
        assert!(
            said.contains("no matcher of spec.prometheusQuery selects the secondary"),
            "{said}"
        );
    }
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v1");
    set(&world, behind_web(&world)).await;
    is_scraped(&world, &exporter).await;
    world
        .until(&DEPLOYMENT, PRIMARY, "it runs the image", |primary| {
            image(primary) == "hello:v2"
        })
        .await;
}

#[tokio::test]
async fn the_port_of_a_living_application_cannot_change() {
    let world = served().await;
    running(&world).await;
    let port = json!({"spec": {"imageListenPort": 9090}});
    let refused = world.try_patch(&CANARY_APP, "hello", &port).await.unwrap_err();
    assert!(refused.contains("spec.imageListenPort cannot change"), "{refused}");
}
