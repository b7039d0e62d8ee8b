//! Manual verdicts, and the run that each applies to.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kanary_core::api::{AfterDeadline, LabelMatch, LabelWatchItem, ManualItem, ManualVerdict, ValidationItem};
use serde_json::Value;

use super::{
    Labels,
    canaries::Canary,
    kanaries::{Kanary, items},
    rough::Rough,
    spans::{Span, length, longest},
    verdict::{Finding, Verdict},
};
use crate::checker::Invariant;

/// Whether a verdict in a spec was given for the current run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It was given for this run.
    Fresh,
    /// It was already set in the previous run, and the controller knew.
    Stale,
    /// It was already set in the previous run, and the controller may not have observed that.
    Unknown,
}

/// A verdict in a spec.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    /// `spec.verdict`.
    Verdict(ManualVerdict),
    /// At least this many manual items have this verdict.
    Manual(ManualVerdict, usize),
}

fn manuals(spec: &Value) -> Vec<ManualItem> {
    items(spec).into_iter().filter_map(|item| item.manual).collect()
}

fn count(spec: &Value, value: ManualVerdict) -> usize {
    manuals(spec)
        .iter()
        .filter(|manual| manual.status == Some(value))
        .count()
}

impl Given {
    /// The verdict of the manual items in a spec, if any has this value.
    pub(super) fn by_items(spec: &Value, value: ManualVerdict) -> Option<Self> {
        let count = count(spec, value);
        (count > 0).then_some(Self::Manual(value, count))
    }

    /// The value of `spec.verdict`.
    pub(super) fn by_verdict(spec: &Value) -> Option<(Self, ManualVerdict)> {
        let value = match spec["verdict"].as_str()? {
            "valid" => ManualVerdict::Valid,
            "invalid" => ManualVerdict::Invalid,
            _ => return None,
        };
        Some((Self::Verdict(value), value))
    }

    /// Whether a spec contains the verdict.
    pub(super) fn stands_in(self, spec: &Value) -> bool {
        match self {
            Self::Verdict(value) => Self::by_verdict(spec).is_some_and(|(_, given)| given == value),
            Self::Manual(value, least) => count(spec, value) >= least,
        }
    }

    /// Whether the verdict in the spec with this index was given for a run.
    pub(super) fn age(self, kanary: &Kanary, run: i64, index: usize, rough: &Rough, least: SignedDuration) -> Age {
        let (earliest, latest) = kanary.first_of(run);
        let since = kanary
            .standing_since(index, |spec| self.stands_in(spec))
            .unwrap_or(index);
        if run <= 1 {
            return Age::Fresh;
        }
        let lag = rough.lag(kanary.written(since)).max(least);
        if since >= latest {
            // The user may have removed and restored it before a replica observed that.
            let before = (0..since).rev().find(|index| self.stands_in(kanary.spec_at(*index)));
            let unseen = before.is_some_and(|before| kanary.is_unseen(before + 1, since, lag));
            return if unseen { Age::Unknown } else { Age::Fresh };
        }
        if since >= earliest {
            return Age::Unknown;
        }
        let known = kanary
            .writes
            .iter()
            .any(|(spec, of)| *of < run && (since..earliest).contains(spec));
        let long = kanary.written(earliest).duration_since(kanary.written(since));
        if known || long > lag { Age::Stale } else { Age::Unknown }
    }
}

/// Whether labels match a labelWatch item.
pub(super) fn is_match(wanted: &LabelMatch, labels: &Labels) -> bool {
    match wanted {
        LabelMatch::Labels(wanted) => {
            !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
        }
        LabelMatch::Selector(selector) => is_selected(selector, labels),
    }
}

fn is_selected(selector: &LabelSelector, labels: &Labels) -> bool {
    let of_map = selector.match_labels.iter().flatten();
    let mut requirements = selector.match_expressions.iter().flatten();
    of_map.into_iter().all(|(name, value)| labels.get(name) == Some(value))
        && requirements.all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|listed| listed == value));
            match requirement.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

impl Verdict<'_> {
    /// Whether `spec.verdict` ended the whole run, regardless of its items.
    pub(super) fn is_ended_by_verdict(&self) -> bool {
        Given::by_verdict(self.spec)
            .is_some_and(|(given, value)| value == ManualVerdict::Valid && self.age_of(given) != Age::Stale)
    }

    /// Whether a person may have ended the run early.
    pub(super) fn is_ended_by_a_person(&self) -> bool {
        let by_item = Given::by_items(self.spec, ManualVerdict::Valid);
        self.is_ended_by_verdict() || by_item.is_some_and(|given| self.age_of(given) != Age::Stale)
    }

    fn age_of(&self, given: Given) -> Age {
        given.age(self.kanary, self.number, self.index, &self.evidence.rough, self.lag)
    }

    /// Checks that manual verdicts and alert labels were taken into account.
    pub(super) fn heeded_manual_verdicts(&self, findings: &mut Vec<Finding>) {
        let mut wrong = |what: String| findings.push((Invariant::Verdict, what));
        let verdict = Given::by_verdict(self.spec);
        if let Some((given, ManualVerdict::Invalid)) = verdict
            && self.age_of(given) == Age::Fresh
        {
            wrong("it passed although spec.verdict is invalid".to_owned());
        }
        if self.is_ended_by_verdict() {
            return;
        }
        if verdict.is_some_and(|(_, value)| value == ManualVerdict::Valid) && !self.all_manuals_agree() {
            wrong("it passed because of a spec.verdict for an earlier run".to_owned());
            return;
        }
        let invalid = Given::by_items(self.spec, ManualVerdict::Invalid);
        if invalid.is_some_and(|given| self.age_of(given) == Age::Fresh) {
            wrong("it passed although a manual item is invalid".to_owned());
        } else if !self.all_manuals_agree() {
            wrong("it passed although a manual item has no verdict for this run".to_owned());
        }
        for item in items(self.spec) {
            if let Some(what) = self.ignored_match(&item) {
                wrong(what);
            }
        }
    }

    /// Whether every manual item has a verdict for this run or a default at the deadline.
    fn all_manuals_agree(&self) -> bool {
        let due = self
            .deadline
            .is_some_and(|deadline| deadline <= self.at + self.tolerance);
        let stale = |value: ManualVerdict| {
            let given = Given::by_items(self.spec, value);
            given.is_some_and(|given| self.age_of(given) == Age::Stale)
        };
        let (valid, invalid) = (!stale(ManualVerdict::Valid), !stale(ManualVerdict::Invalid));
        manuals(self.spec).iter().all(|manual| {
            let by_deadline = due && manual.status_after_deadline == Some(AfterDeadline::Valid);
            match manual.status {
                Some(ManualVerdict::Valid) if valid => true,
                // That case is handled above.
                Some(ManualVerdict::Invalid) if invalid => true,
                _ => by_deadline,
            }
        })
    }

    /// Reports a run that passed although labels that fail it were set.
    fn ignored_match(&self, item: &ValidationItem) -> Option<String> {
        let watch = item.label_watch.as_ref()?;
        let text = serde_json::to_value(item).unwrap_or_default();
        let has_it = |spec: &Value| {
            items(spec)
                .iter()
                .any(|item| serde_json::to_value(item).ok().as_ref() == Some(&text))
        };
        let (from, until) = self.judged();
        // Labels count if the read for the verdict returned them, or if they were set for long enough before.
        let just = SignedDuration::from_millis(1);
        for (object, span) in matches(self.evidence, self.canary, watch, (from, until + just)) {
            let asked = self.kanary.when(span, has_it);
            let Some(span) = longest(asked) else { continue };
            if span.1 > until || length(span) > self.lag {
                let long = length(span);
                return Some(format!(
                    "it passed although {object} had labels that fail it, for {long}"
                ));
            }
        }
        None
    }
}

/// When a canary or one of its pods had labels that fail the run.
pub(super) fn matches(
    evidence: &super::Evidence,
    canary: &Canary,
    watch: &LabelWatchItem,
    (from, until): Span,
) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    if let Some(wanted) = &watch.deployment_invalidation_labels {
        let spans = canary.labels.within(from, until.min(canary.gone.unwrap_or(until)));
        let spans = spans.filter(|(_, labels)| is_match(wanted, labels));
        found.extend(spans.map(|(span, _)| (canary.name.clone(), span)));
    }
    if let Some(wanted) = &watch.pod_invalidation_labels {
        for pod in evidence.pods_of(canary) {
            for (start, end) in pod.there.within(from, until) {
                let spans = pod
                    .labels
                    .within(start, end)
                    .filter(|(_, labels)| is_match(wanted, labels));
                found.extend(spans.map(|(span, _)| (pod.name.clone(), span)));
            }
        }
    }
    found
}
