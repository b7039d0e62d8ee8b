//! A verdict that is stored, and what it rests on.

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

/// What is wrong, and what it breaks.
pub(super) type Finding = (Invariant, String);

/// A good verdict, at the moment when it is stored.
pub(super) struct Verdict<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) kanary: &'a Kanary,
    /// Number of the run.
    pub(super) number: i64,
    pub(super) run: &'a Run,
    /// The spec that it is about: the write names the version of the object that was read.
    pub(super) spec: &'a Value,
    pub(super) index: usize,
    pub(super) canary: &'a Canary,
    /// Who stores it.
    pub(super) actor: &'a str,
    pub(super) at: Timestamp,
    /// When it was sent.
    pub(super) sent: Timestamp,
    /// When the canary was read for it.
    pub(super) read: Timestamp,
    /// Since when whoever stores it has been in charge, as far as that is known.
    pub(super) in_charge: Option<Timestamp>,
    pub(super) deadline: Option<Timestamp>,
    /// How old what a watch tells may be.
    pub(super) lag: SignedDuration,
    /// How wrong clocks may be.
    pub(super) tolerance: SignedDuration,
}

/// Conditions tell the time to the second.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

impl<'a> Verdict<'a> {
    /// The verdict that a status states; nothing if there is no canary for it to be about.
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

    /// From when to when the canary was judged, at the longest.
    pub(super) fn judged(&self) -> Span {
        let available = self.canary.whole.first().unwrap_or(self.canary.created);
        (available + initial_delay(self.spec), self.read)
    }

    /// From when to when the canary was judged, as far as it counts: the last whole period before the deadline, which moves with
    /// an outage and where traffic was lost. Nothing of it where a person ended the run.
    pub(super) fn counted(&self) -> Span {
        let (from, until) = self.judged();
        let asked = needed(self.spec);
        let needed = self.run.needed.map_or(asked, |needed| needed.min(asked));
        let period = needed - initial_delay(self.spec);
        let begin = self.deadline.map_or(from, |deadline| from.max(deadline - period));
        (begin.min(until), until)
    }

    /// All that is wrong with it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.ran_the_template(&mut findings);
        self.had_its_traffic(&mut findings);
        self.was_measured(&mut findings);
        self.heeded_words(&mut findings);
        self.was_available(&mut findings);
        findings
    }

    /// The canary was available as a whole for as long as it had to be, and is when it passes.
    fn was_available(&self, findings: &mut Vec<Finding>) {
        let canary = self.canary;
        if canary.whole.since(self.read).is_none() {
            let what = format!(
                "{} passed, and was not available as a whole when it was read",
                canary.name
            );
            findings.push((Invariant::Available, what));
            return;
        }
        if self.is_ended_by_a_person() {
            return;
        }
        // A start that is over does not move when its delay is edited.
        let delay = initial_delay(self.spec);
        let delays = (self.run.first..=self.index).map(|index| initial_delay(self.kanary.spec_at(index)));
        let asked = needed(self.spec) - delay + delays.min().unwrap_or(delay).min(delay);
        let needed = self.run.needed.map_or(asked, |needed| needed.min(asked));
        let whole = canary.whole.within(canary.created, self.at);
        let paused = self
            .kanary
            .when((canary.created, self.at), |spec| spec["paused"] == true);
        // The beginning of a pause is known as late as its end.
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

/// A write of a status or of a target.
pub(in crate::checker) struct Write {
    pub(in crate::checker) actor: String,
    pub(in crate::checker) at: Timestamp,
    pub(in crate::checker) sent: Timestamp,
    pub(in crate::checker) in_charge: Option<Timestamp>,
    pub(in crate::checker) tolerance: SignedDuration,
}
