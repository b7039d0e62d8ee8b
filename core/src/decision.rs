//! The complete set of effects. Kanary does nothing that is not listed here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::api::{EventReason, KanaryStatus, RouteRef, WorkloadKind, WorkloadRef};

/// The decision about one Kanary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Writes, in this order. The first failure stops the rest.
    pub actions: Vec<Action>,
    /// The next status, if it differs from the one that was read. It is written after the actions.
    pub status: Option<KanaryStatus>,
    /// Validation items, by index, whose query is due.
    pub checks: Vec<usize>,
    /// When to decide again without an event. `None` if only an event can change the decision.
    pub wake: Option<Timestamp>,
    /// The read from the API server that the next decision needs.
    pub needs: Option<Need>,
    /// Whether the actions remove a failed canary from production. A failure is then passed to the next decision
    /// immediately, which tries another way.
    pub leaves: bool,
}

impl Decision {
    /// Whether there is nothing to do now.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.actions.is_empty() && self.checks.is_empty() && self.status.is_none() && self.needs.is_none()
    }

    /// A decision that only requests a read.
    #[must_use]
    pub fn needing(need: Need) -> Self {
        Self {
            needs: Some(need),
            ..Self::default()
        }
    }
}

/// A read that only some decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The current target, before its promotion.
    LiveTarget,
    /// Whether the target already has the run's template. The API server answers this with a dry run, and only if the
    /// reply to the promotion is unknown.
    SameTemplate,
    /// Whether the target is missing, before its creation.
    MissingTarget,
    /// The current target and its former template, for a rollback.
    FormerTemplate,
    /// The current canary, before it passes or fails because it is unavailable: a watch may be behind unnoticed.
    LiveCanary,
    /// The current target, before the run fails because of its observed state: the watch may be behind.
    Target,
    /// The current pods of this run, before a failed canary that is retained counts as out of production.
    LivePods,
    /// The current route that sends the canary its requests.
    Route,
    /// The current EndpointSlices of the canary's own Service, before the canary gets more requests.
    Endpoints,
    /// The current pods of the target that run the template, for a run in place.
    RevisedPods,
    /// Volume claims that a canary with volumes would get, before it is created or gets more pods: those of earlier canaries of this
    /// Kanary, and those of others.
    Claims,
    /// The objects that a front end keeps beyond its runs, as they are now.
    Kept,
    /// The nodes of the target, before the nodes of a canary are chosen that has no number of replicas.
    Nodes,
    /// The current Kanary, before a canary of another template is deleted: that template may be the newer one.
    LiveKanary,
}

/// A write to the cluster, in the Kanary's namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates an object. An existing object with the same owner counts as success.
    Create {
        /// Kind of the object.
        object: ObjectKind,
        /// Its name.
        name: String,
        /// The complete object.
        manifest: Value,
    },
    /// Sets the canary's number of replicas.
    ScaleCanary {
        /// The canary.
        canary: WorkloadRef,
        /// UID of the canary, so that another object with its name is left alone.
        uid: String,
        /// Number of replicas.
        replicas: i32,
    },
    /// Sets the nodes of a canary that has no number of replicas.
    PlaceCanary {
        /// The canary.
        canary: WorkloadRef,
        /// UID of the canary.
        uid: String,
        /// The names of its nodes, in order.
        nodes: Vec<String>,
        /// The affinity of its pods.
        affinity: Value,
        /// The annotation that says when the nodes were chosen.
        chosen: String,
    },
    /// Writes a pod template to the target if it still has the template that was read.
    SetTemplate(SetTemplate),
    /// Writes all that the Kanary keeps in a workload of its own, if nobody has changed the spec since it was read.
    Update(Update),
    /// Transfers our ownership of the target's template fields to the manager that applies them.
    HandOver {
        /// The target.
        target: WorkloadRef,
        /// UID of the target.
        uid: String,
    },
    /// Adds the finalizer that keeps the Kanary until a route holds nothing of this run, before the first change of the route.
    Hold {
        /// The route.
        route: RouteRef,
        /// The run.
        run: String,
    },
    /// Removes that finalizer.
    Release,
    /// Adds the finalizer that keeps the Kanary while pods of its target run the template in place.
    HoldInPlace,
    /// Removes that finalizer.
    ReleaseInPlace,
    /// Changes a route that was read, if nobody has changed it since.
    SetRoute {
        /// The route.
        route: RouteRef,
        /// A JSON Patch with the version that was read as its precondition.
        patch: Vec<Value>,
        /// What the canary gets afterwards, in words.
        gives: String,
        /// Whether it takes everything of this Kanary out of the route.
        clears: bool,
    },
    /// Creates an object that a front end keeps beyond its runs, puts its fields back, or deletes one that it kept for another spec.
    Keep(Keep),
    /// Removes labels from a pod, so that the production Service no longer selects it.
    Unlabel {
        /// Name of the pod.
        pod: String,
        /// UID of the pod.
        uid: String,
        /// The labels.
        labels: Vec<String>,
    },
    /// Makes the Kanary an owner of a pod without a controller, so that the pod is deleted with the Kanary.
    Adopt {
        /// Name of the pod.
        pod: String,
        /// UID of the pod.
        uid: String,
    },
    /// Deletes an object if it still is the one that was read.
    Delete {
        /// Kind of the object.
        object: ObjectKind,
        /// Its name.
        name: String,
        /// UID of the object.
        uid: String,
        /// Whether to delete it only in the newest version that is known, so that a delete that arrives late does not undo
        /// what a later owner of the shard wrote. A canary that is in production is deleted in any version.
        unchanged: bool,
    },
}

/// A write of an object that a front end keeps beyond its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    /// Kind of the object.
    pub resource: Resource,
    /// Its name.
    pub name: String,
    /// What is done.
    pub what: KeepWhat,
    /// The complete object, a merge patch, or nothing but the metadata that a delete needs. The last two have the uid and the version
    /// that were read.
    pub body: Value,
}

/// What is done to an object that a front end keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepWhat {
    /// It is created.
    Create,
    /// Fields are put back.
    Patch,
    /// It is deleted.
    Delete,
}

impl Keep {
    /// The object: `Service/shop`.
    #[must_use]
    pub fn key(&self) -> String {
        self.resource.key(&self.name)
    }
}

/// A kind of object that front ends keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The API group, empty for that of Services.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind's name in Kubernetes.
    pub kind: &'static str,
    /// Its plural, as in paths.
    pub plural: &'static str,
}

impl Resource {
    /// A Deployment.
    pub const DEPLOYMENT: Self = Self::of("apps", "v1", "Deployment", "deployments");
    /// A Service.
    pub const SERVICE: Self = Self::of("", "v1", "Service", "services");
    /// `HTTPRoute` of Gateway API.
    pub const HTTP_ROUTE: Self = Self::of("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    /// Istio's `VirtualService`.
    pub const VIRTUAL_SERVICE: Self = Self::of("networking.istio.io", "v1", "VirtualService", "virtualservices");
    /// Istio's `DestinationRule`.
    pub const DESTINATION_RULE: Self = Self::of("networking.istio.io", "v1", "DestinationRule", "destinationrules");
    /// Istio's Gateway.
    pub const GATEWAY: Self = Self::of("networking.istio.io", "v1", "Gateway", "gateways");

    const fn of(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
        }
    }

    /// `apiVersion` in a manifest.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// An object of this kind: `Service/shop`. Gateways of Gateway API are not kept, so a kind's name says which one it is.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.kind)
    }

    /// The path of the objects of a namespace.
    #[must_use]
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}/namespaces/{namespace}/{}", self.api_version(), self.plural)
    }
}

/// A write of a pod template to the target.
#[derive(Clone, Debug, PartialEq)]
pub struct SetTemplate {
    /// The target.
    pub target: WorkloadRef,
    /// UID of the target.
    pub uid: String,
    /// The pod template that was read.
    pub former: Value,
    /// The pod template to write.
    pub template: Value,
    /// `metadata.generation` of the target that was read. A template that was replaced and restored since then has another
    /// one, also while the target is paused and the Deployment controller counts no revisions.
    pub generation: Option<i64>,
    /// Whether the target has any annotations.
    pub annotated: bool,
    /// The annotation that identifies the run.
    pub marker: String,
    /// The change cause in `kubectl rollout history`. If it is empty, the target keeps its own.
    pub cause: String,
    /// The partition to write to a StatefulSet.
    pub partition: Option<i32>,
    /// Whether the `updateStrategy` of the target has no `rollingUpdate`, to which the partition belongs.
    pub strategy_is_bare: bool,
    /// `metadata.resourceVersion` of the target that was read, if nothing else of the target may have changed either.
    pub version: Option<String>,
}

/// A write to a workload that belongs to the Kanary. Sent again, it changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The workload.
    pub workload: WorkloadRef,
    /// UID of the workload.
    pub uid: String,
    /// `metadata.generation` of the workload that was read.
    pub generation: i64,
    /// Whether the workload has any labels.
    pub labelled: bool,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Fields of the spec to replace.
    pub spec: Map<String, Value>,
    /// The ownerReference, if somebody has removed it.
    pub owner: Option<Value>,
}

/// Kinds of objects that Kanary creates and deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A canary, or a target that was missing.
    Workload(WorkloadKind),
    /// A Service.
    Service,
    /// A HorizontalPodAutoscaler.
    HorizontalPodAutoscaler,
    /// A ScaledObject of KEDA.
    ScaledObject,
}

impl ObjectKind {
    /// The kind's name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workload(kind) => kind.as_str(),
            Self::Service => "Service",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
        }
    }
}

/// A Kubernetes Event: one fact in the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// A CamelCase word, always the same for the same fact.
    pub reason: EventReason,
    /// A sentence.
    pub note: String,
    /// Whether a user should look into it.
    pub warning: bool,
    /// When the fact became true.
    pub at: Timestamp,
}
