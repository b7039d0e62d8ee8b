//! Which traffic a query divides by.

use super::scan::{Scan, Token};

/// What a query compares at last, if it may be NaN, or missing, where nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotient<'a> {
    /// `b` of `a / b > 0.1`. Where `a` is missing nothing was counted against the canary, but `b` has to be there.
    Divisor(&'a str),
    /// `a / b` of `a / b < 0.9`, and whatever is more involved: all of it has to be there.
    Whole(&'a str),
    /// `a / 60`, which is never NaN for lack of traffic.
    ByNumber,
}

impl<'a> Quotient<'a> {
    /// Reads a query that compares once, at last, and not to a `bool`.
    pub(super) fn of(query: &'a str, scan: &Scan<'_>) -> Option<Self> {
        let tokens = &scan.tokens;
        let outer = || tokens.iter().enumerate().filter(|(_, token)| token.depth == 0);
        if outer().any(|(_, token)| is_set(token)) || tokens.iter().any(|token| token.is("scalar")) {
            return None;
        }
        let mut comparisons = outer().filter(|(_, token)| token.compares());
        let ((index, comparison), None) = (comparisons.next()?, comparisons.next()) else {
            return None;
        };
        if tokens.get(index + 1).is_some_and(|token| token.is("bool")) {
            return None;
        }
        let left = tokens.get(..index)?;
        if !left.iter().any(selects) || !may_be_nan(left) {
            return None;
        }
        let whole = Self::Whole(query.get(..comparison.at)?);
        if !matches!(comparison.text, ">" | ">=") {
            return Some(whole);
        }
        Some(Self::by_divisor(query, left, comparison.at).unwrap_or(whole))
    }

    /// The divisor, where an expression that ends at `end` is a single quotient, maybe times something.
    fn by_divisor(query: &'a str, tokens: &[Token<'_>], end: usize) -> Option<Self> {
        let is_involved = |token: &Token<'_>| matches!(token.text, "+" | "-" | "%" | "^") || is_set(token);
        let slashes = tokens.iter().filter(|token| token.text == "/").count();
        if slashes != 1 || tokens.iter().any(is_involved) {
            return None;
        }
        let at = tokens.iter().position(|token| token.text == "/")?;
        let (slash, after) = (tokens.get(at)?, without_matching(tokens.get(at + 1..)?));
        let is_end = |token: &Token<'_>| token.depth < slash.depth || token.depth == slash.depth && token.text == ",";
        let length = after.iter().position(is_end).unwrap_or(after.len());
        let end = after.get(length).map_or(end, |token| token.at);
        let divisor = after.get(..length)?;
        if !divisor.iter().any(selects) && !names_metric(divisor) {
            return Some(Self::ByNumber);
        }
        query.get(divisor.first()?.at..end).map(Self::Divisor)
    }
}

/// Whether an expression yields NaN where nothing happened.
pub(super) fn may_be_nan(tokens: &[Token<'_>]) -> bool {
    let divides = |token: &Token<'_>| token.text == "/" || token.is("histogram_quantile");
    tokens.iter().any(divides)
}

fn is_set(token: &Token<'_>) -> bool {
    ["and", "or", "unless"].iter().any(|word| token.is(word))
}

fn selects(token: &Token<'_>) -> bool {
    matches!(token.text, "{" | "[")
}

/// Whether there is a metric without braces: a name that is neither a function nor a keyword.
fn names_metric(tokens: &[Token<'_>]) -> bool {
    tokens.iter().enumerate().any(|(index, token)| {
        let is_name = token.text.starts_with(|char: char| char.is_alphabetic() || char == '_');
        let is_called = tokens.get(index + 1).is_some_and(|next| next.text == "(");
        is_name && !is_called && !token.is("inf") && !token.is("nan")
    })
}

/// What follows an operator, without `on (pod) group_left (job)`.
fn without_matching<'a, 'b>(mut tokens: &'a [Token<'b>]) -> &'a [Token<'b>] {
    while let [word, rest @ ..] = tokens {
        if !["on", "ignoring", "group_left", "group_right"]
            .iter()
            .any(|name| word.is(name))
        {
            break;
        }
        let labels = rest.first().is_some_and(|token| token.text == "(");
        let close = rest.iter().position(|token| token.text == ")").filter(|_| labels);
        tokens = close.and_then(|close| rest.get(close + 1..)).unwrap_or(rest);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{
        super::scan::scan,
        Quotient,
        Quotient::{ByNumber, Divisor, Whole},
    };

    #[test]
    fn the_traffic_that_a_query_divides_by_is_found() {
        for (query, found) in [
            ("a{} / b{} > 0.1", Divisor("b{} ")),
            ("a{} / b >= 0.1", Divisor("b ")),
            (
                "100 * sum by (pod) (rate(a[1m])) / sum by (pod) (rate(b[1m])) > 5",
                Divisor("sum by (pod) (rate(b[1m])) "),
            ),
            ("(a{} / b{c=\"/\"}) * 100 > 5", Divisor("b{c=\"/\"}")),
            ("clamp_max(a{} / sum(b), 1) > 0.1", Divisor("sum(b)")),
            ("a{} / on (pod) group_left (job) b > 0.1", Divisor("b ")),
            ("a{} / ignoring (code) group_left b > 0.1", Divisor("b ")),
            ("a{} # / x\n / b # c\n > 0.1", Divisor("b # c\n ")),
            ("a{} / b * c > 0.1", Divisor("b * c ")),
            ("rate(a[1m]) / 60 > 5", ByNumber),
            ("a{} / (24 * Inf) > 5", ByNumber),
            ("a{} / time() > 5", ByNumber),
            // A pod without a success has no quotient at all.
            ("a{} / b < 0.9", Whole("a{} / b ")),
            ("1 - a{} / b > 0.1", Whole("1 - a{} / b ")),
            ("(a{} / b and c) > 0.1", Whole("(a{} / b and c) ")),
            ("a{} / b / c > 0.1", Whole("a{} / b / c ")),
            (
                "histogram_quantile(0.9, x{}) > 3",
                Whole("histogram_quantile(0.9, x{}) "),
            ),
        ] {
            assert_eq!(Quotient::of(query, &scan(query).unwrap()), Some(found), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_nan_or_is_not_compared_at_last_is_no_quotient() {
        for query in [
            "rate(a[1m]) > 5",
            "rate(a[1m]) / rate(b[1m])",
            "rate(a[1m]) / rate(b[1m]) > 1 and c",
            "a{} / b > 1 < 2",
            "scalar(a{} / b) > 1",
            "a{} / b > bool 1",
            "1 / 2 < a{}",
            "(a{} / b > 1)",
        ] {
            assert_eq!(Quotient::of(query, &scan(query).unwrap()), None, "{query}");
        }
    }
}
