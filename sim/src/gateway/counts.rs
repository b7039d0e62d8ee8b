//! The record of a load: what happened, and when.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};

use jiff::Timestamp;

use super::request::{Lost, Outcome, Reached};

/// Something that happened to a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    /// A pod answered with this HTTP status.
    Answered(Reached, u16),
    /// It failed.
    Lost(Lost),
    /// A pod got a copy.
    Mirrored(Reached),
    /// A user who had a cookie came to another version than before.
    Moved,
}

/// When each fact happened, in microseconds and in order.
#[derive(Debug, Default)]
pub(super) struct Facts(BTreeMap<Fact, Vec<i64>>);

/// Numbers of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers by version.
    pub answered: BTreeMap<String, u32>,
    /// Answers by version that are errors.
    pub errors: BTreeMap<String, u32>,
    /// Requests that no pod answered.
    pub lost: BTreeMap<Lost, u32>,
    /// Copies by version.
    pub mirrored: BTreeMap<String, u32>,
    /// How often a user who had a cookie came to another version than before.
    pub moved: u32,
}

impl Counts {
    /// Number of answers of a version.
    #[must_use]
    pub fn of(&self, version: &str) -> u32 {
        self.answered.get(version).copied().unwrap_or_default()
    }

    /// Number of requests that no pod answered.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.lost.values().sum()
    }

    /// Number of requests.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.answered.values().sum::<u32>() + self.failed()
    }

    /// The share of a version in the answers, from 0 to 1.
    #[must_use]
    pub fn share(&self, version: &str) -> f64 {
        let answers: u32 = self.answered.values().sum();
        f64::from(self.of(version)) / f64::from(answers.max(1))
    }

    /// How many standard deviations the answers of a version are away from what its share in percent lets expect.
    #[must_use]
    pub fn deviation(&self, version: &str, percent: f64) -> f64 {
        let (answers, share) = (f64::from(self.answered.values().sum::<u32>()), percent / 100.0);
        let (found, expected) = (f64::from(self.of(version)), answers * share);
        let deviation = (answers * share * (1.0 - share)).sqrt();
        if (found - expected).abs() < f64::EPSILON {
            return 0.0;
        }
        (found - expected).abs() / deviation
    }
}

impl Facts {
    pub(super) fn add(&mut self, fact: Fact, at: Timestamp) {
        self.0.entry(fact).or_default().push(at.as_microsecond());
    }

    /// Notes the outcome of a request. `luck` decides whether the answer is an error.
    pub(super) fn note(&mut self, outcome: &Outcome, luck: f64, errors: &BTreeMap<String, f64>, at: Timestamp) {
        let fact = match &outcome.answer {
            Ok(reached) => {
                let errors = errors.get(&reached.version).copied().unwrap_or_default();
                Fact::Answered(reached.clone(), if luck < errors { 500 } else { 200 })
            }
            Err(lost) => Fact::Lost(*lost),
        };
        self.add(fact, at);
        for copy in &outcome.mirrored {
            self.add(Fact::Mirrored(copy.clone()), at);
        }
    }

    /// How often each fact happened in a window.
    pub(super) fn within(&self, window: impl RangeBounds<Timestamp>) -> impl Iterator<Item = (&Fact, u32)> {
        let from = match window.start_bound() {
            Bound::Included(from) => from.as_microsecond(),
            Bound::Excluded(from) => from.as_microsecond().saturating_add(1),
            Bound::Unbounded => i64::MIN,
        };
        let to = match window.end_bound() {
            Bound::Included(to) => to.as_microsecond().saturating_add(1),
            Bound::Excluded(to) => to.as_microsecond(),
            Bound::Unbounded => i64::MAX,
        };
        self.0.iter().filter_map(move |(fact, times)| {
            let before = |limit: i64| times.partition_point(|at| *at < limit);
            let count = u32::try_from(before(to).saturating_sub(before(from))).unwrap_or(u32::MAX);
            (count > 0).then_some((fact, count))
        })
    }

    pub(super) fn counts(&self, window: impl RangeBounds<Timestamp>) -> Counts {
        let mut counts = Counts::default();
        for (fact, count) in self.within(window) {
            match fact {
                Fact::Answered(reached, code) => {
                    *counts.answered.entry(reached.version.clone()).or_default() += count;
                    if *code >= 500 {
                        *counts.errors.entry(reached.version.clone()).or_default() += count;
                    }
                }
                Fact::Lost(lost) => *counts.lost.entry(*lost).or_default() += count,
                Fact::Mirrored(reached) => *counts.mirrored.entry(reached.version.clone()).or_default() += count,
                Fact::Moved => counts.moved += count,
            }
        }
        counts
    }
}
