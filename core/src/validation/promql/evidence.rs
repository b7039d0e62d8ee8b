//! Evidence that Prometheus has data of the canary's pods. Without it, an empty result proves nothing.

use super::{
    PromQl, demand,
    facts::Facts,
    judge::{alias, listed, others, sample, unnamed},
    number::short,
    operator::Op,
    refuse,
    scan::Scan,
    syntax::{Expr, Kind},
    template::Template,
    unparsable,
};
use crate::validation::{Answer, Outcome, Sample, Series};

/// The evidence query of an item for which an empty result is good.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Evidence {
    /// A query of the user.
    Own(Template),
    /// The default query: whether Prometheus has data of the pods, and the facts that the item's query requires.
    Usual(Template, Facts),
    /// The item's query is too complex, so no query is known to prove that its result is meaningful.
    Unknown,
}

impl Evidence {
    /// Parses the user's query, or creates the default one.
    pub(super) fn parse(
        own: Option<&str>,
        expr: Option<&Expr<'_>>,
        scan: &Scan<'_>,
        (pod_key, all_pods): (&str, bool),
    ) -> Result<Self, String> {
        if expr.is_some_and(|expr| !expr.selects()) {
            return Err(
                "query selects no series, so with noResult it could never fail: name a metric of the canary".to_owned(),
            );
        }
        if let Some(own) = own {
            return Self::own(own, pod_key, all_pods);
        }
        let facts = match expr {
            Some(expr) => demand::of(expr),
            None => (!scan.tokens.iter().any(|token| token.compares() || token.calculates())).then(Facts::default),
        };
        let Some(facts) = facts else { return Ok(Self::Unknown) };
        let query = Template::parse("evidenceQuery", &usual(&facts, pod_key))?;
        Ok(Self::Usual(query, facts))
    }

    fn own(query: &str, pod_key: &str, all_pods: bool) -> Result<Self, String> {
        let template = Template::parse("evidenceQuery", query)?;
        let scan = super::scan::scan(query)?;
        unparsable::check("evidenceQuery", &scan)?;
        let selects_nothing = |expr: &Expr<'_>| match &expr.kind {
            Kind::Binary(binary) if binary.op == Op::Or => !binary.left.selects() || !binary.right.selects(),
            _ => false,
        };
        let expr = Expr::parse(query, &scan.tokens);
        if expr
            .as_ref()
            .is_some_and(|expr| !expr.selects() || expr.has(&selects_nothing))
        {
            return Err(
                "evidenceQuery yields a value without any series, so it would prove nothing: name a metric that the canary's \
                 pods have, and leave `or vector(…)` out"
                    .to_owned(),
            );
        }
        if let Some(expr) = &expr {
            refuse::evidence(expr, pod_key, all_pods)?;
        }
        Ok(Self::Own(template))
    }

    pub(super) fn query(&self) -> Option<&Template> {
        match self {
            Self::Own(query) | Self::Usual(query, _) => Some(query),
            Self::Unknown => None,
        }
    }
}

/// Any series of a pod proves that Prometheus has data of it, except for the series that Prometheus generates itself, and
/// unless every scrape of the pod fails.
fn usual(facts: &Facts, pod_key: &str) -> String {
    let by = if is_plain(pod_key) {
        pod_key.to_owned()
    } else {
        format!("{pod_key:?}")
    };
    let known = format!(
        "count by ({by}) ({{__name__!~\"up|scrape_.+|ALERTS.*\",{by}=~\"{{{{ pods }}}}\"}}) \
         unless on ({by}) (max by ({by}) (up{{{by}=~\"{{{{ pods }}}}\"}}) == 0)"
    );
    facts.query(known, &by)
}

/// Whether a label name needs no quotes.
fn is_plain(label: &str) -> bool {
    label.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && label.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// The message for a query that is too complex.
pub(super) const UNKNOWN: &str = "Kanary cannot tell whether there was anything that the query could have found: write an \
                                  evidenceQuery that yields a value above 0 where there is, or use valueInRange";

pub(super) fn judge(item: &PromQl, answer: Option<&Answer>, ready_pods: &[&str]) -> Sample {
    let proves_nothing = |outcome, why: &str| sample(outcome, format!("no series, which proves nothing: {why}"));
    let Some(evidence) = item.evidence.as_ref().filter(|evidence| evidence.query().is_some()) else {
        return proves_nothing(Outcome::NoData, UNKNOWN);
    };
    let whose = match evidence {
        Evidence::Own(_) => "evidenceQuery",
        _ => "the query for evidence (write evidenceQuery to ask another)",
    };
    let all = match answer {
        None => return proves_nothing(Outcome::NoData, "nobody asked whether Prometheus knows the pods"),
        Some(Answer::Unanswered(why)) => return sample(Outcome::Error, format!("{whose}: {why}")),
        Some(Answer::Rejected(why)) => return sample(Outcome::Invalid, format!("{whose}: {why}")),
        Some(Answer::Scalar(_)) => {
            return sample(
                Outcome::Error,
                format!("{whose} yields a scalar, which is always there: write a query that yields a vector"),
            );
        }
        Some(Answer::Vector(all)) => all,
    };
    let found = match evidence {
        Evidence::Usual(_, facts) => known(item, all, ready_pods)
            .and_then(|()| facts.judge(all, &item.pod_key, ready_pods, !item.all_pods))
            .map(|()| "Prometheus knows every ready pod"),
        _ if item.all_pods && !all.iter().any(|series| series.labels.contains_key(&item.pod_key)) => {
            for_all(all).map(|()| "evidenceQuery yields only values above 0")
        }
        _ => per_pod(item, all, ready_pods, "evidenceQuery yields")
            .map(|()| "evidenceQuery yields a value above 0 for every ready pod"),
    };
    match found {
        Ok(why) => sample(Outcome::Pass, format!("no series, which is good, and {why}")),
        Err((outcome, why)) => proves_nothing(outcome, &why),
    }
}

type Doubt = (Outcome, String);

/// Why a value is no evidence: a count of 0 means that there is no data.
fn doubt(value: f64, of: &str) -> Result<(), Doubt> {
    if value.is_nan() {
        let why = format!("the value of the evidence is NaN for {of}, as a quotient is without traffic");
        return Err((Outcome::NoData, why));
    }
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err((
        Outcome::NoData,
        format!(
            "the value of the evidence for {of} is {}, and has to be above 0",
            short(value)
        ),
    ))
}

/// A result for all pods together, like that of the item.
fn for_all(all: &[Series]) -> Result<(), Doubt> {
    if all.is_empty() {
        let why = "evidenceQuery yields no series either: see that Prometheus has what it selects".to_owned();
        return Err((Outcome::NoData, why));
    }
    all.iter().try_for_each(|series| doubt(series.value, "all pods"))
}

/// Requires a series of each ready pod.
fn known(item: &PromQl, all: &[Series], ready_pods: &[&str]) -> Result<(), Doubt> {
    per_pod(item, &Facts::pods(all), ready_pods, "Prometheus has")
}

/// Requires a numeric value for every ready pod.
fn per_pod(item: &PromQl, all: &[Series], ready_pods: &[&str], has: &str) -> Result<(), Doubt> {
    let key = &item.pod_key;
    let mut missing = ready_pods.to_vec();
    let mut stray = None;
    for series in all {
        match series.labels.get(key) {
            Some(pod) if ready_pods.contains(&pod.as_str()) => {
                doubt(series.value, &format!("pod {pod}"))?;
                missing.retain(|missing| missing != pod);
            }
            Some(_) => stray = stray.or(Some(series)),
            None if series.value.is_nan() => doubt(series.value, "all pods")?,
            None => {}
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let named = all.iter().filter(|series| series.labels.contains_key(key)).count();
    let renamed = all.iter().find(|series| alias(series, key, &missing).is_some());
    match renamed.or(stray.filter(|_| missing.len() == ready_pods.len())) {
        Some(series) if named > 0 => Err((Outcome::Error, others(item, series, ready_pods))),
        _ if named == 0 && !all.is_empty() => Err((Outcome::Error, unnamed(item, all, ready_pods, named))),
        _ => {
            let remedy = match &item.evidence {
                Some(Evidence::Own(_)) => ": see that every ready pod is in its result",
                _ if item.all_pods => {
                    ", which is asked for because the query alone does not show that it is about the canary: set podNamekey \
                     to the label that names pods, or write an evidenceQuery"
                }
                _ => {
                    ": set podNamekey to the label that names pods, see that Prometheus scrapes the pods, or write an \
                     evidenceQuery"
                }
            };
            let why = format!("{has} no series of {} by the label `{key}`{remedy}", listed(&missing));
            Err((Outcome::NoData, why))
        }
    }
}
