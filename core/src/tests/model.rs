//! A model cluster: applies decisions and advances time to test whole runs.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{forward::only_forward, input::UID, reading::called};
use crate::{
    ParsedKanary,
    api::{
        KanaryStatus, ManualVerdict, Reason, TrafficSource,
        names::{IS_KANARY, KANARY_NAME, RUN},
    },
    decision::{Action, Decision, ObjectKind},
    hash,
    invalid::Invalid,
    labels::Labels,
    observation::{Observation, Outage, Owned, Pod, Promotion, Service, Versions, Workload},
    status::{SUCCEEDED, find},
    validation::{Outcome, Sample},
};

/// A Kanary in a cluster whose controllers act immediately.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) kanary: ParsedKanary,
    pub(super) seen: Observation,
    pub(super) now: Timestamp,
    /// Every write, in order.
    pub(super) writes: Vec<String>,
    /// Time that a Deployment needs to become available.
    pub(super) start_up: Option<SignedDuration>,
    /// Outcome of queries.
    pub(super) outcome: Outcome,
    /// The target, while it is missing.
    pub(super) gone: Option<Workload>,
    /// Number of the run that got `verdict: valid`.
    pub(super) valid_for: Option<i64>,
    /// Whether the model started with the creation of the Kanary.
    pub(super) is_whole: bool,
}

/// An event outside the controller.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Time passes, in seconds.
    Passes(i64),
    /// `spec.paused` changes.
    Paused(bool),
    /// The canary becomes available or unavailable.
    CanaryAvailable(bool),
    /// The production Service is deleted or restored.
    ServiceThere(bool),
    /// The target is deleted or restored unchanged.
    TargetThere(bool),
    /// Another client deletes the canary.
    CanaryDeleted,
    /// The user changes the template.
    TemplateEdited,
    /// The user sets or removes `spec.verdict`.
    Verdict(Option<ManualVerdict>),
    /// The user sets the validation period, in seconds.
    Period(u64),
    /// The user makes the spec invalid, or fixes it.
    Mistake(bool),
    /// The user requests traffic from the production Service, or none.
    Traffic(bool),
}

fn service() -> Service {
    Service {
        name: "svc".to_owned(),
        selector: [("app".to_owned(), "myapp".to_owned())].into(),
        ports: vec![json!({"port": 80})],
        ..Service::default()
    }
}

impl Model {
    pub(super) fn happens(&mut self, event: &Event) {
        let status = &self.kanary.status;
        let spec = Arc::make_mut(&mut self.kanary.spec);
        // A template that was not valid yet belongs to the next run.
        let is_next = status
            .current_hash
            .as_ref()
            .is_some_and(|hash| *hash != spec.template_hash);
        let run = status.run.unwrap_or(1) + i64::from(is_next);
        self.kanary.generation += 1;
        match event {
            Event::Passes(seconds) => self.pass(self.now + SignedDuration::from_secs(*seconds)),
            Event::Paused(paused) => spec.paused = *paused,
            Event::CanaryAvailable(available) => {
                if let Some(canary) = &mut self.seen.canary {
                    if let (Some(before), false) = (canary.available_since, *available) {
                        canary.outage = Some(Outage { from: self.now, before });
                    }
                    canary.available_since = available.then_some(self.now);
                    canary.unavailable_since = (!available).then_some(self.now);
                }
            }
            Event::ServiceThere(there) => {
                self.seen.service = there.then(service);
            }
            Event::TargetThere(true) => {
                let gone = self.gone.take();
                self.seen.target = self.seen.target.take().or(gone);
            }
            Event::TargetThere(false) => self.gone = self.seen.target.take().or(self.gone.take()),
            Event::CanaryDeleted => self.seen.canary = None,
            Event::TemplateEdited => {
                let mut pods = spec.template.pod_template();
                pods["edition"] = json!(self.writes.len());
                spec.template_hash = hash::of(&pods);
                spec.template = spec.template.clone().with_pods(pods);
            }
            Event::Verdict(verdict) => {
                if spec.verdict != *verdict {
                    self.valid_for = verdict.filter(|word| *word == ManualVerdict::Valid).map(|_| run);
                }
                spec.verdict = *verdict;
            }
            Event::Period(seconds) => spec.validation.period = Duration::from_secs(*seconds),
            Event::Mistake(there) => {
                let mistake = Invalid {
                    reason: Reason::InvalidSpec,
                    message: "a mistake".to_owned(),
                };
                spec.problems = there.then_some(mistake).into_iter().collect();
            }
            Event::Traffic(there) => {
                spec.traffic = if *there {
                    TrafficSource::Service
                } else {
                    TrafficSource::None
                };
                spec.traffic_key = if *there { "service svc" } else { "none" }.to_owned();
            }
        }
    }

    /// Applies a decision.
    pub(super) fn apply(&mut self, decision: &Decision) {
        for action in &decision.actions {
            self.act(action);
        }
        if let Some(status) = &decision.status {
            self.writes.push(format!("status {}", status.report.status));
            only_forward(&self.kanary.status, status, self.now);
            if self.kanary.status.run != status.run {
                self.seen.promotion = Promotion::NotYet;
            }
            if self.is_whole {
                self.only_proof(status);
            }
            // As the API server stores it (which cannot represent years before Christ).
            let stored = serde_json::to_value(status).unwrap();
            self.kanary.status = serde_json::from_value(stored).unwrap_or_else(|_| status.clone());
        }
        for index in &decision.checks {
            let sample = Sample {
                outcome: self.outcome,
                value: None,
                message: "measured".to_owned(),
            };
            let now = self.now;
            if self.seen.tallies.len() <= *index {
                self.seen.tallies.resize_with(index + 1, Default::default);
            }
            let ready = self.seen.pods.iter().filter(|pod| pod.ready);
            let pods = ready.map(|pod| pod.name.clone()).collect();
            self.seen.tallies[*index].record(sample, now, pods);
        }
    }

    /// Checks that a verdict counts only for its own run, and that a canary that passes had the requested traffic.
    fn only_proof(&self, next: &KanaryStatus) {
        let succeeded = |status: &KanaryStatus| {
            find(status, SUCCEEDED)
                .filter(|condition| condition.status == "True")
                .cloned()
        };
        let Some(verdict) = succeeded(next).filter(|_| succeeded(&self.kanary.status).is_none()) else {
            return;
        };
        let spec = &self.kanary.spec;
        assert!(spec.is_sound() && !spec.paused, "{next:#?}");
        if verdict.reason == "VerdictValid" {
            assert_eq!(
                self.valid_for,
                Some(next.run.unwrap_or(1)),
                "an old verdict promotes: {next:#?}"
            );
        }
        if let Some(made_for) = self.seen.canary.as_ref().and_then(|canary| canary.traffic.as_ref()) {
            assert_eq!(*made_for, spec.traffic_key, "{next:#?}");
        }
    }

    fn act(&mut self, action: &Action) {
        let name = match action {
            Action::Create { object, name, manifest } => {
                self.create(*object, name, manifest);
                format!("create {} {name}", object.as_str())
            }
            Action::ScaleCanary {
                canary: made, replicas, ..
            } => {
                if let Some(canary) = &mut self.seen.canary {
                    canary.replicas = *replicas;
                    canary.versions = Versions::One;
                }
                format!("scale {}", made.name)
            }
            Action::SetTemplate(change) => {
                let template_hash = called(&change.template);
                if let Some(target) = &mut self.seen.target {
                    target.template_hash.clone_from(&template_hash);
                    target.promoted_by = Some(change.marker.clone());
                    target.rolled_out = false;
                }
                let at = Some(self.now);
                self.seen.promotion = Promotion::Done { at, template_hash };
                format!("set template of {}", change.target.name)
            }
            Action::HandOver { target: handed, .. } => {
                if let Some(target) = &mut self.seen.target {
                    target.holds_fields = false;
                }
                format!("hand over {}", handed.name)
            }
            Action::Adopt { pod, .. } => {
                let pods = self.seen.pods.iter_mut().chain(&mut self.seen.other_pods);
                for seen in pods.filter(|seen| seen.name == *pod) {
                    seen.kanaries.push(UID.to_owned());
                }
                format!("adopt {pod}")
            }
            Action::Unlabel { pod, labels, .. } => {
                let pods = self.seen.pods.iter_mut().chain(&mut self.seen.other_pods);
                for seen in pods.filter(|seen| seen.name == *pod) {
                    seen.labels.retain(|label, _| !labels.contains(label));
                }
                format!("unlabel {pod}")
            }
            Action::Delete { object, name, .. } => {
                match object {
                    ObjectKind::Workload(_) => {
                        self.seen.canary = None;
                        self.seen.pods.clear();
                    }
                    ObjectKind::Service => self.seen.kanary_service = None,
                    ObjectKind::HorizontalPodAutoscaler => self.seen.hpa = None,
                    ObjectKind::ScaledObject => self.seen.scaled_object = None,
                }
                format!("delete {} {name}", object.as_str())
            }
            other => panic!("{other:?}"),
        };
        self.writes.push(name);
    }

    fn create(&mut self, object: ObjectKind, name: &str, manifest: &Value) {
        let owned = || Owned {
            uid: format!("uid-{name}"),
            owner: Some(UID.to_owned()),
            ..Owned::default()
        };
        match object {
            ObjectKind::Service => {
                self.seen.kanary_service = Some(owned());
                let selector = manifest["spec"]["selector"].clone();
                self.seen.kanary_selector = serde_json::from_value(selector).unwrap();
            }
            ObjectKind::HorizontalPodAutoscaler => self.seen.hpa = Some(owned()),
            ObjectKind::ScaledObject => self.seen.scaled_object = Some(owned()),
            ObjectKind::Workload(_) => self.create_deployment(name, manifest),
        }
    }

    fn create_deployment(&mut self, name: &str, manifest: &Value) {
        let labels = |path: &str| -> Labels {
            let labels = manifest.pointer(path).cloned().unwrap_or_default();
            serde_json::from_value(labels).unwrap_or_default()
        };
        let annotation = |name: &str| {
            let annotations = &manifest["metadata"]["annotations"];
            annotations.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        let made = Workload {
            uid: format!("uid-{name}"),
            created: self.now,
            labels: labels("/metadata/labels"),
            replicas: manifest["spec"]["replicas"]
                .as_i64()
                .and_then(|n| i32::try_from(n).ok())
                .unwrap_or(1),
            template_hash: hash::of(&manifest["spec"]["template"]),
            target_hash: annotation(crate::api::names::TARGET_HASH),
            created_by: annotation(crate::api::names::CREATED_BY),
            traffic: annotation(crate::api::names::TRAFFIC),
            ..Workload::default()
        };
        let is_target = self.kanary.spec.target.name == name;
        if is_target {
            self.seen.promotion = Promotion::Done {
                at: Some(self.now),
                template_hash: made.template_hash.clone(),
            };
            self.seen.target = Some(made);
            return;
        }
        let pod = Pod {
            name: "pod".to_owned(),
            uid: "uid-pod".to_owned(),
            labels: labels("/spec/template/metadata/labels"),
            ready: true,
            ..Pod::default()
        };
        for label in [IS_KANARY, KANARY_NAME, RUN] {
            assert!(pod.labels.contains_key(label), "a canary pod without {label}");
        }
        self.seen.pods = vec![pod];
        self.seen.canary = Some(Workload {
            owner: Some(UID.to_owned()),
            uid: format!("uid-{name}-{}", self.writes.len()),
            versions: Versions::Untouched,
            ..made
        });
    }

    /// Decides and applies until there is nothing left to do at this time. Returns when to decide again.
    pub(super) fn rest(&mut self) -> Option<Timestamp> {
        // The longest sequence: leftovers of a former run leave and are deleted, a canary is created, fails at once,
        // leaves and is deleted.
        for _ in 0..11 {
            let decision = self.decision();
            let idle = decision.actions.is_empty() && decision.status.is_none() && decision.checks.is_empty();
            if idle {
                let again = self.decision();
                assert_eq!(decision, again, "at rest, and yet another decision");
                assert!(
                    decision.wake.is_none_or(|wake| wake > self.now),
                    "a wake in the past: {decision:?}"
                );
                return decision.wake;
            }
            self.apply(&decision);
        }
        panic!("keeps writing: {:#?}", self.writes);
    }

    /// When the next Deployment becomes available, if any.
    pub(super) fn next_start(&self) -> Option<Timestamp> {
        let start_up = self.start_up?;
        let canary = self
            .seen
            .canary
            .as_ref()
            .filter(|canary| canary.available_since.is_none());
        let target = self.seen.target.as_ref().filter(|target| !target.rolled_out);
        let starts = canary
            .into_iter()
            .chain(target)
            .map(|made| made.created.max(self.now - start_up));
        starts.filter_map(|created| created.checked_add(start_up).ok()).min()
    }

    /// Advances the time to `now`.
    pub(super) fn pass(&mut self, now: Timestamp) {
        self.now = now;
        let Some(start_up) = self.start_up else { return };
        let is_up = |made: &Workload| made.created.checked_add(start_up).is_ok_and(|up| up <= now);
        if let Some(canary) = self.seen.canary.as_mut().filter(|canary| is_up(canary)) {
            canary.available_since.get_or_insert(now);
            canary.unavailable_since = None;
        }
        if let Some(target) = self.seen.target.as_mut().filter(|target| is_up(target)) {
            target.available_since.get_or_insert(now);
            target.rolled_out = true;
        }
    }

    /// Runs until nothing happens without an external event. Calls `watch` after each turn.
    pub(super) fn run(&mut self, mut watch: impl FnMut(&Model)) {
        for _ in 0..64 {
            let wake = self.rest();
            watch(self);
            let Some(next) = [wake, self.next_start()].into_iter().flatten().min() else {
                return;
            };
            self.pass(next.max(self.now));
        }
    }
}
