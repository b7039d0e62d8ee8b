//! Objects of front ends in storms: `CanaryApp`s and `CanaryDeployment`s whose users try good and bad versions and meddle with what
//! the objects own, while controllers are killed at their writes. Only proof promotes, a bad version never reaches the primary or the
//! stable Deployment, and everything that is owned is as it has to be in the end.

mod case;
mod judge;
mod last;
mod matrix;
mod moves;
mod mutants;
mod requests;
mod shares;
mod way;

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use kanary_core::api::KanaryKind;
use kanary_sim::{
    cluster::Event,
    metrics_apis::{Api, MetricsApis, Mood, Reading},
    network::{Faults, Moment, NetworkFaults},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    case::{Front, Sort, failures, live},
    judge::Shared,
};
use crate::{
    asked,
    heard::Heard,
    history::{History, text},
    panics::caught,
    run::in_virtual_time,
    world::{NAMESPACE, Replica, Sharing, World, Wrong},
};

const SEEDS: u64 = 8;

/// Number of objects in a seed.
const FRONTS: usize = 4;

/// Time that proxies get to follow a route.
const SETTLING: Duration = Duration::from_secs(1);

/// Controllers look at some objects only so often.
const LOOKS_AGAIN: Duration = Duration::from_mins(6);

/// The kind of the objects of a seed, or both kinds.
#[derive(Clone, Copy)]
enum Sorts {
    Both,
    Only(Sort),
    /// Applications that their users move.
    Moving,
}

impl Sorts {
    fn any(self, rng: &mut fastrand::Rng, index: usize) -> Front {
        let sort = match self {
            Self::Moving => return Front::moving(rng, index),
            Self::Only(sort) => sort,
            Self::Both if rng.bool() => Sort::App,
            Self::Both => Sort::Tracks,
        };
        Front::new(rng, index, sort)
    }
}

/// Measures the pods of each version.
fn measure(world: &World) {
    let cluster = world.stack.cluster.clone();
    world.stack.prometheus.script("failures", move |_, _| {
        let pods = cluster.objects("pods", Some(NAMESPACE));
        let measured = pods.iter().filter_map(|pod| {
            let failures = failures(text(&pod.json()["spec"]["containers"][0]["image"]))?;
            let labels = [("pod".to_owned(), pod.meta.name.clone())];
            Some((labels.into_iter().collect(), failures))
        });
        measured.collect()
    });
}

/// Gives a new pod its metric.
fn measure_pod(apis: &MetricsApis, event: &Event) {
    let Some(pod) = event.change.new.as_ref().filter(|_| event.change.old.is_none()) else {
        return;
    };
    if let Some(failures) = failures(text(&pod.json()["spec"]["containers"][0]["image"])) {
        let reading = Reading::new(&failures.to_string());
        apis.set_custom(NAMESPACE, "pods", &pod.meta.name, "failures", reading);
    }
}

/// The replicas of a run.
struct Replicas<'a> {
    world: &'a World,
    wrong: &'a Wrong,
    rng: fastrand::Rng,
    network: NetworkFaults,
    started: u64,
    running: Vec<Replica>,
    shares: bool,
}

impl<'a> Replicas<'a> {
    fn of(world: &'a World, wrong: &'a Wrong, rng: fastrand::Rng, network: NetworkFaults) -> Self {
        Self {
            world,
            wrong,
            rng,
            network,
            started: 0,
            running: Vec::new(),
            shares: false,
        }
    }

    fn start(&mut self, index: usize) {
        self.started += 1;
        let (name, sharing) = (format!("kanary-{}", self.started), Sharing::of(&format!("r{index}")));
        let sharing = self.shares.then_some(&sharing);
        let seed = self.rng.u64(..);
        let replica = Replica::start(self.world, &name, seed, SignedDuration::ZERO, self.wrong, sharing);
        replica.set_network(&self.network);
        self.running.insert(index, replica);
    }

    /// Kills one at one of its next writes, and starts another in its place.
    async fn kill(&mut self) {
        let index = self.rng.usize(..self.running.len());
        let replica = self.running.remove(index);
        let moments = [Moment::Before, Moment::After, Moment::Meanwhile];
        replica
            .link
            .crash_at(self.rng.u64(1..12), self.rng.choice(moments).unwrap());
        let patience = Duration::from_millis(self.rng.u64(5_000..90_000));
        let _dies = timeout(patience, replica.link.crashed()).await;
        let link = replica.link.clone();
        replica.kill().await;
        sleep(Duration::from_millis(self.rng.u64(..6000))).await;
        self.start(index);
        sleep(Duration::from_millis(self.rng.u64(..4000))).await;
        link.deliver();
    }
}

fn stormy(rng: &mut fastrand::Rng) -> NetworkFaults {
    if rng.u8(..4) == 0 {
        return NetworkFaults::default();
    }
    let (ms, life) = (Duration::from_millis, Duration::from_secs(rng.u64(5..60)));
    NetworkFaults {
        latency: ms(1)..=ms(rng.u64(2..200)),
        lag: ms(0)..=ms(rng.u64(1..1500)),
        faults: Faults {
            refused: rng.f64() * 0.06,
            broken: rng.f64() * 0.04,
            lost: rng.f64() * 0.06,
            late: rng.f64() * 0.03,
            watches: Some(life..=life * 3),
            ..Faults::default()
        },
    }
}

/// A world whose changes a judge sees.
fn watched(seed: u64) -> (World, Shared, Arc<Mutex<History>>) {
    let (judge, history, apis) = (
        Shared::default(),
        Arc::<Mutex<History>>::default(),
        Arc::<Mutex<MetricsApis>>::default(),
    );
    let (looks, notes, measures) = (judge.clone(), history.clone(), apis.clone());
    let look = move |event: &Event| {
        if &*event.resource == "pods" {
            measure_pod(&measures.lock().unwrap_or_else(PoisonError::into_inner), event);
        }
        notes.lock().unwrap_or_else(PoisonError::into_inner).note(event);
        looks.lock().unwrap_or_else(PoisonError::into_inner).look(event);
    };
    let mut world = World::start(seed, Box::new(look));
    *apis.lock().unwrap() = world.stack.server.metrics_apis().clone();
    apis.lock().unwrap().set_mood(NAMESPACE, Api::Custom, Mood::Serves);
    world.kinds.0 = KanaryKind::ALL.into();
    world.routes = Some(SETTLING);
    world.heard = Heard::new();
    judge.lock().unwrap().heard = world.heard.clone();
    world.stack.gateway.install_istio().unwrap();
    world.stack.gateway.install_gateway_api().unwrap();
    judge.lock().unwrap().gateway = Some(world.stack.gateway.clone());
    measure(&world);
    (world, judge, history)
}

/// Runs a seed and returns what went wrong.
async fn storm(seed: u64, sorts: Sorts, wrong: &Wrong) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let fronts = (0..FRONTS).map(|index| sorts.any(&mut rng, index));
    let fronts: Vec<_> = fronts.collect();
    let (world, judge, history) = watched(seed);
    let (world, mut users) = (Arc::new(world), JoinSet::new());
    for front in fronts {
        judge.lock().unwrap().watch(front.clone());
        users.spawn(live(world.clone(), front));
    }
    let network = stormy(&mut rng);
    let mut replicas = Replicas::of(&world, wrong, rng.fork(), network);
    replicas.shares = rng.bool();
    for index in 0..if replicas.shares { 2 } else { 1 } {
        replicas.start(index);
    }
    for _ in 0..rng.usize(1..8) {
        replicas.kill().await;
    }
    for replica in &replicas.running {
        replica.set_network(&NetworkFaults::default());
    }
    calm(&world, &judge, &mut users).await;
    told(&world, &judge, &history)
}

/// What went wrong, with the history of the first object that is concerned.
fn told(world: &World, judge: &Shared, history: &Mutex<History>) -> Vec<String> {
    let mut judge = judge.lock().unwrap();
    judge.finish(world);
    let mut violations = std::mem::take(&mut judge.violations);
    violations.truncate(3);
    if let Some(first) = violations.first_mut() {
        let name = first.split(' ').next().unwrap_or_default().to_owned();
        let _infallible = write!(first, "\n{}", history.lock().unwrap().story(&[&name]));
    }
    violations
}

/// Waits until everything is as it has to be and stays so, or until it is clear that it does not.
async fn calm(world: &World, judge: &Shared, users: &mut JoinSet<()>) {
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    for _ in 0..240 {
        sleep(Duration::from_secs(5)).await;
        let judge = judge.lock().unwrap();
        if !judge.violations.is_empty() || judge.is_settled(world) {
            break;
        }
    }
    sleep(Duration::from_mins(1)).await;
    let before = judge.lock().unwrap().writes;
    sleep(LOOKS_AGAIN).await;
    let mut judge = judge.lock().unwrap();
    let more = judge.writes - before;
    if more > 0 && judge.violations.is_empty() {
        judge
            .violations
            .push(format!("f - there are {more} more writes in the end"));
    }
}

fn violations(seed: u64, sorts: Sorts, wrong: &Wrong) -> Vec<String> {
    let run = || in_virtual_time(seed, storm(seed, sorts, wrong));
    caught(run).unwrap_or_else(|panicked| vec![panicked.to_string()])
}

/// Runs `KANARY_SEEDS` seeds from `KANARY_SEED` on.
#[test]
fn front_ends_promote_only_what_is_proven_whatever_happens() {
    let first = asked("KANARY_SEED").unwrap_or(0);
    crate::log_if_asked();
    for seed in first..first + asked("KANARY_SEEDS").unwrap_or(SEEDS) {
        let violations = violations(seed, Sorts::Both, &Wrong::default());
        assert!(
            violations.is_empty(),
            "{}\nreplay: KANARY_SEED={seed} KANARY_SEEDS=1 cargo test --test simulation front_ends_promote -- --nocapture",
            violations.join("\n")
        );
    }
}
