//! Scenarios, each determined by a seed: Kanaries with their users, replicas, and network faults.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::SignedDuration;
use kanary::places::CanaryLimits;
use kanary_sim::network::{Faults, Line, NetworkFaults};

use crate::{
    case::{Case, End, Maker, Truth},
    hostile::{self, Hostility},
    keda,
    kinds::{self, Kind},
    target_kinds::{self, Targets},
    trials,
    user::{forge, recreate},
    world::{SHARDS, Sharing},
};

/// A failure of replicas or of the API server.
#[derive(Clone, Debug)]
pub(crate) enum Blow {
    /// A replica is killed and restarted after a delay, in place or with a new identity.
    Kill(usize, Duration, bool),
    /// A replica is terminated, and another starts after a delay.
    Terminate(usize, Duration),
    /// A replica is paused or disconnected for a while.
    Cut(usize, Line, Duration),
    /// A replica cannot reach Leases for a while, if calls for Leases have a separate connection.
    CutLeases(usize, Duration),
    /// The API server is down for a while and restarts without its log of changes.
    Outage(Duration),
    /// The API server drops its log of changes.
    Compact,
    /// A rolling update: each replica ends after its replacement has started.
    Roll,
}

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) cases: Vec<Case>,
    /// The clock error of each replica.
    pub(crate) skews: Vec<SignedDuration>,
    /// How replicas share the work, if they do.
    pub(crate) sharing: Vec<Sharing>,
    pub(crate) network_faults: NetworkFaults,
    /// Blows, with the delay after the previous one.
    pub(crate) blows: Vec<(Duration, Blow)>,
    pub(crate) rng: fastrand::Rng,
    /// No faults, and one replica with an accurate clock: costs and times are exact.
    pub(crate) is_fair: bool,
    /// Number of shards of sharing replicas.
    pub(crate) shards: u16,
    /// Maximum delay of a verdict, if only replicas fail.
    pub(crate) bound: Option<SignedDuration>,
    /// Interference by other clients.
    pub(crate) hostility: Option<Hostility>,
    /// Limits on canaries that run at the same time.
    pub(crate) limits: Option<CanaryLimits>,
}

impl Scenario {
    /// A scenario with hostile clients and any network faults.
    pub(crate) fn hostile(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x0057_1e00_0000);
        let mut scenario = Self::of(seed);
        let hostility = Hostility::of(&mut rng);
        scenario.cases = hostile::cases(&mut rng, &hostility);
        scenario.hostility = Some(hostility);
        scenario
    }

    /// The scenario of a seed with the cases in [`kinds`].
    pub(crate) fn of(seed: u64) -> Self {
        Self::of_kinds(seed, kinds::ALL)
    }

    /// The scenario of a seed with the cases in [`trials`](crate::trials).
    pub(crate) fn trial(seed: u64) -> Self {
        Self::of_kinds(seed, trials::ALL)
    }

    pub(crate) fn of_kinds(seed: u64, kinds: &[Kind]) -> Self {
        Self::of_targets(seed, kinds, Targets::Only("Deployment"))
    }

    /// The scenario of a seed with targets and Kanaries of all kinds, and with all autoscalers.
    pub(crate) fn mixed(seed: u64) -> Self {
        let kinds = [kinds::ALL, &[keda::scaled]].concat();
        Self::of_targets(seed, &kinds, Targets::All)
    }

    /// The scenario of a seed in which StatefulSets run in place.
    pub(crate) fn in_place(seed: u64) -> Self {
        let kinds = [kinds::ALL, trials::ALL].concat();
        Self::of_targets(seed, &kinds, Targets::InPlace)
    }

    /// The same with hostile clients.
    pub(crate) fn mixed_and_hostile(seed: u64) -> Self {
        let mut scenario = Self::hostile(seed);
        target_kinds::mix(&mut kind_chance(seed), &mut scenario.cases, Targets::Mixed);
        scenario
    }

    /// A scenario in which two targets of different kinds have one name.
    pub(crate) fn namesakes(seed: u64) -> Self {
        let has_two = |scenario: &Self| target_kinds::has_namesakes(&scenario.cases);
        let mut scenarios = (0..).map(|more| Self::of_targets(seed + 1000 * more, &[kinds::passes], Targets::Mixed));
        scenarios.find(has_two).unwrap()
    }

    /// The scenario of a seed with cases of these kinds on these targets.
    pub(crate) fn of_targets(seed: u64, kinds: &[Kind], targets: Targets) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let number = rng.usize(6..=16);
        let mut cases: Vec<_> = (0..number).map(|index| any_case(&mut rng, kinds, index)).collect();
        let fair = rng.u8(..4) == 0;
        let replicas = if fair { 1 } else { rng.usize(1..=4) };
        // A single replica may run without Leases.
        let shares = replicas > 1 || (!fair && rng.bool());
        let sharing = (0..replicas).filter(|_| shares).map(|index| sharing(&mut rng, index));
        let sharing: Vec<_> = sharing.collect();
        target_kinds::mix(&mut kind_chance(seed), &mut cases, targets);
        recreate(&mut another_chance(seed), &mut cases);
        if !sharing.is_empty() {
            forge(&mut more_chance(seed), &mut cases);
        }
        let skews = (0..replicas).map(|_| skew(&mut rng, fair)).collect();
        let mut scenario = Self {
            seed,
            cases,
            skews,
            sharing,
            network_faults: NetworkFaults::default(),
            blows: Vec::new(),
            rng: rng.fork(),
            is_fair: fair,
            shards: SHARDS,
            bound: None,
            hostility: None,
            limits: None,
        };
        if !fair {
            scenario.network_faults = stormy(&mut rng);
            let number = rng.usize(..12);
            scenario.blows = (0..number).map(|_| any_blow(&mut rng, replicas)).collect();
        }
        scenario
    }

    /// A scenario in which one to three canaries may run at the same time. At least one replica leads, sometimes all do.
    pub(crate) fn limited(seed: u64) -> Self {
        let mut scenario = Self::of(seed);
        let mut rng = another_chance(!seed);
        // Users act at times that assume that a run starts at once, and a run that never ends keeps its place.
        let ends = |case: &Case| {
            let is_end = |end: &End| matches!(end, End::Updated | End::DryRun | End::Failed(_));
            case.acts.is_empty() && case.truth.ends.iter().all(is_end)
        };
        let any = (0..60).map(|index| any_case(&mut rng, kinds::ALL, index));
        scenario.cases = any.filter(ends).take(7).collect();
        for case in &mut scenario.cases {
            case.truth.plain = false;
            case.manifest["spec"]["priority"] = serde_json::json!(rng.i32(-2..=2));
        }
        let all_lead = rng.bool();
        for (index, sharing) in scenario.sharing.iter_mut().enumerate() {
            sharing.leads = Arc::new(move || all_lead || index == 0);
        }
        scenario.is_fair = false;
        scenario.limits = Some(CanaryLimits {
            total: Some(rng.u32(1..=3)),
            per_namespace: Some(rng.u32(1..=3)),
        });
        scenario
    }

    /// Many Kanaries on three to eight replicas. In every other seed only replicas fail, one after the other; in every
    /// fourth, their clocks are also wrong, replies are lost, and requests arrive late.
    pub(crate) fn fleet(seed: u64, kanaries: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut cases: Vec<_> = (0..kanaries)
            .map(|index| any_case(&mut rng, kinds::ALL, index))
            .collect();
        for case in &mut cases {
            // Spread over the time of the blows and not only their beginning.
            case.created *= 10;
        }
        recreate(&mut another_chance(seed), &mut cases);
        let mut more = more_chance(seed);
        forge(&mut more, &mut cases);
        let replicas = rng.usize(3..=8);
        let (bounded, rough) = (seed.is_multiple_of(2), seed % 4 == 1);
        let skews = (0..replicas).map(|_| skew(&mut more, !rough)).collect();
        let network_faults = if rough {
            lossy(&mut more)
        } else {
            NetworkFaults::default()
        };
        let mut sharing: Vec<_> = (0..replicas).map(|index| sharing(&mut rng, index)).collect();
        for sharing in sharing.iter_mut().filter(|_| bounded) {
            sharing.rate = 1.0;
        }
        let blows = (0..8).map(|number| {
            let (pause, blow) = any_blow(&mut rng, replicas);
            match (number, blow) {
                (3, _) => (pause, Blow::Roll),
                (_, Blow::Outage(_)) if bounded => (pause, Blow::Roll),
                // Replaced replicas have time to settle.
                (_, blow) if bounded => (pause + Duration::from_secs(25), blow),
                (_, blow) => (pause, blow),
            }
        });
        Self {
            seed,
            cases,
            skews,
            sharing,
            network_faults,
            blows: blows.collect(),
            rng: rng.fork(),
            is_fair: false,
            shards: 32,
            // A session TTL of 15 s, and two seconds to notice and to take over.
            bound: bounded.then(|| SignedDuration::from_secs(17)),
            hostility: None,
            limits: None,
        }
    }

    /// One of two replicas cannot reach Leases for longer than its session TTL, while everything else works.
    pub(crate) fn without_leases(seed: u64) -> Self {
        let mut scenario = Self::fleet(seed * 2, 30);
        scenario.skews.truncate(2);
        scenario.sharing.truncate(2);
        for (index, sharing) in scenario.sharing.iter_mut().enumerate() {
            sharing.apart = index == 0;
            sharing.leads = Arc::new(move || index == 1);
        }
        let cut = Blow::CutLeases(0, Duration::from_secs(90));
        scenario.blows = vec![(Duration::from_mins(1), cut)];
        scenario
    }

    /// How many canaries may run in the only namespace, if that is limited.
    pub(crate) fn limit(&self) -> Option<usize> {
        let limits = self.limits?;
        let least = [limits.total, limits.per_namespace].into_iter().flatten().min();
        least.and_then(|limit| usize::try_from(limit).ok())
    }

    pub(crate) fn truths(&self) -> BTreeMap<String, Truth> {
        let truths = self.cases.iter().map(|case| (case.name.clone(), case.truth.clone()));
        truths.collect()
    }
}

/// A separate random generator with the same seed, for additions to a scenario.
fn more_chance(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(!seed)
}

/// One more, so that its decisions do not change the histories of existing seeds.
fn another_chance(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.rotate_left(32) ^ 0x5eed)
}

/// One more, for the kinds of targets.
fn kind_chance(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.rotate_left(16) ^ 0x7a49)
}

fn any_case(rng: &mut fastrand::Rng, kinds: &[Kind], index: usize) -> Case {
    let kind = kinds[rng.usize(..kinds.len())];
    let mut make = Maker {
        rng,
        name: format!("k{index:02}"),
        target: format!("app{index:02}"),
        suffix: "",
    };
    kind(&mut make)
}

fn sharing(rng: &mut fastrand::Rng, index: usize) -> Sharing {
    // No replica or several may be told to lead.
    let leads = rng.u8(..3) == 0;
    Sharing {
        rate: 0.9 + 0.2 * rng.f64(),
        leads: Arc::new(move || leads),
        ..Sharing::of(&format!("kanary-{index}"))
    }
}

fn skew(rng: &mut fastrand::Rng, fair: bool) -> SignedDuration {
    if fair || rng.u8(..3) > 0 {
        return SignedDuration::ZERO;
    }
    SignedDuration::from_millis(rng.i64(-300_000..300_000))
}

fn stormy(rng: &mut fastrand::Rng) -> NetworkFaults {
    let ms = Duration::from_millis;
    let mut likely = |most: f64| rng.f64() * most;
    let faults = Faults {
        refused: likely(0.08),
        broken: likely(0.05),
        lost: likely(0.08),
        late: likely(0.04),
        hanging: likely(0.02),
        watches: None,
    };
    let life = rng.u64(2..60);
    let seconds = Duration::from_secs;
    NetworkFaults {
        latency: ms(1)..=ms(rng.u64(2..400)),
        lag: ms(0)..=ms(rng.u64(1..3000)),
        faults: Faults {
            watches: Some(seconds(life)..=seconds(life * 3)),
            ..faults
        },
    }
}

/// Without faults, except that replies are lost and requests are processed late.
fn lossy(rng: &mut fastrand::Rng) -> NetworkFaults {
    let faults = Faults {
        lost: rng.f64() * 0.06,
        late: rng.f64() * 0.03,
        ..Faults::default()
    };
    NetworkFaults {
        faults,
        ..NetworkFaults::default()
    }
}

fn any_blow(rng: &mut fastrand::Rng, replicas: usize) -> (Duration, Blow) {
    let after = Duration::from_millis(rng.u64(100..20_000));
    let long = Duration::from_millis(rng.u64(100..40_000));
    let whose = rng.usize(..replicas);
    let blow = match rng.u8(..9) {
        0..=2 => Blow::Kill(whose, Duration::from_millis(rng.u64(1..20_000)), rng.bool()),
        8 => Blow::Terminate(whose, Duration::from_millis(rng.u64(1..20_000))),
        3 => Blow::Cut(whose, Line::Frozen, long),
        4 => Blow::Cut(whose, Line::Dark, long),
        5 => Blow::Cut(whose, Line::Refusing, long),
        6 => Blow::Outage(long / 2),
        _ => Blow::Compact,
    };
    (after, blow)
}
