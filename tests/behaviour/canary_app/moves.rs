//! Routes of an application in the middle of a run: one that moves while the controller is killed, one that a Gateway refuses, and one
//! that somebody else puts in the place of the application's own.

use serde_json::{Value, json};

use super::{
    PRIMARY, SECONDARY, app,
    gateway_api::{behind_web, served_with_both, weight},
    image, is_scraped, running, set, share,
};
use crate::support::{
    CANARY_APP, DEPLOYMENT, DESTINATION_RULE, Exporter, HTTP_ROUTE, ISTIO_GATEWAY, Kind, POD, Recording, SERVICE, Seen,
    VIRTUAL_SERVICE, World, is_true, merge, message, reason, version,
};

const RUN: &str = "kanary.k8s-operators.dev/run";

async fn until_promoted(world: &World, tag: &str) {
    let is_there = |app: &Value| {
        app["status"]["lastSuccessfulTag"] == tag
            && app["status"]["observedGeneration"] == app["metadata"]["generation"]
    };
    world
        .until(&CANARY_APP, "hello", "the image is promoted", is_there)
        .await;
    world.gone(&DEPLOYMENT, SECONDARY).await;
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), tag);
}

/// The recorded states of the objects that lead requests to an application.
struct Ways([(Kind, &'static str, Recording); 6]);

impl Ways {
    async fn record(world: &World) -> Self {
        let record = async |kind: Kind, name| (kind, name, world.record(kind).await);
        Self([
            record(DEPLOYMENT, PRIMARY).await,
            record(SERVICE, "hello").await,
            record(DESTINATION_RULE, "hello").await,
            record(ISTIO_GATEWAY, "hello").await,
            record(VIRTUAL_SERVICE, "hello").await,
            record(HTTP_ROUTE, "hello").await,
        ])
    }

    /// Asserts that after each change up to the version of `last`, some route leads to a primary that serves. `now` is how the objects
    /// were before the first change. Returns the number of changes.
    fn assert_served(&self, mut now: [Option<Value>; 6], last: u64) -> usize {
        assert!(is_served(&now), "at first: {now:#?}");
        let all = self.0.iter().enumerate();
        let mut changes: Vec<(usize, Seen)> = all
            .flat_map(|(index, (_, name, recording))| recording.of(name).into_iter().map(move |seen| (index, seen)))
            .filter(|(_, seen)| seen.version <= last)
            .collect();
        changes.sort_by_key(|(_, seen)| seen.version);
        for (index, seen) in &changes {
            now[*index] = (!seen.deleted).then(|| seen.object.clone());
            let what = self.0[*index].0.kind;
            assert!(is_served(&now), "after a change of the {what}: {now:#?}");
        }
        changes.len()
    }
}

/// Whether a route leads to the primary, and the primary serves.
fn is_served(objects: &[Option<Value>; 6]) -> bool {
    let [primary, service, rule, gateway, istio, route] = objects;
    let is = |object: &Option<Value>, test: &dyn Fn(&Value) -> bool| object.as_ref().is_some_and(test);
    let labels = json!({"app": "hello", "owner": "canaryop", "service": "primary"});
    let selects = |service: &Value| {
        let selector = service["spec"]["selector"].as_object().unwrap();
        selector.iter().all(|(name, value)| labels[name] == *value)
    };
    let has_pods = |primary: &Value| primary["status"]["availableReplicas"].as_u64() >= Some(1);
    let leads = |route: &Value| share(route) < 100 && !route["spec"]["http"][0]["route"].as_array().unwrap().is_empty();
    let has_subsets = |rule: &Value| rule["spec"]["subsets"][0]["name"] == "primary";
    let through_istio = is(istio, &leads) && is(rule, &has_subsets) && gateway.is_some();
    let accepts = |route: &Value| {
        let conditions = route["status"]["parents"][0]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().all(|condition| condition["status"] == "True"))
    };
    let through_web = is(route, &|route| accepts(route) && weight(route) < 100);
    is(primary, &has_pods) && is(service, &selects) && (through_istio || through_web)
}

#[tokio::test]
async fn an_application_that_moves_in_mid_run_while_the_controller_is_killed_is_served_after_each_change() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    running(&world).await;
    let ways = Ways::record(&world).await;
    let mut first = [const { None }; 6];
    for (object, (kind, name, _)) in first.iter_mut().zip(&ways.0) {
        *object = world.find(kind, name).await;
    }
    let back = json!({"parentRefs": null, "hosts": null});
    for (tag, spec, (from, to)) in [
        ("hello:v2", behind_web(&world), (VIRTUAL_SERVICE, HTTP_ROUTE)),
        ("hello:v3", back, (HTTP_ROUTE, VIRTUAL_SERVICE)),
    ] {
        set(&world, json!({"image": tag})).await;
        is_scraped(&world, &exporter).await;
        let has_share = |route: &Value| {
            let is_http = route["kind"] == "HTTPRoute";
            if is_http { weight(route) > 0 } else { share(route) > 0 }
        };
        world
            .until(&from, "hello", "the secondary gets requests", has_share)
            .await;
        let former = world.get(&DEPLOYMENT, SECONDARY).await["metadata"]["labels"][RUN].clone();
        set(&world, spec).await;
        world.until(&to, "hello", "the new route is created", |_| true).await;
        world.kill_controller();
        world.start_controller_of_apps();
        world.gone(&from, "hello").await;
        let is_another = |pods: &[&Value]| pods.iter().any(|pod| pod["metadata"]["labels"][RUN] != former);
        world
            .until_all(
                &POD,
                "service=secondary",
                "the secondary of another run has a pod",
                is_another,
            )
            .await;
        is_scraped(&world, &exporter).await;
        until_promoted(&world, tag).await;
    }
    let last = world.get(&VIRTUAL_SERVICE, "hello").await;
    for (_, name, recording) in ways.0.iter().filter(|(kind, _, _)| *kind == VIRTUAL_SERVICE) {
        recording.reached(&last).await;
        assert!(!recording.of(name).is_empty());
    }
    let changes = ways.assert_served(first, version(&last));
    assert!(changes > 30, "{changes}");
}

#[tokio::test]
async fn an_image_that_one_of_two_gateways_refuses_gets_no_requests_and_no_verdict() {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    world.set_gateway("edge", "GRPCRoute").await;
    let mut manifest = app(&world, "hello:v1");
    let parents = json!([{"name": "web"}, {"name": "edge"}]);
    for spec in [behind_web(&world), json!({"parentRefs": parents})] {
        merge(&mut manifest, json!({"spec": spec}));
    }
    world.create(&CANARY_APP, &manifest).await;
    world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await;
    let routes = world.record(HTTP_ROUTE).await;
    set(&world, json!({"image": "hello:v2"})).await;
    let is_behind = |app: &Value| is_true(app, "Errored") && reason(app, "Errored") == "GatewayBehind";
    let refused = world
        .until(&CANARY_APP, "hello", "it says that a gateway is behind", is_behind)
        .await;
    let said = message(&refused, "Errored");
    assert!(said.contains("edge reports Accepted=False"), "{said}");
    assert_eq!(refused["status"]["trafficShift"], 0);
    let shared = || routes.all(|route| weight(route) > 0).len();
    assert_eq!(
        (shared(), refused["status"]["lastSuccessfulTag"].as_str()),
        (0, Some("hello:v1"))
    );

    world.set_gateway("edge", "HTTPRoute").await;
    is_scraped(&world, &exporter).await;
    until_promoted(&world, "hello:v2").await;
    assert!(shared() > 0);
}

/// Somebody else puts a route in the place of the application's own while the secondary gets requests.
async fn is_replaced(kind: Kind, spec: Value, has_share: fn(&Value) -> bool) {
    let world = served_with_both().await;
    let exporter = Exporter::start(&world).await;
    let _open = world.open_gateway().await;
    let mut manifest = app(&world, "hello:v1");
    merge(&mut manifest, json!({"spec": spec_of(&world, &kind)}));
    world.create(&CANARY_APP, &manifest).await;
    world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await;
    set(&world, json!({"image": "hello:v2"})).await;
    is_scraped(&world, &exporter).await;
    world
        .until(&kind, "hello", "the secondary gets requests", has_share)
        .await;
    world.delete(&kind, "hello").await;
    let resource = kind.resource();
    let theirs = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "hello"}, "spec": spec,
    });
    let theirs = world.create(&kind, &theirs).await;
    let is_taken = |app: &Value| is_true(app, "Errored") && reason(app, "Errored") == "NameTaken";
    let app = world
        .until(&CANARY_APP, "hello", "it says whose the route is", is_taken)
        .await;
    assert_eq!(app["status"]["trafficShift"], 0, "{app:#}");
    set(&world, json!({"replicas": 3})).await;
    let is_seen = |app: &Value| is_taken(app) && app["status"]["observedGeneration"] == app["metadata"]["generation"];
    world
        .until(&CANARY_APP, "hello", "it still says so after an edit", is_seen)
        .await;
    let now = world.get(&kind, "hello").await;
    let fields = [
        "/metadata/uid",
        "/metadata/generation",
        "/metadata/annotations",
        "/spec",
    ];
    for field in fields {
        assert_eq!(now.pointer(field), theirs.pointer(field), "{field}");
    }
    world.delete(&kind, "hello").await;
    until_promoted(&world, "hello:v2").await;
}

fn spec_of(world: &World, kind: &Kind) -> Value {
    if *kind == HTTP_ROUTE {
        behind_web(world)
    } else {
        json!({})
    }
}

#[tokio::test]
async fn a_virtual_service_of_somebody_else_that_takes_its_place_in_mid_run_is_not_written() {
    let to = json!([{"destination": {"host": "theirs"}}]);
    let spec = json!({"hosts": ["theirs.example"], "gateways": ["theirs"], "http": [{"route": to}]});
    Box::pin(is_replaced(VIRTUAL_SERVICE, spec, |route| share(route) > 0)).await;
}

#[tokio::test]
async fn an_http_route_of_somebody_else_that_takes_its_place_in_mid_run_is_not_written() {
    let rules = json!([{"backendRefs": [{"name": "theirs", "port": 80}]}]);
    let spec = json!({"parentRefs": [{"name": "web"}], "hostnames": ["theirs.example"], "rules": rules});
    Box::pin(is_replaced(HTTP_ROUTE, spec, |route| weight(route) > 0)).await;
}
