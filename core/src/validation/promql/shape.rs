//! Properties of an expression that its form shows: whether it increases with its series, what it divides by, and whether it
//! selects 0.

use super::{
    operator::Op,
    syntax::{Binary, Expr, Kind},
};

pub(super) fn is_scaled(expr: &Expr<'_>) -> bool {
    matches!(&expr.bare().kind, Kind::Binary(binary) if matches!(binary.op, Op::Times | Op::Over))
}

/// The operand that is 0 without traffic. Guards against a division by 0, such as `clamp_min(b, 1)`, are removed.
pub(super) fn traffic<'a, 'b>(expr: &'a Expr<'b>) -> &'a Expr<'b> {
    match &expr.bare().kind {
        Kind::Call("clamp_min" | "clamp", parts) => parts.first().map_or(expr, traffic),
        Kind::Binary(binary) => match binary.op {
            Op::Or if !binary.right.selects() => traffic(&binary.left),
            Op::Plus if binary.right.is_constant() => traffic(&binary.left),
            Op::Plus if binary.left.is_constant() => traffic(&binary.right),
            _ => expr,
        },
        _ => expr,
    }
}

/// The operand that `b > 0` and `b != 0` filter. A series that they drop exists all the same.
pub(super) fn unfiltered<'a, 'b>(expr: &'a Expr<'b>) -> &'a Expr<'b> {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op.compares() && !binary.is_bool && binary.right.is_constant() => {
            unfiltered(&binary.left)
        }
        _ => expr,
    }
}

/// Whether an expression certainly increases with its series, judging by its operators: any subtraction puts it in doubt.
pub(super) fn rises(expr: &Expr<'_>) -> bool {
    !expr.has(&|part| match &part.kind {
        Kind::Minus(_) => true,
        Kind::Binary(binary) => match binary.op {
            Op::Minus | Op::Odd | Op::Power => true,
            Op::Over => binary.left.is_constant(),
            _ => false,
        },
        _ => false,
    })
}

/// Whether 0 means that nothing happened.
pub(super) fn is_traffic(expr: &Expr<'_>) -> bool {
    let counts = |part: &Expr<'_>| matches!(part.kind, Kind::Call("rate" | "irate" | "increase", _));
    is_scaled(expr) || expr.has(&counts)
}

/// Whether an expression may increase while its series decrease, as `time() - x` and `abs(x - 5)` do. `x - 5` does not,
/// although [`rises`] leaves it in doubt.
pub(super) fn may_reverse(expr: &Expr<'_>) -> bool {
    expr.has(&|part| match &part.kind {
        Kind::Binary(binary) => match binary.op {
            Op::Minus => !binary.right.is_constant(),
            Op::Over => binary.left.is_constant(),
            Op::Odd | Op::Power => true,
            _ => false,
        },
        Kind::Minus(inner) => inner.selects(),
        Kind::Call("abs", parts) => parts.iter().any(is_shifted),
        _ => false,
    })
}

/// Whether the sign of an expression may differ from that of its series, because of a sum, a difference or a logarithm.
fn is_shifted(expr: &Expr<'_>) -> bool {
    expr.has(&|part| match &part.kind {
        Kind::Binary(binary) => matches!(binary.op, Op::Plus | Op::Minus),
        Kind::Call(name, _) => name.starts_with("log") || *name == "ln",
        _ => false,
    })
}

/// The operands whose labels the result of a condition has, without its comparisons.
pub(super) fn carriers<'a, 'b>(expr: &'a Expr<'b>) -> Vec<&'a Expr<'b>> {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op == Op::Or => [&binary.left, &binary.right].map(carriers).concat(),
        Kind::Binary(binary) if binary.op.is_set() => carriers(&binary.left),
        Kind::Binary(binary) if binary.op.compares() && !binary.is_bool => carriers(compared(binary).0),
        _ => vec![expr],
    }
}

/// The operand that exists before anything was counted: `b` of `a / b`.
pub(super) fn lasting<'a, 'b>(expr: &'a Expr<'b>) -> &'a Expr<'b> {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op == Op::Over && makes_one_of_two(binary) => &binary.right,
        _ => expr,
    }
}

/// Whether a comparison does not select 0. `x > -Inf` selects every series, and is written for series that should not exist.
pub(super) fn leaves_zero_out(op: Op, number: Option<f64>) -> bool {
    let is_zero = number.map(|number| number.abs() < f64::EPSILON);
    match op {
        Op::Greater => number.is_none_or(|number| number >= 0.0 || number.is_infinite()),
        Op::GreaterOrEqual => number.is_none_or(|number| number > 0.0),
        Op::Less => number.is_some_and(|number| number <= 0.0),
        Op::LessOrEqual => number.is_some_and(|number| number < 0.0),
        Op::Equal => is_zero == Some(false),
        Op::NotEqual => is_zero == Some(true),
        _ => false,
    }
}

/// A comparison read from its series: what is compared, with what, and how. `2 < x` is read as `x > 2`.
pub(super) fn compared<'a, 'b>(binary: &'a Binary<'b>) -> (&'a Expr<'b>, &'a Expr<'b>, Op) {
    let Binary { left, right, op, .. } = binary;
    if left.is_scalar() && !right.is_scalar() {
        (right, left, op.flipped())
    } else {
        (left, right, *op)
    }
}

/// Whether a comparison selects 1 and not 0.
pub(super) fn selects_one(op: Op, number: Option<f64>) -> bool {
    let is = |wanted: f64| number.is_some_and(|number| (number - wanted).abs() < f64::EPSILON);
    match op {
        Op::Equal => is(1.0),
        Op::NotEqual => is(0.0),
        Op::Greater => number.is_some_and(|number| (0.0..1.0).contains(&number)),
        Op::GreaterOrEqual => number.is_some_and(|number| number > 0.0 && number <= 1.0),
        _ => false,
    }
}

/// Whether this is a calculation with two operands that are not constants.
pub(super) fn makes_one_of_two(binary: &Binary<'_>) -> bool {
    let is_calculation = !binary.op.compares() && !binary.op.is_set();
    is_calculation && !binary.left.is_constant() && !binary.right.is_constant()
}
