//! Warnings about queries that may not mean what the author intended. `docs/api.md` has a section on each.

use std::time::Duration;

use super::{
    criterion::Criterion,
    evidence::UNKNOWN,
    scan::{Scan, Token},
};
use crate::api::GoDuration;

/// Findings from parsing the query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hints {
    /// The longest range in the query.
    window: Option<Duration>,
    /// The interval that the item asks for, if that is longer than the maximum.
    longer: Option<Duration>,
    fixed: Vec<&'static str>,
}

const FILLED: &str = "`or vector(…)` turns missing data into a number, so it passes or fails like a measurement: leave it out, \
                      and onNoData says what missing data comes to";
const BOOL: &str = "`bool` turns NaN into 0 (with `!=` into 1), so a quotient without traffic counts as a measurement: leave the \
                    comparison to valueInRange, or add `and <what is divided by> > 0`";
const NOT_THE_CANARY: &str = "allPodsQuery judges all of the result, and the query names nothing of the canary, so it may be \
                              about other pods as well: select the canary's series, as in pod=~\"{{ pods }}\"";
const PAST: &str = "`offset` and `@` ask about a time before the canary, when nothing could be found about it: leave them out \
                    of what selects the canary";
const LITERAL: &str = "the listed values look like regular expressions, and they are compared literally: list each value, or \
                       derive a class by label_replace";

impl Hints {
    /// `is_unproven`: no evidence can turn an empty result into a pass. `all_pods`: the whole result is evaluated,
    /// whichever pods it belongs to.
    pub(super) fn of(scan: &Scan<'_>, criterion: &Criterion, is_unproven: bool, all_pods: bool) -> Self {
        let tokens = &scan.tokens;
        let compares_to_bool = tokens
            .windows(2)
            .any(|pair| matches!(pair, [op, token] if op.compares() && token.is("bool")));
        let found = [
            (FILLED, is_filled(tokens)),
            // The evidence of noResult detects NaN.
            (
                BOOL,
                compares_to_bool && may_be_nan(tokens) && !criterion.is_about_presence(),
            ),
            (UNKNOWN, is_unproven),
            (NOT_THE_CANARY, all_pods && !names_the_canary(tokens)),
            (
                PAST,
                criterion.is_about_presence() && tokens.iter().any(|token| token.is("offset") || token.text == "@"),
            ),
            (LITERAL, criterion.lists_patterns()),
        ];
        Self {
            window: tokens.windows(3).filter_map(window).max(),
            longer: None,
            fixed: found
                .into_iter()
                .filter(|(_, found)| *found)
                .map(|(hint, _)| hint)
                .collect(),
        }
    }

    /// With the interval that the item asks for, which may be longer than the maximum.
    pub(super) fn asking_every(self, wanted: Duration, max: Duration) -> Self {
        Self {
            longer: (wanted > max).then_some(wanted),
            ..self
        }
    }

    /// Sentences for the user. The range of the query is compared with the interval of measurements and the initial
    /// delay.
    pub(super) fn texts(&self, interval: Duration, initial_delay: Duration) -> Vec<String> {
        let mut texts: Vec<_> = self.fixed.iter().map(|hint| (*hint).to_owned()).collect();
        let shown = |duration| GoDuration(duration).to_string();
        texts.extend(self.longer.map(|wanted| {
            format!(
                "interval is {}, and the query is asked every {1}, because maxIntervalPeriod is not longer: set interval to {1} \
                 or less, or raise maxIntervalPeriod",
                shown(wanted),
                shown(interval)
            )
        }));
        let Some(window) = self.window else { return texts };
        if window < interval {
            texts.push(format!(
                "the query looks back over {}, and is asked every {}: what happens in between is not seen, so set interval \
                 to {0} or a longer range",
                shown(window),
                shown(interval)
            ));
        }
        let before = initial_delay.saturating_add(interval);
        if window > before {
            texts.push(format!(
                "the query looks back over {}, and is first asked {} after the canary is available: it sees the start-up as \
                 well, so set initialDelay to {} or more",
                shown(window),
                shown(before),
                shown(window.saturating_sub(interval))
            ));
        }
        texts
    }
}

/// Whether an expression returns NaN without traffic.
fn may_be_nan(tokens: &[Token<'_>]) -> bool {
    let divides = |token: &Token<'_>| token.text == "/" || token.is("histogram_quantile");
    tokens.iter().any(divides)
}

/// Whether a query may select the canary's series: by a variable, or by a common name for a canary.
fn names_the_canary(tokens: &[Token<'_>]) -> bool {
    // This includes `{{ kanary.name }}` and `{{ canary.name }}`.
    let names = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("kanary") || text.contains("canary")
    };
    let has_pods = |text: &str| {
        let mut variables = text.split("{{").skip(1);
        variables.any(|variable| {
            variable
                .split("}}")
                .next()
                .is_some_and(|name| matches!(name.trim(), "pods" | "canary.pods"))
        })
    };
    tokens.iter().any(|token| names(token.text) || has_pods(token.text))
}

/// `or vector(0)`, possibly with brackets or `on ()` in between.
fn is_filled(tokens: &[Token<'_>]) -> bool {
    tokens.iter().enumerate().any(|(index, token)| {
        let mut before = tokens.get(..index).unwrap_or_default();
        if !token.is("vector") || tokens.get(index + 1).is_none_or(|next| next.text != "(") {
            return false;
        }
        while let [rest @ .., last] = before {
            if last.text == "(" {
                before = rest;
            } else if last.text == ")" {
                let opened = rest
                    .iter()
                    .rposition(|token| token.text == "(" && token.depth == last.depth);
                let Some(matching) = opened.and_then(|opened| opened.checked_sub(1)) else {
                    return false;
                };
                if !rest
                    .get(matching)
                    .is_some_and(|token| token.is("on") || token.is("ignoring"))
                {
                    return false;
                }
                before = rest.get(..matching).unwrap_or_default();
            } else {
                return last.is("or");
            }
        }
        false
    })
}

/// The range after a `[`, as in `[5m]` and `[1h30m:10s]`.
fn window(tokens: &[Token<'_>]) -> Option<Duration> {
    match tokens {
        [bracket, range, end] if bracket.text == "[" && matches!(end.text, "]" | ":") => duration(range.text),
        _ => None,
    }
}

/// A PromQL duration. A plain number is in seconds.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|char: char| !char.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let millis = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::promql::scan::scan;

    fn texts(query: &str, criterion: &Criterion) -> Vec<String> {
        let (interval, delay) = (Duration::from_secs(20), Duration::from_secs(40));
        Hints::of(&scan(query).unwrap(), criterion, false, false).texts(interval, delay)
    }

    fn ranged(query: &str) -> Vec<String> {
        texts(query, &Criterion::Range { min: 0.0, max: 1.0 })
    }

    #[test]
    fn a_query_without_traps_is_not_warned_about() {
        for query in [
            "sum(rate(x{vector=\"or vector(0)\"}[1m])) / sum(rate(y[1m])) # or vector(0)",
            "x or y",
            "vector(1)",
            "x > bool 3",
            "x[20s]",
            "x[1m:10s] or on (a) y",
            "x[5m+1m]",
            "x[",
        ] {
            assert_eq!(ranged(query), Vec::<String>::new(), "{query}");
        }
    }

    #[test]
    fn a_number_in_place_of_missing_data_is_warned_about() {
        for query in [
            "x or vector(0)",
            "x OR on () vector(0)",
            "(x or ((vector(0)))) / y",
            "x or ignoring (a, b) (vector(1))",
        ] {
            assert!(ranged(query)[0].contains("`or vector(…)`"), "{query}");
        }
    }

    #[test]
    fn nan_that_becomes_a_number_or_nothing_is_warned_about() {
        assert!(ranged("x / y < bool 0.1")[0].contains("`bool` turns NaN into 0"));
        assert!(ranged("histogram_quantile(0.9, x) != bool 3")[0].contains("`bool` turns NaN into 0"));
        assert!(texts("x / y < bool 0.1", &Criterion::NoResult).is_empty());
    }

    #[test]
    fn a_query_about_the_past_cannot_find_anything_about_a_new_canary() {
        for query in ["x offset 1h > 0", "x @ 1700000000 > 0"] {
            assert!(
                texts(query, &Criterion::NoResult)[0].contains("before the canary"),
                "{query}"
            );
            assert_eq!(ranged(query), Vec::<String>::new(), "a baseline for {query}");
        }
    }

    #[test]
    fn listed_values_that_look_like_regular_expressions_are_warned_about() {
        let counts = |value: &str| Criterion::Counts {
            key: "code".to_owned(),
            listed: [value.to_owned()].into(),
            listed_is_good: false,
            tolerance: 1.0,
        };
        for value in ["5..", "5.*", "500|503", "^5", "[45]00"] {
            assert!(texts("x", &counts(value))[0].contains("compared literally"), "{value}");
        }
        for value in ["500", "v1.2", "no-such_thing"] {
            assert_eq!(texts("x", &counts(value)), Vec::<String>::new(), "{value}");
        }
    }

    #[test]
    fn a_query_without_proof_that_its_result_means_something_is_warned_about() {
        let hints = Hints::of(&scan("x / y").unwrap(), &Criterion::NoResult, true, false);
        assert!(hints.texts(Duration::ZERO, Duration::ZERO)[0].contains("write an evidenceQuery"));
    }

    #[test]
    fn a_query_about_all_pods_that_does_not_select_the_canary_is_warned_about() {
        let texts = |query: &str, all_pods: bool| {
            let criterion = Criterion::Range { min: 0.0, max: 1.0 };
            Hints::of(&scan(query).unwrap(), &criterion, false, all_pods).texts(Duration::from_secs(20), Duration::ZERO)
        };
        for query in [
            "sum(x)",
            "sum(x{namespace=\"{{ namespace }}\",job=\"{{ service.name }}\"}) # {{ pods }} of the canary",
            "x{pod=~\"{{ deployment.name }}-.*\"}",
            "x{pod=~\"pods\"}",
        ] {
            assert!(texts(query, true)[0].contains("select the canary's series"), "{query}");
            assert_eq!(texts(query, false), Vec::<String>::new(), "{query}");
        }
        for query in [
            "sum(x{pod=~\"{{ pods }}\"})",
            "sum(x{pod=~'{{pods}}:8080'})",
            "x{workload=\"{{ canary.name }}\"}",
            "x{label_kanary=`{{ kanary.name }}`}",
            "x{workload=\"{{ deployment.name }}-kanary-batman\"}",
            "x{track=\"Canary\"}",
        ] {
            assert_eq!(texts(query, true), Vec::<String>::new(), "{query}");
        }
    }

    #[test]
    fn a_range_is_compared_with_the_time_between_checks_and_before_the_first() {
        assert_eq!(
            ranged("rate(x[10s])"),
            [
                "the query looks back over 10s, and is asked every 20s: what happens in between is not seen, so set \
                 interval to 10s or a longer range"
            ]
        );
        assert_eq!(
            ranged("rate(x[30s]) / rate(y[1h2m3s4ms])"),
            [
                "the query looks back over 1h2m3s, and is first asked 1m0s after the canary is available: it sees the \
                 start-up as well, so set initialDelay to 1h1m43s or more"
            ]
        );
    }
}
