//! The measurements of an item so far, and the time of the next one.

use std::{borrow::Cow, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Outcome, Sample, Terms, Window};
use crate::api::{ItemState, ItemStatus};

/// Number of individual measurements that are kept.
const REMEMBERED: usize = 64;

/// The measurements of an item so far. They are kept in memory; the part that must survive a restart (the bad
/// measurements) is also in the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Number of good measurements.
    pub good: u32,
    /// Number of bad measurements.
    pub bad: u32,
    /// Number of measurements that were answered without data.
    pub empty: u32,
    /// Number of consecutive queries without a usable answer.
    pub errors: u32,
    /// Number of measurements without data since the last one with data. Queries without a usable answer do not count.
    pub silence: u32,
    /// Number of consecutive measurements with data.
    pub answers: u32,
    /// The last measurement.
    pub last: Option<Sample>,
    /// The evaluation time of the last measurement.
    pub last_check: Option<Timestamp>,
    /// The canary's pods that were ready at that time.
    pub pods: Vec<String>,
    /// Whether a query is in progress.
    pub pending: bool,
    /// Whether the tally continues from a status or from another grid of checks, so that the number of measurements
    /// without data is unknown.
    pub resumed: bool,
    /// When the step of the traffic began that the measurements are about, if the traffic has steps.
    pub(crate) begun: Option<Timestamp>,
    /// The latest measurements with their times, oldest first.
    pub(crate) recent: Vec<(Timestamp, Outcome)>,
}

impl Tally {
    /// The tally in the status of the item with this id, from which a new owner of the run continues. Counts without an
    /// id in the status can only count against the canary.
    #[must_use]
    pub fn resume(id: &str, status: &ItemStatus) -> Self {
        let is_about_it = status.id.as_deref() == Some(id);
        Self {
            good: if is_about_it { status.good } else { 0 },
            bad: status.bad,
            resumed: true,
            ..Self::default()
        }
    }

    /// Begins a step of the traffic: good measurements from before are no evidence for it. Bad ones count for the whole run.
    /// `continues` says that the tally is from a status of this step.
    pub fn begin(&mut self, since: Timestamp, continues: bool) {
        if self.begun == Some(since) {
            return;
        }
        self.begun = Some(since);
        if continues {
            return;
        }
        self.recent
            .retain(|(at, outcome)| *at >= since || *outcome != Outcome::Pass);
        let good = self.recent.iter().filter(|(_, outcome)| *outcome == Outcome::Pass);
        self.good = u32::try_from(good.count()).unwrap_or(u32::MAX);
        (self.empty, self.silence, self.answers) = (0, 0, 0);
        if self.last_check.is_some_and(|at| at < since) {
            self.last = None;
        }
        // How many of the points of this step a bad measurement took is not counted.
        self.resumed = self.bad > 0;
    }

    /// Counts a measurement for the time `at`, when `pods` were ready.
    pub fn record(&mut self, sample: Sample, at: Timestamp, pods: Vec<String>) {
        if sample.outcome == Outcome::Pass && self.begun.is_some_and(|begun| at < begun) {
            // The measurement was under way when the step began.
            return self.record_down(sample, at, pods);
        }
        // Later measurements are from a clock that was wrong.
        self.forget_after(at);
        if let Some(count) = self.count(sample.outcome) {
            *count = count.saturating_add(1);
        }
        match sample.outcome {
            Outcome::Pass | Outcome::Fail => {
                self.answers = self.answers.saturating_add(1);
                (self.silence, self.errors) = (0, 0);
            }
            Outcome::NoData => {
                self.silence = self.silence.saturating_add(1);
                (self.answers, self.errors) = (0, 0);
            }
            Outcome::Error | Outcome::Invalid => {
                self.errors = self.errors.saturating_add(1);
                self.answers = 0;
            }
        }
        if self.recent.len() == REMEMBERED {
            self.recent.remove(0);
        }
        self.recent.push((at, sample.outcome));
        self.last = Some(sample);
        self.last_check = Some(at);
        self.pods = pods;
        self.pending = false;
    }

    fn count(&mut self, outcome: Outcome) -> Option<&mut u32> {
        match outcome {
            Outcome::Pass => Some(&mut self.good),
            Outcome::Fail => Some(&mut self.bad),
            Outcome::NoData => Some(&mut self.empty),
            Outcome::Error | Outcome::Invalid => None,
        }
    }

    /// The tally at `now`, without measurements from the future.
    #[must_use]
    pub fn known_at(&self, now: Timestamp) -> Cow<'_, Self> {
        let is_later = |at: Option<Timestamp>| at.is_some_and(|at| at > now);
        if is_later(self.last_check) || is_later(self.recent.last().map(|(at, _)| *at)) {
            let mut known = self.clone();
            known.forget_after(now);
            return Cow::Owned(known);
        }
        Cow::Borrowed(self)
    }

    /// Removes the measurements for times after `now`.
    fn forget_after(&mut self, now: Timestamp) {
        let is_last = self.last_check.is_some_and(|at| at > now);
        let mut forgot = false;
        while let Some((_, outcome)) = self.recent.pop_if(|(at, _)| *at > now) {
            forgot = true;
            if let Some(count) = self.count(outcome) {
                *count = count.saturating_sub(1);
            }
        }
        if !is_last && !forgot {
            return;
        }
        if self.recent.is_empty() {
            // It is unknown how many of the others were from the future, so good measurements have to be repeated.
            (self.good, self.resumed) = (0, true);
        }
        (self.silence, self.errors, self.answers) = (0, 0, 0);
        self.last = None;
        self.pods = Vec::new();
        self.last_check = self.recent.last().map(|(at, _)| *at);
    }

    /// Counts a measurement while the canary was not available. It is no evidence for the canary, but a bad one counts.
    pub fn record_down(&mut self, sample: Sample, at: Timestamp, pods: Vec<String>) {
        if sample.outcome != Outcome::Pass {
            return self.record(sample, at, pods);
        }
        (self.last, self.errors, self.pods) = (None, 0, pods);
        (self.last_check, self.pending, self.resumed) = (Some(at), false, true);
    }

    /// The canary has been unavailable since `since`: later good measurements are no evidence, and the canary is measured
    /// again after the outage.
    pub fn forget_good(&mut self, since: Timestamp) {
        let before = self.recent.len();
        self.recent
            .retain(|(at, outcome)| *at < since || *outcome != Outcome::Pass);
        let forgotten = u32::try_from(before - self.recent.len()).unwrap_or(u32::MAX);
        self.good = self.good.saturating_sub(forgotten);
        if self.last.as_ref().is_some_and(|last| last.outcome == Outcome::Pass) {
            (self.last, self.resumed) = (None, true);
        }
    }

    /// The outcome of the last measurement, if it was taken at or after `since`.
    #[must_use]
    pub fn outcome_since(&self, since: Timestamp) -> Option<Outcome> {
        let fresh = self.last_check.is_some_and(|at| at >= since);
        self.last.as_ref().filter(|_| fresh).map(|sample| sample.outcome)
    }

    /// Whether, at or after the deadline, there are too few good measurements only because of missing data: even if every
    /// point of the grid that was skipped, because an answer was slow or missing, had been good.
    #[must_use]
    pub fn lacks_data(&self, terms: &Terms, window: Window) -> bool {
        let Some(last) = self.last_check else { return false };
        let points = points(terms.measured_in(window), terms.interval, last);
        let wasted = u64::from(self.empty) + u64::from(self.bad);
        !self.resumed && self.good < terms.min_samples && points.saturating_sub(wasted) < u64::from(terms.min_samples)
    }

    /// The state that users see.
    #[must_use]
    pub fn state(&self, terms: &Terms) -> ItemState {
        match self.last.as_ref().map(|sample| sample.outcome) {
            _ if self.bad > terms.failure_limit => ItemState::Bad,
            None => ItemState::Pending,
            Some(Outcome::Pass) => ItemState::Good,
            Some(Outcome::Fail) => ItemState::Bad,
            Some(Outcome::NoData) => ItemState::NoData,
            Some(Outcome::Error | Outcome::Invalid) if self.errors >= terms.error_limit => ItemState::Inconclusive,
            Some(Outcome::Error | Outcome::Invalid) => ItemState::Error,
        }
    }
}

/// Number of measurements in a validation period: one after each interval, and one at the deadline.
#[must_use]
pub fn fitting(period: Duration, interval: Duration) -> u64 {
    let (period, interval) = (period.as_nanos(), interval.as_nanos().max(1));
    u64::try_from(period.div_ceil(interval)).unwrap_or(u64::MAX).max(1)
}

/// Number of grid points up to `until`.
fn points(window: Window, interval: Duration, until: Timestamp) -> u64 {
    let Window { start, deadline } = window;
    let on_grid = steps(start, interval, until);
    let at_deadline = deadline <= until && point(start, interval, steps(start, interval, deadline)) != Some(deadline);
    let points = on_grid + i128::from(at_deadline || (deadline <= until && deadline == start));
    u64::try_from(points).unwrap_or(u64::MAX)
}

/// The latest point of the grid at or before `now`. The grid is `start + k × interval` for k ≥ 1, and the deadline.
fn latest_point(window: Window, interval: Duration, now: Timestamp) -> Option<Timestamp> {
    let Window { start, deadline } = window;
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
pub fn due(tally: &Tally, terms: &Terms, window: Window, now: Timestamp) -> bool {
    let (last, window) = (tally.known_at(now).last_check, terms.measured_in(window));
    !tally.pending
        && latest_point(window, terms.interval, now).is_some_and(|point| last.is_none_or(|last| last < point))
}

/// When the next measurement after `now` is due.
#[must_use]
pub fn next_check(terms: &Terms, window: Window, now: Timestamp) -> Option<Timestamp> {
    let Window { start, deadline } = terms.measured_in(window);
    let next = point(start, terms.interval, steps(start, terms.interval, now) + 1)?;
    Some(if deadline > now { next.min(deadline) } else { next })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::validation) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    pub(in crate::validation) fn window(seconds: i64) -> Window {
        Window {
            start: at(0),
            deadline: at(seconds),
        }
    }

    fn sample(outcome: Outcome) -> Sample {
        Sample {
            outcome,
            value: None,
            message: String::new(),
        }
    }

    #[test]
    fn as_many_measurements_fit_as_the_grid_has_points() {
        for (period, interval, fit) in [
            (9, 3, 3),
            (10, 3, 4),
            (8, 3, 3),
            (2, 3, 1),
            (0, 3, 1),
            (900, 20, 45),
            (900, 1, 900),
        ] {
            let interval = Duration::from_secs(interval);
            assert_eq!(
                fitting(Duration::from_secs(period), interval),
                fit,
                "{period}/{interval:?}"
            );
            let window = window(i64::try_from(period).unwrap());
            assert_eq!(points(window, interval, window.deadline), fit, "{period}/{interval:?}");
            // Counted individually.
            let millis = (0..=period * 1000).filter_map(|millis| {
                let now = window.start + Duration::from_millis(millis);
                latest_point(window, interval, now)
            });
            let seen: std::collections::BTreeSet<_> = millis.collect();
            assert_eq!(u64::try_from(seen.len()).unwrap(), fit, "{period}/{interval:?}");
        }
    }

    #[test]
    fn the_grid_goes_on_after_the_deadline() {
        let points = |until| points(window(10), Duration::from_secs(3), at(until));
        assert_eq!([9, 10, 11, 12, 15].map(points), [3, 4, 4, 5, 6]);
    }

    #[test]
    fn a_measurement_from_the_future_counts_for_nothing() {
        let mut tally = Tally::default();
        for (outcome, second) in [
            (Outcome::Pass, 1),
            (Outcome::NoData, 2),
            (Outcome::Pass, 3),
            (Outcome::Fail, 4),
        ] {
            tally.record(sample(outcome), at(second), vec!["x".to_owned()]);
        }
        assert_eq!(tally.known_at(at(4)), Cow::Borrowed(&tally));
        let known = tally.known_at(at(2));
        assert_eq!((known.good, known.bad, known.empty), (1, 0, 1));
        assert_eq!((known.last_check, &known.last), (Some(at(2)), &None));
        assert_eq!(known.outcome_since(at(0)), None);
        assert!(!known.resumed);
        let known = tally.known_at(at(0));
        assert_eq!((known.good, known.bad, known.last_check), (0, 0, None));
        // After a new measurement, those of the wrong clock are removed permanently.
        tally.record(sample(Outcome::Pass), at(3), Vec::new());
        assert_eq!((tally.good, tally.bad, tally.empty), (3, 0, 1));
        assert_eq!(tally.known_at(at(9)), Cow::Borrowed(&tally));
    }

    #[test]
    fn when_all_that_is_remembered_is_from_the_future_nothing_good_is_known() {
        let mut tally = Tally::default();
        for second in 0..100 {
            tally.record(sample(Outcome::Pass), at(1000 + second), Vec::new());
        }
        let known = tally.known_at(at(0));
        assert_eq!((known.good, known.resumed, known.last_check), (0, true, None));
    }

    #[test]
    fn rows_of_errors_and_silence_end_where_they_should() {
        let mut tally = Tally::default();
        let mut rows = Vec::new();
        let outcomes = [
            Outcome::NoData,
            Outcome::Error,
            Outcome::NoData,
            Outcome::Invalid,
            Outcome::Error,
            Outcome::Pass,
            Outcome::Fail,
            Outcome::NoData,
        ];
        for (second, outcome) in (0..).zip(outcomes) {
            tally.record(sample(outcome), at(second), Vec::new());
            rows.push((tally.silence, tally.errors, tally.answers));
        }
        let expected = [
            (1, 0, 0),
            (1, 1, 0),
            (2, 0, 0),
            (2, 1, 0),
            (2, 2, 0),
            (0, 0, 1),
            (0, 0, 2),
            (1, 0, 0),
        ];
        assert_eq!(rows, expected);
        assert_eq!((tally.good, tally.bad, tally.empty), (1, 1, 3));
    }
}
