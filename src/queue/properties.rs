//! The schedule against a simple model.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::{
    schedule::{LATELY, SPARE, TURNS, WORKERS},
    tests::key_in,
    *,
};

/// What happens to a queue.
#[derive(Clone, Debug)]
enum Op {
    /// A key is pushed, for a time from now.
    Push(usize, usize, u64),
    /// All keys of a namespace are pushed, for a time from now.
    Burst(usize, u64),
    /// Time passes.
    Pass(u64),
    /// A turn ends, and asks to be woken after a time.
    Done(usize, Option<u64>),
}

const NAMESPACES: usize = 8;
const NAMES: usize = 60;

fn op() -> impl Strategy<Value = Op> {
    let delay = || prop_oneof![Just(0), 0..2_000_u64];
    prop_oneof![
        4 => (0..NAMESPACES, 0..NAMES, delay()).prop_map(|(namespace, name, delay)| Op::Push(namespace, name, delay)),
        1 => (0..NAMESPACES, delay()).prop_map(|(namespace, delay)| Op::Burst(namespace, delay)),
        3 => prop_oneof![Just(0), 1..700_u64].prop_map(Op::Pass),
        6 => (0..TURNS, prop::option::of(delay())).prop_map(|(turn, wake)| Op::Done(turn, wake)),
    ]
}

/// What must be true, kept in the simplest way.
struct Model {
    now: Instant,
    times: BTreeMap<Key, Instant>,
    turns: BTreeMap<Key, (Instant, Option<Instant>)>,
    /// When a turn of each namespace was last slow.
    slow: BTreeMap<String, Instant>,
    /// For each namespace that is due and has no turn: how many turns each other namespace was given since.
    passed: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Model {
    fn push(&mut self, key: Key, at: Instant) {
        if let Some((_, again)) = self.turns.get_mut(&key) {
            *again = Some(again.map_or(at, |again| again.min(at)));
            return;
        }
        let time = self.times.entry(key).or_insert(at);
        *time = at.min(*time);
    }

    fn done(&mut self, turn: usize, wake: Option<Instant>) -> Option<Key> {
        let key = self.turns.keys().nth(turn % self.turns.len().max(1))?.clone();
        let (_, again) = self.turns.remove(&key)?;
        if let Some(at) = [again, wake].into_iter().flatten().min() {
            self.push(key.clone(), at.max(self.now));
        }
        Some(key)
    }

    fn is_slow(&self, namespace: &str) -> bool {
        self.slow.get(namespace).is_some_and(|slow| self.now < *slow + LATELY)
    }

    /// Notes which namespaces have slow turns.
    fn look(&mut self) {
        let slow = self
            .turns
            .iter()
            .filter(|(_, (started, _))| *started + SLOW <= self.now);
        for (key, _) in slow {
            self.slow.insert(key.namespace.clone(), self.now);
        }
    }

    fn turns_of(&self, namespace: &str) -> usize {
        self.turns.keys().filter(|key| key.namespace == namespace).count()
    }

    fn worked(&self) -> impl Iterator<Item = &Key> {
        let turns = self.turns.iter();
        turns
            .filter(|(_, (started, _))| *started + SLOW > self.now)
            .map(|(key, _)| key)
    }

    fn due(&self) -> impl Iterator<Item = &Key> {
        let times = self.times.iter();
        times.filter(|(_, at)| **at <= self.now).map(|(key, _)| key)
    }

    /// A turn starts.
    fn start(&mut self, key: &Key) -> Result<(), TestCaseError> {
        let at = self.times.remove(key);
        prop_assert!(
            at.is_some_and(|at| at <= self.now),
            "{key} is early, lost or has a turn already"
        );
        let earlier = self
            .times
            .iter()
            .find(|(other, time)| other.namespace == key.namespace && Some(**time) < at);
        prop_assert!(earlier.is_none(), "{earlier:?} was due before {key}");
        self.passed.remove(&key.namespace);
        let waiting = self.due().map(|key| &key.namespace);
        let is_next = |other: &str| self.turns_of(other) == 0 && !self.is_slow(other);
        let waiting = waiting.filter(|other| **other != key.namespace && is_next(other));
        let waiting: BTreeSet<_> = waiting.cloned().collect();
        for other in waiting {
            let passed = self
                .passed
                .entry(other)
                .or_default()
                .entry(key.namespace.clone())
                .or_default();
            *passed += 1;
            prop_assert!(*passed <= 1, "{key} is served twice before a namespace that waits");
        }
        let former = self.turns.insert(key.clone(), (self.now, None));
        prop_assert!(former.is_none());
        Ok(())
    }

    /// Nothing waits without a reason, and no limit is exceeded.
    fn check(&self, schedule: &Schedule) -> Result<(), TestCaseError> {
        let (depth, ordinary) = (schedule.depth(self.now), schedule.ordinary());
        let (turns, worked) = (self.turns.len(), self.worked().count());
        prop_assert!(turns <= TURNS && worked <= WORKERS + SPARE && ordinary <= WORKERS);
        prop_assert_eq!((depth.queued, depth.due), (self.times.len(), self.due().count()));
        prop_assert_eq!((depth.turns, depth.slow), (turns, turns - worked));
        let waiting: BTreeSet<_> = self.due().map(|key| &key.namespace).collect();
        for namespace in waiting {
            let of_it = self.turns_of(namespace);
            prop_assert!(of_it <= 32);
            let its_workers = self.worked().filter(|key| key.namespace == *namespace).count();
            let is_full = turns == TURNS || worked == WORKERS + SPARE;
            let has_its_share = of_it >= (TURNS - turns).div_euclid(3).max(1);
            let gets_no_spare = its_workers >= SPARE - (worked - ordinary) || self.is_slow(namespace);
            let has_no_worker = ordinary == WORKERS && gets_no_spare;
            prop_assert!(is_full || has_its_share || has_no_worker, "{} waits", namespace);
        }
        Ok(())
    }
}

fn run(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    let mut model = Model {
        now,
        times: BTreeMap::new(),
        turns: BTreeMap::new(),
        slow: BTreeMap::new(),
        passed: BTreeMap::new(),
    };
    let key = |namespace: usize, name: usize| key_in(&format!("ns-{namespace}"), &format!("k-{name}"));
    // In the end, all turns end, and all that is queued is due.
    let last = (0..NAMESPACES * NAMES * 3).map(|_| Op::Done(0, None));
    for op in ops.into_iter().chain([Op::Pass(2_000)]).chain(last) {
        let is_pushed = !matches!(op, Op::Pass(_));
        let after = |millis| model.now + Duration::from_millis(millis);
        let pushed: Vec<_> = match op {
            Op::Push(namespace, name, delay) => vec![(key(namespace, name), after(delay))],
            Op::Burst(namespace, delay) => (0..NAMES).map(|name| (key(namespace, name), after(delay))).collect(),
            Op::Pass(millis) => {
                model.now = after(millis);
                Vec::new()
            }
            Op::Done(turn, wake) => {
                let wake = wake.map(after);
                if let Some(key) = model.done(turn, wake) {
                    schedule.done(&key, wake, model.now);
                }
                Vec::new()
            }
        };
        for (key, at) in pushed {
            model.push(key.clone(), at);
            schedule.push(key, at);
        }
        model.look();
        let wake = schedule.wake();
        for started in schedule.start(model.now, &mut Happened::default()) {
            // That a slow turn is long ago is noticed when the next worker is free.
            let is_awake = is_pushed || model.slow.contains_key(&started.key.namespace);
            prop_assert!(is_awake || wake.is_some_and(|wake| wake <= model.now), "it would sleep");
            model.start(&started.key)?;
        }
        model.check(&schedule)?;
        // A namespace that is due waits for a place, not for a time.
        let due: BTreeSet<_> = model.due().map(|key| &key.namespace).collect();
        let later = model.times.iter().filter(|(key, _)| !due.contains(&key.namespace));
        let next = later.map(|(_, at)| at).min();
        prop_assert!(
            next.is_none_or(|at| schedule.wake().is_some_and(|wake| wake <= *at)),
            "it sleeps too long"
        );
    }
    prop_assert!(
        model.times.is_empty() && model.turns.is_empty(),
        "something never had its turn"
    );
    prop_assert!(schedule.is_idle());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_schedule_does_what_a_simple_model_does(ops in vec(op(), 0..400)) {
        run(ops)?;
    }
}
