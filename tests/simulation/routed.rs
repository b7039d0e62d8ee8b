//! Canaries that get their requests through routes, while controllers are killed in mid-step and a control plane hangs or is
//! late. A load runs through each route: no request fails, and no canary gets more than its step.

mod alone;
mod case;
mod checker;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kanary_core::decide;
use kanary_sim::{
    cluster::Event,
    gateway::{RouteName, Settings},
    network::{Faults, NetworkFaults},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep, timeout},
};

use self::{
    case::{Deed, Routed},
    checker::Shared,
};
use crate::{
    asked,
    case::{deployment, service},
    mutants::tampers,
    panics::caught,
    run::in_virtual_time,
    world::{Replica, World, Wrong},
};

const SEEDS: u64 = 12;

/// Number of Kanaries per seed.
const KANARIES: usize = 4;

/// Time that proxies get to follow a route.
const SETTLING: Duration = Duration::from_secs(5);

/// How a gateway behaves during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Proxies follow after two seconds.
    Late,
    /// The control plane hangs for a while, again and again.
    Hangs,
}

impl Weather {
    fn of(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::Fair,
            1 => Self::Late,
            _ => Self::Hangs,
        }
    }
}

fn set(world: &World, weather: Weather) {
    let gateway = &world.stack.gateway;
    gateway.install_gateway_api().unwrap();
    gateway.install_istio().unwrap();
    if weather == Weather::Late {
        let late = Duration::from_secs(2)..=Duration::from_secs(3);
        gateway.set(Settings {
            delay: late.clone(),
            endpoints: late,
            // Shorter, and the test would be about how pods end.
            linger: Duration::from_secs(6),
            ..Settings::default()
        });
    }
}

/// Lets the control plane hang, except while proxies are about to follow: no status tells that they do not.
async fn hang(world: Arc<World>, checker: Shared, mut rng: fastrand::Rng) {
    for _ in 0..4 {
        sleep(Duration::from_millis(rng.u64(5000..40_000))).await;
        let settled = || {
            let last = checker.lock().unwrap().last_write;
            last.is_none_or(|last| world.now().duration_since(last) > SignedDuration::from_secs(1))
        };
        while !settled() {
            sleep(Duration::from_millis(300)).await;
        }
        world.stack.gateway.hang(true);
        sleep(Duration::from_millis(rng.u64(2000..60_000))).await;
        world.stack.gateway.hang(false);
    }
}

/// Metrics of a canary that is bad from a share on.
fn measure(world: &World) {
    world.stack.prometheus.script("risk", |wanted, _| {
        let number = |label: &str| wanted.get(label).and_then(|value| value.parse::<f64>().ok());
        let (Some(weight), Some(limit)) = (number("weight"), number("limit")) else {
            return Vec::new();
        };
        let labels =
            ["weight", "limit"].map(|label| (label.to_owned(), wanted.get(label).unwrap_or_default().to_owned()));
        vec![(labels.into_iter().collect(), if weight < limit { 0.1 } else { 0.9 })]
    });
}

/// The specs of routes as their users wrote them.
type Specs = Arc<Mutex<BTreeMap<RouteName, Value>>>;

/// What the user of a Kanary does.
async fn live(world: Arc<World>, case: Routed, specs: Specs, seed: u64) {
    world.create(&service(&case.app)).await;
    world.create(&deployment(&case.app, 3)).await;
    world.create(&case.route_manifest()).await;
    let route = case.route();
    let written = world.stack.cluster.object(&route.0, &route.1).unwrap().json();
    specs.lock().unwrap().insert(route.clone(), written["spec"].clone());
    let start = Instant::now();
    sleep(Duration::from_secs(9)).await;
    world.stack.gateway.start(case.load(seed));
    tokio::time::sleep_until(start + case.created).await;
    world.create(&case.manifest()).await;
    let Some((after, deed)) = case.deed.clone() else {
        return;
    };
    sleep(after).await;
    let patch = async |patch: Value| {
        world.patch("KanaryDeployment", &case.name, &patch).await;
    };
    match deed {
        Deed::Delete => world.delete("KanaryDeployment", &case.name).await,
        Deed::Edit => patch(json!({"spec": {"template": case.template("v3")}})).await,
        Deed::Fail => patch(json!({"spec": {"verdict": "invalid"}})).await,
        Deed::Pause(long) => {
            patch(json!({"spec": {"paused": true}})).await;
            sleep(long).await;
            patch(json!({"spec": {"paused": false}})).await;
        }
        Deed::EditRoute => {
            // The webhook of a control plane that hangs refuses it.
            let edit = case.edit_of_route();
            write_route(&world, &case, &edit).await;
            crate::case::merge(specs.lock().unwrap().get_mut(&route).unwrap(), &edit["spec"]);
        }
        Deed::RevertRoute => write_route(&world, &case, &case.revert()).await,
    }
}

/// Patches a route as its user, who tries again while a webhook refuses it.
async fn write_route(world: &World, case: &Routed, patch: &Value) {
    let (api, params) = (world.api(case.route_kind()), kube::api::PatchParams::default());
    while api
        .patch(&case.app, &params, &kube::api::Patch::Merge(patch))
        .await
        .is_err()
    {
        sleep(Duration::from_secs(1)).await;
    }
}

fn is_route(event: &Event) -> bool {
    let kind = &*event.resource;
    event.actor.starts_with("kanary-") && (kind.starts_with("httproutes") || kind.starts_with("virtualservices"))
}

async fn next_route(changes: &mut UnboundedReceiver<Event>) {
    loop {
        let change = changes.recv().await.expect("the cluster is running");
        if is_route(&change) {
            return;
        }
    }
}

fn start(world: &World, number: u64, wrong: &Wrong) -> Replica {
    let (name, skew) = (format!("kanary-{number}"), SignedDuration::ZERO);
    let replica = Replica::start(world, &name, number, skew, wrong, None);
    replica.set_network(&NetworkFaults {
        latency: Duration::from_millis(1)..=Duration::from_millis(40),
        faults: Faults {
            lost: 0.05,
            ..Faults::default()
        },
        ..NetworkFaults::default()
    });
    replica
}

/// Runs a seed and returns what went wrong.
async fn storm(seed: u64, wrong: &Wrong) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let weather = Weather::of(seed);
    let cases: Vec<_> = (0..KANARIES).map(|index| Routed::new(&mut rng, index)).collect();
    let checker: Shared = Arc::default();
    let look = checker.clone();
    let mut world = World::start(seed, Box::new(move |event| look.lock().unwrap().look(event)));
    world.routes = Some(SETTLING);
    set(&world, weather);
    measure(&world);
    checker.lock().unwrap().gateway = Some(world.stack.gateway.clone());
    let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
    let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
    let web = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"}, "spec": spec});
    world.create(&web).await;
    let world = Arc::new(world);
    let specs = Specs::default();
    for case in cases.clone() {
        checker.lock().unwrap().watch(case.clone());
        tokio::spawn(live(world.clone(), case, specs.clone(), rng.u64(..)));
    }
    if weather == Weather::Hangs {
        tokio::spawn(hang(world.clone(), checker.clone(), rng.fork()));
    }
    let replica = kill_in_mid_step(&world, &checker, &mut rng, wrong).await;
    sleep(Duration::from_mins(2)).await;
    drop(replica);
    let original = specs.lock().unwrap().clone();
    let mut checker = checker.lock().unwrap();
    checker.finish(&world, &original);
    let mut violations = std::mem::take(&mut checker.violations);
    drop(checker);
    // While the control plane hangs, proxies know nothing of the pods that a rollout replaces.
    for case in cases.iter().filter(|_| weather != Weather::Hangs) {
        let counts = world.stack.gateway.counts(&case.app, ..);
        if counts.failed() > 0 || counts.total() < 1000 {
            let first = first_failure(&world, &case.app);
            violations.push(format!("{}: {counts:?}, failures from {first:?} on", case.name));
        }
    }
    violations
}

/// The first second with a failed request of a load.
fn first_failure(world: &World, load: &str) -> Option<Timestamp> {
    let mut seconds = (0..3600).map(|second| world.now() - SignedDuration::from_secs(3600 - second));
    let second = SignedDuration::from_secs(1);
    seconds.find(|from| world.stack.gateway.counts(load, *from..*from + second).failed() > 0)
}

/// Kills and restarts the controller after every third change of a route, until all runs have ended.
async fn kill_in_mid_step(world: &World, checker: &Shared, rng: &mut fastrand::Rng, wrong: &Wrong) -> Replica {
    let mut changes = world.stack.cluster.events();
    let mut started = 1;
    let mut replica = start(world, started, wrong);
    let begun = Instant::now();
    // The last user acts after two minutes.
    let acts = Duration::from_secs(150);
    while begun.elapsed() < Duration::from_mins(20) {
        let route = timeout(Duration::from_secs(5), next_route(&mut changes)).await;
        if route.is_ok() && rng.u8(..3) == 0 {
            sleep(Duration::from_millis(rng.u64(..1500))).await;
            replica.kill().await;
            sleep(Duration::from_millis(rng.u64(..5000))).await;
            started += 1;
            replica = start(world, started, wrong);
        }
        let checker = checker.lock().unwrap();
        if !checker.violations.is_empty() || begun.elapsed() > acts && checker.is_settled(world) {
            break;
        }
    }
    replica
}

fn violations(seed: u64, wrong: &Wrong) -> Vec<String> {
    let run = || in_virtual_time(seed, storm(seed, wrong));
    caught(run).unwrap_or_else(|panicked| vec![panicked.to_string()])
}

/// Runs `KANARY_SEEDS` seeds from `KANARY_SEED` on.
#[test]
fn no_canary_gets_more_than_its_step_and_no_request_fails() {
    let first = asked("KANARY_SEED").unwrap_or(0);
    crate::log_if_asked();
    for seed in first..first + asked("KANARY_SEEDS").unwrap_or(SEEDS) {
        let violations = violations(seed, &Wrong::default());
        assert!(
            violations.is_empty(),
            "{}\nreplay: KANARY_SEED={seed} KANARY_SEEDS=1 cargo test --test simulation no_canary_gets_more -- --nocapture",
            violations.join("\n")
        );
    }
}

/// Asserts that a mutant has a violation that contains `expected`, in one of the seeds with this remainder by 3.
fn assert_caught(wrong: &Wrong, weather: Weather, expected: &str) {
    let mut seeds = (0..SEEDS * 3).filter(|seed| Weather::of(*seed) == weather);
    let is_caught = seeds.any(|seed| {
        violations(seed, wrong)
            .iter()
            .any(|violation| violation.contains(expected))
    });
    assert!(is_caught, "nobody noticed: {expected}");
}

/// Changes each JSON Patch of a route.
fn tampers_with_routes(change: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Wrong {
    tampers(move |head, mut body| {
        let path = head.uri.path();
        let is_route = path.contains("/httproutes/") || path.contains("/virtualservices/");
        if let Some(operations) = body.as_array_mut().filter(|_| is_route) {
            change(operations);
        }
        vec![body]
    })
}

/// Raises the weight of each backend that is a canary's.
fn favour(value: &mut Value) {
    let name = value
        .get("name")
        .or(value.pointer("/destination/host"))
        .and_then(Value::as_str);
    let weight = value["weight"].as_u64().filter(|weight| *weight > 0);
    if let Some(weight) = weight.filter(|_| name.is_some_and(|name| name.contains("-kanary-"))) {
        value["weight"] = json!(weight + 1);
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(favour),
        Value::Array(items) => items.iter_mut().for_each(favour),
        _ => {}
    }
}

#[test]
fn a_share_that_is_no_step_is_caught() {
    let wrong = tampers_with_routes(|operations| operations.iter_mut().for_each(favour));
    assert_caught(&wrong, Weather::Fair, "which is no step");
}

#[test]
fn a_canary_that_is_removed_before_the_proxies_follow_is_caught() {
    let wrong = Wrong {
        decide: |kanary, seen, now| {
            let mut seen = seen.clone();
            seen.route_settling = Duration::ZERO;
            decide(kanary, &seen, now)
        },
        ..Wrong::default()
    };
    assert_caught(&wrong, Weather::Late, "requests still reach");
}

#[test]
fn a_route_that_keeps_something_is_caught() {
    let wrong = tampers_with_routes(|operations| operations.retain(|operation| operation["op"] != "remove"));
    assert_caught(&wrong, Weather::Fair, "the route keeps its annotation");
}
