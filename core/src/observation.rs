//! All that [`decide`](super::decide()) may look at, beside the Kanary and the time.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    api::Reason,
    decision::{Action, ObjectKind},
    labels::{self, Labels, Selector},
    validation::Tally,
};

/// What was seen of the cluster, for one Kanary.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Observation {
    /// The target.
    pub target: Option<Deployment>,
    /// The Deployment that has the canary's name, ours or not.
    pub canary: Option<Deployment>,
    /// The pods of the present run's canary.
    pub pods: Vec<Pod>,
    /// The production Service.
    pub service: Option<Service>,
    /// Services of the namespace that no Kanary made and that select pods with the labels of the template, of the target's
    /// template, or of a pod of the canary; by name, without their ports.
    pub services: Vec<Service>,
    /// Pods that carry this Kanary's labels and are not among `pods`: of other runs, or released by their ReplicaSet.
    pub other_pods: Vec<Pod>,
    /// The Service that has the name of the canary's own, ours or not.
    pub kanary_service: Option<Owned>,
    /// What the Service with the name of the canary's own selects by; nothing if it is of type `ExternalName`.
    pub kanary_selector: Labels,
    /// The Kanary whose canary has, or will have, the name of the target.
    pub target_is_canary_of: Option<String>,
    /// What came of the attempts to take a failed canary out of production.
    pub ways: Ways,
    /// The pods of this run were read live once, after its verdict.
    pub pods_confirmed: bool,
    /// The target was read live for this very decision.
    pub target_confirmed: bool,
    /// The HorizontalPodAutoscaler that has the canary's name, ours or not.
    pub hpa: Option<Owned>,
    /// One tally for each validation item, in their order.
    pub tallies: Vec<Tally>,
    /// The target as the API server holds it now; read only when the next step is to change it.
    pub live_target: Option<LiveTarget>,
    /// Whether the target has the template that the run gives it; asked only where nothing else tells.
    pub likeness: Likeness,
    /// Since when the target is known to be missing, by a live read; forgotten when it appears and during a pause.
    pub target_missing_since: Option<Timestamp>,
    /// Our ownership of the target's fields could not be handed over: the API server refused that.
    pub keeps_ownership: bool,
    /// Until then no pod is made the Kanary's own: an attempt failed.
    pub adopt_after: Option<Timestamp>,
    /// The pod template that the target had before it was promoted; read only for a rollback.
    pub former_template: Option<Value>,
    /// The last write that the API server refused, until it succeeds.
    pub refusal: Option<Refusal>,
    /// The canary as the API server answered its creation, if this controller made it.
    pub created: Option<Created>,
    /// What is known of the run's promotion, beside what the target says.
    pub promotion: Promotion,
    /// What the decision asked for was read live for this very decision: the canary, and its pods if their labels are
    /// judged, or the Kanary itself.
    pub confirmed: bool,
    /// Objects that are this Kanary's and none that its spec asks for.
    pub strays: Vec<Stray>,
    /// The rollout history of the target has nothing to roll back to.
    pub no_former_template: bool,
}

/// Ways to take a failed canary out of production that failed, by the way that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// To take labels off its pods.
    pub labels: Option<Attempt>,
    /// To delete its Deployment.
    pub deletion: Option<Attempt>,
    /// To scale its Deployment to 0.
    pub scale: Option<Attempt>,
}

/// Ways in a row that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When the first was made.
    pub first: Timestamp,
    /// When the last was made.
    pub last: Timestamp,
    /// How many.
    pub times: u32,
    /// The API server said no. Otherwise it failed, or did not answer in time.
    pub refused: bool,
    /// Which write, and what the API server said to the first.
    pub message: String,
}

/// What is known of a run's promotion, or of the creation of a target that was missing. The target's annotation is not
/// enough: whoever undoes or replaces a promotion may take it away, and must not be overruled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Promotion {
    /// It was not made.
    #[default]
    NotYet,
    /// It may have been made: by a controller that ended, or in a call without a reply.
    Unknown,
    /// It was made.
    Done {
        /// When, if this controller promoted the target.
        at: Option<Timestamp>,
        /// Hash of the template that the target got.
        template_hash: String,
    },
}

/// Whether the target has the template that the run gives it, as the API server would default and mutate it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Likeness {
    /// Nobody asked.
    #[default]
    Unasked,
    /// Writing the template would change nothing.
    Same,
    /// It has another template.
    Other,
    /// The API server refuses to say: an admission policy rejects the dry run.
    Untold,
}

/// An object of a former spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Which kind of object.
    pub object: ObjectKind,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Stray {
    /// The action that takes it away.
    #[must_use]
    pub fn delete(&self) -> Action {
        Action::Delete {
            object: self.object,
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// A Deployment, trimmed to what matters.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Deployment {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Being deleted.
    pub deleting: bool,
    /// uid of the Kanary that owns it.
    pub owner: Option<String>,
    /// Kind and name of the Kanary that owns it, `KanaryDeployment/batman`.
    pub owner_name: Option<String>,
    /// Kind and name of the controller that owns it, where that is no Kanary.
    pub other_controller: Option<String>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Those of `metadata.annotations` that a canary carries as well.
    pub annotations: Labels,
    /// Labels of the pod template.
    pub pod_labels: Labels,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.paused`: its controller rolls nothing out.
    pub paused: bool,
    /// `spec.selector`, unless it is empty.
    pub selector: Option<SelectorView>,
    /// Hash of the pod template.
    pub template_hash: String,
    /// Annotation: the target's template hash when the run started (on a canary).
    pub target_hash: Option<String>,
    /// Annotation: where its traffic comes from (on a canary).
    pub traffic: Option<String>,
    /// Annotation: who promoted it last (on a target).
    pub promoted_by: Option<String>,
    /// Annotation: which run created it because it was missing (on a target).
    pub created_by: Option<String>,
    /// Every replica runs the present template and is available.
    pub rolled_out: bool,
    /// The Deployment controller gave the rollout up.
    pub progress_failed: bool,
    /// When the present rollout last made progress, as the Deployment controller says; `None` once it is complete.
    pub progressed: Option<Timestamp>,
    /// Why its pods cannot be created, in the words of the API server: a quota, a policy.
    pub replica_failure: Option<String>,
    /// Our field manager owns a part of the pod template that another manager applies (server-side apply).
    pub holds_fields: bool,
    /// Since when it is available, as the cluster says; `None` while it is not.
    pub available_since: Option<Timestamp>,
    /// Since when it is not available, after it was.
    pub unavailable_since: Option<Timestamp>,
    /// How many pod templates it has had since its creation.
    pub versions: Versions,
    /// The last outage, if it was watched from its beginning.
    pub outage: Option<Outage>,
    /// Why it does not come up, as its own conditions say.
    pub cause: Option<Box<Cause>>,
}

/// How many pod templates a Deployment has had since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// The Deployment controller has not seen the newest spec yet.
    #[default]
    Unknown,
    /// Nobody has written its spec since (`metadata.generation` is 1).
    Untouched,
    /// The Deployment controller counts one, and has seen the newest spec.
    One,
    /// The Deployment controller counts more than one.
    Several,
}

/// A time in which a Deployment was not available, after it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub from: Timestamp,
    /// [`Deployment::available_since`] before it.
    pub before: Timestamp,
}

/// Why a canary does not come up. The later stage of a pod's life says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One CamelCase word, as kubectl shows it, like `ImagePullBackOff`.
    pub reason: String,
    /// What the cluster says about it; a short text that does not change with every attempt.
    pub message: String,
}

/// A Deployment's selector: its keys, and whether labels match it.
#[derive(Clone, Debug)]
pub struct SelectorView {
    /// Label names that the selector looks at.
    pub keys: Vec<String>,
    /// How users know it, for messages.
    pub shown: String,
    /// The selector.
    pub selector: Selector,
}

impl PartialEq for SelectorView {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

/// A canary pod, trimmed to what matters.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// It has the condition Ready and is not being deleted.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// No controller owns it: its ReplicaSet released it, so it stays when the Deployment goes.
    pub released: bool,
    /// uids of the Kanaries that its ownerReferences name.
    pub kanaries: Vec<String>,
    /// An image of it was changed in place while it was watched.
    pub edited: bool,
    /// Why it does not become ready, if the cluster says so.
    pub cause: Option<Box<Cause>>,
}

/// A Service, trimmed to what matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its selector; empty for a Service without one.
    pub selector: Labels,
    /// It is of type `ExternalName`: its requests go to a DNS name, whatever its selector is.
    pub external: bool,
    /// Being deleted.
    pub deleting: bool,
    /// `spec.ports`, without node ports.
    pub ports: Vec<Value>,
}

impl Service {
    /// Whether pods with these labels get its requests once they are ready.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        !self.external && labels::service_selects(&self.selector, labels)
    }
}

/// An object whose owner is all that matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owned {
    /// `metadata.uid`.
    pub uid: String,
    /// uid of the Kanary that owns it.
    pub owner: Option<String>,
    /// Kind and name of the Kanary that owns it, `KanaryDeployment/batman`.
    pub owner_name: Option<String>,
    /// Kind and name of the controller that owns it, where that is no Kanary.
    pub other_controller: Option<String>,
    /// Being deleted.
    pub deleting: bool,
}

/// The target as the API server holds it now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveTarget {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `spec.template`, to the letter: the precondition of the promotion.
    pub template: Value,
    /// Its hash, made the way [`Deployment::template_hash`] is.
    pub template_hash: String,
    /// Number of this version in the rollout history, once the Deployment controller has given it one.
    pub revision: Option<String>,
    /// Whether it has any annotations.
    pub annotated: bool,
    /// Annotation: who promoted it last.
    pub promoted_by: Option<String>,
    /// Annotation: which run created it because it was missing.
    pub created_by: Option<String>,
    /// The rollout history has a version that this run promoted; read only if that is not known.
    pub was_promoted: bool,
}

/// A canary as the API server answered its creation: what webhooks and defaults made of it is in the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its uid.
    pub uid: String,
    /// Hash of its pod template.
    pub template_hash: String,
}

/// A write that the API server refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// One CamelCase word.
    pub reason: Reason,
    /// Which write, and what the API server said.
    pub message: String,
    /// When it may be tried again.
    pub retry_at: Timestamp,
    /// Since when objects of the run cannot be created; `None` if the write was another one.
    pub uncreated_since: Option<Timestamp>,
    /// Which object the write was about, `Deployment/myapp`.
    pub about: String,
}
