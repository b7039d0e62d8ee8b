//! Evaluation of an expression at one point in time.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use promql_parser::parser::{AtModifier, Expr, Offset, VectorSelector};

use super::{
    aggregate, binary, functions,
    matchers::Matchers,
    store::{Store, ask, ranges},
    value::{NAME, Range, Sample, Value},
};

/// Minimum interval between two samples of a range, in milliseconds.
const SHORTEST_INTERVAL: i64 = 1000;

/// Maximum number of samples in a range: a range of 5 m is sampled every 10 s, as if its series were scraped at that
/// interval.
const MOST_SAMPLES: i64 = 30;

/// The evaluation of one query. Unsupported expressions fail with Prometheus' error type `execution`.
pub(super) struct Evaluation<'a> {
    pub(super) store: &'a RwLock<Store>,
    /// Evaluation time in milliseconds.
    pub(super) at: i64,
}

/// The times that a range covers, in milliseconds: after `start`, up to and including `end`.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Window {
    fn times(self) -> Vec<i64> {
        let length = self.end.saturating_sub(self.start);
        let interval = SHORTEST_INTERVAL.max(length / MOST_SAMPLES);
        let back = (0..MOST_SAMPLES).map_while(|nth| {
            let at = self.end.checked_sub(interval.checked_mul(nth)?)?;
            (at > self.start).then_some(at)
        });
        let mut times: Vec<_> = back.collect();
        times.reverse();
        times
    }
}

impl Evaluation<'_> {
    pub(super) fn value(&self, expr: &Expr) -> Result<Value, String> {
        match expr {
            Expr::NumberLiteral(literal) => Ok(Value::Scalar(literal.val)),
            Expr::StringLiteral(literal) => Ok(Value::Text(literal.val.clone())),
            Expr::Paren(inner) => self.value(&inner.expr),
            Expr::Unary(inner) => self.negative(&inner.expr),
            Expr::VectorSelector(selector) => self.instant(selector).map(Value::Vector),
            Expr::MatrixSelector(_) => Ok(Value::Matrix(self.ranges(expr)?.1)),
            Expr::Aggregate(inner) => aggregate::aggregate(self, inner).map(Value::Vector),
            Expr::Binary(inner) => binary::binary(self, inner),
            Expr::Call(inner) => functions::call(self, inner),
            Expr::Subquery(_) => Err("subqueries are not supported".to_owned()),
            Expr::Extension(_) => Err("an unknown expression".to_owned()),
        }
    }

    pub(super) fn vector(&self, expr: &Expr) -> Result<Vec<Sample>, String> {
        match self.value(expr)? {
            Value::Vector(vector) => Ok(vector),
            _ => Err(format!("{expr} is not an instant vector")),
        }
    }

    pub(super) fn scalar(&self, expr: &Expr) -> Result<f64, String> {
        match self.value(expr)? {
            Value::Scalar(value) => Ok(value),
            _ => Err(format!("{expr} is not a scalar")),
        }
    }

    pub(super) fn text(&self, expr: &Expr) -> Result<String, String> {
        match self.value(expr)? {
            Value::Text(text) => Ok(text),
            _ => Err(format!("{expr} is not a string")),
        }
    }

    /// The result of a range selector, and the window that it covers.
    pub(super) fn ranges(&self, expr: &Expr) -> Result<(Window, Vec<Range>), String> {
        match expr {
            Expr::Paren(inner) => self.ranges(&inner.expr),
            Expr::MatrixSelector(selector) => {
                let end = self.time_of(&selector.vs);
                let start = end.saturating_sub(milliseconds(selector.range));
                let window = Window { start, end };
                Ok((window, self.select(&selector.vs, &window.times())?))
            }
            Expr::Subquery(_) => Err("subqueries are not supported".to_owned()),
            _ => Err(format!("{expr} is not a range vector")),
        }
    }

    fn instant(&self, selector: &VectorSelector) -> Result<Vec<Sample>, String> {
        let ranges = self.select(selector, &[self.time_of(selector)])?;
        let samples = ranges.into_iter().filter_map(|range| {
            let (_, value) = *range.points.first()?;
            Some(Sample::new(range.labels, value))
        });
        Ok(samples.collect())
    }

    fn select(&self, selector: &VectorSelector, times: &[i64]) -> Result<Vec<Range>, String> {
        let matchers = Matchers::of(selector)?;
        let (mut found, scripts) = {
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            (store.select(&matchers, times), store.scripts(&matchers))
        };
        for script in &scripts {
            ask(script, &matchers, times, &mut found);
        }
        Ok(ranges(found))
    }

    /// The time that a selector refers to.
    fn time_of(&self, selector: &VectorSelector) -> i64 {
        let at = match &selector.at {
            Some(AtModifier::At(time)) => since_epoch(*time),
            // For an instant query, start and end are both the query's time.
            Some(AtModifier::Start | AtModifier::End) | None => self.at,
        };
        match &selector.offset {
            Some(Offset::Pos(offset)) => at.saturating_sub(milliseconds(*offset)),
            Some(Offset::Neg(offset)) => at.saturating_add(milliseconds(*offset)),
            None => at,
        }
    }

    fn negative(&self, expr: &Expr) -> Result<Value, String> {
        match self.value(expr)? {
            Value::Scalar(value) => Ok(Value::Scalar(-value)),
            Value::Vector(mut vector) => {
                for sample in &mut vector {
                    sample.value = -sample.value;
                    sample.labels.remove(NAME);
                }
                super::value::unique(vector).map(Value::Vector)
            }
            _ => Err(format!("{expr} has no negative")),
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn since_epoch(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => -milliseconds(before.duration()),
    }
}
