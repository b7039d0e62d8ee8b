//! Queries that no server can parse, as far as comments, brackets, strings and operators prove it. A server reports the rest itself,
//! but only once a canary has requests.

use super::scan::{Scan, Token};

/// Refuses such a query. `what` is the field.
pub(super) fn check(what: &str, scan: &Scan<'_>) -> Result<(), String> {
    let Some(last) = scan.tokens.last() else {
        return Err(format!("{what} has no expression, only comments or spaces: write one"));
    };
    if let Some(open) = scan.tokens.iter().find(|token| !is_closed(token)) {
        let start: String = open.text.chars().take(20).collect();
        return Err(format!(
            "{what} has a string that does not end ({start}): close it with the quote that opens it"
        ));
    }
    brackets(what, scan)?;
    if matches!(last.text, "=" | "=~" | "!~" | "+" | "-" | "*" | "/" | "%" | "^" | ",") || last.compares() {
        return Err(format!(
            "{what} ends with `{}`: write what follows it, or remove it",
            last.text
        ));
    }
    Ok(())
}

/// Whether a token is no string, or one that ends.
fn is_closed(token: &Token<'_>) -> bool {
    let Some(quote) = token.text.chars().next().filter(|char| ['"', '\'', '`'].contains(char)) else {
        return true;
    };
    let Some(inner) = token.text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) else {
        return false;
    };
    let escapes = inner.chars().rev().take_while(|char| *char == '\\').count();
    quote == '`' || escapes % 2 == 0
}

fn brackets(what: &str, scan: &Scan<'_>) -> Result<(), String> {
    let mut open = Vec::new();
    for token in &scan.tokens {
        let opens = match token.text {
            "(" | "[" | "{" => {
                open.push(token.text);
                continue;
            }
            ")" => "(",
            "]" => "[",
            "}" => "{",
            _ => continue,
        };
        match open.pop() {
            Some(last) if last == opens => {}
            Some(last) => {
                return Err(format!(
                    "{what} closes a `{last}` with `{}`: correct its brackets",
                    token.text
                ));
            }
            None => {
                return Err(format!(
                    "{what} has a `{}` that closes nothing: correct its brackets",
                    token.text
                ));
            }
        }
    }
    match open.pop() {
        Some(last) => Err(format!(
            "{what} has a `{last}` that is not closed: correct its brackets"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scan::scan, check};

    fn refusal(query: &str) -> Option<String> {
        check("query", &scan(query).unwrap()).err()
    }

    #[test]
    fn a_query_that_no_server_can_parse_is_refused() {
        for (query, why) in [
            ("", "has no expression"),
            (" # up", "has no expression"),
            ("sum(rate(x[1m]) > 2", "a `(` that is not closed"),
            ("sum(rate(x[1m)) > 2", "closes a `[` with `)`"),
            ("x{a=\"b\" > 2", "a `{` that is not closed"),
            ("x > 2)", "a `)` that closes nothing"),
            ("x{a=\"b} > 2", "a string that does not end (\"b} > 2)"),
            ("x{a=\"b\\\"", "a string that does not end"),
            ("x{a='", "a string that does not end"),
            ("x > # 2", "ends with `>`"),
            ("x /", "ends with `/`"),
        ] {
            let refusal = refusal(query).unwrap_or_else(|| panic!("{query} is accepted"));
            assert!(refusal.contains(why), "{query}: {refusal}");
        }
    }

    #[test]
    fn any_other_query_is_left_to_the_server() {
        for query in [
            "x",
            "x{a=\"(\",b='[\"',c=`\\`} # )",
            "x{a=\"b\\\\\"} > -1",
            "x{a=~\"{{ pods }}\"}[5m:30s] offset 1h @ end()",
            "{{ canary.name }}:x",
            "and",
            "x $ y",
            "{\"k8s.pod\"=~\"(a|b)\"}",
            "WITH (a = x) a",
        ] {
            assert_eq!(refusal(query), None, "{query}");
        }
    }
}
