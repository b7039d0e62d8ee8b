//! Arithmetic on lists of numbers for aggregations and functions.

use super::value::float;

/// The sum, with Kahan compensation as in Prometheus, so that the order barely matters.
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let total = sum + value;
        lost = if total.is_infinite() {
            0.0
        } else if sum.abs() >= value.abs() {
            lost + (sum - total + value)
        } else {
            lost + (value - total + sum)
        };
        sum = total;
    }
    sum + lost
}

pub(super) fn average(values: &[f64]) -> f64 {
    sum(values) / float(values.len())
}

/// The minimum. NaN only if all values are NaN.
pub(super) fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

/// The maximum. NaN only if all values are NaN.
pub(super) fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// The population variance.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = average(values);
    let squares: Vec<_> = values.iter().map(|value| (value - mean) * (value - mean)).collect();
    average(&squares)
}

/// The φ-quantile, interpolated linearly.
pub(super) fn quantile(phi: f64, values: &[f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    // NaN sorts first.
    sorted.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then_with(|| a.total_cmp(b)));
    let rank = phi * float(sorted.len() - 1);
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1).chain(sorted.last()));
    let (lower, upper) = pairs
        .nth(index(rank.floor()))
        .map_or((f64::NAN, f64::NAN), |(lower, upper)| (*lower, *upper));
    let weight = rank - rank.floor();
    lower * (1.0 - weight) + upper * weight
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is an integer between 0 and the length of a list"
)]
fn index(rank: f64) -> usize {
    rank as usize
}
