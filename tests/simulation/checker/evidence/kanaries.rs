//! The specs that users wrote, and the status that the controller stored for them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::{GoDuration, KanaryStatus, ValidationItem, names},
    status::{FAILED, SUCCEEDED, is_true},
};
use kanary_sim::cluster::Event;
use serde::Deserialize;
use serde_json::Value;

use super::{Evidence, spans::Span};
use crate::target_kinds::TARGETS;

/// A Kanary object.
#[derive(Default)]
pub(super) struct Kanary {
    pub(super) name: String,
    /// Its specs, with the time of each change.
    pub(super) specs: Vec<(Timestamp, Arc<Value>)>,
    /// For each status that the controller wrote: the index of the spec at that time, and the run.
    pub(super) writes: Vec<(usize, i64)>,
    pub(super) runs: BTreeMap<i64, Run>,
    /// When it was deleted, or its deletion started.
    pub(super) gone: Option<Timestamp>,
    generation: i64,
}

/// A run, as far as its statuses show.
#[derive(Default)]
pub(super) struct Run {
    /// Index of the spec at its start.
    pub(super) first: usize,
    /// The validation period when the deadline was stored.
    pub(super) needed: Option<SignedDuration>,
    pub(super) failed: Option<Timestamp>,
    pub(super) passed: Option<Passed>,
}

/// A stored verdict that the canary is good.
pub(super) struct Passed {
    /// Index of the spec that it refers to.
    pub(super) spec: usize,
    /// UID of the canary that it refers to.
    pub(super) canary: String,
}

fn run_of(status: &KanaryStatus) -> i64 {
    status.run.unwrap_or(1)
}

/// The fields that define a run: a change to any of them may start a new run.
fn subject(object: &Value) -> [&Value; 4] {
    let spec = &object["spec"];
    [
        &spec["template"]["spec"]["template"],
        &spec["retry"],
        &spec["traffic"],
        &spec["serviceName"],
    ]
}

impl Kanary {
    /// The current spec.
    pub(super) fn spec(&self) -> &Value {
        self.specs.last().map_or(&Value::Null, |(_, object)| &object["spec"])
    }

    /// The spec with this index.
    pub(super) fn spec_at(&self, index: usize) -> &Value {
        self.specs
            .get(index)
            .map_or(&Value::Null, |(_, object)| &object["spec"])
    }

    /// When a spec was written.
    pub(super) fn written(&self, index: usize) -> Timestamp {
        self.specs.get(index).map_or(Timestamp::MIN, |(at, _)| *at)
    }

    /// The index of the current spec.
    pub(super) fn last(&self) -> usize {
        self.specs.len().saturating_sub(1)
    }

    /// The first spec that may belong to this run and not to the previous one, as the earliest and the latest candidate.
    /// Until a status shows it, the run that an edit belongs to is unknown.
    pub(super) fn first_of(&self, run: i64) -> (usize, usize) {
        let former_run = run - 1;
        let (Some(former), Some(run)) = (self.runs.get(&former_run), self.runs.get(&run)) else {
            return (0, 0);
        };
        let subject_of = |index: usize| self.specs.get(index).map(|(_, object)| subject(object));
        let after = |former: usize| {
            let before = subject_of(former);
            let last = (former..=run.first).rev().find(|index| subject_of(*index) == before);
            last.map_or(run.first, |last| (last + 1).min(run.first))
        };
        let written = self
            .writes
            .iter()
            .filter(|(spec, of)| *of == former_run && *spec <= run.first)
            .map(|(spec, _)| *spec)
            .chain([former.first]);
        let (least, most) = written.fold((usize::MAX, 0), |(least, most), spec| (least.min(spec), most.max(spec)));
        let (one, other) = (after(least), after(most));
        (one.min(other), one.max(other))
    }

    /// The index since when `is_so` holds without interruption up to `index`, as a replica knows it. An interruption
    /// shorter than `lag` may never have been observed.
    pub(super) fn known_since(
        &self,
        index: usize,
        lag: SignedDuration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Option<usize> {
        let mut since = self.standing_since(index, &is_so)?;
        while let Some(before) = (0..since).rev().find(|index| is_so(self.spec_at(*index))) {
            if !self.is_unseen(before + 1, since, lag) {
                break;
            }
            since = self.standing_since(before, &is_so)?;
        }
        Some(since)
    }

    /// Whether a replica may have missed the specs between two indices.
    pub(super) fn is_unseen(&self, from: usize, until: usize, lag: SignedDuration) -> bool {
        let gap = self.written(until).duration_since(self.written(from));
        let answered = self.writes.iter().any(|(spec, _)| (from..until).contains(spec));
        gap < lag || !answered && gap < lag * 5
    }

    /// The index since when `is_so` holds without interruption up to `index`.
    pub(super) fn standing_since(&self, index: usize, is_so: impl Fn(&Value) -> bool) -> Option<usize> {
        let so = (0..=index).rev().take_while(|index| is_so(self.spec_at(*index)));
        so.last()
    }

    /// When `is_so` held between two times.
    pub(super) fn when(&self, (from, until): Span, is_so: impl Fn(&Value) -> bool) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (index, (at, object)) in self.specs.iter().enumerate() {
            let end = self.specs.get(index + 1).map_or(Timestamp::MAX, |(at, _)| *at);
            let span = ((*at).max(from), end.min(until));
            if span.0 >= span.1 || !is_so(&object["spec"]) {
                continue;
            }
            match spans.last_mut() {
                Some((_, end)) if *end == span.0 => *end = span.1,
                _ => spans.push(span),
            }
        }
        spans
    }
}

/// The validation block of a spec, which has two accepted names.
fn validation(spec: &Value) -> &Value {
    let [one, other] = [&spec["validation"], &spec["validations"]];
    if one.is_null() { other } else { one }
}

fn duration(spec: &Value, field: &str, default: &str) -> SignedDuration {
    let text = validation(spec)[field].as_str().unwrap_or(default);
    let duration = serde_json::from_value::<GoDuration>(text.into()).unwrap_or_default();
    SignedDuration::try_from(duration.0).unwrap_or(SignedDuration::MAX)
}

/// The initial delay.
pub(in crate::checker) fn initial_delay(spec: &Value) -> SignedDuration {
    duration(spec, "initialDelay", "0s")
}

/// The validation period.
pub(in crate::checker) fn period(spec: &Value) -> SignedDuration {
    duration(spec, "validationPeriod", "15m")
}

/// How long a canary must be available before it passes.
pub(in crate::checker) fn needed(spec: &Value) -> SignedDuration {
    initial_delay(spec) + period(spec)
}

/// The default interval between two measurements.
pub(super) fn interval(spec: &Value) -> SignedDuration {
    duration(spec, "maxIntervalPeriod", "20s")
}

/// The validation items of a spec, or the default item.
pub(super) fn items(spec: &Value) -> Vec<ValidationItem> {
    let items = Vec::<ValidationItem>::deserialize(&validation(spec)["items"]).unwrap_or_default();
    if items.is_empty() {
        let manual = serde_json::json!({"manual": {}});
        return ValidationItem::deserialize(&manual).into_iter().collect();
    }
    items
}

/// Kind and name of the target of a Kanary. `kind` is that of the Kanary.
pub(in crate::checker) fn target(spec: &Value, kind: &Value, kanary: &str) -> (String, String) {
    let given = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let of_ref = given(&spec["targetRef"]["name"]).map(|name| (given(&spec["targetRef"]["kind"]), name));
    let by_field = || {
        let mut kinds = TARGETS.iter();
        kinds.find_map(|kind| Some((Some(kind.name.to_owned()), given(&spec[kind.field])?)))
    };
    let by_template = || given(&spec["template"]["metadata"]["name"]).map(|name| (None, name));
    let (named, name) = of_ref
        .or_else(by_field)
        .or_else(by_template)
        .unwrap_or_else(|| (None, kanary.to_owned()));
    let default = if kind == "KanaryDaemonset" {
        "DaemonSet"
    } else {
        TARGETS[0].name
    };
    (named.unwrap_or_else(|| default.to_owned()), name)
}

/// Whether the run is a dry-run, which does not change the target.
pub(super) fn is_dry_run(spec: &Value) -> bool {
    validation(spec)["noUpdate"] == true || spec["rollout"]["mode"] == "dry-run"
}

/// The Services that send traffic to the canary: the production Service and the canary's own, if the spec uses them.
pub(super) fn sources(spec: &Value, kanary: &str) -> (Option<String>, Option<String>) {
    let source = spec["traffic"]["source"].as_str().unwrap_or("none");
    let service = spec["serviceName"].as_str().unwrap_or_default().to_owned();
    let own = spec["traffic"]["kanaryService"]
        .as_str()
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    let own = own.unwrap_or_else(|| names::kanary_service_name(&service, kanary));
    let production = ["service", "both"].contains(&source).then_some(service);
    (production, ["kanary-service", "both"].contains(&source).then_some(own))
}

impl Evidence {
    /// Records a Kanary whose status changed from `former` to `status`.
    pub(in crate::checker) fn look_at_kanary(
        &mut self,
        event: &Event,
        former: &KanaryStatus,
        status: &KanaryStatus,
        is_ours: bool,
    ) {
        let change = &event.change;
        let Some(object) = change.new.as_ref().or(change.last.as_ref()) else {
            return;
        };
        let kanary = self.kanaries.entry(object.meta.uid.clone()).or_default();
        kanary.name.clone_from(&object.meta.name);
        if object.meta.deleting || change.new.is_none() {
            kanary.gone.get_or_insert(event.at);
        }
        if kanary.specs.is_empty() || kanary.generation != object.meta.generation {
            kanary.specs.push((event.at, object.json()));
        }
        kanary.generation = object.meta.generation;
        let (spec, run) = (kanary.last(), run_of(status));
        if is_ours && former != status {
            kanary.writes.push((spec, run));
        }
        let asked = needed(kanary.spec());
        let of_run = kanary.runs.entry(run).or_insert_with(|| Run {
            first: spec,
            ..Run::default()
        });
        if status.deadline.is_some() {
            of_run.needed.get_or_insert(asked);
        }
        if is_true(status, FAILED) {
            of_run.failed.get_or_insert(event.at);
        }
        if is_true(status, SUCCEEDED) && !is_true(former, SUCCEEDED) {
            let canaries = self
                .canaries
                .iter()
                .filter(|(_, canary)| canary.owner == object.meta.uid);
            let suffix = format!("-{run}");
            let of_this = canaries.filter(|(_, canary)| canary.run.ends_with(&suffix));
            let latest = of_this.max_by_key(|(_, canary)| canary.created);
            of_run.passed = latest.map(|(uid, _)| Passed {
                spec,
                canary: uid.clone(),
            });
        }
    }
}
