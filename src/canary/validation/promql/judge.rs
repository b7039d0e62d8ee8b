//! Which numbers of an answer count.

use std::collections::{BTreeMap, BTreeSet};

use super::{PromQl, criterion::Mean};
use crate::canary::validation::{Answer, Outcome, Sample, Series};

/// One number of an answer that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    /// The canary pod it is about, when the result is judged per pod.
    pub(super) pod: Option<&'a str>,
    /// The labels of its series; empty for a scalar.
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) value: f64,
}

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

pub(super) fn judge(item: &PromQl, answer: &Answer, ready_pods: &[&str]) -> Sample {
    let (readings, mean) = match answer {
        Answer::Unanswered(why) => return sample(Outcome::Error, why.clone()),
        Answer::Rejected(why) => return sample(Outcome::Invalid, why.clone()),
        _ if ready_pods.is_empty() => return sample(Outcome::NoData, "no ready canary pod"),
        Answer::Scalar(_) if item.criterion.needs_series() => {
            return sample(
                Outcome::Error,
                "a scalar where the criterion needs series: write a query that yields a vector",
            );
        }
        Answer::Scalar(_) if !item.all_pods => {
            return sample(
                Outcome::Error,
                format!(
                    "a scalar where a series per `{}` is due: set allPodsQuery if it stands for all canary pods",
                    item.pod_key
                ),
            );
        }
        Answer::Scalar(value) => (scalar(*value), Mean::of(&[])),
        Answer::Vector(all) => match kept(item, all, ready_pods) {
            Ok(readings) => (readings, Mean::of(all)),
            Err(odd) => return odd,
        },
    };
    if item.criterion.is_about_presence() {
        return item.criterion.judge(&readings, mean);
    }
    if readings.is_empty() {
        return sample(
            Outcome::NoData,
            if item.all_pods {
                "no series"
            } else {
                "no series of a ready canary pod"
            },
        );
    }
    let finite: Vec<_> = readings
        .into_iter()
        .filter(|reading| reading.value.is_finite())
        .collect();
    if finite.is_empty() {
        return sample(Outcome::NoData, "only NaN or Inf, which is no measurement");
    }
    item.criterion.judge(&finite, mean)
}

/// A sample that no number decided.
pub(super) fn sample(outcome: Outcome, message: impl Into<String>) -> Sample {
    Sample {
        outcome,
        value: None,
        message: message.into(),
    }
}

fn scalar(value: f64) -> Vec<Reading<'static>> {
    vec![Reading {
        pod: None,
        labels: &NO_LABELS,
        value,
    }]
}

/// The series that count: all, or those of ready canary pods.
fn kept<'a>(item: &PromQl, all: &'a [Series], ready_pods: &[&str]) -> Result<Vec<Reading<'a>>, Sample> {
    let reading = |series: &'a Series, pod| Reading {
        pod,
        labels: &series.labels,
        value: series.value,
    };
    if item.all_pods {
        return Ok(all.iter().map(|series| reading(series, None)).collect());
    }
    let ready: BTreeSet<&str> = ready_pods.iter().copied().collect();
    let mut named = 0;
    let mut readings = Vec::new();
    for series in all {
        if let Some(pod) = series.labels.get(&item.pod_key) {
            named += 1;
            if ready.contains(pod.as_str()) {
                readings.push(reading(series, Some(pod)));
            }
        }
    }
    // Where every series is bad, one that names no pod must not pass as somebody else's.
    let doubtful = item.criterion.is_about_presence() && named < all.len();
    if all.is_empty() || (named > 0 && !doubtful) {
        return Ok(readings);
    }
    Err(sample(
        Outcome::Error,
        format!(
            "{} has the label `{}`: keep it in the query, set podNamekey to the label that names the pod, or set \
             allPodsQuery",
            if named == 0 { "no series" } else { "not every series" },
            item.pod_key
        ),
    ))
}
