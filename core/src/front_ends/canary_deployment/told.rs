//! What the status and the Events of a `CanaryDeployment` say. Everything follows from the status of the engine.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Map, Value, json};

use super::super::Told;
use crate::{
    api::{EventReason, ItemStatus, KanaryStatus, OwnFields, Reason, Snapshot, Written},
    decision::Notice,
    phase::{DEPLOYMENT_UPDATED, ERRORED, FAILED, Phase, RECONCILING, SUCCEEDED, find},
    validation::{Item, metric::Metric},
};

const TEMPLATE_HASH: &str = "observedTemplateHash";
const CHECKPOINT: &str = "deploymentReadyStatusCheckpoint";
const FAILED_SNAPSHOT: &str = "latestFailedDeploymentSnapshot";
const METRICS: &str = "latestMetrics";

/// The fields of the status that no other kind has. Those that the engine itself needs are not among them.
pub(super) const FIELDS: [&str; 4] = [TEMPLATE_HASH, CHECKPOINT, FAILED_SNAPSHOT, METRICS];

/// The result of a check, in the status and in Events.
const SUCCESS: &str = "Success";
const FAILURE: &str = "Failure";

pub(super) fn tell(told: &Told<'_>, next: &mut KanaryStatus) {
    let own = |name: &str| told.former.own.get(name).cloned();
    let fields = [
        (TEMPLATE_HASH, next.current_hash.as_ref().map(|hash| json!(hash))),
        (CHECKPOINT, checkpoint(next).or_else(|| own(CHECKPOINT))),
        (FAILED_SNAPSHOT, failed(told, next).or_else(|| own(FAILED_SNAPSHOT))),
        (METRICS, metrics(told, next).or_else(|| own(METRICS))),
    ];
    let fields = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    next.own = OwnFields::new(fields.collect());
    conditions(told, next);
}

fn is_verdict_of_metrics(status: &KanaryStatus) -> Option<bool> {
    match Phase::of(status) {
        Phase::Succeeded | Phase::DeploymentUpdated => Some(true),
        Phase::Failed => {
            let failed = find(status, FAILED)?;
            (failed.reason == Reason::MetricFailed).then_some(false)
        }
        Phase::Scheduled | Phase::Running => None,
    }
}

/// Since when the canary has been ready with the template of the run. `None` before that.
fn checkpoint(status: &KanaryStatus) -> Option<Value> {
    let mut checkpoint = json!({
        "templateHash": status.current_hash.as_ref()?, "latestReadyTimestamp": status.available_since?,
    });
    let result = is_verdict_of_metrics(status).map(|is_good| if is_good { SUCCESS } else { FAILURE });
    if let (Some(result), Some(fields)) = (result, checkpoint.as_object_mut()) {
        fields.insert("metricCheckResult".to_owned(), json!(result));
    }
    Some(checkpoint)
}

/// The template of a run that has failed now. One that is not run because it failed before is known already.
fn failed(told: &Told<'_>, status: &KanaryStatus) -> Option<Value> {
    let failed = find(status, FAILED).filter(|_| told.is_sound && Phase::of(status) == Phase::Failed)?;
    let hash = status.current_hash.clone()?;
    if failed.reason == Reason::TemplateFailedBefore || hash != told.template.1 {
        return None;
    }
    let snapshot = Snapshot {
        template_hash: hash,
        template: told.template.0.pod_template().to_string(),
        timestamp: status.completed_at,
    };
    serde_json::to_value(snapshot).ok()
}

/// The last values, as a HorizontalPodAutoscaler shows them.
fn metrics(told: &Told<'_>, status: &KanaryStatus) -> Option<Value> {
    let items = told.items.iter().zip(&status.items);
    let shown = |(item, measured): (&Item, &ItemStatus)| match item {
        Item::Metric(metric) => Some(value(metric, measured.last_value?)),
        _ => None,
    };
    let shown: Vec<_> = items.filter_map(shown).collect();
    (!shown.is_empty()).then(|| json!(shown))
}

fn value(metric: &Metric, value: f64) -> Value {
    let (kind, block) = metric.source();
    let mut fields = Map::new();
    if let Some(object) = metric.described() {
        let described = json!({"apiVersion": object.api_version, "kind": object.kind, "name": object.name});
        fields.insert("describedObject".to_owned(), described);
    }
    let name = match kind {
        "Resource" | "ContainerResource" => ("name".to_owned(), json!(metric.name())),
        _ => ("metric".to_owned(), json!({"name": metric.name()})),
    };
    fields.extend([name]);
    // Quantities are texts.
    fields.insert("current".to_owned(), json!({metric.limited(): value.to_string()}));
    json!({"type": kind, block: fields})
}

fn conditions(told: &Told<'_>, next: &mut KanaryStatus) {
    let (is_over, is_ready, is_failed) = match Phase::of(next) {
        Phase::DeploymentUpdated => (true, true, false),
        Phase::Failed => (true, false, true),
        Phase::Scheduled | Phase::Running | Phase::Succeeded => (false, false, false),
    };
    let of = |condition: &str| find(next, condition).cloned();
    let errored = of(ERRORED).filter(|errored| errored.status == "True");
    let has_begun = of(RECONCILING).is_some() || errored.is_none();
    let (reason, message) = match (is_ready, is_failed, of(FAILED), of(RECONCILING).or(errored)) {
        (true, ..) => ("DoneReady".to_owned(), "both tracks run the template".to_owned()),
        (_, true, Some(failed), _) => ("DoneFailure".to_owned(), failed.message),
        (_, _, _, Some(waits)) => (waits.reason, waits.message),
        _ => ("Processing".to_owned(), "the template is being checked".to_owned()),
    };
    let about = (reason.as_str(), message.as_str());
    let progress = if is_over { ("DoneProcessing", about.1) } else { about };
    told.set(next, "Progressing", !is_over && has_begun, progress);
    told.set(next, "Ready", is_ready, about);
    told.set(next, "Failure", is_failed, about);
}

fn notice(reason: EventReason, at: Timestamp, note: String) -> Notice {
    Notice {
        reason,
        note,
        warning: reason == EventReason::MetricsCheckUnsuccessful,
        at,
    }
}

fn of_track(written: Option<&Written>, track: &str) -> Option<Notice> {
    let written = written?;
    let (reason, what) = if written.generation <= 1 {
        (EventReason::CreatedDeployment, "created")
    } else {
        (EventReason::UpdatedDeployment, "updated")
    };
    Some(notice(
        reason,
        written.at?,
        format!("the {track} Deployment was {what}"),
    ))
}

/// The published Events, beside those of every Kanary.
pub(super) fn notices(status: &KanaryStatus) -> Vec<Notice> {
    let is_true = |name: &str| find(status, name).filter(|condition| condition.status == "True");
    let at = |condition: &Condition| condition.last_transition_time.0;
    let tracks = status.tracks.as_deref();
    let has_metrics = status.items.iter().any(|item| item.name.starts_with("metric"));
    let delay = status.available_since.zip(status.deadline);
    let delay = delay.filter(|(since, until)| since < until && Phase::of(status) == Phase::Running);
    let delay = delay.map(|(since, until)| {
        let note = format!("the metrics are checked at {until:.0}");
        notice(EventReason::DelayMetricsCheck, since, note)
    });
    let result = is_verdict_of_metrics(status).filter(|_| has_metrics);
    let result = result.and_then(|is_good| {
        let verdict = is_true(if is_good { SUCCEEDED } else { FAILED })?;
        let note = format!("the result of the check is {}", if is_good { SUCCESS } else { FAILURE });
        Some(notice(EventReason::MetricsCheckResult, at(verdict), note))
    });
    let unsuccessful = is_true(FAILED).map(|failed| {
        let note = format!("the stable Deployment is left alone: {}", failed.message);
        notice(EventReason::MetricsCheckUnsuccessful, at(failed), note)
    });
    let done = is_true(DEPLOYMENT_UPDATED).map(|updated| {
        let note = "both tracks run the template".to_owned();
        notice(EventReason::DoneProcessing, at(updated), note)
    });
    [
        of_track(tracks.and_then(|tracks| tracks.canary.as_ref()), "canary"),
        of_track(tracks.and_then(|tracks| tracks.target.as_ref()), "stable"),
        delay,
        result,
        unsuccessful,
        done,
    ]
    .into_iter()
    .flatten()
    .collect()
}
