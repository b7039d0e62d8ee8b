//! Operators between two expressions.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use promql_parser::parser::{
    BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality,
    token::{
        T_ADD, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ, T_POW, T_SUB,
        TokenId,
    },
};

use super::{
    eval::Evaluation,
    value::{Labels, NAME, Sample, Value, shown, unique},
};

pub(super) fn binary(evaluation: &Evaluation<'_>, expr: &BinaryExpr) -> Result<Value, String> {
    let default = BinModifier::default();
    let modifier = expr.modifier.as_ref().unwrap_or(&default);
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err("fill modifiers are not supported".to_owned());
    }
    let op = Operator {
        id: expr.op.id(),
        compares: expr.op.is_comparison_operator(),
        to_bool: modifier.return_bool,
    };
    if !op.is_supported() {
        return Err(format!("the operator {} is not supported", expr.op));
    }
    match (evaluation.value(&expr.lhs)?, evaluation.value(&expr.rhs)?) {
        (Value::Scalar(left), Value::Scalar(right)) => Ok(Value::Scalar(op.apply(left, right).unwrap_or(f64::NAN))),
        (Value::Vector(vector), Value::Scalar(scalar)) => op.each(vector, |value| op.apply(value, scalar)),
        // A comparison keeps the value of the vector, on either side.
        (Value::Scalar(scalar), Value::Vector(vector)) if op.filters() => {
            op.each(vector, |value| op.apply(scalar, value).map(|_| value))
        }
        (Value::Scalar(scalar), Value::Vector(vector)) => op.each(vector, |value| op.apply(scalar, value)),
        (Value::Vector(left), Value::Vector(right)) => {
            let matching = Matching(modifier.matching.as_ref());
            let result = if expr.op.is_set_operator() {
                Ok(set(op.id, left, right, matching))
            } else {
                match_up(op, left, right, modifier, matching)
            };
            result.map(Value::Vector)
        }
        _ => Err("binary expression must contain only scalar and instant vector types".to_owned()),
    }
}

#[derive(Clone, Copy)]
struct Operator {
    id: TokenId,
    compares: bool,
    to_bool: bool,
}

impl Operator {
    fn is_supported(self) -> bool {
        let calculates = matches!(self.id, T_ADD | T_SUB | T_MUL | T_DIV | T_MOD | T_POW);
        calculates || self.compares || matches!(self.id, T_LAND | T_LOR | T_LUNLESS)
    }

    /// Whether the operator filters elements and keeps their values.
    fn filters(self) -> bool {
        self.compares && !self.to_bool
    }

    /// The resulting value, or `None` if the element is dropped.
    fn apply(self, left: f64, right: f64) -> Option<f64> {
        if self.compares {
            let holds = compare(self.id, left.partial_cmp(&right));
            return if self.to_bool {
                Some(if holds { 1.0 } else { 0.0 })
            } else {
                holds.then_some(left)
            };
        }
        Some(match self.id {
            T_ADD => left + right,
            T_SUB => left - right,
            T_MUL => left * right,
            T_DIV => left / right,
            T_MOD => left % right,
            // The remaining operator is `^`.
            _ => left.powf(right),
        })
    }

    fn each(self, vector: Vec<Sample>, apply: impl Fn(f64) -> Option<f64>) -> Result<Value, String> {
        let results = vector.into_iter().filter_map(|sample| {
            let value = apply(sample.value)?;
            Some(if self.filters() { sample } else { sample.computed(value) })
        });
        unique(results.collect()).map(Value::Vector)
    }
}

fn compare(id: TokenId, order: Option<Ordering>) -> bool {
    match id {
        T_EQLC => order == Some(Ordering::Equal),
        T_NEQ => order != Some(Ordering::Equal),
        T_GTR => order == Some(Ordering::Greater),
        T_LSS => order == Some(Ordering::Less),
        T_GTE => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        T_LTE => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        _ => false,
    }
}

/// The labels used to match elements.
#[derive(Clone, Copy)]
struct Matching<'a>(Option<&'a LabelModifier>);

impl Matching<'_> {
    fn group(self, labels: &Labels) -> Labels {
        let mut group = labels.clone();
        match self.0 {
            Some(LabelModifier::Include(on)) => group.retain(|label, _| on.labels.contains(label)),
            Some(LabelModifier::Exclude(ignoring)) => {
                group.retain(|label, _| label != NAME && !ignoring.labels.contains(label));
            }
            None => {
                group.remove(NAME);
            }
        }
        group
    }
}

fn set(op: TokenId, mut left: Vec<Sample>, right: Vec<Sample>, matching: Matching<'_>) -> Vec<Sample> {
    let groups =
        |side: &[Sample]| -> BTreeSet<Labels> { side.iter().map(|sample| matching.group(&sample.labels)).collect() };
    if op == T_LOR {
        let there = groups(&left);
        let others = right.into_iter();
        left.extend(others.filter(|sample| !there.contains(&matching.group(&sample.labels))));
    } else {
        let there = groups(&right);
        let wanted = op == T_LAND;
        left.retain(|sample| there.contains(&matching.group(&sample.labels)) == wanted);
    }
    left
}

/// Arithmetic and comparisons between two vectors.
fn match_up(
    op: Operator,
    left: Vec<Sample>,
    right: Vec<Sample>,
    modifier: &BinModifier,
    matching: Matching<'_>,
) -> Result<Vec<Sample>, String> {
    let swapped = matches!(modifier.card, VectorMatchCardinality::OneToMany(_));
    let (many, one, side) = if swapped {
        (right, left, "left")
    } else {
        (left, right, "right")
    };
    if many.is_empty() || one.is_empty() {
        return Ok(Vec::new());
    }
    let one = by_group(one, matching, side)?;
    let mut taken = BTreeSet::new();
    let mut results = Vec::new();
    for sample in many {
        let group = matching.group(&sample.labels);
        let Some(other) = one.get(&group) else { continue };
        let (left, right) = if swapped {
            (other.value, sample.value)
        } else {
            (sample.value, other.value)
        };
        let Some(value) = op.apply(left, right) else { continue };
        let labels = result_labels(op, sample.labels, &other.labels, modifier);
        let one_to_one = modifier.card.labels().is_none();
        if !taken.insert(if one_to_one { group } else { labels.clone() }) {
            return Err(if one_to_one {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".to_owned()
            } else {
                "multiple matches for labels: grouping labels must ensure unique matches".to_owned()
            });
        }
        results.push(Sample::new(labels, value));
    }
    unique(results)
}

fn by_group(one: Vec<Sample>, matching: Matching<'_>, side: &str) -> Result<BTreeMap<Labels, Sample>, String> {
    let mut groups: BTreeMap<Labels, Sample> = BTreeMap::new();
    for sample in one {
        let group = matching.group(&sample.labels);
        if let Some(other) = groups.get(&group) {
            return Err(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                shown(&group),
                shown(&sample.labels),
                shown(&other.labels)
            ));
        }
        groups.insert(group, sample);
    }
    Ok(groups)
}

fn result_labels(op: Operator, mut labels: Labels, other: &Labels, modifier: &BinModifier) -> Labels {
    if !op.filters() {
        labels.remove(NAME);
    }
    match (modifier.card.labels(), &modifier.matching) {
        (Some(included), _) => {
            for label in &included.labels {
                match other.get(label) {
                    Some(value) => labels.insert(label.clone(), value.clone()),
                    None => labels.remove(label),
                };
            }
        }
        (None, Some(LabelModifier::Include(on))) => labels.retain(|label, _| on.labels.contains(label)),
        (None, Some(LabelModifier::Exclude(ignoring))) => labels.retain(|label, _| !ignoring.labels.contains(label)),
        (None, None) => {}
    }
    labels
}
