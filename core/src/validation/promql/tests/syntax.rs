//! Parsing of queries.

use super::super::{
    scan::scan,
    syntax::{Expr, Kind},
};

/// The query with brackets around each operation and angle brackets around selectors.
fn shown(expr: &Expr<'_>) -> String {
    match &expr.kind {
        Kind::Number(number) => number.map_or_else(|| "?".to_owned(), |number| number.to_string()),
        Kind::Text => "text".to_owned(),
        Kind::Select => format!("<{}>", expr.text),
        Kind::Range(inner) => format!("{}[]", shown(inner)),
        Kind::Paren(inner) => shown(inner),
        Kind::Minus(inner) => format!("-{}", shown(inner)),
        Kind::Call(name, parts) => {
            let parts: Vec<_> = parts.iter().map(shown).collect();
            format!("{name}({})", parts.join(", "))
        }
        Kind::Binary(binary) => {
            let bool = if binary.is_bool { " bool" } else { "" };
            let (left, right) = (shown(&binary.left), shown(&binary.right));
            let group = binary.group.map_or(String::new(), |side| format!(" {side:?}"));
            format!("({left} {:?}{bool}{}{group} {right})", binary.op, binary.matching)
        }
    }
}

#[test]
fn a_query_is_read_by_the_precedence_of_its_operators() {
    for (query, read) in [
        (
            "a + b * c ^ d ^ e > 1",
            "((<a> Plus (<b> Times (<c> Power (<d> Power <e>)))) Greater 1)",
        ),
        ("a > 1 < 2", "((<a> Greater 1) Less 2)"),
        (
            "a or b and c unless d == 1",
            "(<a> Or ((<b> And <c>) Unless (<d> Equal 1)))",
        ),
        ("-a ^ 2 * b - -1", "((-(<a> Power 2) Times <b>) Minus -1)"),
        ("a{b=\"c/d\"} % 1e-3 # x\n", "(<a{b=\"c/d\"}> Odd 0.001)"),
        ("job:x:ratio{{ a }}_y > -Inf", "(<job:x:ratio{{ a }}_y> Greater -inf)"),
        (
            "sum by (pod) (rate(a[1m])) / sum(b) by (pod)",
            "(sum(rate(<a>[])) Over sum(<b>))",
        ),
        (
            "quantile(0.9, {a=\"b\"} offset -5m @ end())",
            "quantile(0.9, <{a=\"b\"} offset -5m @ end()>)",
        ),
        (
            "max_over_time((a / b)[5m:10s] offset 1m) >= bool 5m",
            "(max_over_time((<a> Over <b>)[]) GreaterOrEqual bool ?)",
        ),
        ("a / on (x) group_left (y) b", "(<a> Overon (x) Left <b>)"),
        ("a / IGNORING (x) group_right b", "(<a> OverIGNORING (x) Right <b>)"),
        (
            "time() - label_replace(x, \"a\", 'b', `c`, \"\")",
            "(time() Minus label_replace(<x>, text, text, text, text))",
        ),
    ] {
        assert_eq!(
            shown(&Expr::parse(query, &scan(query).unwrap().tokens).unwrap()),
            read,
            "{query}"
        );
    }
}

#[test]
fn what_is_not_understood_is_not_guessed_at() {
    let deep = format!("{}1{}", "(".repeat(9999), ")".repeat(9999));
    let long = format!("a{}", " + a".repeat(9999));
    let minus = "-".repeat(9999);
    let power = format!("a{}", " ^ a".repeat(9999));
    for query in [
        "",
        "a b",
        "a / fill(0) b",
        "(a",
        "a)",
        "a{",
        "a >",
        "/ a",
        "sum by pod (a)",
        "f(a b)",
        "a[5m",
        "a $ [",
        &deep,
        &long,
        &minus,
        &power,
    ] {
        let scan = scan(query).unwrap();
        assert_eq!(
            Expr::parse(query, &scan.tokens),
            None,
            "{}",
            query.get(..9).unwrap_or(query)
        );
    }
}
