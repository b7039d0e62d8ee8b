//! What is observed of a target or a canary.

use std::time::Duration;

use jiff::Timestamp;

use crate::labels::{Labels, Selector};

/// The relevant fields of a target or a canary.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Workload {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`, which counts the changes of its spec.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// UID of the Kanary that owns it.
    pub owner: Option<String>,
    /// Kind and name of the Kanary that owns it: `KanaryDeployment/batman`.
    pub owner_name: Option<String>,
    /// Kind and name of its controller, if that is not a Kanary.
    pub other_controller: Option<String>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// The annotations that a canary inherits.
    pub annotations: Labels,
    /// Labels of the pod template.
    pub pod_labels: Labels,
    /// `spec.replicas`. Of a DaemonSet, on how many nodes it should have a pod.
    pub replicas: i32,
    /// `spec.paused`: the Deployment controller does not roll out changes.
    pub paused: bool,
    /// `spec.selector`, unless it is empty.
    pub selector: Option<SelectorView>,
    /// Hash of the pod template.
    pub template_hash: String,
    /// Annotation on a canary: the target's template hash at the start of the run.
    pub target_hash: Option<String>,
    /// Annotation on a canary: its traffic source.
    pub traffic: Option<String>,
    /// Annotation on a target: the last run that promoted it.
    pub promoted_by: Option<String>,
    /// Annotation on a target: the run that created it because it was missing.
    pub created_by: Option<String>,
    /// Whether every replica runs the current template and is available.
    pub rolled_out: bool,
    /// Whether the Deployment controller reports that the rollout exceeded its deadline.
    pub progress_failed: bool,
    /// When the current rollout last made progress according to the Deployment controller. `None` once it is complete.
    pub progressed: Option<Timestamp>,
    /// Why its pods cannot be created, from the API server: a quota or a policy.
    pub replica_failure: Option<String>,
    /// Whether our field manager owns a part of the pod template that another manager applies (server-side apply).
    pub holds_fields: bool,
    /// Since when it is available, or `None` if it is not.
    pub available_since: Option<Timestamp>,
    /// Since when it is unavailable after it was available.
    pub unavailable_since: Option<Timestamp>,
    /// Number of pod templates since its creation.
    pub versions: Versions,
    /// The last outage, if its start was observed.
    pub outage: Option<Outage>,
    /// Why it does not become available, from its own conditions.
    pub cause: Option<Box<Cause>>,
    /// What only a StatefulSet has.
    pub set: Option<Box<SetView>>,
    /// What only a DaemonSet has.
    pub daemon: Option<Box<DaemonView>>,
}

/// The relevant fields that only a DaemonSet has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct DaemonView {
    /// `status.desiredNumberScheduled`: on how many nodes it should have a pod.
    pub nodes: i32,
    /// Whether its status is about the newest spec.
    pub observed: bool,
    /// Whether `spec.updateStrategy` leaves it to the user to replace pods.
    pub on_delete: bool,
    /// `spec.minReadySeconds`.
    pub min_ready: Duration,
    /// The ports of a node that its pods take; only of targets.
    pub host_ports: Box<[HostPort]>,
    /// The nodes that its affinity names, in order; only of canaries.
    pub chosen: Box<[Box<str>]>,
    /// Whether these are not the nodes that Kanary chose, as far as that is known; only of canaries.
    pub moved: bool,
    /// How many nodes the target had when they were chosen; only of canaries.
    pub chosen_of: i32,
    /// Whether it has an available pod on each of these nodes, as its status says; only of canaries.
    pub whole: bool,
}

impl DaemonView {
    /// Whether this node was chosen.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        self.chosen.binary_search_by(|chosen| (**chosen).cmp(node)).is_ok()
    }

    /// Whether these nodes, in order, were chosen, and no others.
    #[must_use]
    pub fn has_just(&self, nodes: &[String]) -> bool {
        self.chosen.iter().map(|node| &**node).eq(nodes)
    }
}

/// A port of a node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The address of the node, or `None` for all of them.
    pub ip: Option<Box<str>>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// The number.
    pub port: u16,
}

impl HostPort {
    /// Whether two pods of one node cannot have these ports.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let is_apart = self.ip.is_some() && other.ip.is_some() && self.ip != other.ip;
        (self.port, &self.protocol) == (other.port, &other.protocol) && !is_apart
    }
}

/// The relevant fields that only a StatefulSet has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct SetView {
    /// `spec.volumeClaimTemplates`, as JSON.
    pub claims: Box<str>,
    /// `spec.serviceName`: the Service that gives the pods their DNS names.
    pub service: Box<str>,
    /// Whether `spec.updateStrategy` leaves it to the user to replace pods.
    pub on_delete: bool,
    /// `spec.updateStrategy.rollingUpdate.partition`: pods below it keep the former template.
    pub partition: i32,
    /// `spec.ordinals.start`: the ordinal of its first pod, from which the partition counts.
    pub start: i32,
    /// `spec.minReadySeconds`.
    pub min_ready: Duration,
    /// Whether `spec.revisionHistoryLimit` is 0: Kubernetes deletes a template that no pod runs.
    pub forgets: bool,
    /// `status.replicas`.
    pub replicas: i32,
    /// Whether all its pods run its template and are available, as its status says.
    pub whole: bool,
    /// Whether no pod is left of another template, as its status says.
    pub at_rest: bool,
    /// The revision of its template, if its status is about the newest spec.
    pub revision: Option<SetRevision>,
}

/// The revision of a template, and how many pods there are, as a status says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRevision {
    /// Name of the revision, which its pods have as a label.
    pub name: Box<str>,
    /// All pods, ready ones, available ones, and those of this revision.
    pub pods: [i32; 4],
}

/// Pods of a revision of the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevisedPods {
    /// The revision, when the pods were read.
    pub revision: SetRevision,
    /// When that was.
    pub at: Timestamp,
    /// The pods.
    pub pods: Vec<super::Pod>,
}

/// Number of pod templates that a Deployment has had since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// Unknown: the Deployment controller has not observed the latest spec yet.
    #[default]
    Unknown,
    /// The spec has not been changed since its creation (`metadata.generation` is 1).
    Untouched,
    /// One, counted by the Deployment controller, which has observed the latest spec.
    One,
    /// More than one, counted by the Deployment controller.
    Several,
}

/// A period in which a Deployment was unavailable after it was available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Start of the outage.
    pub from: Timestamp,
    /// [`Workload::available_since`] before the outage.
    pub before: Timestamp,
}

/// Why a canary does not become available. A cause from a later stage of a pod's life is more informative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A CamelCase word, as shown by kubectl: `ImagePullBackOff`.
    pub reason: String,
    /// A short message from the cluster that stays the same between attempts.
    pub message: String,
}

/// A Deployment's selector.
#[derive(Clone, Debug)]
pub struct SelectorView {
    /// Label names in the selector.
    pub keys: Vec<String>,
    /// The selector in readable form, for messages.
    pub shown: String,
    /// The selector.
    pub selector: Selector,
}

impl PartialEq for SelectorView {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}
