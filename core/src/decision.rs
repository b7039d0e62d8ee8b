//! The whole vocabulary of effects. What is not here, Kanary does not do.

use super::api::EventReason;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::KanaryStatus;

/// What is to be done about one Kanary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Writes, in this order; the first that fails stops the rest.
    pub actions: Vec<Action>,
    /// The next status, if it differs from what was read. Written after the actions.
    pub status: Option<KanaryStatus>,
    /// Validation items, by index, whose query is due.
    pub checks: Vec<usize>,
    /// When to look again if nothing happens before. `None`: only an event can change anything.
    pub wake: Option<Timestamp>,
    /// What has to be read from the API server before the next step can be decided.
    pub needs: Option<Need>,
    /// The actions take a failed canary out of production: one that fails is told to the next decision at once, which
    /// tries another way.
    pub leaves: bool,
}

impl Decision {
    /// Nothing can be decided before this was read.
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
    /// The target as it is now, before it is promoted.
    LiveTarget,
    /// Whether the target already has the template that the run gives it; the API server is asked, by a dry run. Asked only
    /// where the reply to the promotion is not known.
    SameTemplate,
    /// Whether the target is missing, before it is created.
    MissingTarget,
    /// The target as it is now and the template that it had before, for a rollback.
    FormerTemplate,
    /// The canary as it is now, before it passes, or fails because it is not available: a watch may be behind without
    /// anybody noticing.
    LiveCanary,
    /// The target as it is now, before the run fails for what its watch told: the watch may be behind.
    Target,
    /// The pods of this run as they are now, before a failed canary that is retained counts as out of production.
    LivePods,
    /// The Kanary as it is now, before a canary of another template is taken away: it may be the newer one.
    LiveKanary,
}

/// A write to the cluster. Names are in the Kanary's namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create this object. One that exists and has the same owner is as good.
    Create {
        /// Which kind of object.
        object: ObjectKind,
        /// Its name.
        name: String,
        /// The whole object.
        manifest: Value,
    },
    /// Set the canary's number of replicas.
    ScaleCanary {
        /// Name of the canary.
        name: String,
        /// Its uid: another Deployment of that name is left alone.
        uid: String,
        /// The number.
        replicas: i32,
    },
    /// Write a pod template to the target, if the target still has the one that was read.
    SetTemplate(SetTemplate),
    /// Hand what our field manager owns of the target's template over to the manager that applies it.
    HandOver {
        /// Name of the target.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Take labels off a pod, so that the production Service lets go of it.
    Unlabel {
        /// Name of the pod.
        pod: String,
        /// Its uid.
        uid: String,
        /// The labels.
        labels: Vec<String>,
    },
    /// Make the Kanary an owner of a pod that nobody controls, so that it goes with the Kanary.
    Adopt {
        /// Name of the pod.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Delete an object, if it still is the one that was read.
    Delete {
        /// Which kind of object.
        object: ObjectKind,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
}

/// A write of a pod template to the target.
#[derive(Clone, Debug, PartialEq)]
pub struct SetTemplate {
    /// Name of the target.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The pod template that was read.
    pub former: Value,
    /// The pod template to write.
    pub template: Value,
    /// Number of the target's version that was read: a template that comes back is another version.
    pub revision: Option<String>,
    /// Whether the target has annotations to add to.
    pub annotated: bool,
    /// The annotation that says who did it.
    pub marker: String,
    /// What `kubectl rollout history` shows.
    pub cause: String,
}

/// Kinds of objects that Kanary creates and deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the Kubernetes kinds of these names")]
pub enum ObjectKind {
    Deployment,
    Service,
    HorizontalPodAutoscaler,
}

impl ObjectKind {
    /// The Kubernetes kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        }
    }
}

/// A Kubernetes Event: one fact that the status states.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// One CamelCase word, the same for the same fact.
    pub reason: EventReason,
    /// A sentence.
    pub note: String,
    /// Whether somebody should look.
    pub warning: bool,
    /// When the fact became true.
    pub at: Timestamp,
}
