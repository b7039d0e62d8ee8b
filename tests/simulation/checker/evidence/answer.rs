//! Evidence in a Prometheus answer about a canary, derived independently from the criteria in docs/api.md.

use std::collections::{BTreeMap, BTreeSet};

use kanary_core::api::{ContinuousValueDeviation, DeviationOf, DiscreteValueOutOfList, PromQlItem};
use serde_json::Value;

use super::Labels;

/// The evidence in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Good,
    Bad,
    /// Evidence for neither.
    None,
}

/// Tolerance for rounding errors.
const ROUNDING: f64 = 1e-6;

/// The pods that an answer covers.
pub(super) struct Pods<'a> {
    /// Pods for which the answer must contain a value.
    pub(super) due: BTreeSet<&'a str>,
    /// All pods that the canary ever had.
    pub(super) all: BTreeSet<&'a str>,
}

/// A value with the labels of its series.
struct Reading {
    labels: Labels,
    value: f64,
}

/// The values of an answer, or `None` if it is incomplete.
fn read(status: u16, body: &[u8]) -> Option<(bool, Vec<Reading>)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let warnings = body["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
    if !(200..300).contains(&status) || body["status"] != "success" || warnings || body["isPartial"] == true {
        return None;
    }
    let number = |point: &Value| point[1].as_str()?.parse::<f64>().ok();
    let (kind, result) = (&body["data"]["resultType"], &body["data"]["result"]);
    if kind == "scalar" {
        let reading = Reading {
            labels: Labels::new(),
            value: number(result)?,
        };
        return Some((true, vec![reading]));
    }
    let reading = |series: &Value| {
        Some(Reading {
            labels: kanary_sim::object::string_map(&series["metric"]),
            value: number(&series["value"])?,
        })
    };
    let series = result.as_array().filter(|_| kind == "vector")?;
    let readings: Option<Vec<_>> = series.iter().map(reading).collect();
    Some((false, readings?))
}

/// The evidence of an answer for an item.
pub(super) fn proves(item: &PromQlItem, (status, body): (u16, &[u8]), pods: &Pods<'_>) -> Proof {
    let Some((is_scalar, readings)) = read(status, body) else {
        return Proof::None;
    };
    if pods.due.is_empty() && pods.all.is_empty() {
        return Proof::None;
    }
    let all_pods = item.all_pods_query == Some(true);
    let mean = mean(&readings);
    if all_pods {
        return of_group(item, &readings.iter().collect::<Vec<_>>(), mean);
    }
    if is_scalar {
        return Proof::None;
    }
    let key = pod_key(item);
    let named = readings
        .iter()
        .filter(|reading| reading.labels.contains_key(key))
        .count();
    let mut groups: BTreeMap<&str, Vec<&Reading>> = BTreeMap::new();
    for reading in &readings {
        if let Some(pod) = reading.labels.get(key).filter(|pod| pods.all.contains(pod.as_str())) {
            groups.entry(pod).or_default().push(reading);
        }
    }
    if item.no_result.is_some() {
        return if !groups.is_empty() {
            Proof::Bad
        } else if named == readings.len() {
            Proof::Good
        } else {
            Proof::None
        };
    }
    let proofs: Vec<_> = groups.values().map(|group| of_group(item, group, mean)).collect();
    if proofs.contains(&Proof::Bad) {
        return Proof::Bad;
    }
    let complete = pods.due.iter().all(|pod| groups.contains_key(pod));
    if complete && !proofs.is_empty() && proofs.iter().all(|proof| *proof == Proof::Good) {
        Proof::Good
    } else {
        Proof::None
    }
}

fn pod_key(item: &PromQlItem) -> &str {
    let key = item.pod_name_key.as_deref();
    key.filter(|key| !key.is_empty()).unwrap_or("pod")
}

/// Whether an answer shows that Prometheus has data of the canary's pods.
pub(super) fn knows(item: &PromQlItem, (status, body): (u16, &[u8]), pods: &Pods<'_>) -> bool {
    let Some((_, readings)) = read(status, body) else {
        return false;
    };
    let shown = readings.iter().filter(|reading| reading.value > 0.0);
    let named: BTreeSet<_> = shown
        .clone()
        .filter_map(|reading| reading.labels.get(pod_key(item)))
        .collect();
    let stands_for_all = item.all_pods_query == Some(true) && shown.count() > named.len();
    stands_for_all || pods.due.iter().all(|pod| named.iter().any(|named| named == pod))
}

/// The mean of all finite values of an answer.
fn mean(readings: &[Reading]) -> f64 {
    let finite: Vec<_> = readings
        .iter()
        .map(|reading| reading.value)
        .filter(|value| value.is_finite())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "answers have few series")]
    let count = finite.len() as f64;
    finite.iter().map(|value| value / count).sum()
}

fn is(value: f64, other: f64) -> bool {
    (value - other).abs() < f64::EPSILON
}

fn within(value: f64, least: f64, most: f64) -> Proof {
    if value.is_nan() {
        Proof::None
    } else if (least..=most).contains(&value) {
        Proof::Good
    } else {
        Proof::Bad
    }
}

/// The evidence of the values of one pod, or of all pods.
fn of_group(item: &PromQlItem, readings: &[&Reading], mean: f64) -> Proof {
    if item.no_result.is_some() {
        return if readings.is_empty() { Proof::Good } else { Proof::Bad };
    }
    let each = |prove: &dyn Fn(f64) -> Proof| {
        let proofs: Vec<_> = readings.iter().map(|reading| prove(reading.value)).collect();
        if proofs.contains(&Proof::Bad) {
            Proof::Bad
        } else if proofs.is_empty() || proofs.contains(&Proof::None) {
            Proof::None
        } else {
            Proof::Good
        }
    };
    if let Some(range) = &item.value_in_range {
        let (least, most) = (range.min.unwrap_or(0.0), range.max.unwrap_or(1.0));
        return each(&|value| within(value, least, most));
    }
    if let Some(counts) = &item.discrete_value_out_of_list {
        return shares(counts, readings);
    }
    if let Some(deviation) = &item.continuous_value_deviation {
        return each(&|value| deviates(deviation, value, mean));
    }
    each(&|value| {
        if is(value, 1.0) {
            Proof::Good
        } else if is(value, 0.0) {
            Proof::Bad
        } else {
            Proof::None
        }
    })
}

fn deviates(deviation: &ContinuousValueDeviation, value: f64, mean: f64) -> Proof {
    let of_value = deviation.of == Some(DeviationOf::Value);
    let ratio = if !of_value {
        value
    } else if is(value, mean) {
        // All values are equal, even if all are 0.
        1.0
    } else {
        value / mean
    };
    if !ratio.is_finite() {
        return Proof::None;
    }
    let percent = (ratio - 1.0).abs() * 100.0;
    let most = deviation.max_deviation_percent;
    within(percent, 0.0, most + ROUNDING * most.max(1.0))
}

fn shares(counts: &DiscreteValueOutOfList, readings: &[&Reading]) -> Proof {
    let listed = |value: &str, list: &Option<Vec<String>>| list.iter().flatten().any(|listed| listed == value);
    let has_good = counts.good_values.as_ref().is_some_and(|values| !values.is_empty());
    let (mut bad, mut sum) = (0.0, 0.0);
    for reading in readings {
        let Some(value) = reading.labels.get(&counts.key) else {
            return Proof::None;
        };
        if !reading.value.is_finite() || reading.value < 0.0 {
            return Proof::None;
        }
        let is_bad = if has_good {
            !listed(value, &counts.good_values)
        } else {
            listed(value, &counts.bad_values)
        };
        sum += reading.value;
        bad += if is_bad { reading.value } else { 0.0 };
    }
    let most = f64::from(counts.tolerance.unwrap_or(0));
    if sum > 0.0 {
        within(bad / sum * 100.0, 0.0, most + ROUNDING * most.max(1.0))
    } else {
        Proof::None
    }
}
