//! What is good and what is bad.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    judge::{Reading, sample},
    number::short,
};
use crate::{
    api::{ContinuousValueDeviation, DeviationOf, DiscreteValueOutOfList, PromQlItem, ValueInRange},
    canary::validation::{Outcome, Sample, Series},
};

/// Rounding in Prometheus and here must not turn 10 % into more than 10 %.
const ROUNDING: f64 = 1e-9;

/// How much of the labels of a series a message shows, in characters.
const LABELS_SHOWN: usize = 120;

/// What is good and what is bad.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Criterion {
    Range {
        min: f64,
        max: f64,
    },
    Counts {
        key: String,
        listed: BTreeSet<String>,
        listed_is_good: bool,
        tolerance: f64,
    },
    Deviation {
        max_percent: f64,
        of: DeviationOf,
    },
    Boolean,
    NoResult,
}

/// The mean over the finite values of a whole result, those of other pods included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    value: f64,
    count: usize,
}

impl Mean {
    pub(super) fn of(all: &[Series]) -> Self {
        let finite = || all.iter().map(|series| series.value).filter(|value| value.is_finite());
        let count = finite().count();
        // Divided first: the sum of large values would overflow. No result has 2^52 series.
        #[allow(clippy::cast_precision_loss, reason = "exact for every count that fits in memory")]
        let value = finite().map(|value| value / count as f64).sum();
        Self { value, count }
    }
}

impl Criterion {
    pub(super) fn parse(item: &PromQlItem) -> Result<Self, String> {
        let criteria = [
            item.value_in_range.as_ref().map(range),
            item.discrete_value_out_of_list.as_ref().map(counts),
            item.continuous_value_deviation.as_ref().map(deviation),
            item.boolean.as_ref().map(|_| Ok(Self::Boolean)),
            item.no_result.as_ref().map(|_| Ok(Self::NoResult)),
        ];
        let mut set = criteria.into_iter().flatten();
        match (set.next(), set.next()) {
            (Some(criterion), None) => criterion,
            (first, _) => Err(format!(
                "{}: write exactly one of valueInRange, discreteValueOutOfList, continuousValueDeviation, \
                 boolean and noResult",
                if first.is_some() {
                    "several criteria"
                } else {
                    "no criterion"
                }
            )),
        }
    }

    /// Whether a scalar says nothing: it has no labels, is never absent, and is its own mean.
    pub(super) fn needs_series(&self) -> bool {
        match self {
            Self::Counts { .. } | Self::NoResult => true,
            Self::Deviation { of, .. } => *of == DeviationOf::Value,
            Self::Range { .. } | Self::Boolean => false,
        }
    }

    /// Whether series count by being there, whatever their value.
    pub(super) fn is_about_presence(&self) -> bool {
        *self == Self::NoResult
    }

    /// Judges `readings`: finite ones and at least one, but for a criterion that is about presence.
    pub(super) fn judge(&self, readings: &[Reading<'_>], mean: Mean) -> Sample {
        match self {
            Self::Range { min, max } => in_range(readings, *min, *max),
            Self::Counts {
                key,
                listed,
                listed_is_good,
                tolerance,
            } => {
                let is_bad = |value: &str| listed.contains(value) != *listed_is_good;
                shares(readings, key, is_bad, *tolerance)
            }
            Self::Deviation {
                max_percent,
                of: DeviationOf::Ratio,
            } => deviations(readings, 1.0, *max_percent),
            Self::Deviation {
                max_percent,
                of: DeviationOf::Value,
            } => {
                if mean.count < 2 {
                    return sample(Outcome::NoData, "a single series, which is its own mean");
                }
                if mean.value == 0.0 || !mean.value.is_finite() {
                    return sample(
                        Outcome::NoData,
                        format!("the mean is {}, so nothing deviates from it", short(mean.value)),
                    );
                }
                deviations(readings, mean.value, *max_percent)
            }
            Self::Boolean => booleans(readings),
            Self::NoResult => absence(readings),
        }
    }
}

fn range(range: &ValueInRange) -> Result<Criterion, String> {
    let (min, max) = (range.min.unwrap_or(0.0), range.max.unwrap_or(1.0));
    if min <= max {
        return Ok(Criterion::Range { min, max });
    }
    let (min, max) = (short(min), short(max));
    Err(format!(
        "valueInRange.min {min} is greater than max {max}: lower min or raise max"
    ))
}

fn counts(list: &DiscreteValueOutOfList) -> Result<Criterion, String> {
    let values = |values: &Option<Vec<String>>| -> BTreeSet<String> { values.iter().flatten().cloned().collect() };
    let (good, bad) = (values(&list.good_values), values(&list.bad_values));
    if list.key.is_empty() {
        return Err("discreteValueOutOfList.key is empty: name the label whose values are good or bad".to_owned());
    }
    if good.is_empty() == bad.is_empty() {
        let number = if good.is_empty() { "neither" } else { "both" };
        return Err(format!(
            "discreteValueOutOfList has {number} of goodValues and badValues: write one of them"
        ));
    }
    let tolerance = list.tolerance.unwrap_or(0);
    if tolerance > 100 {
        return Err(format!(
            "discreteValueOutOfList.tolerance {tolerance} is above 100 percent: lower it"
        ));
    }
    let listed_is_good = bad.is_empty();
    Ok(Criterion::Counts {
        key: list.key.clone(),
        listed: if listed_is_good { good } else { bad },
        listed_is_good,
        tolerance: f64::from(tolerance),
    })
}

fn deviation(deviation: &ContinuousValueDeviation) -> Result<Criterion, String> {
    let max_percent = deviation.max_deviation_percent;
    if max_percent.is_finite() && max_percent >= 0.0 {
        return Ok(Criterion::Deviation {
            max_percent,
            of: deviation.of.unwrap_or_default(),
        });
    }
    let max = short(max_percent);
    Err(format!(
        "continuousValueDeviation.maxDeviationPercent {max} is no percentage: write 0 or more"
    ))
}

/// What a reading, or the counts of a pod, came to.
struct Finding<'a> {
    outcome: Outcome,
    /// How near to bad, or how bad: the greatest decides.
    weight: f64,
    value: f64,
    reading: &'a Reading<'a>,
}

/// The finding that decides: the worst outcome, then the greatest weight, then the first.
fn worst<'a>(findings: impl Iterator<Item = Finding<'a>>) -> Option<Finding<'a>> {
    let rank = |outcome| match outcome {
        Outcome::NoData => 0,
        Outcome::Pass => 1,
        Outcome::Error => 2,
        Outcome::Fail => 3,
    };
    findings.reduce(|worst, next| {
        let order = rank(next.outcome)
            .cmp(&rank(worst.outcome))
            .then(next.weight.total_cmp(&worst.weight));
        if order.is_gt() { next } else { worst }
    })
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

fn in_range(readings: &[Reading<'_>], min: f64, max: f64) -> Sample {
    let findings = readings.iter().map(|reading| Finding {
        outcome: pass_if((min..=max).contains(&reading.value)),
        weight: (min - reading.value).max(reading.value - max),
        value: reading.value,
        reading,
    });
    decide(findings, |found| {
        let word = if found.outcome == Outcome::Pass {
            "within"
        } else {
            "outside"
        };
        let (value, min, max) = (short(found.value), short(min), short(max));
        format!("{value} {word} [{min}, {max}]{}", place(found.reading))
    })
}

fn deviations(readings: &[Reading<'_>], mean: f64, max_percent: f64) -> Sample {
    let percent = |ratio: f64| (ratio - 1.0).abs() * 100.0;
    let findings = readings.iter().map(|reading| {
        let ratio = reading.value / mean;
        Finding {
            outcome: pass_if(!exceeds(percent(ratio), max_percent)),
            weight: percent(ratio),
            value: ratio,
            reading,
        }
    });
    decide(findings, |found| {
        let word = if found.outcome == Outcome::Pass {
            "within"
        } else {
            "above"
        };
        let (ratio, off, max) = (short(found.value), short(percent(found.value)), short(max_percent));
        format!(
            "{ratio} times the mean: {off} % off, {word} {max} %{}",
            place(found.reading)
        )
    })
}

fn booleans(readings: &[Reading<'_>]) -> Sample {
    let findings = readings.iter().map(|reading| {
        let is = |number: f64| (reading.value - number).abs() < f64::EPSILON;
        let outcome = if is(1.0) {
            Outcome::Pass
        } else if is(0.0) {
            Outcome::Fail
        } else {
            Outcome::Error
        };
        Finding {
            outcome,
            weight: 0.0,
            value: reading.value,
            reading,
        }
    });
    decide(findings, |found| {
        let place = place(found.reading);
        match found.outcome {
            Outcome::Pass => format!("1, which is good{place}"),
            Outcome::Fail => format!("0, which is bad{place}"),
            _ => format!("{} is neither 1 (good) nor 0 (bad){place}", short(found.value)),
        }
    })
}

fn absence(readings: &[Reading<'_>]) -> Sample {
    let Some(first) = readings.first() else {
        return sample(Outcome::Pass, "no series, which is good");
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

/// The counts of one pod, or of all.
struct Counts<'a> {
    bad: f64,
    total: f64,
    odd: Option<&'a Reading<'a>>,
    first: &'a Reading<'a>,
}

fn shares(readings: &[Reading<'_>], key: &str, is_bad: impl Fn(&str) -> bool, tolerance: f64) -> Sample {
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
            Some(label) if reading.value >= 0.0 => {
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
        // A share is that of all series of its pod: the labels of one of them would mislead.
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
            Outcome::Error => {
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
    if group.total <= 0.0 || !group.total.is_finite() {
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

/// ` on pod …`, or the labels of the series where it stands for all pods.
fn place(reading: &Reading<'_>) -> String {
    if let Some(pod) = reading.pod {
        return format!(" on pod {pod}");
    }
    if reading.labels.is_empty() {
        return String::new();
    }
    let labels: Vec<_> = reading
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let labels = labels.join(", ");
    match labels.char_indices().nth(LABELS_SHOWN) {
        Some((end, _)) => format!(" on {{{}…}}", labels.get(..end).unwrap_or_default()),
        None => format!(" on {{{labels}}}"),
    }
}
