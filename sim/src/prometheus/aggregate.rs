//! Aggregations: `sum`, `topk`, … by or without labels.

use std::collections::BTreeMap;

use promql_parser::parser::{
    AggregateExpr, LabelModifier,
    token::{T_AVG, T_BOTTOMK, T_COUNT, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUM, T_TOPK, TokenId},
};

use super::{
    eval::Evaluation,
    functions::{Order, sort},
    numbers,
    value::{Labels, NAME, Sample, float, number},
};

/// 2^63, which no count of series reaches.
const LIMIT: f64 = 9_223_372_036_854_775_808.0;

pub(super) fn aggregate(evaluation: &Evaluation<'_>, aggregation: &AggregateExpr) -> Result<Vec<Sample>, String> {
    let op = aggregation.op.id();
    if !is_supported(op) {
        return Err(format!("the aggregation {} is not supported", aggregation.op));
    }
    let parameter = match &aggregation.param {
        Some(parameter) => evaluation.scalar(parameter)?,
        None => f64::NAN,
    };
    if matches!(op, T_TOPK | T_BOTTOMK) && (parameter.is_nan() || parameter.abs() >= LIMIT) {
        return Err(format!("Scalar value {} overflows int64", number(parameter)));
    }
    let mut groups: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for sample in evaluation.vector(&aggregation.expr)? {
        let group = group_of(&sample.labels, aggregation.modifier.as_ref());
        groups.entry(group).or_default().push(sample);
    }
    let groups = groups.into_iter();
    Ok(match op {
        T_TOPK => groups
            .flat_map(|(_, members)| first(parameter, members, Order::Descending))
            .collect(),
        T_BOTTOMK => groups
            .flat_map(|(_, members)| first(parameter, members, Order::Ascending))
            .collect(),
        _ => groups
            .map(|(group, members)| {
                let values: Vec<_> = members.iter().map(|sample| sample.value).collect();
                Sample::new(group, reduce(op, parameter, &values))
            })
            .collect(),
    })
}

fn is_supported(op: TokenId) -> bool {
    matches!(
        op,
        T_SUM | T_AVG | T_MIN | T_MAX | T_COUNT | T_GROUP | T_STDDEV | T_STDVAR | T_QUANTILE | T_TOPK | T_BOTTOMK
    )
}

fn group_of(labels: &Labels, modifier: Option<&LabelModifier>) -> Labels {
    match modifier {
        None => Labels::new(),
        Some(LabelModifier::Include(by)) => {
            let wanted = by.labels.iter().filter_map(|label| labels.get_key_value(label));
            wanted.map(|(label, value)| (label.clone(), value.clone())).collect()
        }
        Some(LabelModifier::Exclude(without)) => {
            let mut group = labels.clone();
            group.retain(|label, _| label != NAME && !without.labels.contains(label));
            group
        }
    }
}

fn reduce(op: TokenId, parameter: f64, values: &[f64]) -> f64 {
    match op {
        T_SUM => numbers::sum(values),
        T_AVG => numbers::average(values),
        T_MIN => numbers::min(values),
        T_MAX => numbers::max(values),
        T_COUNT => float(values.len()),
        T_STDDEV => numbers::variance(values).sqrt(),
        T_STDVAR => numbers::variance(values),
        T_QUANTILE => numbers::quantile(parameter, values),
        // The remaining operator is `group`.
        _ => 1.0,
    }
}

/// The first `count` samples in an order. `count` is truncated to an integer.
fn first(count: f64, mut members: Vec<Sample>, order: Order) -> Vec<Sample> {
    sort(&mut members, order);
    let numbered = members.into_iter().enumerate();
    numbered
        .take_while(|(nth, _)| float(nth + 1) <= count)
        .map(|(_, sample)| sample)
        .collect()
}
