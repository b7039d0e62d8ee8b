//! Traffic through routes: what the canary gets, and what becomes of the route.

use kanary_sim::gateway::Counts;
use serde_json::{Value, json};

use crate::support::{
    CANARY, DEPLOYMENT, HTTP_ROUTE, KANARY, Kind, PLAIN, SERVICE, VIRTUAL_SERVICE, World, is_true, once,
};

/// A rule to the Service `app` with fields that nobody but the user may touch.
pub(crate) fn rules() -> Value {
    let filters = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-debug"]}}]);
    json!([{"name": "all", "filters": filters, "timeouts": {"request": "3s"}, "later": {"x": 1},
            "backendRefs": [{"name": "app", "port": 80}]}])
}

/// A spec with this traffic that passes by itself.
fn with(traffic: Value) -> Value {
    json!({"serviceName": "app", "traffic": traffic})
}

/// The canary gets a fifth and then a half of the requests.
fn weighted() -> Value {
    json!({"source": "weighted", "weighted": {"steps": [20, 50], "interval": "2s"}})
}

/// A spec that waits for a manual verdict at its only step of 20 %.
pub(crate) fn held(traffic: Value) -> Value {
    let mut spec = with(traffic);
    spec["validation"] = crate::support::held();
    spec
}

pub(crate) fn one_step() -> Value {
    json!({"source": "weighted", "weighted": {"steps": [20], "interval": "1s"}})
}

/// Asserts that a route is as its user wrote it.
#[track_caller]
pub(crate) fn assert_untouched(route: &Value, original: &Value) {
    assert_eq!(route["spec"], original["spec"]);
    assert_eq!(route["metadata"]["annotations"], original["metadata"]["annotations"]);
}

/// Asserts that no request failed and that the share of version v2 was at most `percent`.
#[track_caller]
fn assert_served(counts: &Counts, percent: f64) {
    assert_eq!(counts.failed(), 0, "{counts:?}");
    let is_more = counts.share("v2") * 100.0 > percent;
    assert!(
        !is_more || counts.deviation("v2", percent) < 4.0,
        "more than {percent} %: {counts:?}"
    );
}

/// Gives a bad verdict, which ends the run.
pub(crate) async fn reject(world: &World, name: &str) {
    world.edit(name, json!({"verdict": "invalid"})).await;
    world.ends(name, "Failed").await;
}

async fn gone(world: &World) {
    world.gone(&DEPLOYMENT, CANARY).await;
    world.gone(&SERVICE, CANARY).await;
}

/// The finalizer is gone.
async fn released(world: &World) {
    let is_released = |kanary: &Value| kanary["metadata"]["finalizers"].is_null();
    world.until(&KANARY, "batman", "no finalizer", is_released).await;
}

/// A good canary, which ends in production.
async fn succeeds(world: &World, kind: &Kind, original: &Value) {
    let routes = world.record(*kind).await;
    world.load(|load| load).await;
    world.kanary("batman", "app", with(weighted())).await;
    world.until_percent(CANARY, 20.0).await;
    let shares = async |weight: u64| {
        let what = format!("the share {weight}%");
        let at = |kanary: &Value| kanary["status"]["traffic"]["weight"] == weight;
        world.until(&KANARY, "batman", &what, at).await
    };
    assert!(is_true(&shares(20).await, "Traffic"));
    assert_served(&world.counts(), 20.0);
    world.until_percent(CANARY, 50.0).await;
    shares(50).await;
    world.ends("batman", "DeploymentUpdated").await;
    world.until_percent("app", 100.0).await;
    gone(world).await;
    let route = world.get(kind, "app").await;
    assert_untouched(&route, original);
    routes.reached(&route).await;
    // Kanary came into the route before each share and is gone.
    let specs: Vec<_> = routes
        .of("app")
        .into_iter()
        .map(|seen| seen.object["spec"].clone())
        .collect();
    assert!(specs.len() >= 3, "{specs:#?}");
    released(world).await;
    assert_eq!(world.counts().failed(), 0);
    let app = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(app["spec"]["template"]["spec"]["containers"][0]["image"], "app:v2");
}

#[tokio::test]
async fn a_good_canary_gets_its_shares_of_an_http_route_in_turn() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    succeeds(&world, &HTTP_ROUTE, &original).await;
}

#[tokio::test]
async fn a_good_canary_gets_its_shares_of_a_virtual_service_in_turn() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let http =
        json!([{"route": [{"destination": {"host": "app", "port": {"number": 80}}}], "timeout": "3s", "later": 1}]);
    let original = world.virtual_service(http).await;
    succeeds(&world, &VIRTUAL_SERVICE, &original).await;
}

#[tokio::test]
async fn a_successful_run_of_four_steps_takes_at_most_fifteen_writes() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    world.http_route(rules()).await;
    let steps = json!({"source": "weighted", "weighted": {"steps": [5, 10, 25, 50], "interval": "1s"}});
    world.kanary("batman", "app", with(steps)).await;
    world.ends("batman", "DeploymentUpdated").await;
    gone(&world).await;
    released(&world).await;
    let requests = world.requests().await;
    let mut writes = once(&requests);
    writes.retain(|request| request.is_write() && !request.is_event());
    let shown: Vec<_> = writes
        .iter()
        .map(|request| format!("{} {} {}", request.verb, request.resource, request.code))
        .collect();
    assert!(writes.iter().all(|request| request.code < 400), "{shown:#?}");
    let last = shown.iter().rposition(|write| write.contains("/status")).unwrap();
    let (run, clean_up) = shown.split_at(last + 1);
    assert!(run.len() <= 15, "{} writes: {run:#?}", run.len());
    // The last is the removal of the finalizer.
    let expected = [
        "delete deployments 200",
        "delete services 200",
        "patch kanarydeployments 200",
    ];
    assert_eq!(clean_up, expected, "after {run:#?}");
}

/// A canary with its share of a route under load, and the route as its user wrote it.
async fn at_its_step() -> Option<(World, Value)> {
    let world = World::with_gateway("routes").await?;
    let original = world.http_route(rules()).await;
    world.load(|load| load).await;
    world.kanary("batman", "app", held(one_step())).await;
    world.until_percent(CANARY, 20.0).await;
    Some((world, original))
}

#[tokio::test]
async fn a_bad_canary_leaves_the_route_before_it_is_removed() {
    let Some((world, original)) = at_its_step().await else {
        return;
    };
    reject(&world, "batman").await;
    gone(&world).await;
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    assert_served(&world.counts(), 20.0);
    assert!(world.counts().of("v2") > 0);
}

#[tokio::test]
async fn a_kanary_that_is_deleted_in_mid_step_leaves_the_route_as_it_was() {
    let Some((world, original)) = at_its_step().await else {
        return;
    };
    world.delete(&KANARY, "batman").await;
    world.gone(&KANARY, "batman").await;
    assert!(
        world.percent(CANARY) < 1e-6,
        "the finalizer holds the Kanary until then"
    );
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    gone(&world).await;
    assert_served(&world.counts(), 20.0);
}

#[tokio::test]
async fn a_kanary_whose_finalizer_somebody_removed_leaves_the_route_as_it_was_all_the_same() {
    let Some((world, original)) = at_its_step().await else {
        return;
    };
    let finalizers = world.get(&KANARY, "batman").await["metadata"]["finalizers"].clone();
    assert!(finalizers.is_array(), "{finalizers}");
    // As `kubectl replace` does.
    let free = json!({"metadata": {"finalizers": null, "annotations": null}});
    world.patch(&KANARY, "batman", free).await;
    let is_held = |kanary: &Value| kanary["metadata"]["finalizers"] == finalizers;
    world.until(&KANARY, "batman", "is held again", is_held).await;
    world.delete(&KANARY, "batman").await;
    world.gone(&KANARY, "batman").await;
    assert!(world.percent(CANARY) < 1e-6);
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    gone(&world).await;
    assert_served(&world.counts(), 20.0);
}

#[tokio::test]
async fn a_controller_that_is_killed_in_mid_step_goes_on_from_there() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    world.load(|load| load).await;
    world.kanary("batman", "app", with(weighted())).await;
    for percent in [20.0, 50.0] {
        world.until_percent(CANARY, percent).await;
        world.kill_controller();
        world.start_routing_controller();
    }
    world.ends("batman", "DeploymentUpdated").await;
    gone(&world).await;
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    assert_eq!(world.counts().failed(), 0);
}

#[tokio::test]
async fn tagged_requests_and_no_others_reach_the_canary() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    let tagged = json!({"headers": [{"name": "x-canary", "value": "always"}], "cookies": [{"name": "canary", "regex": "yes|always"}]});
    world
        .kanary("batman", "app", held(json!({"source": "tagged", "tagged": tagged})))
        .await;
    let header = world.request().header("x-canary", "always");
    let cookie = world.request().cookie("a", "b").cookie("canary", "yes");
    world.until_version(&header, "v2").await;
    world.load(|load| load).await;
    world.load_of("header", header);
    world.load_of("cookie", cookie);
    world.load_of(
        "other",
        world.request().cookie("canary", "no").header("x-canary", "sometimes"),
    );
    for load in [PLAIN, "header", "cookie", "other"] {
        world.until_answered(load, 51).await;
    }
    for (load, version) in [("header", "v2"), ("cookie", "v2"), ("other", "v1")] {
        let counts = world.counts_of(load);
        assert_eq!(
            (counts.of(version), counts.failed()),
            (counts.total(), 0),
            "{load}: {counts:?}"
        );
        assert!(counts.total() > 50);
    }
    assert_served(&world.counts(), 0.0);
    reject(&world, "batman").await;
    gone(&world).await;
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    assert_eq!(world.counts_of("header").failed(), 0);
}

#[tokio::test]
async fn a_mirrored_canary_gets_copies_and_answers_nobody() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    world.load(|load| load).await;
    let mirror = json!({"source": "mirror", "mirror": {"percent": 100}});
    world.kanary("batman", "app", held(mirror)).await;
    world.until_mirrored("v2").await;
    reject(&world, "batman").await;
    gone(&world).await;
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    assert_served(&world.counts(), 0.0);
}

#[tokio::test]
async fn a_user_with_the_cookie_stays_on_one_version_during_the_steps() {
    let Some(world) = World::with_gateway("routes").await else {
        return;
    };
    let original = world.http_route(rules()).await;
    let mut traffic = weighted();
    traffic["sessionAffinity"] = json!({"cookieName": "kanary"});
    world.kanary("batman", "app", held(traffic)).await;
    world.until_percent(CANARY, 20.0).await;
    world.load(|load| load.users(100)).await;
    world.until_percent(CANARY, 50.0).await;
    // Each of the users asks again.
    world.until_answered(PLAIN, 200).await;
    let counts = world.counts();
    assert_eq!((counts.moved, counts.failed()), (0, 0), "{counts:?}");
    assert!(counts.of("v2") > 0 && counts.of("v1") > 0);
    reject(&world, "batman").await;
    world.until_percent("app", 100.0).await;
    assert_untouched(&world.get(&HTTP_ROUTE, "app").await, &original);
    assert_eq!(world.counts().failed(), 0);
}
