//! Whether the result of a query can have a label, judging by its operators. In doubt it can: other servers have functions and
//! rules of their own.

use super::{
    operator::Op,
    syntax::{Binary, Expr, Kind, Side},
};

/// Aggregations whose results have only the labels that they are grouped by.
const GROUPING: [&str; 9] = [
    "avg", "count", "group", "max", "min", "quantile", "stddev", "stdvar", "sum",
];

/// Functions of the time, which without an argument are about now.
const CALENDAR: [&str; 8] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "year",
];

/// Other functions whose results have the labels of their arguments, and no others.
const KEEPING: [&str; 39] = [
    "abs",
    "bottomk",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "delta",
    "deriv",
    "exp",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "holt_winters",
    "idelta",
    "increase",
    "irate",
    "limit_ratio",
    "limitk",
    "ln",
    "log10",
    "log2",
    "predict_linear",
    "rate",
    "resets",
    "round",
    "sgn",
    "sort",
    "sort_by_label",
    "sort_by_label_desc",
    "sort_desc",
    "sqrt",
    "timestamp",
    "topk",
];

/// Functions of a range, before `_over_time`. Others, such as `count_values_over_time`, may add labels.
const OVER_TIME: [&str; 12] = [
    "avg", "count", "first", "last", "mad", "max", "min", "present", "quantile", "stddev", "stdvar", "sum",
];

/// Whether no result of a query has a label.
pub(super) fn lacks(expr: &Expr<'_>, label: &str) -> bool {
    !may_have(expr, label)
}

fn may_have(expr: &Expr<'_>, label: &str) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::Text => false,
        Kind::Select => true,
        Kind::Range(inner) | Kind::Paren(inner) | Kind::Minus(inner) => may_have(inner, label),
        Kind::Call(name, parts) => call(expr, name, parts, label),
        Kind::Binary(binary) => pair(binary, label),
    }
}

fn call(expr: &Expr<'_>, name: &str, parts: &[Expr<'_>], label: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let inner = || parts.iter().any(|part| may_have(part, label));
    let names_it = |part: Option<&Expr<'_>>| part.and_then(literal).is_none_or(|name| name == label);
    match name.as_str() {
        "pi" | "scalar" | "time" | "vector" => false,
        // The labels are those that the selector compares with `=`.
        "absent" | "absent_over_time" => parts.iter().any(|part| compares_with(part.text, label)),
        "label_join" | "label_replace" => names_it(parts.get(1)) || inner(),
        "count_values" => names_it(parts.first()) || is_grouped(expr.grouping, label) && inner(),
        name if GROUPING.contains(&name) => is_grouped(expr.grouping, label) && inner(),
        name if CALENDAR.contains(&name) || KEEPING.contains(&name) => inner(),
        name => {
            !name
                .strip_suffix("_over_time")
                .is_some_and(|name| OVER_TIME.contains(&name))
                || inner()
        }
    }
}

/// Whether a selector may compare a label with `=`.
fn compares_with(selector: &str, label: &str) -> bool {
    selector.match_indices(label).any(|(at, _)| {
        let rest = selector.get(at + label.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(['"', '\'', '`']).trim_start();
        rest.strip_prefix('=').is_some_and(|value| !value.starts_with('~'))
    })
}

fn pair(binary: &Binary<'_>, label: &str) -> bool {
    let (left, right) = (may_have(&binary.left, label), may_have(&binary.right, label));
    match binary.op {
        Op::Or => return left || right,
        Op::And | Op::Unless => return left,
        _ => {}
    }
    if binary.left.is_scalar() || binary.right.is_scalar() || binary.matching.is_empty() {
        return left || right;
    }
    let Some(is_matched) = is_listed(binary.matching, label).map(|listed| listed == starts_with(binary.matching, "on"))
    else {
        return left || right;
    };
    let (many, one) = match binary.group {
        // The result has the labels that are matched.
        None => return is_matched && left && right,
        Some(Side::Left) => (left, right),
        Some(Side::Right) => (right, left),
    };
    match is_listed(binary.included, label) {
        Some(true) => one,
        Some(false) if is_matched => many && one,
        Some(false) => many,
        None => left || right,
    }
}

/// Whether `by (…)` or `without (…)` leaves a label.
fn is_grouped(grouping: &str, label: &str) -> bool {
    if grouping.is_empty() {
        return false;
    }
    is_listed(grouping, label).is_none_or(|listed| listed == starts_with(grouping, "by"))
}

/// Whether a list such as that of `by (pod, "k8s.node")` has a label. `None` if the list is not plain.
fn is_listed(text: &str, label: &str) -> Option<bool> {
    if text.is_empty() {
        return Some(false);
    }
    let (_, list) = text.split_once('(')?;
    let list = list.strip_suffix(')')?;
    if list.contains(['#', '{', '\\', '(']) {
        return None;
    }
    Some(
        list.split(',')
            .any(|name| name.trim().trim_matches(['"', '\'', '`']) == label),
    )
}

fn starts_with(text: &str, word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// The content of a plain string.
fn literal<'a>(expr: &Expr<'a>) -> Option<&'a str> {
    let inner = expr.text.get(1..expr.text.len().checked_sub(1)?)?;
    (expr.kind == Kind::Text && !inner.contains(['\\', '{'])).then_some(inner)
}
