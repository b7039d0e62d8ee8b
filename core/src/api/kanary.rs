//! One Rust type for every Kanary kind. Parsing is lenient, so that an invalid object does not make a list unreadable.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::{Resource, object::HasStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::{GROUP, VERSION};

/// The kinds that share [`KanarySpec`](super::KanarySpec).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KanaryKind {
    /// `KanaryDeployment`, the kind of the first published API.
    Deployment,
    /// `KanaryStatefulset`, the second published name of exactly the same spec.
    Statefulset,
}

impl KanaryKind {
    /// Every kind that is served.
    pub const ALL: [Self; 2] = [Self::Deployment, Self::Statefulset];

    /// `KanaryDeployment`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "KanaryDeployment",
            Self::Statefulset => "KanaryStatefulset",
        }
    }

    /// `kanarydeployments`, …
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "kanarydeployments",
            Self::Statefulset => "kanarystatefulsets",
        }
    }

    /// `kanarydeployment`, …
    #[must_use]
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Deployment => "kanarydeployment",
            Self::Statefulset => "kanarystatefulset",
        }
    }

    /// Short names for kubectl.
    #[must_use]
    pub const fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &["kd", "kanary"],
            Self::Statefulset => &["ks"],
        }
    }

    /// The kind called `name`, or `None` if it is not a Kanary kind.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for KanaryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A Kanary as the API server sends it. `spec` and `status` stay raw, so that an object that cannot be parsed does not break the
/// watch for the others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kanary {
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The raw [`KanarySpec`](super::KanarySpec).
    #[serde(default)]
    pub spec: Value,
    /// The raw [`KanaryStatus`](super::KanaryStatus).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

impl Resource for Kanary {
    type DynamicType = KanaryKind;
    type Scope = kube_core::DynamicResourceScope;

    fn kind(kind: &KanaryKind) -> Cow<'_, str> {
        kind.as_str().into()
    }

    fn group(_: &KanaryKind) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version(_: &KanaryKind) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural(kind: &KanaryKind) -> Cow<'_, str> {
        kind.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl HasStatus for Kanary {
    type Status = Value;

    fn status(&self) -> Option<&Value> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<Value> {
        &mut self.status
    }
}
