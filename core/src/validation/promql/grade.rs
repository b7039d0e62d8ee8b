//! Evaluation of the relevant values, and selection of the decisive one.

use std::collections::BTreeMap;

use super::{
    judge::{Reading, sample},
    number::short,
};
use crate::validation::{Outcome, Sample};

/// Tolerance, so that rounding in Prometheus or here does not turn 10 % into more than 10 %.
const ROUNDING: f64 = 1e-9;

/// Maximum length of a series' labels in a message, in characters.
const LABELS_SHOWN: usize = 120;

/// The result for a reading, or for the counts of a pod.
struct Finding<'a> {
    outcome: Outcome,
    /// How close to bad, or how bad. The highest weight decides.
    weight: f64,
    value: f64,
    reading: &'a Reading<'a>,
}

/// The decisive finding: the worst outcome, then the highest weight, then the first. A finding without data prevents a
/// pass.
fn worst<'a>(findings: impl Iterator<Item = Finding<'a>>) -> Option<Finding<'a>> {
    let rank = |outcome| match outcome {
        Outcome::Pass => 0,
        Outcome::NoData => 1,
        Outcome::Error | Outcome::Invalid => 2,
        Outcome::Fail => 3,
    };
    findings.reduce(|worst, next| {
        let order = rank(next.outcome)
            .cmp(&rank(worst.outcome))
            .then(next.weight.total_cmp(&worst.weight));
        if order.is_gt() { next } else { worst }
    })
}

/// The finding for a reading without a usable value.
fn nothing<'a>(reading: &'a Reading<'a>) -> Finding<'a> {
    Finding {
        outcome: Outcome::NoData,
        weight: 0.0,
        value: reading.value,
        reading,
    }
}

fn no_measurement(found: &Finding<'_>) -> String {
    format!("{} is no measurement{}", short(found.value), place(found.reading))
}

fn decide<'a>(findings: impl Iterator<Item = Finding<'a>>, text: impl Fn(&Finding<'a>) -> String) -> Sample {
    worst(findings).map_or_else(
        || sample(Outcome::NoData, "no series"),
        |found| Sample {
            outcome: found.outcome,
            value: Some(found.value).filter(|value| value.is_finite()),
            message: text(&found),
        },
    )
}

fn pass_if(good: bool) -> Outcome {
    if good { Outcome::Pass } else { Outcome::Fail }
}

fn exceeds(percent: f64, limit: f64) -> bool {
    percent - limit > ROUNDING * limit.max(1.0)
}

pub(super) fn in_range(readings: &[Reading<'_>], min: f64, max: f64) -> Sample {
    let findings = readings.iter().map(|reading| {
        if reading.value.is_nan() {
            return nothing(reading);
        }
        Finding {
            outcome: pass_if((min..=max).contains(&reading.value)),
            weight: (min - reading.value).max(reading.value - max),
            value: reading.value,
            reading,
        }
    });
    decide(findings, |found| {
        let relation = match found.outcome {
            Outcome::Pass => "within",
            Outcome::NoData => return no_measurement(found),
            _ => "outside",
        };
        let (value, min, max) = (short(found.value), short(min), short(max));
        format!("{value} {relation} [{min}, {max}]{}", place(found.reading))
    })
}

/// `ratio` returns a value relative to the mean. An infinite value has no deviation, because there is no mean.
pub(super) fn deviations(readings: &[Reading<'_>], ratio: impl Fn(f64) -> f64, max_percent: f64) -> Sample {
    let percent = |ratio: f64| (ratio - 1.0).abs() * 100.0;
    let findings = readings.iter().map(|reading| {
        if !reading.value.is_finite() {
            return nothing(reading);
        }
        let ratio = ratio(reading.value);
        Finding {
            outcome: pass_if(!exceeds(percent(ratio), max_percent)),
            weight: percent(ratio),
            value: ratio,
            reading,
        }
    });
    decide(findings, |found| {
        let relation = match found.outcome {
            Outcome::Pass => "within",
            Outcome::NoData => return no_measurement(found),
            _ => "above",
        };
        let (ratio, off, max) = (short(found.value), short(percent(found.value)), short(max_percent));
        format!(
            "{ratio} times the mean: {off} % off, {relation} {max} %{}",
            place(found.reading)
        )
    })
}

pub(super) fn booleans(readings: &[Reading<'_>]) -> Sample {
    let findings = readings.iter().map(|reading| {
        let is = |number: f64| (reading.value - number).abs() < f64::EPSILON;
        let outcome = if reading.value.is_nan() {
            Outcome::NoData
        } else if is(1.0) {
            Outcome::Pass
        } else if is(0.0) {
            Outcome::Fail
        } else {
            Outcome::Error
        };
        Finding {
            outcome,
            ..nothing(reading)
        }
    });
    decide(findings, |found| {
        let place = place(found.reading);
        match found.outcome {
            Outcome::Pass => format!("1, which is good{place}"),
            Outcome::Fail => format!("0, which is bad{place}"),
            Outcome::NoData => no_measurement(found),
            _ => format!("{} is neither 1 (good) nor 0 (bad){place}", short(found.value)),
        }
    })
}

/// Evaluates series when none should exist.
pub(super) fn absence(readings: &[Reading<'_>]) -> Sample {
    let Some(first) = readings.first() else {
        return sample(Outcome::NoData, "no series");
    };
    let number = match readings.len() {
        1 => "a series".to_owned(),
        several => format!("{several} series"),
    };
    Sample {
        outcome: Outcome::Fail,
        value: Some(first.value).filter(|value| value.is_finite()),
        message: format!(
            "{number} where none is due, the first with {}{}",
            short(first.value),
            place(first)
        ),
    }
}

/// The counts of one pod, or of all pods.
struct Counts<'a> {
    bad: f64,
    total: f64,
    odd: Option<&'a Reading<'a>>,
    first: &'a Reading<'a>,
}

pub(super) fn shares(readings: &[Reading<'_>], key: &str, is_bad: impl Fn(&str) -> bool, tolerance: f64) -> Sample {
    let mut groups: BTreeMap<Option<&str>, Counts<'_>> = BTreeMap::new();
    for reading in readings {
        let new = Counts {
            bad: 0.0,
            total: 0.0,
            odd: None,
            first: reading,
        };
        let group = groups.entry(reading.pod).or_insert(new);
        match reading.labels.get(key) {
            // A sum that includes NaN is NaN.
            Some(label) if reading.value.is_nan() || reading.value >= 0.0 => {
                group.total += reading.value;
                if is_bad(label) {
                    group.bad += reading.value;
                }
            }
            _ => group.odd = group.odd.or(Some(reading)),
        }
    }
    let findings = groups.values().map(|group| share(group, tolerance));
    decide(findings, |found| {
        let (value, limit) = (short(found.value), short(tolerance));
        // A share is that of all series of its pod, so the labels of a single series would mislead.
        let pod = found
            .reading
            .pod
            .map_or_else(String::new, |pod| format!(" on pod {pod}"));
        match found.outcome {
            Outcome::Pass => format!("{value} % bad, within {limit} %{pod}"),
            Outcome::Fail => format!("{value} % bad, above {limit} %{pod}"),
            Outcome::NoData => format!(
                "counts that add up to {}, which is no measurement{pod}",
                short(found.weight)
            ),
            Outcome::Error if found.reading.labels.contains_key(key) => {
                format!("{value} is negative, so it is no count{}", place(found.reading))
            }
            Outcome::Error | Outcome::Invalid => {
                format!(
                    "a series without the label `{key}`: keep it in the query{}",
                    place(found.reading)
                )
            }
        }
    })
}

fn share<'a>(group: &Counts<'a>, tolerance: f64) -> Finding<'a> {
    if let Some(odd) = group.odd {
        return Finding {
            outcome: Outcome::Error,
            weight: 0.0,
            value: odd.value,
            reading: odd,
        };
    }
    if !group.total.is_finite() || group.total <= 0.0 {
        return Finding {
            outcome: Outcome::NoData,
            weight: group.total,
            value: f64::NAN,
            reading: group.first,
        };
    }
    let percent = group.bad / group.total * 100.0;
    Finding {
        outcome: pass_if(!exceeds(percent, tolerance)),
        weight: percent,
        value: percent,
        reading: group.first,
    }
}

/// ` on pod …` with the other labels of the series. The pod comes first. The metric name, which is in the query, and
/// labels without a value are left out.
pub(super) fn place(reading: &Reading<'_>) -> String {
    let named = || reading.labels.get(reading.key).map(String::as_str);
    let pod = reading.pod.or_else(named).filter(|pod| !pod.is_empty());
    let labels: Vec<_> = reading
        .labels
        .iter()
        .filter(|(name, value)| *name != reading.key && *name != "__name__" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let labels = labels.join(", ");
    let labels = match labels.char_indices().nth(LABELS_SHOWN) {
        Some((end, _)) => format!("{{{}…}}", labels.get(..end).unwrap_or_default()),
        None if labels.is_empty() => String::new(),
        None => format!("{{{labels}}}"),
    };
    match (pod, labels.is_empty()) {
        (None, true) => String::new(),
        (None, false) => format!(" on {labels}"),
        (Some(pod), true) => format!(" on pod {pod}"),
        (Some(pod), false) => format!(" on pod {pod} {labels}"),
    }
}
