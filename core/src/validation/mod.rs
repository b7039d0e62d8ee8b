//! `spec.validation`, parsed: items, their queries, and the counts of their measurements.

mod parse;
pub mod promql;
mod tally;

use std::time::Duration;

use jiff::Timestamp;

pub use parse::Item;
pub use tally::{Tally, due, fitting, next_check};

/// `spec.validation`, parsed.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Warm-up, from when the canary is available.
    pub initial_delay: Duration,
    /// How long the canary is judged.
    pub period: Duration,
    /// What is judged; never empty.
    pub items: Vec<Item>,
}

/// What one measurement came to. Only `Pass` is proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The criterion is met.
    Pass,
    /// The criterion is not met.
    Fail,
    /// The query was answered, with nothing that can be judged.
    NoData,
    /// The query could not be answered, or its answer makes no sense for the criterion.
    Error,
    /// The query itself is wrong: an error that only its author can mend.
    Invalid,
}

/// One measurement, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it came to.
    pub outcome: Outcome,
    /// The number that decided, where there is one.
    pub value: Option<f64>,
    /// Why, with the number and the pod that decided: `0.47 outside [0, 0.31] on pod myapp-kanary-batman-x2x9z`.
    pub message: String,
}

/// What a Prometheus said to an instant query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A vector, maybe empty.
    Vector(Vec<Series>),
    /// A scalar.
    Scalar(f64),
    /// No usable answer, and why: down, slow, not JSON, too large, refused, with warnings, …
    Unanswered(String),
    /// Prometheus refuses the query itself, in its own words.
    Rejected(String),
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The labels of the series.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Its value, NaN and infinities included.
    pub value: f64,
}

/// When the judging starts and ends; `None` while the canary is not available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Start of the validation.
    pub start: Timestamp,
    /// The deadline.
    pub deadline: Timestamp,
}
