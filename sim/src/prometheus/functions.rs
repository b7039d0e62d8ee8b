//! Functions of instant vectors and scalars.

use std::cmp::Ordering;

use promql_parser::parser::{Call, Expr};
use regex::Regex;

use super::{
    eval::Evaluation,
    histogram,
    matchers::Matchers,
    over_time,
    value::{Labels, NAME, Sample, Value, seconds, unique},
};

/// Sort order by value. NaN is last in both orders.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Ascending,
    Descending,
}

pub(super) fn call(evaluation: &Evaluation<'_>, call: &Call) -> Result<Value, String> {
    let call = Arguments { evaluation, call };
    let result = match call.call.func.name {
        "time" => return Ok(Value::Scalar(seconds(evaluation.at))),
        "pi" => return Ok(Value::Scalar(std::f64::consts::PI)),
        "scalar" => return call.to_scalar().map(Value::Scalar),
        "vector" => vec![Sample::new(Labels::new(), call.scalar(0)?)],
        "absent" => absent(&call, call.vector(0)?.is_empty())?,
        "absent_over_time" => absent(&call, evaluation.ranges(call.expr(0)?)?.1.is_empty())?,
        "sort" => call.sorted(Order::Ascending)?,
        "sort_desc" => call.sorted(Order::Descending)?,
        "label_replace" => label_replace(&call)?,
        "label_join" => label_join(&call)?,
        "histogram_quantile" => histogram::quantiles(call.scalar(0)?, call.vector(1)?),
        "round" => {
            let to = call.scalar_or(1, 1.0)?;
            // Prometheus multiplies by the inverse. A division would differ in the last digit.
            let inverse = 1.0 / to;
            call.each(|value| (value * inverse + 0.5).floor() / inverse)?
        }
        "clamp" => {
            let (min, max) = (call.scalar(1)?, call.scalar(2)?);
            if min > max {
                return Ok(Value::Vector(Vec::new()));
            }
            call.each(|value| higher(min, lower(max, value)))?
        }
        "clamp_min" => {
            let min = call.scalar(1)?;
            call.each(|value| higher(min, value))?
        }
        "clamp_max" => {
            let max = call.scalar(1)?;
            call.each(|value| lower(max, value))?
        }
        "timestamp" => call.each(|_| seconds(evaluation.at))?,
        name => match (of_a_number(name), over_time::function(name)) {
            (Some(function), _) => call.each(function)?,
            (_, Some(function)) => function.call(&call)?,
            _ => return Err(format!("the function {name} is not supported")),
        },
    };
    unique(result).map(Value::Vector)
}

fn of_a_number(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sqrt" => f64::sqrt,
        "sgn" => |value| match value.partial_cmp(&0.0) {
            Some(Ordering::Less) => -1.0,
            Some(Ordering::Greater) => 1.0,
            _ => value,
        },
        _ => return None,
    })
}

/// Comparison for the minimum: NaN if either value is NaN, unless the other is already the lowest possible value.
fn lower(a: f64, b: f64) -> f64 {
    let nan = (a.is_nan() || b.is_nan()) && a.min(b) > f64::NEG_INFINITY;
    if nan { f64::NAN } else { a.min(b) }
}

/// Comparison for the maximum: NaN if either value is NaN, unless the other is already the highest possible value.
fn higher(a: f64, b: f64) -> f64 {
    -lower(-a, -b)
}

/// The arguments of a call, evaluated on demand.
pub(super) struct Arguments<'a> {
    pub(super) evaluation: &'a Evaluation<'a>,
    call: &'a Call,
}

impl Arguments<'_> {
    pub(super) fn expr(&self, nth: usize) -> Result<&Expr, String> {
        let missing = || format!("an argument of {} is missing", self.call.func.name);
        self.call.args.args.get(nth).map(AsRef::as_ref).ok_or_else(missing)
    }

    pub(super) fn scalar(&self, nth: usize) -> Result<f64, String> {
        self.evaluation.scalar(self.expr(nth)?)
    }

    fn scalar_or(&self, nth: usize, default: f64) -> Result<f64, String> {
        match self.call.args.args.get(nth) {
            Some(expr) => self.evaluation.scalar(expr),
            None => Ok(default),
        }
    }

    fn vector(&self, nth: usize) -> Result<Vec<Sample>, String> {
        self.evaluation.vector(self.expr(nth)?)
    }

    fn text(&self, nth: usize) -> Result<String, String> {
        self.evaluation.text(self.expr(nth)?)
    }

    fn each(&self, function: impl Fn(f64) -> f64) -> Result<Vec<Sample>, String> {
        let samples = self.vector(0)?.into_iter().map(|sample| {
            let value = function(sample.value);
            sample.computed(value)
        });
        Ok(samples.collect())
    }

    fn to_scalar(&self) -> Result<f64, String> {
        Ok(match self.vector(0)?.as_slice() {
            [one] => one.value,
            _ => f64::NAN,
        })
    }

    fn sorted(&self, order: Order) -> Result<Vec<Sample>, String> {
        let mut samples = self.vector(0)?;
        sort(&mut samples, order);
        Ok(samples)
    }
}

pub(super) fn sort(samples: &mut [Sample], order: Order) {
    samples.sort_by(|a, b| {
        let by_value = match order {
            Order::Ascending => a.value.partial_cmp(&b.value),
            Order::Descending => b.value.partial_cmp(&a.value),
        };
        by_value.unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()))
    });
}

/// One element with the labels of the selector if the argument is empty.
fn absent(call: &Arguments<'_>, nothing: bool) -> Result<Vec<Sample>, String> {
    if !nothing {
        return Ok(Vec::new());
    }
    let mut of = call.expr(0)?;
    while let Expr::Paren(inner) = of {
        of = &inner.expr;
    }
    let labels = match of {
        Expr::VectorSelector(selector) => Matchers::of(selector)?.labels_if_absent(),
        Expr::MatrixSelector(selector) => Matchers::of(&selector.vs)?.labels_if_absent(),
        _ => Labels::new(),
    };
    Ok(vec![Sample::new(labels, 1.0)])
}

fn label_replace(call: &Arguments<'_>) -> Result<Vec<Sample>, String> {
    let (to, replacement, from, regex) = (call.text(1)?, call.text(2)?, call.text(3)?, call.text(4)?);
    let anchored = Regex::new(&format!("^(?s:{regex})$"));
    let regex = anchored.map_err(|_| format!("invalid regular expression in label_replace(): {regex}"))?;
    if to.is_empty() {
        return Err(format!("invalid destination label name in label_replace(): {to}"));
    }
    let mut samples = call.vector(0)?;
    for sample in &mut samples {
        let value = sample.labels.get(&from).map_or("", String::as_str);
        if let Some(captures) = regex.captures(value) {
            let mut replaced = String::new();
            captures.expand(&replacement, &mut replaced);
            put(&mut sample.labels, &to, replaced);
        }
    }
    Ok(samples)
}

fn label_join(call: &Arguments<'_>) -> Result<Vec<Sample>, String> {
    let (to, separator) = (call.text(1)?, call.text(2)?);
    if to.is_empty() {
        return Err(format!("invalid destination label name in label_join(): {to}"));
    }
    let from: Vec<_> = (3..call.call.args.len())
        .map(|nth| call.text(nth))
        .collect::<Result<_, _>>()?;
    let mut samples = call.vector(0)?;
    for sample in &mut samples {
        let values = from
            .iter()
            .map(|label| sample.labels.get(label).map_or("", String::as_str));
        let joined = values.collect::<Vec<_>>().join(&separator);
        put(&mut sample.labels, &to, joined);
    }
    Ok(samples)
}

/// Sets a label. An empty value removes it.
fn put(labels: &mut Labels, label: &str, value: String) {
    if value.is_empty() {
        labels.remove(label);
    } else {
        labels.insert(label.to_owned(), value);
    }
}

/// The labels without the metric name.
pub(super) fn nameless(mut labels: Labels) -> Labels {
    labels.remove(NAME);
    labels
}
