//! When replicas may be behind, or unable to do anything.

use jiff::{SignedDuration, Timestamp};

use super::spans::{Span, without};

/// How old what a replica knows may be in fair network faults, its own reaction included.
pub(super) const FAIR: SignedDuration = SignedDuration::from_secs(1);

/// And in rough network faults: a watch that has stalled is given up after so long.
const ROUGH: SignedDuration = SignedDuration::from_secs(120);

/// Times of rough network faults, in order, and times for which somebody stands in the way of whatever a replica may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rough(Vec<Span>, Vec<Span>);

impl Rough {
    /// The network faults is rough for ever, for all that is known.
    pub(crate) fn always() -> Self {
        Self(vec![(Timestamp::MIN, Timestamp::MAX)], Vec::new())
    }

    /// From `at` on the network faults is rough.
    pub(crate) fn begin(&mut self, at: Timestamp) {
        match self.0.last_mut() {
            Some((_, end)) if *end >= at => *end = Timestamp::MAX,
            _ => self.0.push((at, Timestamp::MAX)),
        }
    }

    /// From `at` on it is fair again.
    pub(crate) fn end(&mut self, at: Timestamp) {
        if let Some((_, end)) = self.0.last_mut() {
            *end = at;
        }
    }

    /// Between two times nothing can be done.
    pub(crate) fn obstruct(&mut self, from: Timestamp, until: Timestamp) {
        self.1.push((from, until));
        self.1.sort_unstable();
    }

    /// How old what a replica knows at a moment may be.
    pub(super) fn lag(&self, at: Timestamp) -> SignedDuration {
        let is_rough = self
            .0
            .iter()
            .chain(&self.1)
            .any(|(from, until)| *from <= at && at < *until);
        if is_rough { ROUGH } else { FAIR }
    }

    /// The parts of some spans in which the network faults was fair.
    pub(super) fn fair(&self, spans: &[Span]) -> Vec<Span> {
        without(&without(spans, &self.0), &self.1)
    }
}
