//! Periods in which replicas may have outdated knowledge or be unable to act.

use jiff::{SignedDuration, Timestamp};

use super::spans::{Span, without};

/// Maximum age of a replica's knowledge without network faults, including its reaction time.
pub(super) const FAIR: SignedDuration = SignedDuration::from_secs(1);

/// The same with network faults: the controller restarts a stalled watch after this time.
pub(super) const ROUGH: SignedDuration = SignedDuration::from_secs(120);

/// Periods with network faults, sorted, and periods in which every possible action of a replica is blocked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rough(Vec<Span>, Vec<Span>);

impl Rough {
    /// Network faults at all times, for worlds that report no periods.
    pub(crate) fn always() -> Self {
        Self(vec![(Timestamp::MIN, Timestamp::MAX)], Vec::new())
    }

    /// Starts a period with network faults.
    pub(crate) fn begin(&mut self, at: Timestamp) {
        match self.0.last_mut() {
            Some((_, end)) if *end >= at => *end = Timestamp::MAX,
            _ => self.0.push((at, Timestamp::MAX)),
        }
    }

    /// Ends a period with network faults.
    pub(crate) fn end(&mut self, at: Timestamp) {
        if let Some((_, end)) = self.0.last_mut() {
            *end = at;
        }
    }

    /// Adds a period in which every possible action is blocked.
    pub(crate) fn obstruct(&mut self, from: Timestamp, until: Timestamp) {
        self.1.push((from, until));
        self.1.sort_unstable();
    }

    /// Maximum age of a replica's knowledge at a time.
    pub(super) fn lag(&self, at: Timestamp) -> SignedDuration {
        let is_rough = self
            .0
            .iter()
            .chain(&self.1)
            .any(|(from, until)| *from <= at && at < *until);
        if is_rough { ROUGH } else { FAIR }
    }

    /// The parts of these spans without network faults.
    pub(super) fn fair(&self, spans: &[Span]) -> Vec<Span> {
        without(&without(spans, &self.0), &self.1)
    }
}
