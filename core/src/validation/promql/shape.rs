//! What the form of an expression tells: whether it is more where there is more, what it divides by, which 0 it finds.

use super::{
    operator::Op,
    syntax::{Binary, Expr, Kind},
};

pub(super) fn is_scaled(expr: &Expr<'_>) -> bool {
    matches!(&expr.bare().kind, Kind::Binary(binary) if matches!(binary.op, Op::Times | Op::Over))
}

/// The operand of which 0 means that nothing happened, without what keeps a division by it from being one by 0.
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

/// What `b > 0` and `b != 0` select from: what is left out was there.
pub(super) fn unfiltered<'a, 'b>(expr: &'a Expr<'b>) -> &'a Expr<'b> {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op.compares() && !binary.is_bool && binary.right.is_constant() => {
            unfiltered(&binary.left)
        }
        _ => expr,
    }
}

/// Whether an expression is more where there is more, as far as its operators tell.
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

/// Whether there is more in an expression where there is less of what it selects: `time() - x` and `abs(x - 5)`.
pub(super) fn turns_round(expr: &Expr<'_>) -> bool {
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

/// Whether something is added to what it selects, or taken away, or its sign depends on how much there is.
pub(super) fn is_shifted(expr: &Expr<'_>) -> bool {
    expr.has(&|part| match &part.kind {
        Kind::Binary(binary) => matches!(binary.op, Op::Plus | Op::Minus),
        Kind::Call(name, _) => name.starts_with("log") || *name == "ln",
        _ => false,
    })
}

/// The series of which the labels go on to the result of a condition, without its comparisons.
pub(super) fn carriers<'a, 'b>(expr: &'a Expr<'b>) -> Vec<&'a Expr<'b>> {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op == Op::Or => [&binary.left, &binary.right].map(carriers).concat(),
        Kind::Binary(binary) if binary.op.is_set() => carriers(&binary.left),
        Kind::Binary(binary) if binary.op.compares() && !binary.is_bool => {
            let is_turned = binary.left.is_scalar() && !binary.right.is_scalar();
            carriers(if is_turned { &binary.right } else { &binary.left })
        }
        _ => vec![expr],
    }
}

/// What is there of `a / b` although `a` has not counted yet.
pub(super) fn lasting<'a, 'b>(expr: &'a Expr<'b>) -> &'a Expr<'b> {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op == Op::Over && makes_one_of_two(binary) => &binary.right,
        _ => expr,
    }
}

/// Whether a comparison does not find 0. `x > -Inf` finds all that is there, and means that nothing should be.
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

/// What a comparison compares with, and how.
pub(super) fn limit<'a, 'b>(binary: &'a Binary<'b>) -> (&'a Expr<'b>, Op) {
    if binary.left.is_scalar() && !binary.right.is_scalar() {
        (&binary.left, binary.op.flipped())
    } else {
        (&binary.right, binary.op)
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

/// Whether it calculates with two operands, neither of which is a number that is written.
pub(super) fn makes_one_of_two(binary: &Binary<'_>) -> bool {
    let is_calculation = !binary.op.compares() && !binary.op.is_set();
    is_calculation && !binary.left.is_constant() && !binary.right.is_constant()
}
