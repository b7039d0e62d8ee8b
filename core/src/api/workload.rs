//! Kinds of workloads: what a target can be, and its canary with it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of target. Its canary is of the same kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// A Deployment of apps/v1.
    #[default]
    Deployment,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 1] = [Self::Deployment];

    /// The kind's name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
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
