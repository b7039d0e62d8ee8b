//! What was measured for one item so far, and when the next measurement is due.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Outcome, Sample, promql::PromQl};
use crate::api::{ItemState, ItemStatus};

/// What was measured for one item so far. Kept in memory; what a restart must not lose (the bad measurements) is in the
/// status as well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Good measurements.
    pub good: u32,
    /// Bad measurements.
    pub bad: u32,
    /// Queries in a row that could not be answered.
    pub errors: u32,
    /// The last measurement.
    pub last: Option<Sample>,
    /// The time that the last measurement stands for.
    pub last_check: Option<Timestamp>,
    /// A query is under way.
    pub pending: bool,
    /// Measurements are missing that nobody but us is to blame for: queries without an answer, a restart. Too few samples
    /// then wait instead of failing the run.
    pub gaps: bool,
}

impl Tally {
    /// What the status remembers: where a new owner of the run goes on.
    #[must_use]
    pub fn resume(status: Option<&ItemStatus>) -> Self {
        status.map_or_else(Self::default, |status| Self {
            good: status.good,
            bad: status.bad,
            gaps: true,
            ..Self::default()
        })
    }

    /// Counts a measurement that was taken for the time `at`.
    pub fn record(&mut self, sample: Sample, at: Timestamp) {
        match sample.outcome {
            Outcome::Pass => self.good = self.good.saturating_add(1),
            Outcome::Fail => self.bad = self.bad.saturating_add(1),
            Outcome::NoData => {}
            Outcome::Error | Outcome::Invalid => self.gaps = true,
        }
        self.errors = match sample.outcome {
            Outcome::Error | Outcome::Invalid => self.errors.saturating_add(1),
            _ => 0,
        };
        self.last = Some(sample);
        self.last_check = Some(at);
        self.pending = false;
    }

    /// The outcome of the last measurement, if it was taken at `since` or later.
    #[must_use]
    pub fn outcome_since(&self, since: Timestamp) -> Option<Outcome> {
        let fresh = self.last_check.is_some_and(|at| at >= since);
        self.last.as_ref().filter(|_| fresh).map(|sample| sample.outcome)
    }

    /// The state that users see.
    #[must_use]
    pub fn state(&self, item: &PromQl) -> ItemState {
        match self.last.as_ref().map(|sample| sample.outcome) {
            _ if self.bad > item.failure_limit => ItemState::Bad,
            None => ItemState::Pending,
            Some(Outcome::Pass) => ItemState::Good,
            Some(Outcome::Fail) => ItemState::Bad,
            Some(Outcome::NoData) => ItemState::NoData,
            Some(Outcome::Error | Outcome::Invalid) if self.errors >= item.error_limit => ItemState::Inconclusive,
            Some(Outcome::Error | Outcome::Invalid) => ItemState::Error,
        }
    }
}

/// The grid of checks: `start + k × interval` for k ≥ 1, and the deadline. The latest point that is not after `now`.
fn latest_point(start: Timestamp, deadline: Timestamp, interval: Duration, now: Timestamp) -> Option<Timestamp> {
    let steps = steps(start, interval, now);
    let on_grid = (steps >= 1).then(|| point(start, interval, steps)).flatten();
    let at_deadline = (deadline <= now).then_some(deadline);
    on_grid.max(at_deadline)
}

fn steps(start: Timestamp, interval: Duration, now: Timestamp) -> i128 {
    let interval = i128::try_from(interval.as_nanos()).unwrap_or(i128::MAX).max(1);
    now.duration_since(start).as_nanos().max(0) / interval
}

fn point(start: Timestamp, interval: Duration, steps: i128) -> Option<Timestamp> {
    let nanos = i128::try_from(interval.as_nanos()).ok()?.checked_mul(steps)?;
    let nanos = SignedDuration::from_nanos_i128(nanos);
    start.checked_add(nanos).ok()
}

/// Whether a measurement is due at `now`.
#[must_use]
pub fn due(tally: &Tally, item: &PromQl, start: Timestamp, deadline: Timestamp, now: Timestamp) -> bool {
    !tally.pending
        && latest_point(start, deadline, item.interval, now)
            .is_some_and(|point| tally.last_check.is_none_or(|last| last < point))
}

/// When the next measurement is due, after `now`.
#[must_use]
pub fn next_check(item: &PromQl, start: Timestamp, deadline: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let next = point(start, item.interval, steps(start, item.interval, now) + 1)?;
    Some(if deadline > now { next.min(deadline) } else { next })
}
