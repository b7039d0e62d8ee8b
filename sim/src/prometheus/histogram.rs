//! `histogram_quantile` for classic buckets.

use std::collections::BTreeMap;

use super::{
    functions::nameless,
    value::{Labels, Sample},
};

/// Relative difference below which counts are equal: rates of equal buckets may differ in the last digit.
const SAME: f64 = 1e-12;

#[derive(Clone, Copy)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The φ-quantile of every histogram in a vector of buckets. Samples without a valid `le` are ignored.
pub(super) fn quantiles(phi: f64, buckets: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for sample in buckets {
        let mut labels = sample.labels;
        let Some(bound) = labels.remove("le").and_then(|le| le.parse().ok()) else {
            continue;
        };
        let count = sample.value;
        histograms.entry(labels).or_default().push(Bucket { bound, count });
    }
    let histograms = histograms.into_iter();
    histograms
        .map(|(labels, buckets)| Sample::new(nameless(labels), quantile(phi, buckets)))
        .collect()
}

fn quantile(phi: f64, mut buckets: Vec<Bucket>) -> f64 {
    if phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|last| last.bound < f64::INFINITY) {
        return f64::NAN;
    }
    let buckets = rising(merged(buckets));
    let [finite @ .., all] = buckets.as_slice() else {
        return f64::NAN;
    };
    let Some(highest) = finite.last() else {
        return f64::NAN;
    };
    if all.count.partial_cmp(&0.0).is_some_and(std::cmp::Ordering::is_eq) {
        return f64::NAN;
    }
    let rank = phi * all.count;
    let mut below = Bucket { bound: 0.0, count: 0.0 };
    for (nth, bucket) in finite.iter().enumerate() {
        if bucket.count >= rank {
            if nth == 0 && bucket.bound <= 0.0 {
                return bucket.bound;
            }
            let share = (rank - below.count) / (bucket.count - below.count);
            return below.bound + (bucket.bound - below.bound) * share;
        }
        below = *bucket;
    }
    highest.bound
}

/// Merges buckets with the same bound.
fn merged(sorted: Vec<Bucket>) -> Vec<Bucket> {
    let mut merged: Vec<Bucket> = Vec::new();
    for bucket in sorted {
        match merged.last_mut() {
            Some(last) if last.bound.total_cmp(&bucket.bound).is_eq() => last.count += bucket.count,
            _ => merged.push(bucket),
        }
    }
    merged
}

/// Makes the counts monotonic, so that no bucket has less than the one before.
fn rising(mut buckets: Vec<Bucket>) -> Vec<Bucket> {
    let mut highest = f64::NEG_INFINITY;
    for bucket in &mut buckets {
        let apart = (bucket.count - highest).abs();
        if bucket.count < highest || apart < SAME * (bucket.count.abs() + highest.abs()) && highest.is_finite() {
            bucket.count = highest;
        }
        highest = bucket.count;
    }
    buckets
}
