//! Runs one seed: a phase with faults, a calm phase, and the final checks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use kanary_sim::network::{Faults, Line, NetworkFaults};
use tokio::{runtime::Builder, task::JoinSet, time::sleep};

use crate::{
    checker::{Checker, Invariant, Rough, Shared, Violation, owners::Owners},
    hostile, keda, metrics_apis, panics,
    scenario::{Blow, Scenario},
    target_kinds::needed,
    trials,
    user::live,
    world::{Replica, World, Wrong},
};

/// Maximum duration until everything is settled: a refused write is retried after 5 minutes.
const CALM: Duration = Duration::from_mins(15);

/// Time without any activity at the end.
const REST: Duration = Duration::from_secs(100);

/// How long after faults or a blow knowledge may still be outdated, until a timeout or the end of a session.
const SETTLING: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(130), SignedDuration::from_secs(30));

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    /// A digest of the history.
    pub(crate) history: u64,
    pub(crate) changes: u64,
    /// The longest wait of a Kanary for its verdict, where that is bounded.
    pub(crate) unattended: SignedDuration,
    /// Number of writes that took effect after a later owner had acted in their shard.
    pub(crate) late: u32,
}

impl Outcome {
    /// The outcome of an aborted run.
    fn broken_off(violation: Violation) -> Self {
        Self {
            violations: vec![violation],
            history: 0,
            changes: 0,
            unattended: SignedDuration::ZERO,
            late: 0,
        }
    }

    /// The first violation of each kind.
    pub(crate) fn broken(&self) -> Vec<Invariant> {
        let mut broken: Vec<_> = self.violations.iter().map(|violation| violation.invariant).collect();
        broken.dedup();
        broken
    }
}

/// Runs on one thread, in virtual time.
pub(crate) fn in_virtual_time<T>(seed: u64, run: impl Future<Output = T>) -> T {
    panics::listen();
    fastrand::seed(seed);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run)
}

/// Runs a scenario. A panic aborts it and is reported as a violation.
pub(crate) fn run(scenario: Scenario, wrong: &Wrong) -> Outcome {
    panics::caught(|| in_virtual_time(scenario.seed, Run::of(scenario, wrong))).unwrap_or_else(Outcome::broken_off)
}

/// A scenario in progress.
struct Run<'a> {
    world: Arc<World>,
    checker: Shared,
    replicas: Vec<Option<Replica>>,
    scenario: Scenario,
    wrong: &'a Wrong,
    started: u64,
    unattended: SignedDuration,
}

/// The final checks of a world with one replica.
pub(crate) async fn last_words(checker: &Shared, world: &World, replica: &Replica) -> Vec<Violation> {
    sleep(Duration::from_secs(30)).await;
    replica.set_line(Line::Frozen);
    let mut checker = checker.lock().unwrap();
    checker.finish(&world.stack.cluster);
    std::mem::take(&mut checker.violations)
}

/// Whether there are network faults that delay events or fail calls.
fn is_rough(network_faults: &NetworkFaults) -> bool {
    let Faults {
        refused,
        broken,
        lost,
        late,
        hanging,
        watches,
    } = &network_faults.faults;
    let likely = refused + broken + lost + late + hanging;
    likely > 0.0 || watches.is_some() || !network_faults.lag.end().is_zero()
}

/// A checker for all changes, and a digest of them.
pub(crate) fn watched(checker: Checker) -> (Shared, Arc<Mutex<(u64, u64)>>, kanary_sim::cluster::Hook) {
    let (checker, digest): (Shared, Arc<Mutex<(u64, u64)>>) = (Arc::new(Mutex::new(checker)), Arc::default());
    let (look, sum) = (checker.clone(), digest.clone());
    let hook = move |event: &kanary_sim::cluster::Event| {
        let object = event.change.new.as_ref().or(event.change.last.as_ref());
        let mut sum = sum.lock().unwrap();
        let text = object.map(|object| object.body().clone()).unwrap_or_default();
        let time = event.at.as_nanosecond().to_le_bytes();
        for byte in text.iter().chain(event.actor.as_bytes()).chain(&time) {
            // FNV-1a, which is the same in every process.
            sum.0 = (sum.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        sum.1 += 1;
        look.lock().unwrap_or_else(PoisonError::into_inner).look(event);
    };
    (checker, digest, Box::new(hook))
}

impl Run<'_> {
    async fn of(scenario: Scenario, wrong: &Wrong) -> Outcome {
        let (checker, digest, hook) = watched(Checker::new(scenario.truths()));
        let mut world = World::start(scenario.seed, hook);
        world.shards = scenario.shards;
        (world.limits, world.kinds) = (scenario.limits, needed(scenario.cases.iter()));
        keda::serve(&mut world, scenario.cases.iter());
        world.sent = checker.lock().unwrap().sent.clone();
        world.heard = checker.lock().unwrap().evidence.heard.clone();
        checker.lock().unwrap().evidence.metrics_apis = world.stack.server.metrics_apis().clone();
        measure(&world);
        metrics_apis::come_and_go(&world, &scenario.cases);
        let world = Arc::new(world);
        let spoils = scenario.cases.iter().filter(|case| case.spoils);
        let spoil = spoils.map(|case| (case.name.clone(), world.spoiled.clone()));
        {
            let mut checker = checker.lock().unwrap();
            checker.owners = Owners::of(scenario.shards);
            checker.evidence.rough = Rough::default();
            checker.canaries.limit = scenario.limit();
            checker.obstructed = scenario.hostility.as_ref().is_some_and(|hostility| hostility.for_good);
            checker.spoil = spoil.collect();
            if scenario.skews.iter().any(|skew| !skew.is_zero()) {
                checker.tolerance = SignedDuration::from_secs(1);
            }
        }
        let mut run = Run {
            world,
            checker: checker.clone(),
            replicas: Vec::new(),
            scenario,
            wrong,
            started: 0,
            unattended: SignedDuration::ZERO,
        };
        tokio::select! {
            biased;
            // Later violations usually follow from the first one.
            () = violated(&checker) => {}
            () = run.live() => {}
        }
        let unattended = run.unattended;
        let (history, changes) = *digest.lock().unwrap();
        let mut checker = checker.lock().unwrap();
        Outcome {
            violations: std::mem::take(&mut checker.violations),
            history,
            changes,
            unattended,
            late: checker.owners.late,
        }
    }

    async fn live(&mut self) {
        let mut users = JoinSet::new();
        let mut cases = Vec::new();
        for case in &self.scenario.cases {
            cases.push((case.clone(), self.scenario.rng.i32(1..5)));
        }
        match &mut self.scenario.hostility {
            Some(hostility) => hostile::start(&self.world, &self.checker, hostility, &cases, &mut users),
            None => {
                for (case, replicas) in cases {
                    users.spawn(live(self.world.clone(), case, replicas));
                }
            }
        }
        for index in 0..self.scenario.skews.len() {
            self.replicas.push(None);
            self.start(index);
        }
        self.storm().await;
        self.calm().await;
        while let Some(user) = users.join_next().await {
            user.unwrap();
        }
        self.rest().await;
    }

    fn start(&mut self, index: usize) {
        self.started += 1;
        let seed = self.scenario.rng.u64(..);
        let name = format!("kanary-{}", self.started);
        let skew = self.scenario.skews[index];
        let replica = Replica::start(
            &self.world,
            &name,
            seed,
            skew,
            self.wrong,
            self.scenario.sharing.get(index),
        );
        replica.set_network(&self.scenario.network_faults);
        self.replicas[index] = Some(replica);
    }

    /// Starts a replica in place of another: as a restarted container, or as a new pod.
    fn start_again(&mut self, index: usize, renamed: bool) {
        let name = format!("kanary-{}", self.started + 1);
        if let Some(sharing) = self.scenario.sharing.get_mut(index).filter(|_| renamed) {
            sharing.identity = format!("{name}-anew");
        }
        self.start(index);
    }

    async fn storm(&mut self) {
        let blows = std::mem::take(&mut self.scenario.blows);
        let stormy = is_rough(&self.scenario.network_faults);
        if stormy {
            self.rough(Rough::begin);
        }
        for (after, blow) in blows {
            sleep(after).await;
            self.rough(Rough::begin);
            match blow {
                Blow::Kill(index, pause, renamed) => {
                    if let Some(replica) = self.replicas[index].take() {
                        replica.kill().await;
                    }
                    sleep(pause).await;
                    self.start_again(index, renamed);
                }
                Blow::Terminate(index, pause) => {
                    if let Some(replica) = self.replicas[index].take() {
                        replica.terminate().await;
                    }
                    sleep(pause).await;
                    self.start_again(index, true);
                }
                Blow::Cut(index, line, long) => {
                    self.set_line(Some(index), line);
                    sleep(long).await;
                    self.set_line(Some(index), Line::Up);
                }
                Blow::CutLeases(index, long) => {
                    self.set_line_of_leases(index, Line::Dark);
                    sleep(long).await;
                    self.set_line_of_leases(index, Line::Up);
                }
                Blow::Outage(long) => {
                    self.set_line(None, Line::Refusing);
                    sleep(long).await;
                    self.world.stack.cluster.compact();
                    self.set_line(None, Line::Up);
                }
                Blow::Compact => self.world.stack.cluster.compact(),
                Blow::Roll => self.roll().await,
            }
            if !stormy {
                self.rough(|rough, now| rough.end(now + SETTLING.1));
            }
        }
        sleep(Duration::from_mins(1)).await;
        if stormy {
            self.rough(|rough, now| rough.end(now + SETTLING.0));
        }
    }

    /// Reports network faults to the checker.
    fn rough(&self, change: impl FnOnce(&mut Rough, jiff::Timestamp)) {
        change(&mut self.checker.lock().unwrap().evidence.rough, self.world.now());
    }

    async fn roll(&mut self) {
        let template = format!("{}", self.started);
        for index in 0..self.replicas.len() {
            let former = self.replicas[index].take();
            self.scenario.sharing[index].template.clone_from(&template);
            self.start_again(index, true);
            sleep(Duration::from_secs(5)).await;
            if let Some(former) = former {
                former.terminate().await;
            }
        }
    }

    fn set_line(&self, index: Option<usize>, line: Line) {
        for (at, replica) in self.replicas.iter().enumerate() {
            if let Some(replica) = replica.as_ref().filter(|_| index.is_none_or(|index| index == at)) {
                replica.set_line(line);
            }
        }
    }

    fn set_line_of_leases(&self, index: usize, line: Line) {
        if let Some(replica) = &self.replicas[index] {
            replica.set_line_of_leases(line);
        }
    }

    /// Runs without network faults until everything has settled.
    async fn calm(&mut self) {
        for replica in self.replicas.iter().flatten() {
            replica.set_network(&NetworkFaults::default());
        }
        self.scenario.network_faults = NetworkFaults::default();
        // The last user acts after two and a half minutes. Late or hanging requests end a minute later.
        let is_quick = self.scenario.is_fair && self.scenario.hostility.is_none();
        sleep(Duration::from_secs(if is_quick { 150 } else { 210 })).await;
        for _ in 0..CALM.as_secs() / 5 {
            self.hear();
            if self.checker.lock().unwrap().is_settled(&self.world.stack.cluster) {
                break;
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn hear(&self) {
        let entries = self.world.stack.server.take_entries();
        if std::env::var("KANARY_REQUESTS").is_ok() {
            for entry in &entries {
                println!(
                    "{} {} {} {} {} {}",
                    entry.at, entry.user, entry.verb, entry.resource, entry.name, entry.code
                );
            }
        }
        self.checker.lock().unwrap().hear(entries);
    }

    /// Checks that there is no more activity.
    async fn rest(&mut self) {
        sleep(Duration::from_secs(30)).await;
        let since = self.world.now();
        sleep(REST).await;
        self.hear();
        let now = self.world.now();
        let mut checker = self.checker.lock().unwrap();
        checker.finish(&self.world.stack.cluster);
        if self.scenario.hostility.is_some() {
            checker.check_quiet(since);
        } else if !self.scenario.cases.iter().any(|case| case.truth.what == "crashes") {
            checker.check_idle(since);
        }
        if self.scenario.is_fair && self.scenario.hostility.is_none() {
            checker.check_costs();
        }
        if let Some(bound) = self.scenario.bound {
            self.unattended = checker.check_attended(bound);
        }
        if self.replicas.iter().flatten().any(Replica::has_ended) {
            checker.died(now);
        }
        drop(checker);
    }
}

async fn violated(checker: &Shared) {
    while panics::none() && checker.lock().unwrap().violations.is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Provides the metrics of each kind of canary.
pub(crate) fn measure(world: &World) {
    trials::measure(world);
    metrics_apis::measure(world);
    world.stack.prometheus.script("quality", |wanted, at| {
        let value = match wanted.get("case") {
            Some("good") => 0.1,
            Some("bad") => 0.9,
            Some("nan") => f64::NAN,
            // Bad at three out of four seconds.
            Some("flaky") if at.as_second() % 4 > 0 => 0.2,
            _ => return Vec::new(),
        };
        let case = wanted.get("case").unwrap_or_default().to_owned();
        vec![([("case".to_owned(), case)].into_iter().collect(), value)]
    });
}
