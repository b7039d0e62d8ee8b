//! Queries that can neither pass nor fail anything as they are written, as far as their form proves it, and how to fix them.

use super::{
    bounds::{Bounds, nothing},
    criterion::Criterion,
    facts::shown,
    kept::lacks,
    operator::Op,
    syntax::{Expr, Kind},
};

/// What a query has to yield.
pub(super) struct Wanted<'a> {
    pub(super) criterion: &'a Criterion,
    pub(super) pod_key: &'a str,
    pub(super) all_pods: bool,
    /// Whether missing data fails the run.
    pub(super) fails_without_data: bool,
}

/// Refuses a query by which no canary could ever fail.
pub(super) fn query(expr: &Expr<'_>, wanted: &Wanted<'_>) -> Result<(), String> {
    let Wanted {
        criterion,
        pod_key,
        all_pods,
        fails_without_data,
    } = wanted;
    if !all_pods && lacks(expr, pod_key) {
        return Err(format!(
            "query never has the label `{pod_key}` in its result, by which each canary pod is judged, so the item could not \
             fail: keep the label, as in `sum by ({pod_key}) (…)`, set podNamekey to the label that names the pod, or set \
             allPodsQuery: true if the result is about all canary pods together"
        ));
    }
    if let Some(key) = criterion.key().filter(|key| lacks(expr, key)) {
        return Err(format!(
            "query never has the label `{key}` in its result, whose values discreteValueOutOfList judges: keep the label, as in \
             `sum by ({pod_key}, {key}) (…)`"
        ));
    }
    if let Some(part) = nothing(expr) {
        return Err(format!(
            "query never yields anything, because nothing meets {}{}, so the item could not fail: correct its numbers",
            shown(part.text),
            why_not(part)
        ));
    }
    match Bounds::of(expr) {
        Some(bounds) if !fails_without_data && criterion.always_holds(bounds) => Err(format!(
            "query yields only values that are good, so the item could not fail: {}, or set onNoData: fail",
            remedy(expr)
        )),
        _ => Ok(()),
    }
}

/// Refuses evidence that would prove nothing, or never anything.
pub(super) fn evidence(expr: &Expr<'_>, pod_key: &str, all_pods: bool) -> Result<(), String> {
    if let Some(part) = absence(expr) {
        return Err(format!(
            "evidenceQuery has {}, which yields a value where nothing is there, so it would prove nothing: name a metric that \
             the canary's pods have",
            shown(part.text)
        ));
    }
    if !all_pods && lacks(expr, pod_key) {
        return Err(format!(
            "evidenceQuery never has the label `{pod_key}` in its result, and every ready pod has to be in it: keep the label, \
             as in `sum by ({pod_key}) (…)`, or set allPodsQuery: true if both queries are about all canary pods together"
        ));
    }
    match Bounds::of(expr) {
        Some(bounds) if bounds.high > 0.0 => Ok(()),
        _ => Err(
            "evidenceQuery never yields a value above 0, so the item could never be good: correct its numbers"
                .to_owned(),
        ),
    }
}

/// The part of a query that gives the result its values and is there where its operand is not.
fn absence<'a, 'b>(expr: &'a Expr<'b>) -> Option<&'a Expr<'b>> {
    match &expr.kind {
        Kind::Call("absent" | "absent_over_time", _) => Some(expr),
        Kind::Binary(binary) if matches!(binary.op, Op::And | Op::Unless) => absence(&binary.left),
        _ => expr.parts().into_iter().find_map(absence),
    }
}

/// Why a count is not found to be 0.
fn why_not(part: &Expr<'_>) -> &'static str {
    let counts = |part: &Expr<'_>| matches!(part.kind, Kind::Call("count" | "count_over_time", _));
    if part.has(&counts) {
        " (a count is never 0: where there is nothing to count, there is no result)"
    } else {
        ""
    }
}

/// How to see the values that are bad.
fn remedy(expr: &Expr<'_>) -> &'static str {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op.compares() && !binary.is_bool => {
            "a comparison leaves out what it does not find, so leave it to valueInRange, or write `bool` behind its operator and \
             use boolean"
        }
        _ => "write a criterion that some of its values do not meet",
    }
}
