//! Facts that an evidence query requests in addition to the pods, and their required results.

use std::fmt::Write as _;

use super::{judge::listed, syntax::Expr};
use crate::validation::{Outcome, Series};

/// The label that contains the number of a series' fact.
const LABEL: &str = "kanary_fact";
/// Maximum number of facts in a query.
const MOST: usize = 40;
/// Maximum length of an expression in a message, in characters.
const SHOWN: usize = 80;

/// The requested facts and the checks on them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Queries whose results are counted by pod.
    queries: Vec<String>,
    checks: Vec<Check>,
}

/// A requirement. Numbers are indices of facts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Check {
    Number(Number),
    Pair(Pair),
    Seen(Seen),
    Partner(Partner),
}

/// Series that need a partner behind `and`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Partner {
    /// Series without a partner.
    lone: usize,
    text: String,
    other: String,
}

/// A value that must exist where its operands exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) any: usize,
    pub(super) value: usize,
    pub(super) text: String,
    pub(super) of: String,
}

/// A value that must be a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Number {
    /// Series with any value. `None` requires at least one.
    pub(super) any: Option<usize>,
    /// Series with numeric values.
    pub(super) finite: usize,
    pub(super) text: String,
}

/// Two operands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) value: usize,
    pub(super) value_text: String,
    /// Whether the value may be missing where the other operand exists.
    pub(super) may_be_missing: bool,
    /// The other operand, with usable values.
    pub(super) other: usize,
    pub(super) other_text: String,
    pub(super) is_zero_nothing: bool,
    /// Series of one operand without a match in the other.
    pub(super) lone_value: Option<usize>,
    pub(super) lone_other: Option<usize>,
    /// Numeric results of the operation, if required.
    pub(super) result: Option<usize>,
}

/// An outcome and its reason: the text before and after the names of the pods.
type Doubt = (Outcome, String, String);

/// An operand as a vector on separate lines, because it may end with a comment.
fn vector(expr: &Expr<'_>) -> String {
    let call = if expr.is_scalar() { "vector" } else { "" };
    format!("{call}(\n{}\n)", expr.text)
}

impl Facts {
    pub(super) fn are_few(&self) -> bool {
        self.queries.len() <= MOST
    }

    pub(super) fn demand(&mut self, check: Check) {
        if !self.checks.contains(&check) {
            self.checks.push(check);
        }
    }

    fn fact(&mut self, query: String) -> usize {
        let known = self.queries.iter().position(|known| *known == query);
        known.unwrap_or_else(|| {
            self.queries.push(query);
            self.queries.len() - 1
        })
    }

    /// Requests series with any value.
    pub(super) fn any(&mut self, expr: &Expr<'_>) -> usize {
        self.fact(vector(expr))
    }

    /// Requests series with numeric values. Infinity counts; only NaN fails the comparison.
    pub(super) fn finite(&mut self, expr: &Expr<'_>) -> usize {
        self.fact(format!("{} <= Inf", vector(expr)))
    }

    pub(super) fn above_zero(&mut self, expr: &Expr<'_>) -> usize {
        self.fact(format!("{} > 0", vector(expr)))
    }

    /// Requests series without a match, with the query's own matching.
    pub(super) fn lone(&mut self, expr: &Expr<'_>, matching: &str, partner: &Expr<'_>, above_zero: bool) -> usize {
        let above_zero = if above_zero { " > 0" } else { "" };
        self.fact(format!(
            "{}{above_zero} unless {matching} {}",
            vector(expr),
            vector(partner)
        ))
    }

    /// Requires that each series has a partner in one of the operands behind `and`.
    pub(super) fn partner(&mut self, expr: &Expr<'_>, matching: &str, partners: &[&Expr<'_>]) {
        let mut query = vector(expr);
        for partner in partners {
            let _infallible = write!(query, " unless {matching} {}", vector(partner));
        }
        let texts: Vec<_> = partners.iter().map(|partner| partner.bare().text).collect();
        let check = Partner {
            lone: self.fact(query),
            text: expr.bare().text.to_owned(),
            other: texts.join(" or "),
        };
        self.demand(Check::Partner(check));
    }

    /// The query for them, beside that for the pods, which are counted `by` a label.
    pub(super) fn query(&self, known: String, by: &str) -> String {
        let mut facts = String::new();
        for (index, query) in self.queries.iter().enumerate() {
            let or = if index == 0 { "" } else { " or " };
            let count = format!("count by ({by}) ({query})");
            let _infallible = write!(facts, "{or}label_replace({count}, {LABEL:?}, \"{index}\", \"\", \"\")");
        }
        if facts.is_empty() {
            return known;
        }
        // The facts of other pods would only lengthen the answer.
        format!("({known}) or (({facts}) and on ({by}) (({known}) or vector(1)))")
    }

    /// The series of an answer for the pods, without the facts.
    pub(super) fn pods(all: &[Series]) -> Vec<Series> {
        all.iter()
            .filter(|series| !series.labels.contains_key(LABEL))
            .cloned()
            .collect()
    }

    /// Checks the facts for each pod. Facts without the pod label apply to all pods.
    pub(super) fn judge(
        &self,
        all: &[Series],
        key: &str,
        ready_pods: &[&str],
        names_pods: bool,
    ) -> Result<(), (Outcome, String)> {
        let mut doubts: Vec<(Doubt, Vec<&str>)> = Vec::new();
        for pod in ready_pods {
            let found = Found { all, key, pod };
            let Err(doubt) = self.checks.iter().try_for_each(|check| found.check(check)) else {
                continue;
            };
            match doubts.iter_mut().find(|(known, _)| *known == doubt) {
                Some((_, pods)) => pods.push(pod),
                None => doubts.push((doubt, vec![pod])),
            }
        }
        // The problem to fix first.
        let graver = |(doubt, _): &&(Doubt, Vec<&str>)| doubt.0 == Outcome::Error;
        let Some(((outcome, what, remedy), pods)) = doubts.iter().find(graver).or(doubts.first()) else {
            return Ok(());
        };
        let place = if names_pods {
            format!(" for {}", listed(pods))
        } else {
            String::new()
        };
        Err((*outcome, format!("{what}{place}, {remedy}")))
    }
}

/// The facts about a pod.
struct Found<'a> {
    all: &'a [Series],
    key: &'a str,
    pod: &'a str,
}

impl Found<'_> {
    fn has(&self, fact: usize, pod: Option<&str>) -> bool {
        let fact = fact.to_string();
        self.all.iter().any(|series| {
            let is_it = series.labels.get(LABEL).is_some_and(|label| *label == fact);
            is_it && series.labels.get(self.key).map(String::as_str) == pod && series.value > 0.0
        })
    }

    fn own(&self, fact: usize) -> bool {
        self.has(fact, Some(self.pod))
    }

    fn any(&self, fact: usize) -> bool {
        self.own(fact) || self.has(fact, None)
    }

    fn check(&self, check: &Check) -> Result<(), Doubt> {
        match check {
            Check::Number(check) => self.number(check),
            Check::Pair(check) => self.pair(check),
            Check::Seen(seen) if self.any(seen.any) && !self.any(seen.value) => Err((
                Outcome::NoData,
                format!("{} is missing", shown(&seen.text)),
                format!(
                    "and Prometheus has {}: a range has to hold samples (two for a rate), so write one of twice the scrape \
                     interval or more",
                    shown(&seen.of)
                ),
            )),
            Check::Partner(partner) if self.any(partner.lone) => {
                Err(unpartnered(&shown(&partner.text), &shown(&partner.other)))
            }
            Check::Seen(_) | Check::Partner(_) => Ok(()),
        }
    }

    fn number(&self, check: &Number) -> Result<(), Doubt> {
        let text = shown(&check.text);
        match check.any {
            None if !self.any(check.finite) => Err(nothing(&format!("{text} is missing or NaN"))),
            Some(any) => {
                // A number for all pods does not replace a pod's NaN.
                let is_nan =
                    self.own(any) && !self.own(check.finite) || self.has(any, None) && !self.has(check.finite, None);
                if is_nan {
                    return Err(nothing(&format!("{text} is NaN")));
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn pair(&self, pair: &Pair) -> Result<(), Doubt> {
        let (value, other) = (shown(&pair.value_text), shown(&pair.other_text));
        let is = |fact: Option<usize>| fact.is_some_and(|fact| self.any(fact));
        let has_value = self.any(pair.value);
        if !self.any(pair.other) {
            let zero = if pair.is_zero_nothing {
                "0, NaN or missing"
            } else {
                "NaN or missing"
            };
            return Err(nothing(&format!("{other} is {zero}")));
        }
        if is(pair.lone_value) {
            return Err(mismatch(&value, &other));
        }
        if !has_value && !pair.may_be_missing {
            return Err(nothing(&format!("{value} is missing")));
        }
        if has_value && pair.result.is_some() && !is(pair.result) {
            return Err(nothing(&format!("what {value} and {other} make is NaN or missing")));
        }
        if is(pair.lone_other) {
            return Err(mismatch(&other, &value));
        }
        Ok(())
    }
}

fn nothing(what: &str) -> Doubt {
    (
        Outcome::NoData,
        what.to_owned(),
        "as it is without traffic or with a wrong name: see that Prometheus has it, or write an evidenceQuery"
            .to_owned(),
    )
}

fn mismatch(lone: &str, partner: &str) -> Doubt {
    (
        Outcome::Error,
        format!("the labels of {lone} do not match those of {partner}"),
        "so the query leaves series out: aggregate both sides to the same labels, as in sum by (pod) (…), or match them by \
         on (pod) or ignoring (…) group_left"
            .to_owned(),
    )
}

fn unpartnered(lone: &str, partner: &str) -> Doubt {
    (
        Outcome::NoData,
        format!("{lone} has series for which `and` finds none of {partner}"),
        "because that is missing or its labels do not match: match them by on (pod), or write an evidenceQuery"
            .to_owned(),
    )
}

/// An expression on one line, in backticks.
pub(super) fn shown(text: &str) -> String {
    let line: Vec<_> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}…`", line.get(..end).unwrap_or_default()),
        None => format!("`{line}`"),
    }
}
