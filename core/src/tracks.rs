//! Tracks: a canary that exists between runs, and its target, which belongs to the Kanary as well.
//!
//! What both have to be is computed from the Kanary alone. The canary has the template of the run, and after a failed run the last
//! one that passed. The target has the last template that passed, so it changes only after a verdict in the status that was read.
//! Whatever somebody else changes in their specs is put back.

use serde_json::{Map, Value, json};

use super::{
    decision::{Action, ObjectKind, Update},
    hash,
    integrity::{is_of_later_run, is_of_run, is_ours},
    labels::Labels,
    observation::Workload,
    status::Phase,
    step::Step,
    template::strings,
    track::{Track, Tracked},
    traffic, workload,
};
use crate::api::{Snapshot, WorkloadRef, Written, names};

/// The label of the run on a canary that has the last good template again. No run has it.
const RESTORED: &str = "restored-0";

/// What an object of a track has to be.
struct Content<'a> {
    workload: &'a WorkloadRef,
    track: &'a Track,
    labels: Labels,
    spec: Map<String, Value>,
    selector: Value,
}

/// The template of this run, with the good verdict that is about to be written.
pub(super) fn snapshot(step: &Step<'_>) -> Snapshot {
    Snapshot {
        template_hash: step.spec.template_hash.clone(),
        template: step.spec.template.pod_template().to_string(),
        timestamp: Some(step.now),
    }
}

/// The last template that passed.
fn last_good(step: &Step<'_>) -> Option<Value> {
    let snapshot = step.kanary.status.latest_successful_deployment_snapshot.as_ref()?;
    serde_json::from_str(&snapshot.template).ok().filter(Value::is_object)
}

fn canary<'a>(step: &Step<'a>, tracked: &'a Tracked) -> Option<Content<'a>> {
    let (template, run) = if Phase::of(&step.kanary.status) == Phase::Failed {
        // Without an earlier template, the canary stays as it is.
        (last_good(step)?, RESTORED.to_owned())
    } else {
        (step.spec.template.pod_template(), step.kanary.run(step.spec))
    };
    let selector = traffic::own_selector(step.kanary);
    let mut own = selector.clone();
    own.insert(names::RUN.to_owned(), run);
    own.insert(names::SLOT.to_owned(), step.kanary.slot.to_string());
    let named = (&step.spec.canary, &tracked.canary);
    let mut content = content(step, named, template, own);
    content.selector = json!({"matchLabels": selector});
    workload::of(content.workload.kind).isolate(&mut content.spec);
    Some(content.sealed())
}

fn target<'a>(step: &Step<'a>, tracked: &'a Tracked) -> Option<Content<'a>> {
    let named = (&step.spec.target, &tracked.target);
    let mut content = content(step, named, last_good(step)?, Labels::new());
    content.selector.clone_from(&tracked.selector);
    // What the API server sets by default, so that another value is put back.
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    content.spec.entry("strategy").or_insert(strategy);
    Some(content.sealed())
}

/// A workload with this template. Its pods and itself have the labels of the template and the track, and `own`.
fn content<'a>(
    step: &Step<'a>,
    (workload, track): (&'a WorkloadRef, &'a Track),
    mut template: Value,
    own: Labels,
) -> Content<'a> {
    let mut labels = strings(template.pointer("/metadata/labels"));
    labels.extend(track.labels.clone());
    labels.extend(own);
    set_labels(&mut template, &labels);
    let mut spec = match step.spec.template.spec() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    spec.remove("selector");
    spec.remove("replicas");
    spec.insert("template".to_owned(), template);
    Content {
        workload,
        track,
        labels,
        spec,
        selector: Value::Null,
    }
}

impl Content<'_> {
    /// With the label that identifies the content.
    fn sealed(mut self) -> Self {
        self.spec.insert("paused".to_owned(), json!(false));
        let digest = hash::of(&Value::Object(self.spec.clone()));
        self.labels.insert(names::APPLIED.to_owned(), digest);
        self
    }

    /// The fields of the spec that are kept.
    fn kept(&self) -> Map<String, Value> {
        let mut spec = self.spec.clone();
        spec.extend(
            self.track
                .replicas
                .map(|replicas| ("replicas".to_owned(), json!(replicas))),
        );
        spec
    }

    fn create(&self, step: &Step<'_>) -> Action {
        let mut spec = self.kept();
        spec.insert("selector".to_owned(), self.selector.clone());
        Action::Create {
            object: ObjectKind::Workload(self.workload.kind),
            name: self.workload.name.clone(),
            manifest: json!({
                "apiVersion": "apps/v1",
                "kind": self.workload.kind.as_str(),
                "metadata": {
                    "name": self.workload.name,
                    "namespace": step.kanary.key.namespace,
                    "labels": self.labels,
                    "ownerReferences": [step.kanary.owner_reference()],
                },
                "spec": spec,
            }),
        }
    }

    /// Whether an object is as it has to be: as it was after the last write, which wrote this.
    fn is_in(&self, step: &Step<'_>, seen: &Workload) -> bool {
        let is_after_write = |written: &Written| written.uid == seen.uid && written.generation == seen.generation;
        is_ours(step, seen.owner.as_ref())
            && self.track.replicas.is_none_or(|replicas| replicas == seen.replicas)
            && self
                .labels
                .iter()
                .all(|(name, value)| seen.labels.get(name) == Some(value))
            && step.has_written(self.workload, is_after_write)
    }

    fn action(&self, step: &Step<'_>, seen: Option<&Workload>) -> Option<Action> {
        let Some(seen) = seen else {
            return Some(self.create(step));
        };
        let is_left_alone = seen.deleting || !is_own(step, self.workload, seen) || is_of_later_run(step, &seen.labels);
        if is_left_alone || self.is_in(step, seen) {
            return None;
        }
        let owner = (!is_ours(step, seen.owner.as_ref())).then(|| step.kanary.owner_reference());
        Some(Action::Update(Update {
            workload: self.workload.clone(),
            uid: seen.uid.clone(),
            generation: seen.generation,
            labelled: !seen.labels.is_empty(),
            labels: self.labels.clone(),
            spec: self.kept(),
            owner,
        }))
    }
}

/// Whether an object of a track belongs to the Kanary, even if its ownerReference was removed.
pub(super) fn is_own(step: &Step<'_>, name: &WorkloadRef, seen: &Workload) -> bool {
    let is_disowned = seen.owner.is_none() && seen.other_controller.is_none();
    is_ours(step, seen.owner.as_ref()) || is_disowned && step.has_written(name, |written| written.uid == seen.uid)
}

/// The write that gives the canary of a failed run the last good template back while the spec says nothing of its tracks: it keeps
/// the labels that it has.
pub(super) fn restore(step: &Step<'_>) -> Option<Action> {
    let (seen, mut template) = (step.seen.canary.as_ref()?, last_good(step)?);
    let is_failed = Phase::of(&step.kanary.status) == Phase::Failed && is_of_run(step, seen);
    if !is_failed || seen.deleting {
        return None;
    }
    let of_run = (names::RUN.to_owned(), RESTORED.to_owned());
    let mut pods = seen.pod_labels.clone();
    pods.extend([of_run.clone()]);
    set_labels(&mut template, &pods);
    Some(Action::Update(Update {
        workload: step.spec.canary.clone(),
        uid: seen.uid.clone(),
        generation: seen.generation,
        labelled: true,
        labels: [of_run].into(),
        spec: Map::from_iter([("template".to_owned(), template)]),
        owner: None,
    }))
}

fn set_labels(template: &mut Value, labels: &Labels) {
    let Some(template) = template.as_object_mut() else {
        return;
    };
    let metadata = template.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("labels".to_owned(), json!(labels));
    }
}

/// The writes after which both tracks are as they have to be.
pub(super) fn keep(step: &Step<'_>, tracked: &Tracked) -> Vec<Action> {
    let of_canary = canary(step, tracked).and_then(|content| content.action(step, step.seen.canary.as_ref()));
    of_canary.into_iter().chain(keep_target(step, tracked)).collect()
}

/// The same for the target.
pub(super) fn keep_target(step: &Step<'_>, tracked: &Tracked) -> Option<Action> {
    target(step, tracked)?.action(step, step.seen.target.as_ref())
}
