//! Whether a query may be put into another one without changing what either means.

use super::{
    scan::scan,
    syntax::{Expr, Kind},
};

/// What a query that may be joined with others results in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A vector.
    Vector,
    /// A scalar.
    Scalar,
}

/// Label that tells the results of joined queries apart. A query that contains it is not joined.
pub const JOINED: &str = "__kanary_query__";

/// The type of a query that may be put in brackets of its own, on lines of its own, as an operand of a larger query. `None` if
/// that is not proved by its syntax.
#[must_use]
pub fn shape(query: &str) -> Option<Shape> {
    if !is_closed(query) || query.contains(JOINED) {
        return None;
    }
    let scan = scan(query).ok()?;
    let expr = Expr::parse(query, &scan.tokens)?;
    let is_ordered = |part: &Expr<'_>| matches!(&part.kind, Kind::Call(name, _) if is_any_of(name, &ORDERED));
    if expr.has(&is_ordered) {
        return None;
    }
    kind(&expr)
}

/// Whether every string, comment and bracket of a query ends within it, as Prometheus reads it. A comment may end with the
/// query, because the text that follows begins on another line.
fn is_closed(query: &str) -> bool {
    let mut open = Vec::new();
    let mut chars = query.chars();
    while let Some(char) = chars.next() {
        let closed = match char {
            '(' => Some(')'),
            '[' => Some(']'),
            '{' => Some('}'),
            _ => None,
        };
        let is_sound = match char {
            '"' | '\'' => ends(&mut chars, char),
            // A backslash in backticks is an ordinary character.
            '`' => chars.by_ref().take_while(|char| is_text(*char)).any(|char| char == '`'),
            '#' => comment(&mut chars),
            ')' | ']' | '}' => open.pop() == Some(char),
            '\n' | '\t' | ' ' => true,
            _ => char.is_ascii_graphic(),
        };
        if !is_sound {
            return false;
        }
        open.extend(closed);
    }
    // Templates are filled in before; this would be read as a variable.
    open.is_empty() && !query.contains("{{")
}

/// Prometheus ends a comment at a carriage return, too, so none is accepted anywhere.
fn is_text(char: char) -> bool {
    char == '\n' || char == '\t' || !char.is_control()
}

/// Skips a string with escape sequences. It must not contain a line break.
fn ends(chars: &mut std::str::Chars<'_>, quote: char) -> bool {
    while let Some(char) = chars.next() {
        match char {
            _ if char == quote => return true,
            '\\' if chars.next().is_some_and(|char| is_text(char) && char != '\n') => {}
            '\n' | '\\' => return false,
            char if !is_text(char) => return false,
            _ => {}
        }
    }
    false
}

fn comment(chars: &mut std::str::Chars<'_>) -> bool {
    chars.by_ref().take_while(|char| *char != '\n').all(is_text)
}

fn is_any_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Their result has an order, or depends on one.
const ORDERED: [&str; 9] = [
    "sort",
    "sort_desc",
    "sort_by_label",
    "sort_by_label_desc",
    "topk",
    "bottomk",
    "limitk",
    "limit_ratio",
    "info",
];

/// Functions and aggregations that result in a vector.
const VECTORS: [&str; 78] = [
    "abs",
    "absent",
    "absent_over_time",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "avg",
    "avg_over_time",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "cos",
    "cosh",
    "count",
    "count_over_time",
    "count_values",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "delta",
    "deriv",
    "exp",
    "floor",
    "group",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "holt_winters",
    "hour",
    "idelta",
    "increase",
    "irate",
    "label_join",
    "label_replace",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "minute",
    "month",
    "predict_linear",
    "present_over_time",
    "quantile",
    "quantile_over_time",
    "rad",
    "rate",
    "resets",
    "round",
    "sgn",
    "sin",
    "sinh",
    "sqrt",
    "stddev",
    "stddev_over_time",
    "stdvar",
    "stdvar_over_time",
    "sum",
    "sum_over_time",
    "tan",
    "tanh",
    "timestamp",
    "vector",
    "year",
];

/// The type of an expression. If it is wrong, Prometheus refuses the joined query, which is then sent by itself.
fn kind(expr: &Expr<'_>) -> Option<Shape> {
    match &expr.kind {
        Kind::Number(number) => number.map(|_| Shape::Scalar),
        Kind::Select => Some(Shape::Vector),
        Kind::Text | Kind::Range(_) => None,
        Kind::Paren(inner) | Kind::Minus(inner) => kind(inner),
        Kind::Call("scalar" | "time" | "pi", _) => Some(Shape::Scalar),
        Kind::Call(name, _) => is_any_of(name, &VECTORS).then_some(Shape::Vector),
        Kind::Binary(binary) => match (kind(&binary.left)?, kind(&binary.right)?) {
            (Shape::Scalar, Shape::Scalar) if binary.op.is_set() => None,
            (Shape::Scalar, Shape::Scalar) => Some(Shape::Scalar),
            _ => Some(Shape::Vector),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_are_joined_by_their_type() {
        for query in [
            "up",
            "{__name__=~\"a|b\"}",
            "sum by (pod) (rate(x_total{a=~\"b{2}\",c!='}'}[5m:30s] offset -1m @ end())) > bool 0.5",
            "a or on(b) c # or vector(0)",
            "# first\nup\n# last",
            "-up ^ 2",
            "label_replace(up, \"a\", \"$1\", \"b\", `(.*\\)`)",
            "vector(scalar(a) / time())",
            "1 - a / b",
            "absent(a)",
            "histogram_quantile(0.9, sum by (le) (rate(b[5m])))",
            "x{a=\"\\\"\\\\\", b=\"ä # {\"}",
        ] {
            assert_eq!(shape(query), Some(Shape::Vector), "{query}");
        }
        for query in ["1", "scalar(up) * 2 > bool 1", "(time())", "-1e3", "NaN", "pi() - -Inf"] {
            assert_eq!(shape(query), Some(Shape::Scalar), "{query}");
        }
    }

    #[test]
    fn what_is_not_proved_is_sent_alone() {
        for query in [
            "",
            "'text'",
            "up[5m]",
            "up[5m:]",
            "sort(up)",
            "topk(1, up) > 0",
            "Limitk(1, up)",
            "unheard_of(up)",
            "1 or 2",
            "up) or (up",
            "(up",
            "up)",
            "up{",
            "up{a=\"b}",
            "up{a=\"b\n\"}",
            "up{a=\"b\\",
            "up{a=`b}",
            "up{a=\"b\")",
            "up # \r) or vector(1)",
            "up\r",
            "up{a=\"\u{0}\"}",
            "up\u{a0}",
            "üp",
            "{{ pods }}",
            "up{a=\"b{{2}}\"}",
            "label_replace(up, \"__kanary_query__\", \"0\", \"\", \"\")",
            "up; up",
        ] {
            assert_eq!(shape(query), None, "{query}");
        }
    }

    /// Parts of queries, whole and broken.
    const PARTS: [&str; 20] = [
        "up",
        "(up)",
        "up{a=\"(\"}",
        "up{a='}'}",
        "up{a=`\\`}",
        "# )\n",
        "#",
        "\n",
        "\r",
        "\\",
        "\"",
        "'",
        "`",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        " or ",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// An independent check: as Prometheus reads it, a query that may be joined neither opens nor closes anything outside.
        #[test]
        fn a_query_that_is_joined_ends_where_it_ends(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..8)) {
            let query = parts.concat();
            if !is_closed(&query) {
                return Ok(());
            }
            let text = format!("(\n{query}\n)");
            let (mut depth, mut quote, mut is_comment, mut is_escaped) = (0, None, false, false);
            for (at, char) in text.char_indices() {
                if is_escaped {
                    is_escaped = false;
                } else if is_comment {
                    is_comment = !matches!(char, '\n' | '\r');
                } else if let Some(open) = quote {
                    is_escaped = char == '\\' && open != '`';
                    quote = Some(open).filter(|open| *open != char);
                } else {
                    match char {
                        '#' => is_comment = true,
                        '"' | '\'' | '`' => quote = Some(char),
                        '(' | '[' | '{' => depth += 1,
                        ')' | ']' | '}' => depth -= 1,
                        _ => {}
                    }
                }
                prop_assert!(depth > 0 || at == text.len() - 1, "{query:?} closes the bracket around it");
            }
            prop_assert!(depth == 0 && quote.is_none() && !is_comment);
        }
    }
}
