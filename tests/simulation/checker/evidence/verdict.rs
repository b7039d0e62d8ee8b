//! A stored verdict and the evidence for it.

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::KanaryStatus;
use serde_json::Value;

use super::{
    Evidence,
    canaries::Canary,
    kanaries::{Kanary, Run, initial_delay, needed},
    spans::{Span, longest, total, without},
};
use crate::checker::Invariant;

/// A violated invariant and its description.
pub(super) type Finding = (Invariant, String);

/// A good verdict at the time of its write.
pub(super) struct Verdict<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) kanary: &'a Kanary,
    /// Number of the run.
    pub(super) number: i64,
    pub(super) run: &'a Run,
    /// The spec that it refers to: the write contains the resourceVersion of the object that was read.
    pub(super) spec: &'a Value,
    pub(super) index: usize,
    pub(super) canary: &'a Canary,
    /// The replica that stores it.
    pub(super) actor: &'a str,
    pub(super) at: Timestamp,
    /// When the write was sent.
    pub(super) sent: Timestamp,
    /// When the canary was read for it.
    pub(super) read: Timestamp,
    /// Since when the replica that stores it has owned the Kanary, as far as known.
    pub(super) in_charge: Option<Timestamp>,
    pub(super) deadline: Option<Timestamp>,
    /// Maximum delay of watch events.
    pub(super) lag: SignedDuration,
    /// Maximum clock error.
    pub(super) tolerance: SignedDuration,
}

/// Conditions have a resolution of one second.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

impl<'a> Verdict<'a> {
    /// The verdict in a status, or `None` if it refers to no canary.
    pub(super) fn of(evidence: &'a Evidence, uid: &str, status: &KanaryStatus, write: &'a Write) -> Option<Self> {
        let kanary = evidence.kanaries.get(uid)?;
        let number = status.run.unwrap_or(1);
        let run = kanary.runs.get(&number)?;
        let passed = run.passed.as_ref()?;
        let canary = evidence.canaries.get(&passed.canary)?;
        let lag = evidence.rough.lag(write.at);
        let read = evidence.heard.read(&write.actor, &canary.name, write.sent);
        Some(Self {
            evidence,
            kanary,
            number,
            run,
            spec: kanary.spec_at(passed.spec),
            index: passed.spec,
            canary,
            actor: &write.actor,
            at: write.at,
            sent: write.sent,
            read: read.unwrap_or(write.sent - lag),
            in_charge: write.in_charge,
            deadline: status.deadline,
            lag,
            tolerance: write.tolerance,
        })
    }

    /// The longest possible validation period of the canary.
    pub(super) fn judged(&self) -> Span {
        let available = self.canary.whole.first().unwrap_or(self.canary.created);
        (available + initial_delay(self.spec), self.read)
    }

    /// The part of the validation that counts: the last full period before the deadline, which moves after an outage or a
    /// loss of traffic. It is empty if a person ended the run.
    pub(super) fn counted(&self) -> Span {
        let (from, until) = self.judged();
        let asked = needed(self.spec);
        let needed = self.run.needed.map_or(asked, |needed| needed.min(asked));
        let period = needed - initial_delay(self.spec);
        let begin = self.deadline.map_or(from, |deadline| from.max(deadline - period));
        (begin.min(until), until)
    }

    /// All problems with the verdict.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.ran_the_template(&mut findings);
        self.had_its_traffic(&mut findings);
        self.was_measured(&mut findings);
        self.had_its_metrics(&mut findings);
        self.heeded_manual_verdicts(&mut findings);
        self.was_available(&mut findings);
        findings
    }

    /// Checks that the canary was fully available for as long as required, including the time of the verdict.
    fn was_available(&self, findings: &mut Vec<Finding>) {
        let canary = self.canary;
        if canary.whole.since(self.read).is_none() {
            let what = format!("{} passed, but was not fully available when it was read", canary.name);
            findings.push((Invariant::Available, what));
            return;
        }
        if self.is_ended_by_a_person() {
            return;
        }
        // Editing the initial delay after it has elapsed has no effect.
        let delay = initial_delay(self.spec);
        let delays = (self.run.first..=self.index).map(|index| initial_delay(self.kanary.spec_at(index)));
        let asked = needed(self.spec) - delay + delays.min().unwrap_or(delay).min(delay);
        let needed = self.run.needed.map_or(asked, |needed| needed.min(asked));
        let whole = canary.whole.within(canary.created, self.at);
        let paused = self
            .kanary
            .when((canary.created, self.at), |spec| spec["paused"] == true);
        // The controller observes the start of a pause as late as its end.
        let paused = paused.into_iter().filter_map(|(from, until)| {
            let from = from + self.lag;
            (from < until).then_some((from, until))
        });
        let counted = without(&whole, &paused.collect::<Vec<_>>());
        let pieces = i32::try_from(counted.len()).unwrap_or(i32::MAX);
        let long = total(&counted);
        if long + RESOLUTION * pieces + self.tolerance < needed {
            let gap = longest(without(&[(canary.created, self.at)], &whole));
            let gap = gap.map(|(from, until)| until.duration_since(from)).unwrap_or_default();
            let what = format!(
                "{} passed after {long} of being available as a whole, and {needed} was asked for; it was not available for \
                 {gap} at a time",
                canary.name
            );
            findings.push((Invariant::Available, what));
        }
    }
}

/// A write of a status or a target.
pub(in crate::checker) struct Write {
    pub(in crate::checker) actor: String,
    pub(in crate::checker) at: Timestamp,
    pub(in crate::checker) sent: Timestamp,
    pub(in crate::checker) in_charge: Option<Timestamp>,
    pub(in crate::checker) tolerance: SignedDuration,
}
