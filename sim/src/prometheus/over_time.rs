//! Functions of range vectors: `rate`, `max_over_time`, …

use std::cmp::Ordering;

use super::{
    eval::Window,
    functions::{Arguments, nameless},
    numbers,
    value::{Sample, float, seconds},
};

type OfSamples = fn(&[(i64, f64)], Window) -> Option<f64>;

/// A function of one non-empty range. It returns `None` if there are too few samples.
pub(super) enum Function {
    OfSamples(OfSamples),
    OfValues(fn(&[f64]) -> f64),
    /// Like `OfValues`, but the result keeps the metric name.
    Pick(fn(&[f64]) -> f64),
    /// The φ-quantile; φ is the first argument.
    Quantile,
}

/// The function with this name.
pub(super) fn function(name: &str) -> Option<Function> {
    use Function::{OfSamples, OfValues, Pick, Quantile};
    Some(match name {
        "rate" => OfSamples(|samples, window| {
            let change = Change::of(samples, window, true)?;
            let length = seconds(window.end.saturating_sub(window.start));
            Some(change.per_second() * (change.covered / length))
        }),
        "increase" => OfSamples(|samples, window| Change::of(samples, window, true).map(|change| change.total())),
        "delta" => OfSamples(|samples, window| Change::of(samples, window, false).map(|change| change.total())),
        "irate" => OfSamples(|samples, _| {
            let (before, last, apart) = last_two(samples)?;
            // A decrease is a counter reset.
            let gained = if last < before { last } else { last - before };
            Some(gained / apart)
        }),
        "idelta" => OfSamples(|samples, _| last_two(samples).map(|(before, last, _)| last - before)),
        "sum_over_time" => OfValues(numbers::sum),
        "avg_over_time" => OfValues(numbers::average),
        "min_over_time" => OfValues(numbers::min),
        "max_over_time" => OfValues(numbers::max),
        "count_over_time" => OfValues(|values| float(values.len())),
        "present_over_time" => OfValues(|_| 1.0),
        "stddev_over_time" => OfValues(|values| numbers::variance(values).sqrt()),
        "stdvar_over_time" => OfValues(numbers::variance),
        "changes" => OfValues(|values| count_pairs(values, is_another)),
        "resets" => OfValues(|values| count_pairs(values, |a, b| b < a)),
        "first_over_time" => Pick(|values| values.first().copied().unwrap_or(f64::NAN)),
        "last_over_time" => Pick(|values| values.last().copied().unwrap_or(f64::NAN)),
        "quantile_over_time" => Quantile,
        _ => return None,
    })
}

impl Function {
    pub(super) fn call(&self, arguments: &Arguments<'_>) -> Result<Vec<Sample>, String> {
        let (phi, nth) = match self {
            Self::Quantile => (arguments.scalar(0)?, 1),
            _ => (f64::NAN, 0),
        };
        let (window, ranges) = arguments.evaluation.ranges(arguments.expr(nth)?)?;
        let results = ranges.into_iter().filter_map(|range| {
            let values: Vec<_> = range.points.iter().map(|(_, value)| *value).collect();
            let value = match self {
                Self::OfSamples(function) => function(&range.points, window)?,
                Self::OfValues(function) => function(&values),
                Self::Pick(function) => return Some(Sample::new(range.labels, function(&values))),
                Self::Quantile => numbers::quantile(phi, &values),
            };
            Some(Sample::new(nameless(range.labels), value))
        });
        Ok(results.collect())
    }
}

/// The change over a range, and the time it covers.
struct Change {
    difference: f64,
    /// Seconds between the first and the last sample.
    sampled: f64,
    /// Seconds that the change is extrapolated to.
    covered: f64,
}

impl Change {
    /// Extrapolates as Prometheus does: to the bounds of the range, or by half a sample interval if the bound is far
    /// away, and for a counter never below 0.
    fn of(samples: &[(i64, f64)], window: Window, counter: bool) -> Option<Self> {
        let ((first, from), (last, to)) = (*samples.first()?, *samples.last()?);
        if samples.len() < 2 {
            return None;
        }
        let mut difference = to - from;
        if counter {
            let resets = samples.iter().zip(samples.iter().skip(1));
            difference += resets
                .filter(|((_, before), (_, after))| after < before)
                .map(|((_, before), _)| before)
                .sum::<f64>();
        }
        let length = seconds(last - first);
        let apart = length / float(samples.len() - 1);
        let reach = |to_bound: f64| if to_bound >= apart * 1.1 { apart / 2.0 } else { to_bound };
        let mut before = reach(seconds(first.saturating_sub(window.start)));
        if counter && difference > 0.0 && from >= 0.0 {
            before = before.min(length * (from / difference));
        }
        let after = reach(seconds(window.end.saturating_sub(last)));
        Some(Self {
            difference,
            sampled: length,
            covered: length + before + after,
        })
    }

    fn per_second(&self) -> f64 {
        self.difference / self.sampled
    }

    fn total(&self) -> f64 {
        self.per_second() * self.covered
    }
}

/// The last two values and the seconds between them.
fn last_two(samples: &[(i64, f64)]) -> Option<(f64, f64, f64)> {
    match samples {
        [.., (at, before), (then, last)] => Some((*before, *last, seconds(then - at))),
        _ => None,
    }
}

fn is_another(a: f64, b: f64) -> bool {
    a.partial_cmp(&b).is_none_or(Ordering::is_ne) && !(a.is_nan() && b.is_nan())
}

fn count_pairs(values: &[f64], is: impl Fn(f64, f64) -> bool) -> f64 {
    let pairs = values.iter().zip(values.iter().skip(1));
    float(pairs.filter(|(a, b)| is(**a, **b)).count())
}
