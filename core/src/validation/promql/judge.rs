//! Selection of the relevant values in an answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{PromQl, evidence, grade::absence};
use crate::validation::{Answer, Outcome, Sample, Series};

/// Maximum number of pods that a message names; the rest are counted.
const PODS_SHOWN: usize = 3;

/// A relevant value of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    /// The canary pod that it belongs to, if the result is evaluated per pod.
    pub(super) pod: Option<&'a str>,
    /// The label with the pod name.
    pub(super) key: &'a str,
    /// The labels of its series, or empty for a scalar.
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) value: f64,
}

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

pub(super) fn judge(item: &PromQl, answer: &Answer, evidence: Option<&Answer>, ready_pods: &[&str]) -> Sample {
    let all = match answer {
        Answer::Unanswered(why) => return sample(Outcome::Error, why.clone()),
        Answer::Rejected(why) => return sample(Outcome::Invalid, why.clone()),
        _ if ready_pods.is_empty() => return sample(Outcome::NoData, "no ready canary pod"),
        Answer::Scalar(value) => return scalar(item, *value),
        Answer::Vector(all) => all,
    };
    let found = match Found::of(item, all, ready_pods) {
        Ok(found) => found,
        Err(odd) => return odd,
    };
    if item.criterion.is_about_presence() {
        return match found.stray {
            _ if !found.readings.is_empty() => absence(&found.readings),
            Some(stray) => sample(Outcome::Error, others(item, stray, ready_pods)),
            None => evidence::judge(item, evidence, ready_pods),
        };
    }
    let judged = if found.readings.is_empty() {
        None
    } else {
        Some(item.criterion.judge(&found.readings, all))
    };
    match judged {
        Some(judged) if judged.outcome != Outcome::Pass => judged,
        judged => found
            .hole(item, all)
            .or(judged)
            .unwrap_or_else(|| sample(Outcome::NoData, "no series")),
    }
}

/// Whether an answer passes only with evidence that Prometheus has data of the canary's pods.
pub(super) fn wants_evidence(item: &PromQl, answer: &Answer, ready_pods: &[&str]) -> bool {
    let is_empty = matches!(answer, Answer::Vector(all) if all.is_empty());
    item.criterion.is_about_presence() && is_empty && !ready_pods.is_empty()
}

/// A sample without a decisive value.
pub(super) fn sample(outcome: Outcome, message: impl Into<String>) -> Sample {
    Sample {
        outcome,
        value: None,
        message: message.into(),
    }
}

/// A scalar applies to all pods, if the item allows that and its criterion needs no series.
fn scalar(item: &PromQl, value: f64) -> Sample {
    if item.criterion.needs_series() {
        return sample(
            Outcome::Error,
            "a scalar where the criterion needs series: write a query that yields a vector",
        );
    }
    if !item.all_pods {
        return sample(
            Outcome::Error,
            format!(
                "a scalar where a series per `{}` is due: set allPodsQuery if it stands for all canary pods",
                item.pod_key
            ),
        );
    }
    let reading = Reading {
        pod: None,
        key: &item.pod_key,
        labels: &NO_LABELS,
        value,
    };
    item.criterion.judge(&[reading], &[])
}

/// The content of an answer for the canary.
struct Found<'a> {
    /// All series, or those of ready canary pods.
    readings: Vec<Reading<'a>>,
    /// Ready canary pods without a series.
    missing: Vec<&'a str>,
    /// A series of another pod, according to its label.
    stray: Option<&'a Series>,
}

impl<'a> Found<'a> {
    fn of(item: &'a PromQl, all: &'a [Series], ready_pods: &[&'a str]) -> Result<Self, Sample> {
        let reading = |series: &'a Series, pod| Reading {
            pod,
            key: &item.pod_key,
            labels: &series.labels,
            value: series.value,
        };
        let mut found = Self {
            readings: Vec::new(),
            missing: Vec::new(),
            stray: None,
        };
        if item.all_pods {
            found.readings = all.iter().map(|series| reading(series, None)).collect();
            return found.sound(item);
        }
        let mut missing: BTreeSet<&str> = ready_pods.iter().copied().collect();
        let ready = missing.clone();
        let mut named = 0;
        for series in all {
            let Some(pod) = series.labels.get(&item.pod_key) else {
                continue;
            };
            named += 1;
            if ready.contains(pod.as_str()) {
                missing.remove(pod.as_str());
                found.readings.push(reading(series, Some(pod)));
            } else {
                found.stray = found.stray.or(Some(series));
            }
        }
        // If the presence of a series is bad, a series without a pod name must not be attributed to another pod.
        let doubtful = item.criterion.is_about_presence() && named < all.len();
        if !all.is_empty() && (named == 0 || doubtful) {
            let message = unnamed(item, all, ready_pods, named);
            return Err(sample(Outcome::Error, message));
        }
        found.missing = missing.into_iter().collect();
        found.sound(item)
    }

    /// PromQL never returns a series twice. A proxy that merges answers may, and then it is unknown which one is right.
    fn sound(self, item: &PromQl) -> Result<Self, Sample> {
        let mut seen = BTreeSet::new();
        let twice = self.readings.iter().find(|reading| !seen.insert(reading.labels));
        match twice {
            Some(reading) if !item.criterion.is_about_presence() => {
                let place = super::grade::place(reading);
                Err(sample(
                    Outcome::Error,
                    format!("the answer holds the same series twice{place}"),
                ))
            }
            _ => Ok(self),
        }
    }

    /// Why good values are not sufficient: a ready pod has no value.
    fn hole(&self, item: &PromQl, all: &[Series]) -> Option<Sample> {
        if self.missing.is_empty() {
            return None;
        }
        if let Some(series) = all
            .iter()
            .find(|series| alias(series, &item.pod_key, &self.missing).is_some())
        {
            return Some(sample(Outcome::Error, others(item, series, &self.missing)));
        }
        let missing = match (self.readings.is_empty(), self.stray) {
            (false, _) => format!("no series of {}, and every ready pod needs one", listed(&self.missing)),
            (true, None) => "no series of a ready canary pod".to_owned(),
            (true, Some(stray)) => format!(
                "no series of a ready canary pod: the label `{}` names others, like {}",
                item.pod_key,
                stray.labels.get(&item.pod_key).map_or("", String::as_str)
            ),
        };
        Some(sample(Outcome::NoData, missing))
    }
}

/// Another label of a series that names one of `pods`, and the pod.
pub(super) fn alias<'a>(series: &'a Series, key: &str, pods: &[&str]) -> Option<(&'a str, &'a str)> {
    let mut labels = series.labels.iter();
    let found = labels.find(|(name, value)| *name != key && pods.contains(&value.as_str()))?;
    Some((found.0, found.1))
}

/// Why a series of another pod is not a usable answer, and how to fix it.
pub(super) fn others(item: &PromQl, series: &Series, ready_pods: &[&str]) -> String {
    let key = &item.pod_key;
    let other = series.labels.get(key).map_or("", String::as_str);
    match alias(series, key, ready_pods) {
        Some((label, pod)) => format!(
            "a series names the canary pod {pod} by the label `{label}`, and {other} by `{key}`: set podNamekey to {label}, \
             or have Prometheus honor the labels of what it scrapes"
        ),
        None => format!(
            "the series name only other pods by the label `{key}`, like {other}: if another label names the pod, set \
             podNamekey to it; otherwise select the canary's series, as in {key}=~\"{{{{ pods }}}}\""
        ),
    }
}

/// Why series without the pod label are not a usable answer.
pub(super) fn unnamed(item: &PromQl, all: &[Series], ready_pods: &[&str], named: usize) -> String {
    let key = &item.pod_key;
    let number = if named == 0 { "no series" } else { "not every series" };
    let mut nameless = all.iter().filter(|series| !series.labels.contains_key(key));
    if let Some((label, pod)) = nameless.find_map(|series| alias(series, key, ready_pods)) {
        return format!(
            "{number} has the label `{key}`, and the label `{label}` names the canary pod {pod}: set podNamekey to {label}"
        );
    }
    let or = if item.all_pods { "" } else { ", or set allPodsQuery" };
    format!("{number} has the label `{key}`: keep it in the query, set podNamekey to the label that names the pod{or}")
}

/// `pod a`, `pods a, b and 3 more`.
pub(in crate::validation) fn listed(pods: &[&str]) -> String {
    let shown: Vec<_> = pods.iter().copied().take(PODS_SHOWN).collect();
    let number = if pods.len() == 1 { "pod" } else { "pods" };
    let rest = pods.len().saturating_sub(PODS_SHOWN);
    let rest = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{number} {}{rest}", shown.join(", "))
}
