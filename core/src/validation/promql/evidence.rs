//! Evidence that Prometheus knows the canary's pods: without it, a result without series proves nothing.

use super::{
    PromQl,
    judge::{alias, listed, others, sample, unnamed},
    number::short,
    quotient::Quotient,
    scan::Scan,
    template::Template,
};
use crate::validation::{Answer, Outcome, Sample, Series};

/// The second query of an item for which no result is good.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evidence {
    pub(super) query: Template,
    /// The user wrote it.
    is_own: bool,
    /// The usual query, which also asks whether there is traffic to divide by.
    wants_traffic: bool,
}

impl Evidence {
    /// The user's query, or the one that stands for it.
    pub(super) fn parse(own: Option<&str>, query: &str, scan: &Scan<'_>, pod_key: &str) -> Result<Self, String> {
        let quotient = Quotient::of(query, scan);
        let text = own.map_or_else(|| usual(quotient.as_ref(), pod_key), str::to_owned);
        Ok(Self {
            query: Template::parse("evidenceQuery", &text)?,
            is_own: own.is_some(),
            wants_traffic: own.is_none() && quotient.is_some(),
        })
    }

    /// Whether a quotient without traffic is no evidence.
    pub(super) fn finds_nan(&self) -> bool {
        self.is_own || self.wants_traffic
    }
}

/// Any series of the pod proves that Prometheus knows it, but for those that Prometheus makes up itself, and unless every
/// scrape of the pod fails. Where the query compares a quotient, there must be traffic as well: a comparison drops what is
/// NaN, and where nothing was counted there is no quotient at all. Traffic that names no pod stands for all of them.
fn usual(quotient: Option<&Quotient<'_>>, pod_key: &str) -> String {
    let by = if is_plain(pod_key) {
        pod_key.to_owned()
    } else {
        format!("{pod_key:?}")
    };
    let known = format!(
        "count by ({by}) ({{__name__!~\"up|scrape_.+|ALERTS.*\",{by}=~\"{{{{ pods }}}}\"}}) \
         unless on ({by}) (max by ({by}) (up{{{by}=~\"{{{{ pods }}}}\"}}) == 0)"
    );
    // What the user wrote is on lines of its own: it may end with a comment.
    let traffic = match quotient {
        // Infinity is a number; only NaN is not below it.
        Some(Quotient::Whole(value)) => format!("(\n{value}\n) <= Inf"),
        Some(Quotient::Divisor(value)) => format!("(\n{value}\n) > 0"),
        Some(Quotient::ByNumber) | None => return known,
    };
    format!("(({known}) and on ({by}) ({traffic})) or (({known}) and on () (({traffic}) and on ({by}) vector(1)))")
}

/// Whether a label can be written without quotes.
fn is_plain(label: &str) -> bool {
    label.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && label.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

pub(super) fn judge(item: &PromQl, answer: Option<&Answer>, ready_pods: &[&str]) -> Sample {
    let whose = if item.evidence.as_ref().is_some_and(|evidence| evidence.is_own) {
        "evidenceQuery"
    } else {
        "the query for evidence (write evidenceQuery to ask another)"
    };
    let all = match answer {
        None => {
            return sample(
                Outcome::NoData,
                "no series, and nobody asked whether Prometheus knows the pods",
            );
        }
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
    let stands_for_all = item.all_pods
        && item.evidence.as_ref().is_some_and(|evidence| evidence.is_own)
        && !all.iter().any(|series| series.labels.contains_key(&item.pod_key));
    let found = if stands_for_all {
        for_all(all)
    } else {
        per_pod(item, all, ready_pods)
    };
    match found {
        Ok(()) => sample(
            Outcome::Pass,
            "no series, which is good, and Prometheus knows every ready pod",
        ),
        Err((outcome, why)) => sample(outcome, format!("no series, which proves nothing: {why}")),
    }
}

type Doubt = (Outcome, String);

/// A value that is no evidence, and why: a count of 0 says that there is nothing.
fn doubt(value: f64, of: &str) -> Result<(), Doubt> {
    if value.is_nan() {
        let why = format!("the value is NaN for {of}, as a quotient is without traffic");
        return Err((Outcome::NoData, why));
    }
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err((Outcome::NoData, format!("the evidence for {of} is {}", short(value))))
}

/// A result that stands for all pods, as the item's own does.
fn for_all(all: &[Series]) -> Result<(), Doubt> {
    if all.is_empty() {
        return Err((Outcome::NoData, "evidenceQuery yields no series either".to_owned()));
    }
    all.iter().try_for_each(|series| doubt(series.value, "all pods"))
}

/// Every ready pod is there with a number.
fn per_pod(item: &PromQl, all: &[Series], ready_pods: &[&str]) -> Result<(), Doubt> {
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
            let wants_traffic = item.evidence.as_ref().is_some_and(|evidence| evidence.wants_traffic);
            let traffic = if wants_traffic {
                ", or the query divides by 0 or by nothing, as it does without traffic"
            } else {
                ""
            };
            let pods = listed(&missing);
            Err((
                Outcome::NoData,
                format!("Prometheus has no series of {pods} by the label `{key}`{traffic}"),
            ))
        }
    }
}
