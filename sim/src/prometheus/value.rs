//! Results of expressions, and their JSON format.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::json;

/// Labels of a series. The metric name is the label `__name__`.
pub type Labels = BTreeMap<String, String>;

/// The label that holds the metric name.
pub(super) const NAME: &str = "__name__";

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// One element of a range vector: pairs of milliseconds and value, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) labels: Labels,
    pub(super) points: Vec<(i64, f64)>,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(f64),
    Vector(Vec<Sample>),
    Matrix(Vec<Range>),
    Text(String),
}

impl Sample {
    pub(super) fn new(labels: Labels, value: f64) -> Self {
        Self { labels, value }
    }

    /// The element with a computed value, without the metric name.
    pub(super) fn computed(mut self, value: f64) -> Self {
        self.labels.remove(NAME);
        Self { value, ..self }
    }
}

impl Value {
    /// The response body for the evaluation time `at`.
    pub(super) fn body(&self, at: i64) -> String {
        let (kind, result) = match self {
            Self::Scalar(value) => ("scalar", point(at, &number(*value))),
            Self::Text(text) => ("string", point(at, text)),
            Self::Vector(samples) => ("vector", list(samples, |sample| vector_element(sample, at))),
            Self::Matrix(ranges) => ("matrix", list(ranges, matrix_element)),
        };
        format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
    }

    /// The result with every number replaced, or only that of the nth series.
    pub(super) fn with(mut self, number: f64, nth: Option<usize>) -> Self {
        let is_it = |index: usize, of: usize| nth.is_none_or(|nth| nth % of == index);
        match &mut self {
            Self::Scalar(value) => *value = number,
            Self::Vector(samples) => {
                let of = samples.len();
                for (_, sample) in samples.iter_mut().enumerate().filter(|(index, _)| is_it(*index, of)) {
                    sample.value = number;
                }
            }
            Self::Matrix(ranges) => {
                let of = ranges.len();
                for (_, range) in ranges.iter_mut().enumerate().filter(|(index, _)| is_it(*index, of)) {
                    range.points.iter_mut().for_each(|(_, value)| *value = number);
                }
            }
            Self::Text(_) => {}
        }
        self
    }

    /// The result without the nth series.
    pub(super) fn without(mut self, nth: usize) -> Self {
        if let Self::Vector(samples) = &mut self
            && !samples.is_empty()
        {
            samples.remove(nth % samples.len());
        }
        self
    }
}

fn list<T>(elements: &[T], one: impl Fn(&T) -> String) -> String {
    let elements: Vec<_> = elements.iter().map(one).collect();
    format!("[{}]", elements.join(","))
}

fn vector_element(sample: &Sample, at: i64) -> String {
    let value = point(at, &number(sample.value));
    format!(r#"{{"metric":{},"value":{value}}}"#, json!(sample.labels))
}

fn matrix_element(range: &Range) -> String {
    let values = list(&range.points, |(at, value)| point(*at, &number(*value)));
    format!(r#"{{"metric":{},"values":{values}}}"#, json!(range.labels))
}

fn point(at: i64, value: &str) -> String {
    format!("[{},{}]", timestamp(at), json!(value))
}

/// Seconds, with a fraction only if it is not zero.
fn timestamp(at: i64) -> String {
    let mut text = if at < 0 { "-" } else { "" }.to_owned();
    let at = at.unsigned_abs();
    // Writing to a string cannot fail.
    let _ = write!(text, "{}", at / 1000);
    if !at.is_multiple_of(1000) {
        let _ = write!(text, ".{:03}", at % 1000);
    }
    text
}

/// A number in Prometheus' format, which never uses an exponent.
pub(super) fn number(value: f64) -> String {
    if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Labels in the format of messages: `{case="y", ns="x"}`.
pub(super) fn shown(labels: &Labels) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}={value:?}"))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Refuses a vector with duplicate labels, which may result from dropping metric names.
pub(super) fn unique(vector: Vec<Sample>) -> Result<Vec<Sample>, String> {
    let distinct: std::collections::BTreeSet<_> = vector.iter().map(|sample| &sample.labels).collect();
    if distinct.len() < vector.len() {
        return Err("vector cannot contain metrics with the same labelset".to_owned());
    }
    Ok(vector)
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^52")]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}

/// Converts milliseconds to seconds.
#[expect(clippy::cast_precision_loss, reason = "2^52 milliseconds are 140,000 years")]
pub(super) fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
