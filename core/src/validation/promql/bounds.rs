//! The values that a query can have, judging by its numbers and functions: a comparison that holds for none of them never
//! finds anything.

use super::{
    operator::Op,
    shape::compared,
    syntax::{Binary, Expr, Kind},
};

/// The least and the greatest value, bounds included. Any value may be NaN as well. A NaN as bound is the number NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) low: f64,
    pub(super) high: f64,
}

const ALL: Bounds = Bounds {
    low: f64::NEG_INFINITY,
    high: f64::INFINITY,
};
const NOT_NEGATIVE: Bounds = Bounds {
    low: 0.0,
    high: f64::INFINITY,
};
const ONE: Bounds = Bounds { low: 1.0, high: 1.0 };
/// The number of something that is there.
const COUNT: Bounds = Bounds {
    low: 1.0,
    high: f64::INFINITY,
};

/// Functions and aggregations that yield some of the values that they are given.
const CHOOSING: [&str; 15] = [
    "bottomk",
    "first_over_time",
    "label_join",
    "label_replace",
    "last_over_time",
    "limit_ratio",
    "limitk",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "sort",
    "sort_by_label",
    "sort_desc",
    "topk",
];

impl Bounds {
    /// The values of a query. `None` if it never yields anything.
    pub(super) fn of(expr: &Expr<'_>) -> Option<Self> {
        match &expr.kind {
            Kind::Number(number) => Some(number.map_or(ALL, Self::only)),
            Kind::Text | Kind::Select => Some(ALL),
            Kind::Range(inner) | Kind::Paren(inner) => Self::of(inner),
            Kind::Minus(inner) => Self::of(inner).map(Self::negated),
            Kind::Call(name, parts) => call(name, parts),
            Kind::Binary(binary) if binary.op.is_set() => set(binary),
            Kind::Binary(binary) if binary.op.compares() => compare(binary),
            Kind::Binary(binary) => {
                let (left, right) = (Self::of(&binary.left)?, Self::of(&binary.right)?);
                Some(calculate(binary.op, left, right).unwrap_or(ALL))
            }
        }
    }

    fn only(number: f64) -> Self {
        Self {
            low: number,
            high: number,
        }
    }

    fn is_nan(self) -> bool {
        self.low.is_nan() || self.high.is_nan()
    }

    /// The bounds, unless they make no sense.
    fn sound(low: f64, high: f64) -> Option<Self> {
        (low <= high).then_some(Self { low, high })
    }

    fn negated(self) -> Self {
        Self {
            low: -self.high,
            high: -self.low,
        }
    }

    /// The number, if there is only one.
    fn number(self) -> Option<f64> {
        (self.low.total_cmp(&self.high).is_eq()).then_some(self.low)
    }

    /// Both, where each value is from one of them.
    fn or(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() {
            return ALL;
        }
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }
}

/// The smallest part of a query that never yields anything, and so keeps the query from it.
pub(super) fn nothing<'a, 'b>(expr: &'a Expr<'b>) -> Option<&'a Expr<'b>> {
    if Bounds::of(expr).is_some() {
        return None;
    }
    Some(expr.parts().into_iter().find_map(nothing).unwrap_or(expr))
}

fn call(name: &str, parts: &[Expr<'_>]) -> Option<Bounds> {
    let name = name.to_ascii_lowercase();
    if matches!(name.as_str(), "absent" | "absent_over_time") {
        return Some(ONE);
    }
    if name == "scalar" {
        return Some(ALL);
    }
    // Text and numbers are not what the function is about.
    let mut values = ALL;
    for part in parts {
        let of_part = Bounds::of(part)?;
        if part.selects() {
            values = of_part;
        }
    }
    let number = |index: usize| parts.get(index).and_then(Bounds::of).and_then(Bounds::number);
    Some(match name.as_str() {
        name if CHOOSING.contains(&name) => values,
        "vector" => parts.first().and_then(Bounds::of).unwrap_or(ALL),
        "group" | "present_over_time" => ONE,
        "count" | "count_over_time" | "count_values" => COUNT,
        "sum" | "sum_over_time" if values.low >= 0.0 => Bounds {
            high: f64::INFINITY,
            ..values
        },
        "abs" if values.low >= 0.0 => values,
        "abs" | "changes" | "increase" | "irate" | "rate" | "resets" | "stddev" | "stddev_over_time" | "stdvar"
        | "stdvar_over_time" => NOT_NEGATIVE,
        "clamp_min" => number(1).map_or(ALL, |least| Bounds {
            low: values.low.max(least),
            high: values.high.max(least),
        }),
        "clamp_max" => number(1).map_or(ALL, |most| Bounds {
            low: values.low.min(most),
            high: values.high.min(most),
        }),
        "clamp" => match (number(1), number(2)) {
            (Some(least), Some(most)) if least > most => return None,
            (Some(least), Some(most)) => Bounds {
                low: values.low.min(most).max(least),
                high: values.high.min(most).max(least),
            },
            _ => ALL,
        },
        _ => ALL,
    })
}

fn set(binary: &Binary<'_>) -> Option<Bounds> {
    let (left, right) = (Bounds::of(&binary.left), Bounds::of(&binary.right));
    match binary.op {
        Op::Or => match (left, right) {
            (Some(left), Some(right)) => Some(left.or(right)),
            (only, None) | (None, only) => only,
        },
        Op::And => right.and(left),
        _ if binary.left.bare().text == binary.right.bare().text => None,
        _ => left,
    }
}

fn compare(binary: &Binary<'_>) -> Option<Bounds> {
    let (value, limit, op) = compared(binary);
    let (value, limit) = (Bounds::of(value)?, Bounds::of(limit)?);
    let never = match op {
        Op::NotEqual => false,
        _ if value.is_nan() || limit.is_nan() => true,
        Op::Greater => value.high <= limit.low,
        Op::GreaterOrEqual => value.high < limit.low,
        Op::Less => value.low >= limit.high,
        Op::LessOrEqual => value.low > limit.high,
        _ => value.high < limit.low || value.low > limit.high,
    };
    if binary.is_bool {
        return Some(Bounds {
            low: 0.0,
            high: if never { 0.0 } else { 1.0 },
        });
    }
    let (least, most) = (value.low.max(limit.low), value.high.min(limit.high));
    match op {
        _ if never => None,
        Op::Greater | Op::GreaterOrEqual => Some(Bounds { low: least, ..value }),
        Op::Less | Op::LessOrEqual => Some(Bounds { high: most, ..value }),
        Op::Equal => Some(Bounds { low: least, high: most }),
        _ => Some(value),
    }
}

/// The result of a calculation, if it is known.
fn calculate(op: Op, left: Bounds, right: Bounds) -> Option<Bounds> {
    if let (Some(left), Some(right)) = (left.number(), right.number()) {
        return match op {
            Op::Plus => Some(Bounds::only(left + right)),
            Op::Minus => Some(Bounds::only(left - right)),
            Op::Times => Some(Bounds::only(left * right)),
            Op::Over => Some(Bounds::only(left / right)),
            Op::Power => Some(Bounds::only(left.powf(right))),
            _ => None,
        };
    }
    match op {
        Op::Plus => Bounds::sound(left.low + right.low, left.high + right.high),
        Op::Minus => Bounds::sound(left.low - right.high, left.high - right.low),
        // Zero times infinity is NaN, not a number out of bounds.
        Op::Times | Op::Over if left.low >= 0.0 && right.low >= 0.0 => Some(NOT_NEGATIVE),
        _ => None,
    }
}
