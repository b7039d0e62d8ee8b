//! Kinds of workloads: what a target can be, and its canary with it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of target. Its canary is of the same kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "the kinds of apps/v1 of these names; docs here would make the schema a oneOf"
)]
pub enum WorkloadKind {
    #[default]
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// The kind's name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// `deployments`, …
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }

    /// Whether its status has times: since when it is available, which otherwise only its pods show, and when its rollout last made
    /// progress.
    #[must_use]
    pub const fn has_times(self) -> bool {
        match self {
            Self::Deployment => true,
            Self::StatefulSet | Self::DaemonSet => false,
        }
    }

    /// Whether its spec has a number of replicas. Otherwise it has a pod on each of its nodes.
    #[must_use]
    pub const fn has_replicas(self) -> bool {
        match self {
            Self::Deployment | Self::StatefulSet => true,
            Self::DaemonSet => false,
        }
    }

    /// The kind called `name`, or `None` if it is not a kind of target.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A target or a canary, in the Kanary's namespace. It is shown as `Deployment myapp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

impl WorkloadRef {
    /// The workload of this kind and name.
    #[must_use]
    pub fn new(kind: WorkloadKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }

    /// The canary of a Kanary on this target.
    #[must_use]
    pub fn canary(&self, kanary: &str) -> Self {
        Self::new(self.kind, super::names::canary_name(&self.name, kanary))
    }

    /// `deployment/myapp`, as an argument of kubectl.
    #[must_use]
    pub fn argument(&self) -> String {
        format!("{}/{}", self.kind.as_str().to_lowercase(), self.name)
    }

    /// As the status reports it: `myapp`, and `StatefulSet/web` for another kind than a Deployment.
    #[must_use]
    pub fn reported(&self) -> String {
        if self.kind == WorkloadKind::default() {
            self.name.clone()
        } else {
            self.key()
        }
    }

    /// The workload that the status reports. `None` if it reports none.
    #[must_use]
    pub fn from_report(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/').unwrap_or((WorkloadKind::default().as_str(), text));
        let kind = WorkloadKind::parse(kind)?;
        (!name.is_empty()).then(|| Self::new(kind, name))
    }

    /// `Deployment/myapp`, as kubectl writes it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
