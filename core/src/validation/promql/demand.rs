//! The data that must exist for an empty result to be meaningful: the operands of comparisons and divisions.

use super::{
    facts::{Check, Facts, Number, Pair, Seen},
    operator::Op,
    shape::{
        carriers, compared, is_scaled, is_traffic, lasting, leaves_zero_out, makes_one_of_two, may_reverse, rises,
        selects_one, traffic, unfiltered,
    },
    syntax::{Binary, Expr, Kind, Side},
};

/// Whether a missing operand counts as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// `a` in `a > 5`: a labelled counter exists only after its first increment.
    Good,
    /// Only `a` in `a / b > 5`, where `b` shows that there was traffic.
    GoodBesideTraffic,
    Bad,
}

/// Functions that return NaN without traffic.
const UNDEFINED: [&str; 5] = [
    "histogram_quantile",
    "histogram_avg",
    "histogram_fraction",
    "histogram_stddev",
    "histogram_stdvar",
];

/// Functions that return a value for each series of the same pod and increase with their argument.
const PLAIN: [&str; 13] = [
    "abs",
    "avg",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "count",
    "floor",
    "max",
    "min",
    "round",
    "sort",
    "sum",
];

/// The requirements of a query, or `None` if it is too complex.
pub(super) fn of(query: &Expr<'_>) -> Option<Facts> {
    let mut facts = Facts::default();
    condition(&mut facts, query, Absence::Good);
    facts.are_few().then_some(facts)
}

/// Whether an expression contains more than series, scale factors and functions.
fn is_involved(expr: &Expr<'_>) -> bool {
    expr.has(&|part| match &part.kind {
        Kind::Call(name, _) => UNDEFINED.contains(name) || *name == "scalar" && part.selects(),
        Kind::Binary(binary) => {
            let scales = binary.left.is_constant() || binary.right.is_constant();
            binary.op.compares() || binary.op.is_set() || !scales
        }
        _ => false,
    })
}

/// A condition for which an empty result is good.
fn condition(facts: &mut Facts, expr: &Expr<'_>, absence: Absence) {
    match &expr.bare().kind {
        Kind::Binary(binary) if binary.op == Op::Or => {
            condition(facts, &binary.left, absence);
            condition(facts, &binary.right, absence);
        }
        Kind::Binary(binary) if binary.op == Op::And => {
            condition(facts, &binary.left, absence);
            // The operands of the other condition must not be missing.
            condition(facts, &binary.right, Absence::GoodBesideTraffic.max(absence));
            partners(facts, binary);
        }
        Kind::Binary(binary) if binary.op == Op::Unless => condition(facts, &binary.left, absence),
        Kind::Binary(binary) if binary.op.compares() => compare(facts, binary, absence),
        _ if is_involved(expr) => value(facts, expr, absence),
        // The expression only shows whether something exists.
        _ => {}
    }
}

impl Absence {
    fn max(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bad, _) | (_, Self::Bad) => Self::Bad,
            (Self::Good, Self::Good) => Self::Good,
            _ => Self::GoodBesideTraffic,
        }
    }

    fn good_if(self, still: bool) -> Self {
        if still { self } else { Self::Bad }
    }
}

fn compare(facts: &mut Facts, binary: &Binary<'_>, absence: Absence) {
    let (left, right, op) = compared(binary);
    if left.is_constant() {
        return;
    }
    if !right.is_constant() {
        return compare_vectors(facts, binary, (left, right, op), absence);
    }
    if let Kind::Binary(inner) = &left.bare().kind
        && inner.op.compares()
    {
        // `a > bool 5 == 1` finds what `a > 5` finds, and `a > 5 < 9` does not find 0 either.
        let finds_the_same = if inner.is_bool {
            selects_one(op, right.number())
        } else {
            let (_, limit, inner_op) = compared(inner);
            leaves_zero_out(inner_op, limit.number()) || leaves_zero_out(op, right.number())
        };
        return compare(facts, inner, absence.good_if(finds_the_same));
    }
    // A missing series counts as 0, so it is good if the comparison does not select 0.
    let is_plain = leaves_zero_out(op, right.number());
    let absence = absence.good_if(is_plain && (op.wants_more() || !is_involved(left)) && !may_reverse(left));
    if absence == Absence::Bad && !is_involved(left) {
        // The arguments of a function that is not involved are not examined below.
        facts.present_unless(false, left);
    }
    value(facts, left, absence);
    // The result of two operands is checked together with them.
    if !matches!(&left.bare().kind, Kind::Binary(inner) if makes_one_of_two(inner)) {
        facts.number(left);
    }
}

/// Requires for `a > 5 and b > 1` that each series of `a` has a partner in `b`.
fn partners(facts: &mut Facts, binary: &Binary<'_>) {
    let partners: Vec<_> = carriers(&binary.right).into_iter().map(lasting).collect();
    for carrier in carriers(&binary.left).into_iter().filter(|carrier| carrier.selects()) {
        facts.partner(carrier, binary.matching, &partners);
    }
}

/// `a > 0.1 * b` and `a > on () group_left limit`.
fn compare_vectors(facts: &mut Facts, binary: &Binary<'_>, sides: (&Expr<'_>, &Expr<'_>, Op), absence: Absence) {
    let (left, right, op) = sides;
    let (scaled_left, scaled_right) = (is_scaled(left), is_scaled(right));
    let is_count = op.wants_more() && (scaled_right || !scaled_left);
    let is_flipped = op.wants_less() && scaled_left && !scaled_right;
    let (value_side, other) = if is_flipped { (right, left) } else { (left, right) };
    let absence = absence.good_if((is_count || is_flipped) && rises(value_side));
    let pair = pair(facts, binary, value_side, other, absence);
    facts.demand(Check::Pair(pair));
    facts.number(value_side);
    for (side, absence) in [(value_side, absence), (other, Absence::Bad)] {
        if is_involved(side) {
            value(facts, side, absence);
        }
    }
}

/// The facts for two operands. `other` must exist.
fn pair(facts: &mut Facts, binary: &Binary<'_>, value: &Expr<'_>, other: &Expr<'_>, absence: Absence) -> Pair {
    let is_matched = !value.is_scalar() && !other.is_scalar();
    // The "one" side of a many-to-one match may contain other series, which are irrelevant.
    let one = binary.group.map(|many| match many {
        Side::Left => &binary.right,
        Side::Right => &binary.left,
    });
    let is_one = |side: &Expr<'_>| one.is_some_and(|one| std::ptr::eq(one, side));
    let is_sum = !binary.op.compares() && binary.op != Op::Over;
    let above_zero = is_traffic(other) && binary.op.compares() || binary.op == Op::Over && absence != Absence::Bad;
    let shown = if above_zero { traffic(other) } else { other };
    let other_fact = if above_zero {
        facts.above_zero(shown)
    } else {
        facts.finite(shown)
    };
    let mut lone = |side: &Expr<'_>, partner: &Expr<'_>, above_zero: bool| {
        (is_matched && !is_one(side)).then(|| facts.lone(side, binary.matching, unfiltered(partner), above_zero))
    };
    let lone_value = lone(value, other, false);
    let lone_other = (absence == Absence::Bad).then(|| lone(other, value, !is_sum)).flatten();
    if absence != Absence::Bad {
        facts.seen(value);
    }
    Pair {
        value: facts.any(value),
        value_text: value.bare().text.to_owned(),
        other: other_fact,
        other_text: shown.bare().text.to_owned(),
        is_zero_nothing: above_zero,
        lone_value,
        lone_other,
        may_be_missing: absence != Absence::Bad,
        result: None,
    }
}

/// A compared value.
fn value(facts: &mut Facts, expr: &Expr<'_>, absence: Absence) {
    let bare = expr.bare();
    match &bare.kind {
        Kind::Select => facts.present_unless(absence == Absence::Good, bare),
        Kind::Range(inner) if is_involved(inner) => value(facts, inner, absence),
        Kind::Number(_) | Kind::Text | Kind::Range(_) => {}
        Kind::Minus(inner) => value(facts, inner, Absence::Bad),
        Kind::Paren(inner) => value(facts, inner, absence),
        Kind::Call(name, parts) => call(facts, bare, (name, parts), absence),
        Kind::Binary(binary) if binary.op.compares() => compare(facts, binary, absence),
        Kind::Binary(binary) if binary.op.is_set() => set(facts, bare, binary, absence),
        Kind::Binary(binary) => arithmetic(facts, bare, binary, absence),
    }
}

fn call(facts: &mut Facts, expr: &Expr<'_>, (name, parts): (&str, &[Expr<'_>]), absence: Absence) {
    if !expr.selects() {
        return;
    }
    let is_undefined = UNDEFINED.contains(&name) || name == "scalar";
    let is_plain = PLAIN.contains(&name);
    let mut involved = parts.iter().filter(|part| is_involved(part)).peekable();
    let may_miss = !is_undefined
        && match (involved.peek().is_some(), absence) {
            (true, Absence::Good | Absence::GoodBesideTraffic) => is_plain || name == "vector",
            (false, Absence::Good) => true,
            _ => false,
        };
    if may_miss && involved.peek().is_none() {
        facts.seen(expr);
    }
    facts.present_unless(may_miss, expr);
    for part in involved {
        value(facts, part, absence.good_if(is_plain && !is_undefined));
    }
}

/// `a / b or vector(0)` and `(a / b and c)`, whose values are compared.
fn set(facts: &mut Facts, expr: &Expr<'_>, binary: &Binary<'_>, absence: Absence) {
    let (left, right) = (&binary.left, &binary.right);
    match binary.op {
        Op::Or if !right.selects() => return value(facts, left, absence),
        Op::Or => {
            for side in [left, right] {
                if is_involved(side) {
                    value(facts, side, absence);
                }
            }
        }
        _ => {
            if is_involved(left) {
                value(facts, left, absence);
            }
            if binary.op == Op::And {
                condition(facts, right, Absence::GoodBesideTraffic);
                partners(facts, binary);
            }
        }
    }
    let may_miss = absence == Absence::Good || absence == Absence::GoodBesideTraffic && is_involved(expr);
    facts.present_unless(may_miss, expr);
}

fn arithmetic(facts: &mut Facts, expr: &Expr<'_>, binary: &Binary<'_>, absence: Absence) {
    let (left, right, op) = (&binary.left, &binary.right, binary.op);
    if expr.is_constant() {
        return;
    }
    if right.is_constant() {
        let stays = match op {
            Op::Plus | Op::Minus => true,
            Op::Times | Op::Over => rises(right),
            _ => false,
        };
        return value(facts, left, absence.good_if(stays));
    }
    if left.is_constant() {
        let stays = op == Op::Plus || op == Op::Times && rises(left);
        facts.present_unless(stays, expr);
        return value(facts, right, absence.good_if(stays));
    }
    let is_quotient = op == Op::Over && !is_involved(left) && rises(left);
    let absence = absence.good_if(is_quotient);
    let pair = Pair {
        result: Some(facts.finite(expr)),
        ..pair(facts, binary, left, right, absence)
    };
    facts.demand(Check::Pair(pair));
    for side in [left, right] {
        if is_involved(side) {
            value(facts, side, Absence::Bad);
        }
    }
}

/// Whether a call returns a value for every element of its argument.
fn keeps_all(name: &str) -> bool {
    let is_range = name.ends_with("_over_time") && name != "absent_over_time";
    is_range || PLAIN.contains(&name) || ["rate", "irate", "increase", "delta", "idelta", "deriv"].contains(&name)
}

impl Facts {
    /// Requires a result wherever Prometheus has data in the range: a range with fewer than two samples has no result.
    fn seen(&mut self, expr: &Expr<'_>) {
        if expr.has(&|part| matches!(&part.kind, Kind::Call(name, _) if !keeps_all(name))) || is_involved(expr) {
            return;
        }
        for select in expr.ranges() {
            let check = Seen {
                any: self.any(select),
                value: self.any(expr),
                text: expr.bare().text.to_owned(),
                of: select.text.to_owned(),
            };
            self.demand(Check::Seen(check));
        }
    }

    /// Requires that at least one value is a number.
    fn number(&mut self, expr: &Expr<'_>) {
        let check = Number {
            any: Some(self.any(expr)),
            finite: self.finite(expr),
            text: expr.bare().text.to_owned(),
        };
        self.demand(Check::Number(check));
    }

    /// Requires a value that is a number.
    fn present_unless(&mut self, may_be_missing: bool, expr: &Expr<'_>) {
        if !may_be_missing {
            let check = Number {
                any: None,
                finite: self.finite(expr),
                text: expr.bare().text.to_owned(),
            };
            self.demand(Check::Number(check));
        }
    }
}
