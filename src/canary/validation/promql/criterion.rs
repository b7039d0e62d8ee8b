//! What is good and what is bad.

use std::collections::BTreeSet;

use super::{
    grade::{absence, booleans, deviations, in_range, shares},
    judge::{Reading, sample},
    number::short,
};
use crate::{
    api::{ContinuousValueDeviation, DeviationOf, DiscreteValueOutOfList, PromQlItem, ValueInRange},
    canary::validation::{Outcome, Sample, Series},
};

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
