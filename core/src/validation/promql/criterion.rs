//! Criteria for good and bad values.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    bounds::Bounds,
    grade::{absence, booleans, deviations, in_range, shares},
    judge::{Reading, sample},
    number::short,
};
use crate::{
    api::{ContinuousValueDeviation, DeviationOf, DiscreteValueOutOfList, PromQlItem, ValueInRange},
    validation::{Outcome, Sample, Series},
};

/// The criterion of an item.
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

/// The mean that values are compared with. It includes the values of other pods.
#[derive(Clone, Copy, Debug)]
enum Mean {
    /// A mean other than 0.
    Is(f64),
    /// Every value is 0.
    Zeros,
    /// There is no mean, for this reason.
    Not(Outcome, &'static str),
}

/// A mean that is a smaller part than this of its values is a rounding error.
const NO_PART: f64 = 1e-9;

impl Mean {
    /// The mean of all numeric values. Pods without a measurement do not count.
    fn of(all: &[Series]) -> Self {
        let values = || all.iter().map(|series| series.value).filter(|value| !value.is_nan());
        let count = values().count();
        if count < 2 {
            return Self::Not(Outcome::NoData, "a single series, which is its own mean");
        }
        if values().any(f64::is_infinite) {
            return Self::Not(Outcome::NoData, "Inf in the result, beside which there is no mean");
        }
        let greatest = values().map(f64::abs).fold(0.0, f64::max);
        if greatest == 0.0 {
            return Self::Zeros;
        }
        // Each value is divided first, because the sum of large values would overflow. No result has 2^52 series.
        #[allow(clippy::cast_precision_loss, reason = "exact for every count that fits in memory")]
        let mean: f64 = values().map(|value| value / count as f64).sum();
        if mean.abs() <= greatest * NO_PART {
            return Self::Not(
                Outcome::Error,
                "the mean is 0, made of values of opposite signs, so the deviation from it is undefined: write a query \
                 whose values are not negative",
            );
        }
        Self::Is(mean)
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

    /// Whether a scalar is not sufficient: it has no labels, is never absent, and equals its own mean.
    pub(super) fn needs_series(&self) -> bool {
        match self {
            Self::Counts { .. } | Self::NoResult => true,
            Self::Deviation { of, .. } => *of == DeviationOf::Value,
            Self::Range { .. } | Self::Boolean => false,
        }
    }

    /// Whether listed values are written as regular expressions, which they are not.
    pub(super) fn lists_patterns(&self) -> bool {
        let is_pattern = |value: &String| {
            ["..", ".*", ".+", "|", "[", "^"]
                .iter()
                .any(|sign| value.contains(sign))
        };
        matches!(self, Self::Counts { listed, .. } if listed.iter().any(is_pattern))
    }

    /// Whether only the presence of series counts, not their values.
    pub(super) fn is_about_presence(&self) -> bool {
        *self == Self::NoResult
    }

    /// The label whose values are judged.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Counts { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Whether every value within these bounds is good.
    pub(super) fn always_holds(&self, values: Bounds) -> bool {
        match self {
            Self::Range { min, max } => *min <= values.low && values.high <= *max,
            Self::Boolean => values.low > 0.0,
            _ => false,
        }
    }

    /// Evaluates `readings`, which are not empty, as part of the result `all`.
    pub(super) fn judge(&self, readings: &[Reading<'_>], all: &[Series]) -> Sample {
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
            } => deviations(readings, |value| value, *max_percent),
            Self::Deviation {
                max_percent,
                of: DeviationOf::Value,
            } => match Mean::of(all) {
                Mean::Not(outcome, why) => sample(outcome, why),
                // Zero does not deviate from a mean of zero.
                Mean::Zeros => deviations(readings, |_| 1.0, *max_percent),
                Mean::Is(mean) => deviations(readings, |value| value / mean, *max_percent),
            },
            Self::Boolean => booleans(readings),
            Self::NoResult => absence(readings),
        }
    }

    /// The criterion in a normal form, for the hash.
    pub(super) fn identity(&self) -> Value {
        match self {
            Self::Range { min, max } => json!({"range": [min, max]}),
            Self::Counts {
                key,
                listed,
                listed_is_good,
                tolerance,
            } => json!({"counts": key, "good": listed_is_good, "listed": listed, "tolerance": tolerance}),
            Self::Deviation { max_percent, of } => json!({"deviation": max_percent, "of": of}),
            Self::Boolean => json!("boolean"),
            Self::NoResult => json!("noResult"),
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
    if tolerance >= 100 {
        return Err(format!(
            "discreteValueOutOfList.tolerance {tolerance} tolerates any share of bad counts (in percent), so the item could \
             not fail: lower it to 99 or less"
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
