//! Leaders and owners whose knowledge is out of date by any time.

use std::collections::{BTreeMap, BTreeSet};

use kanary_core::{
    Key,
    api::{KanaryKind, PlaceState},
};
use proptest::prelude::*;

use super::{
    super::{Book, CanaryLimits, Grant, View, next},
    key, limits, waits,
};
use crate::places::view::Applicant;

/// Two leaders and three Kanaries, whose owners see any version of the book.
struct Model {
    /// Everything that the API server ever stored, the newest last.
    worlds: Vec<BTreeMap<Key, Applicant>>,
    books: Vec<Book>,
    /// Kanaries with a canary, by uid.
    running: BTreeSet<String>,
    leaders: [Leader; 2],
    limits: CanaryLimits,
    clock: i64,
}

#[derive(Default)]
struct Leader {
    view: View,
    /// The version of the world and of the book that it has seen.
    world: usize,
    book: usize,
    before: BTreeMap<String, Grant>,
}

#[derive(Clone, Debug)]
enum Op {
    Ask(usize, i32),
    Start(usize, usize),
    End(usize),
    Leave(usize),
    Replace(usize),
    See(usize, usize),
    Read(usize, usize),
    ListAgain(usize),
    Write(usize),
    /// Reads the newest book, sees some events and writes.
    Lead(usize, usize),
}

const NAMESPACES: [&str; 2] = ["a", "b"];

impl Model {
    fn new(limits: CanaryLimits) -> Self {
        Self {
            worlds: vec![BTreeMap::new()],
            books: vec![Book::default()],
            running: BTreeSet::new(),
            leaders: [Leader::default(), Leader::default()],
            limits,
            clock: 0,
        }
    }

    fn key(number: usize) -> Key {
        key(NAMESPACES[number % 2], &format!("k{number}"))
    }

    fn now(&self, number: usize) -> Option<Applicant> {
        self.worlds.last().unwrap().get(&Self::key(number)).cloned()
    }

    fn store(&mut self, number: usize, applicant: Applicant) {
        let mut world = self.worlds.last().unwrap().clone();
        world.insert(Self::key(number), applicant);
        self.worlds.push(world);
    }

    fn apply(&mut self, op: &Op) {
        self.clock += 1;
        match *op {
            Op::Ask(number, priority) => {
                let former = self.now(number);
                let is_open = former.as_ref().is_some_and(|former| {
                    !former.has_ended && matches!(former.request, Some((_, PlaceState::Waiting | PlaceState::Taken)))
                });
                if !is_open {
                    let uid = former.map_or_else(|| format!("u{number}-{}", self.clock), |former| former.uid);
                    self.store(number, waits(&uid, self.clock, priority));
                }
            }
            Op::Start(number, lag) => self.start(number, lag),
            Op::End(number) => {
                if let Some(applicant) = self.now(number) {
                    self.running.remove(&applicant.uid);
                    let has_ended = true;
                    self.store(number, Applicant { has_ended, ..applicant });
                }
            }
            Op::Leave(number) => self.leave(number),
            Op::Replace(number) => self.replace(number),
            Op::See(leader, events) => {
                let leader = &mut self.leaders[leader];
                leader.world = (leader.world + events).min(self.worlds.len() - 1);
                leader.see(&self.worlds[leader.world]);
            }
            Op::Read(leader, versions) => {
                let leader = &mut self.leaders[leader];
                leader.book = (leader.book + versions).min(self.books.len() - 1);
            }
            Op::Lead(leader, events) => {
                for op in [
                    Op::Read(leader, usize::MAX / 2),
                    Op::See(leader, events),
                    Op::Write(leader),
                ] {
                    self.apply(&op);
                }
            }
            Op::ListAgain(leader) => {
                let leader = &mut self.leaders[leader];
                leader.before = self.books[leader.book].granted.clone();
                leader.view = View::default();
                leader.world = self.worlds.len() - 1;
                leader.see(&self.worlds[leader.world]);
            }
            Op::Write(leader) => {
                let leader = &mut self.leaders[leader];
                let view = &leader.view;
                let is_gone = |uid: &str, grant: &Grant| view.is_gone(uid) || leader.before.get(uid) == Some(grant);
                let next = next(&self.books[leader.book], view, is_gone, self.limits, true);
                // Compare and swap.
                if leader.book == self.books.len() - 1 {
                    self.books.push(next);
                    leader.book += 1;
                }
            }
        }
    }

    fn replace(&mut self, number: usize) {
        let mut world = self.worlds.last().unwrap().clone();
        if let Some(gone) = world.remove(&Self::key(number)) {
            self.running.remove(&gone.uid);
            self.worlds.push(world);
        }
    }

    fn leave(&mut self, number: usize) {
        if let Some(applicant) = self.now(number).filter(|known| !self.running.contains(&known.uid))
            && let Some((requested, PlaceState::Waiting)) = applicant.request
        {
            let request = Some((requested, PlaceState::Left));
            self.store(number, Applicant { request, ..applicant });
        }
    }

    /// The owner sees its Kanary as it is, and any version of the book.
    fn start(&mut self, number: usize, lag: usize) {
        let Some(applicant) = self.now(number) else { return };
        let book = &self.books[self.books.len().saturating_sub(1 + lag)];
        let Some((requested, PlaceState::Waiting)) = applicant.request.filter(|_| !applicant.has_ended) else {
            return;
        };
        if book
            .granted
            .get(&applicant.uid)
            .is_some_and(|grant| grant.requested == requested)
        {
            self.running.insert(applicant.uid.clone());
        }
    }

    fn check(&self) {
        let world = self.worlds.last().unwrap();
        let running: Vec<_> = world
            .iter()
            .filter(|(_, known)| self.running.contains(&known.uid))
            .collect();
        let total = self.limits.total.unwrap() as usize;
        assert!(running.len() <= total, "{} of {total} run", running.len());
        for namespace in NAMESPACES {
            let of = running.iter().filter(|(key, _)| key.namespace == namespace).count();
            assert!(
                of <= self.limits.per_namespace.unwrap() as usize,
                "{of} run in {namespace}"
            );
        }
    }
}

impl Leader {
    fn see(&mut self, world: &BTreeMap<Key, Applicant>) {
        self.view.retain(KanaryKind::Deployment, |key| world.contains_key(key));
        for (key, applicant) in world {
            self.view.put(key.clone(), applicant.clone());
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..3_usize;
    prop_oneof![
        4 => (who.clone(), -1..2).prop_map(|(number, priority)| Op::Ask(number, priority)),
        4 => (who.clone(), 0..4_usize).prop_map(|(number, lag)| Op::Start(number, lag)),
        2 => who.clone().prop_map(Op::End),
        1 => who.clone().prop_map(Op::Leave),
        1 => who.prop_map(Op::Replace),
        1 => (0..2_usize, 0..9_usize).prop_map(|(leader, events)| Op::See(leader, events)),
        1 => (0..2_usize, 0..4_usize).prop_map(|(leader, versions)| Op::Read(leader, versions)),
        1 => (0..2_usize).prop_map(Op::ListAgain),
        1 => (0..2_usize).prop_map(Op::Write),
        // Most of the time, a leader is behind.
        8 => (0..2_usize, prop_oneof![2 => Just(0), 1 => 0..9_usize]).prop_map(|(leader, events)| Op::Lead(leader, events)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Views and books are out of date by any time.
    #[test]
    fn two_leaders_never_exceed_a_limit(
        ops in proptest::collection::vec(op(), 0..160),
        total in 1..3_u32,
        per_namespace in 1..3_u32,
    ) {
        let mut model = Model::new(limits(total, per_namespace));
        for op in &ops {
            model.apply(op);
            model.check();
        }
        // Nobody is left behind: once the leader sees everything, free places are granted.
        for number in 0..3 {
            model.apply(&Op::End(number));
            model.apply(&Op::Ask(number, 0));
        }
        for _ in 0..6 {
            model.apply(&Op::Read(0, usize::MAX / 2));
            model.apply(&Op::ListAgain(0));
            model.apply(&Op::Write(0));
            for number in 0..3 {
                model.apply(&Op::Start(number, 0));
            }
            model.check();
            let running: Vec<_> = (0..3).filter(|number| model.now(*number).is_some_and(|known| model.running.contains(&known.uid))).collect();
            let waiting = (0..3).any(|number| model.now(number).is_some_and(|known| !known.has_ended && !model.running.contains(&known.uid)));
            prop_assert!(!running.is_empty() || !waiting, "nobody runs");
            for number in running {
                model.apply(&Op::End(number));
            }
        }
        prop_assert!((0..3).all(|number| model.now(number).is_some_and(|known| known.has_ended)), "somebody still waits");
    }
}
