//! The trace of a run. Every replica derives the same ids from the Kanary, so that successive owners write into one trace without
//! telling each other.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    api::KanaryStatus,
    status::{Phase, SCHEDULED, find},
};

/// Id of a trace. It is displayed as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Id of a span in its trace. It is displayed as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// The trace of a run: that of the Kanary with this uid and of the number in this status.
    ///
    /// The number alone identifies the run. The hash of its template would change as soon as a user edits the template, before the
    /// next run is in the status.
    #[must_use]
    pub fn of(uid: &str, status: &KanaryStatus) -> Self {
        let run = status.run_number().to_be_bytes();
        Self(digest(&[b"trace", uid.as_bytes(), &run]))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl SpanId {
    /// The span of the run itself.
    #[must_use]
    pub fn of_run(trace: TraceId) -> Self {
        Self(digest(&[b"run", &trace.0]))
    }

    /// The span of a phase. A run never returns to a former phase.
    #[must_use]
    pub fn of_phase(trace: TraceId, phase: Phase) -> Self {
        Self(digest(&[b"phase", &trace.0, phase.as_str().as_bytes()]))
    }

    /// The span of something that `parts` identify within the trace.
    #[must_use]
    pub fn of(trace: TraceId, parts: &[&[u8]]) -> Self {
        let head: [&[u8]; 2] = [b"part", &trace.0];
        Self(digest(&[&head, parts].concat()))
    }

    /// Whether the span belongs to the sample with this ratio, from 0 to 1. All replicas agree on it.
    #[must_use]
    pub fn is_sampled(self, ratio: f64) -> bool {
        // 32 bits are enough for a ratio, and fit into a float exactly.
        let [a, b, c, d, ..] = self.0;
        f64::from(u32::from_be_bytes([a, b, c, d])) < ratio * (f64::from(u32::MAX) + 1.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first bytes of a hash of `parts`, each with its length, so that no two lists have the same hash.
fn digest<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut id = [0; N];
    for (byte, hashed) in id.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    id
}

/// A span that caused something elsewhere, such as a query: what the header `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the span belongs to the sample.
    pub sampled: bool,
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

/// When the run in a status began, as far as the status says: when it was accepted, or when its canary was created.
#[must_use]
pub fn begun(status: &KanaryStatus) -> Option<Timestamp> {
    let accepted = find(status, SCHEDULED).map(|scheduled| scheduled.last_transition_time.0);
    let known = [status.start_time, accepted, status.completed_at];
    known.into_iter().flatten().min()
}

/// When the phase in a status began, as far as the status says.
#[must_use]
pub fn since(status: &KanaryStatus) -> Option<Timestamp> {
    match Phase::of(status) {
        Phase::Scheduled => begun(status),
        phase => find(status, phase.as_str()).map(|condition| condition.last_transition_time.0),
    }
}

/// What ended when a status replaced another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended<'a> {
    /// The phase in this status, and when it began, as far as that is known.
    Phase(&'a KanaryStatus, Option<Timestamp>),
    /// The run in this status, with its final phase, which lasts.
    Run(&'a KanaryStatus),
    /// The run in this status, because another one replaced it before its end.
    Superseded(&'a KanaryStatus),
}

/// What ended when `next` replaced `former`, in order. Each phase and each run is reported once, whoever writes the status.
#[must_use]
pub fn ended<'a>(former: &'a KanaryStatus, next: &'a KanaryStatus) -> Vec<Ended<'a>> {
    let mut ended = Vec::new();
    let is_same = former.run_number() == next.run_number();
    let went_on = former.completed_at.is_none();
    // A Kanary without a status has no run yet.
    let was_under_way = went_on && (is_same || former.current_hash.is_some() || !former.conditions.is_empty());
    if was_under_way && (!is_same || Phase::of(former) != Phase::of(next)) {
        // The first status of a run may be the one that ends its first phase.
        let first = is_same.then(|| begun(next)).flatten();
        ended.push(Ended::Phase(former, since(former).or(first)));
    }
    if was_under_way && !is_same {
        ended.push(Ended::Superseded(former));
    }
    if next.completed_at.is_some() && (went_on || !is_same) {
        ended.push(Ended::Run(next));
    }
    ended
}
