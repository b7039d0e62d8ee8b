//! What users asked for, and what the controller stored about it.

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

/// A Kanary object.
#[derive(Default)]
pub(super) struct Kanary {
    pub(super) name: String,
    /// Its spec, whenever it changed.
    pub(super) specs: Vec<(Timestamp, Arc<Value>)>,
    /// Of each status that the controller wrote: the spec that it was on top of, and its run.
    pub(super) writes: Vec<(usize, i64)>,
    pub(super) runs: BTreeMap<i64, Run>,
    /// When it was deleted, or told to go.
    pub(super) gone: Option<Timestamp>,
    generation: i64,
}

/// A run, as far as its statuses tell.
#[derive(Default)]
pub(super) struct Run {
    /// The spec that it began with.
    pub(super) first: usize,
    /// How long the spec asked for, when the deadline was stored.
    pub(super) needed: Option<SignedDuration>,
    pub(super) failed: Option<Timestamp>,
    pub(super) passed: Option<Passed>,
}

/// A verdict that was stored as good.
pub(super) struct Passed {
    /// The spec that it is about.
    pub(super) spec: usize,
    /// uid of the canary that it is about.
    pub(super) canary: String,
}

fn run_of(status: &KanaryStatus) -> i64 {
    status.run.unwrap_or(1)
}

/// What makes a run: another value of any of these may begin another.
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
    /// What is asked for now.
    pub(super) fn spec(&self) -> &Value {
        self.specs.last().map_or(&Value::Null, |(_, object)| &object["spec"])
    }

    /// The spec of an index.
    pub(super) fn spec_at(&self, index: usize) -> &Value {
        self.specs
            .get(index)
            .map_or(&Value::Null, |(_, object)| &object["spec"])
    }

    /// When a spec was written.
    pub(super) fn written(&self, index: usize) -> Timestamp {
        self.specs.get(index).map_or(Timestamp::MIN, |(at, _)| *at)
    }

    /// The index of what is asked for now.
    pub(super) fn last(&self) -> usize {
        self.specs.len().saturating_sub(1)
    }

    /// The first spec that is another run's than the former run's, up to the one that a run began with: the earliest and the
    /// latest that it may be. Until a status tells, nobody knows which edits belong to which run.
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

    /// Since which spec something is so, up to the one of an index, as a replica knows: what was taken back and given again within
    /// `lag` may never have been seen otherwise.
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

    /// Whether no replica need have seen the specs from one to another.
    pub(super) fn is_unseen(&self, from: usize, until: usize, lag: SignedDuration) -> bool {
        let gap = self.written(until).duration_since(self.written(from));
        let answered = self.writes.iter().any(|(spec, _)| (from..until).contains(spec));
        gap < lag || !answered && gap < lag * 5
    }

    /// Since which spec something is so without a break, up to the one of an index.
    pub(super) fn standing_since(&self, index: usize, is_so: impl Fn(&Value) -> bool) -> Option<usize> {
        let so = (0..=index).rev().take_while(|index| is_so(self.spec_at(*index)));
        so.last()
    }

    /// When something was asked for between two moments.
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

/// The validation block of a spec, by either name.
fn validation(spec: &Value) -> &Value {
    let [one, other] = [&spec["validation"], &spec["validations"]];
    if one.is_null() { other } else { one }
}

fn duration(spec: &Value, field: &str, default: &str) -> SignedDuration {
    let text = validation(spec)[field].as_str().unwrap_or(default);
    let duration = serde_json::from_value::<GoDuration>(text.into()).unwrap_or_default();
    SignedDuration::try_from(duration.0).unwrap_or(SignedDuration::MAX)
}

/// How long a canary warms up.
pub(in crate::checker) fn initial_delay(spec: &Value) -> SignedDuration {
    duration(spec, "initialDelay", "0s")
}

/// How long a canary is judged.
pub(in crate::checker) fn period(spec: &Value) -> SignedDuration {
    duration(spec, "validationPeriod", "15m")
}

/// How long a canary has to be available before it passes.
pub(in crate::checker) fn needed(spec: &Value) -> SignedDuration {
    initial_delay(spec) + period(spec)
}

/// The time between two measurements, unless the item asks for a shorter one.
pub(super) fn interval(spec: &Value) -> SignedDuration {
    duration(spec, "maxIntervalPeriod", "20s")
}

/// The validation items of a spec; the one that there is by default if there are none.
pub(super) fn items(spec: &Value) -> Vec<ValidationItem> {
    let items = Vec::<ValidationItem>::deserialize(&validation(spec)["items"]).unwrap_or_default();
    if items.is_empty() {
        let manual = serde_json::json!({"manual": {}});
        return ValidationItem::deserialize(&manual).into_iter().collect();
    }
    items
}

/// Name of the target.
pub(super) fn target(spec: &Value, kanary: &str) -> String {
    let given = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let target = given(&spec["deploymentName"]).or_else(|| given(&spec["template"]["metadata"]["name"]));
    target.unwrap_or_else(|| kanary.to_owned())
}

/// Whether the run leaves the target alone.
pub(super) fn is_dry_run(spec: &Value) -> bool {
    validation(spec)["noUpdate"] == true || spec["rollout"]["mode"] == "dry-run"
}

/// Where the canary's traffic comes from: the production Service and the canary's own, as far as it is to be behind them.
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
    /// Takes in a Kanary whose status was `former` and is `status`.
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
