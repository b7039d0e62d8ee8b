//! The input of [`decide`](super::decide()) in addition to the Kanary and the time.

mod kept;
mod limited;
mod nodes;
mod refusal;
mod route;
mod workload;

use std::{num::NonZeroU32, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

pub use self::{
    kept::{KeptFound, KeptSeen},
    limited::Limited,
    nodes::{Candidate, NodesFound},
    refusal::Refusal,
    route::{Endpoints, RouteFound, RouteSeen},
    workload::{
        Cause, DaemonView, HostPort, Outage, RevisedPods, SelectorView, SetRevision, SetView, Versions, Workload,
    },
};
use super::{
    decision::{Action, ObjectKind, SetTemplate},
    labels::{self, Labels},
    validation::Tally,
};
use crate::api::{Tracks, WorkloadRef, names::RUN};

/// The observed cluster, for one Kanary.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Observation {
    /// The target.
    pub target: Option<Workload>,
    /// The object with the canary's kind and name, ours or not.
    pub canary: Option<Workload>,
    /// Pods of the current run's canary.
    pub pods: Vec<Pod>,
    /// The production Service.
    pub service: Option<Service>,
    /// Services of the namespace that no Kanary created and that select pods with the labels of the template, of the
    /// target's template, or of a canary pod. They are sorted by name and without ports.
    pub services: Vec<Service>,
    /// Pods with this Kanary's labels that are not in `pods`: those of other runs, and those released by their
    /// ReplicaSet.
    pub other_pods: Vec<Pod>,
    /// The Service with the name of the canary's own, ours or not.
    pub kanary_service: Option<Owned>,
    /// Selector of that Service, or empty if its type is `ExternalName`.
    pub kanary_selector: Labels,
    /// The Kanary whose canary has, or will have, the name of the target.
    pub target_is_canary_of: Option<String>,
    /// Results of the attempts to remove a failed canary from production.
    pub ways: Ways,
    /// Whether the pods of this run were read live after its verdict.
    pub pods_confirmed: bool,
    /// Whether the target was read live for this decision.
    pub target_confirmed: bool,
    /// The HorizontalPodAutoscaler with the canary's name, ours or not.
    pub hpa: Option<Owned>,
    /// The ScaledObject with the canary's name, ours or not.
    pub scaled_object: Option<Owned>,
    /// Whether the canary can have a ScaledObject.
    pub keda: Keda,
    /// One tally for each validation item, in item order.
    pub tallies: Vec<Tally>,
    /// The current target in the API server. It is read only before the next step changes it.
    pub live_target: Option<LiveTarget>,
    /// Whether the target has the run's template. The API server is asked only if it is not known otherwise.
    pub likeness: Likeness,
    /// Since when the target is known to be missing, from a live read. Reset when it appears and during a pause.
    pub target_missing_since: Option<Timestamp>,
    /// Whether the API server refused to transfer our ownership of the target's fields.
    pub keeps_ownership: bool,
    /// Until when no pod is adopted, because an attempt failed.
    pub adopt_after: Option<Timestamp>,
    /// The target's pod template before its promotion. It is read only for a rollback.
    pub former_template: Option<Value>,
    /// The pod template that a run in place gave the target, as the API server stored it. It is read with the former one.
    pub tried_template: Option<Value>,
    /// The last write that the API server refused, until it succeeds.
    pub refusal: Option<Refusal>,
    /// The API server's reply to the canary's creation, if this controller created it.
    pub created: Option<Created>,
    /// The objects of both tracks after the last write by this controller, if the canary exists between runs.
    pub tracks: Tracks,
    /// What is known about the run's promotion, in addition to the target's annotation.
    pub promotion: Promotion,
    /// Whether the objects that the last decision asked for were read live for this one: the canary, and its pods if
    /// their labels are evaluated, or the Kanary itself.
    pub confirmed: bool,
    /// Objects of this Kanary that its spec does not ask for.
    pub strays: Vec<Stray>,
    /// Whether the target's rollout history contains no earlier template.
    pub no_former_template: bool,
    /// What is known of the route that sends the canary its requests.
    pub route: Option<RouteSeen>,
    /// How long proxies may need to follow a route after gateways have taken it over.
    pub route_settling: Duration,
    /// Pods with ready addresses behind the canary's own Service, if they were read for this decision.
    pub endpoints: Option<Endpoints>,
    /// Since when this controller knows that the canary is not available, if its status has no times.
    pub down_since: Option<Timestamp>,
    /// The volume claims that are in the way of a canary, if they were read for this decision.
    pub claims: Option<Claims>,
    /// Nodes of the target, if they were read for this decision.
    pub nodes: Option<NodesFound>,
    /// Pods of the target that run the template, for a run in place, as they were last read.
    pub revised: Option<RevisedPods>,
    /// Whether targets of this kind are off in this installation, so that nothing is known of the target and the canary.
    pub kind_is_off: bool,
    /// The objects that a front end keeps beyond its runs, as far as they are known.
    pub kept: Option<KeptSeen>,
    /// The place of the run, if the number of canaries that run at the same time is limited.
    pub place: Option<Limited>,
}

impl Observation {
    /// The autoscalers with the canary's name, ours or not.
    pub fn autoscalers(&self) -> impl Iterator<Item = (ObjectKind, &Owned)> {
        let kinds = [
            (ObjectKind::HorizontalPodAutoscaler, &self.hpa),
            (ObjectKind::ScaledObject, &self.scaled_object),
        ];
        kinds
            .into_iter()
            .filter_map(|(kind, found)| Some((kind, found.as_ref()?)))
    }
}

/// Whether canaries can have a ScaledObject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keda {
    /// They can.
    #[default]
    Served,
    /// The cluster does not know the kind: KEDA is not installed.
    Missing,
    /// KEDA is off in this installation of Kanary.
    Off,
}

/// Names of volume claims that a new pod of a canary must not get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Those of earlier canaries, which have their labels.
    pub earlier: Vec<String>,
    /// Those of others, which a pod of the canary would get because of their names.
    pub others: Vec<String>,
}

/// Failed ways to remove a failed canary from production.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Removing labels from its pods.
    pub labels: Option<Attempt>,
    /// Deleting its Deployment.
    pub deletion: Option<Attempt>,
    /// Scaling its Deployment to 0.
    pub scale: Option<Attempt>,
}

/// Consecutive failures of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Time of the first failure.
    pub first: Timestamp,
    /// Time of the last failure.
    pub last: Timestamp,
    /// Number of failures.
    pub times: u32,
    /// Whether the API server refused the write. Otherwise it failed or timed out.
    pub refused: bool,
    /// The write, and the API server's message for the first failure.
    pub message: String,
}

/// What is known about a run's promotion, or about the creation of a missing target. The target's annotation is not
/// enough: a client that reverts or replaces a promotion may remove it, and its change must not be overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Promotion {
    /// It was not done.
    #[default]
    NotYet,
    /// It may have been done, by a controller that has ended or in a call without a reply.
    Unknown,
    /// It was done.
    Done {
        /// When, if this controller promoted the target.
        at: Option<Timestamp>,
        /// Hash of the template that was written to the target.
        template_hash: String,
    },
}

/// Whether the target has the run's template, after defaults and mutations by the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Likeness {
    /// Not determined.
    #[default]
    Unasked,
    /// Writing the template would change nothing.
    Same,
    /// It has another template.
    Other,
    /// Undeterminable: an admission policy refuses the dry run.
    Unknown,
}

/// An object of a former spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Kind of the object.
    pub object: ObjectKind,
    /// Its name.
    pub name: String,
    /// UID of the object.
    pub uid: String,
}

impl Stray {
    /// The action that deletes it.
    #[must_use]
    pub fn delete(&self) -> Action {
        Action::Delete {
            object: self.object,
            name: self.name.clone(),
            uid: self.uid.clone(),
            unchanged: false,
        }
    }
}

/// The relevant fields of a canary pod.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Labels.
    pub labels: Labels,
    /// The run in its labels when it was first seen, if somebody has removed or changed that label since.
    pub former_run: Option<String>,
    /// Whether it has the condition Ready and is not being deleted.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Since when it is ready, in seconds since 1970; only of pods whose workload has no times in its status.
    pub ready_second: Option<NonZeroU32>,
    /// Whether it has no controller: its ReplicaSet released it, so it stays when the Deployment is deleted.
    pub released: bool,
    /// UIDs of the Kanaries in its ownerReferences.
    pub kanaries: Vec<String>,
    /// Its node; only of pods of a DaemonSet.
    pub node: Option<Box<str>>,
    /// Whether one of its images was changed in place while it was watched.
    pub edited: bool,
    /// Why it does not become ready, if known.
    pub cause: Option<Box<Cause>>,
}

/// The relevant fields of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its selector, or empty if it has none.
    pub selector: Labels,
    /// Whether its type is `ExternalName`: its requests go to a DNS name, regardless of its selector.
    pub external: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Kind and name of the Kanary that owns it: `CanaryApp.canary.atze.io/shop`.
    pub owner_name: Option<String>,
    /// `spec.ports`, without node ports.
    pub ports: Vec<Value>,
}

impl Pod {
    /// Whether the pod has no controller and stays: its ReplicaSet released it.
    #[must_use]
    pub fn is_set_aside(&self) -> bool {
        self.released && !self.terminating
    }

    /// Since when it is ready, as far as it is kept.
    #[must_use]
    pub fn ready_since(&self) -> Option<Timestamp> {
        let second = self.ready_second.filter(|_| self.ready)?;
        Timestamp::from_second(i64::from(second.get())).ok()
    }

    /// The run that it was created for, as far as known.
    #[must_use]
    pub fn created_for(&self) -> Option<&String> {
        self.former_run.as_ref().or_else(|| self.labels.get(RUN))
    }
}

impl Service {
    /// Whether ready pods with these labels receive its requests.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        !self.external && labels::service_selects(&self.selector, labels)
    }
}

/// An object that matters for its owner, and an autoscaler also for what it scales.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owned {
    /// `metadata.uid`.
    pub uid: String,
    /// UID of the Kanary that owns it.
    pub owner: Option<String>,
    /// Kind and name of the Kanary that owns it: `KanaryDeployment/batman`.
    pub owner_name: Option<String>,
    /// Kind and name of its controller, if that is not a Kanary.
    pub other_controller: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What an autoscaler scales: `Deployment/batman`. `None` for other objects.
    pub scales: Option<Box<str>>,
}

/// The current target in the API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveTarget {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `spec.template`, unchanged: the precondition of the promotion.
    pub template: Value,
    /// Its hash, calculated like [`Workload::template_hash`].
    pub template_hash: String,
    /// `metadata.resourceVersion`, which each change of the object changes.
    pub resource_version: Option<String>,
    /// Whether `spec.updateStrategy` has no `rollingUpdate`. The API server leaves it out where only the type was set.
    pub strategy_is_bare: bool,
    /// `metadata.generation`, which each change of the spec increments.
    pub generation: Option<i64>,
    /// Whether it has any annotations.
    pub annotated: bool,
    /// Annotation: the last run that promoted it.
    pub promoted_by: Option<String>,
    /// Annotation: the run that created it because it was missing.
    pub created_by: Option<String>,
    /// Whether its rollout history contains a revision that this run promoted. It is read only if that is not known
    /// otherwise.
    pub was_promoted: bool,
}

impl LiveTarget {
    /// A write of this annotation and change cause, on condition that the spec is still as it was read. It leaves the template as it
    /// is, unless the caller sets another.
    pub(crate) fn written(&self, target: &WorkloadRef, marker: String, cause: String) -> SetTemplate {
        SetTemplate {
            target: target.clone(),
            uid: self.uid.clone(),
            former: self.template.clone(),
            template: self.template.clone(),
            generation: self.generation,
            annotated: self.annotated,
            marker,
            cause,
            partition: None,
            strategy_is_bare: false,
            version: None,
        }
    }
}

/// The API server's reply to a canary's creation. The hash includes changes by webhooks and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// UID of the canary.
    pub uid: String,
    /// Hash of its pod template.
    pub template_hash: String,
    /// Its `metadata.generation`.
    pub generation: i64,
}
