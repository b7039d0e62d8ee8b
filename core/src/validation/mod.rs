//! Parsed `spec.validation`: items, their queries, and the counts of their measurements.

pub mod metric;
mod parse;
pub mod promql;
mod tally;
mod terms;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::KanaryStatus;

pub use parse::Item;
pub use tally::{Tally, due, fitting, next_check};
pub use terms::Terms;

/// `spec.validation`, parsed.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Warm-up time after the canary becomes available.
    pub initial_delay: Duration,
    /// Length of the validation.
    pub period: Duration,
    /// The validation items; never empty.
    pub items: Vec<Item>,
}

impl Validation {
    /// Measures metrics at the deadline and not before, and fails a canary whose value reaches its target.
    pub fn once_below_targets(&mut self) {
        for item in &mut self.items {
            if let Item::Metric(metric) = item {
                metric.once_below();
            }
        }
    }
}

/// The outcome of a measurement. Only `Pass` is evidence for the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The criterion is met.
    Pass,
    /// The criterion is not met.
    Fail,
    /// The query was answered, but with no usable data.
    NoData,
    /// The query was not answered, or the answer does not fit the criterion.
    Error,
    /// The query itself is invalid, and only its author can fix it.
    Invalid,
}

/// The result of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The outcome.
    pub outcome: Outcome,
    /// The decisive value, if there is one.
    pub value: Option<f64>,
    /// The reason, with the decisive value and pod: `0.47 outside [0, 0.31] on pod myapp-kanary-batman-x2x9z`.
    pub message: String,
}

/// Prometheus' answer to an instant query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A vector, possibly empty.
    Vector(Vec<Series>),
    /// A scalar.
    Scalar(f64),
    /// No usable answer, with the reason: down, slow, not JSON, too large, refused, with warnings, …
    Unanswered(String),
    /// Prometheus refused the query, with this message.
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

/// The start and the end of the validation. Functions take `None` while the canary is not available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Start of the validation.
    pub start: Timestamp,
    /// The deadline.
    pub deadline: Timestamp,
}

impl Window {
    /// The times of the present step in a status, or those of the run if its traffic has no steps. `None` while the traffic of a
    /// step is not in force.
    #[must_use]
    pub fn of_step(status: &KanaryStatus) -> Option<Self> {
        let run = Self::stored(status)?;
        let Some(traffic) = &status.traffic else {
            return Some(run);
        };
        Some(Self {
            start: run.start.max(traffic.since?),
            deadline: traffic.deadline.unwrap_or(run.deadline),
        })
    }

    /// The times of the run in a status, if they are set.
    #[must_use]
    pub fn stored(status: &KanaryStatus) -> Option<Self> {
        Some(Self {
            start: status.validation_start_time?,
            deadline: status.deadline?,
        })
    }
}
