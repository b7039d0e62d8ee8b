//! One Rust type for every Kanary kind. Parsing is lenient, so that an invalid object does not make a list unreadable.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::{Resource, object::HasStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    WorkloadKind,
    names::{CANARY_APP_GROUP, CANARY_DEPLOYMENT_GROUP, GROUP, OLD_GROUP, VERSION},
};

/// The kinds that are served: those that share [`KanarySpec`](super::KanarySpec), and front ends, whose spec is translated into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KanaryKind {
    /// `KanaryDeployment`, the kind of the first published API.
    Deployment,
    /// `KanaryStatefulset`, the second published name of exactly the same spec.
    Statefulset,
    /// `KanaryDeployment` of the group in which the API was published first, with the same spec.
    OldDeployment,
    /// `CanaryApp`, a front end.
    CanaryApp,
    /// `CanaryDeployment`, a front end.
    CanaryDeployment,
    /// `KanaryDaemonset`, with the same spec for targets that are DaemonSets by default.
    Daemonset,
}

impl KanaryKind {
    /// Every kind that can be served.
    pub const ALL: [Self; 6] = [
        Self::Deployment,
        Self::Statefulset,
        Self::OldDeployment,
        Self::CanaryApp,
        Self::CanaryDeployment,
        Self::Daemonset,
    ];

    /// The kinds that every controller serves.
    pub const ALWAYS: [Self; 2] = [Self::Deployment, Self::Statefulset];

    /// The kinds that a controller serves only if it is told to (`--kinds`).
    pub const OPTIONAL: [Self; 4] = [
        Self::OldDeployment,
        Self::CanaryApp,
        Self::CanaryDeployment,
        Self::Daemonset,
    ];

    /// `kind` in a manifest. Two kinds of different groups may have the same: see [`KanaryKind::id`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment | Self::OldDeployment => "KanaryDeployment",
            Self::Statefulset => "KanaryStatefulset",
            Self::CanaryApp => "CanaryApp",
            Self::CanaryDeployment => "CanaryDeployment",
            Self::Daemonset => "KanaryDaemonset",
        }
    }

    /// The name that no other kind has, with the group unless it is [`GROUP`]: `KanaryDeployment`,
    /// `KanaryDeployment.kanary.k8s.io`. It is a valid value of a label, and kubectl understands it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Deployment => "KanaryDeployment",
            Self::Statefulset => "KanaryStatefulset",
            Self::OldDeployment => "KanaryDeployment.kanary.k8s.io",
            Self::CanaryApp => "CanaryApp.canary.atze.io",
            Self::CanaryDeployment => "CanaryDeployment.kanarini.nilebox.github.com",
            Self::Daemonset => "KanaryDaemonset",
        }
    }

    /// The API group.
    #[must_use]
    pub const fn api_group(self) -> &'static str {
        match self {
            Self::Deployment | Self::Statefulset | Self::Daemonset => GROUP,
            Self::OldDeployment => OLD_GROUP,
            Self::CanaryApp => CANARY_APP_GROUP,
            Self::CanaryDeployment => CANARY_DEPLOYMENT_GROUP,
        }
    }

    /// The version that is served and stored.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Deployment | Self::Statefulset | Self::OldDeployment | Self::CanaryDeployment | Self::Daemonset => {
                VERSION
            }
            Self::CanaryApp => "v1",
        }
    }

    /// `apiVersion` in a manifest.
    #[must_use]
    pub fn api_version(self) -> String {
        format!("{}/{}", self.api_group(), self.version())
    }

    /// `kanarydeployments`, …
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Deployment | Self::OldDeployment => "kanarydeployments",
            Self::Statefulset => "kanarystatefulsets",
            Self::Daemonset => "kanarydaemonsets",
            Self::CanaryApp => "canaryapps",
            Self::CanaryDeployment => "canarydeployments",
        }
    }

    /// The plural that no other kind has, with the group unless it is [`GROUP`], as kubectl understands it.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Deployment | Self::Statefulset | Self::Daemonset => self.plural(),
            Self::OldDeployment => "kanarydeployments.kanary.k8s.io",
            Self::CanaryApp => "canaryapps.canary.atze.io",
            Self::CanaryDeployment => "canarydeployments.kanarini.nilebox.github.com",
        }
    }

    /// The singular of [`KanaryKind::resource`].
    #[must_use]
    pub const fn singular_resource(self) -> &'static str {
        match self {
            Self::Deployment | Self::Statefulset | Self::Daemonset => self.singular(),
            Self::OldDeployment => "kanarydeployment.kanary.k8s.io",
            Self::CanaryApp => "canaryapp.canary.atze.io",
            Self::CanaryDeployment => "canarydeployment.kanarini.nilebox.github.com",
        }
    }

    /// `kanarydeployment`, …
    #[must_use]
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Deployment | Self::OldDeployment => "kanarydeployment",
            Self::Statefulset => "kanarystatefulset",
            Self::Daemonset => "kanarydaemonset",
            Self::CanaryApp => "canaryapp",
            Self::CanaryDeployment => "canarydeployment",
        }
    }

    /// Whether objects of this kind have a spec of their own, which is translated.
    #[must_use]
    pub const fn is_front_end(self) -> bool {
        super::face::of(self).is_some()
    }

    /// Short names for kubectl. Those of a second group would make them ambiguous.
    #[must_use]
    pub const fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &["kd", "kanary"],
            Self::Statefulset => &["ks"],
            Self::Daemonset => &["kds"],
            Self::OldDeployment | Self::CanaryApp => &[],
            Self::CanaryDeployment => &["cd", "canary"],
        }
    }

    /// The kind of a target that the spec does not name.
    #[must_use]
    pub const fn target_kind(self) -> WorkloadKind {
        match self {
            Self::Daemonset => WorkloadKind::DaemonSet,
            Self::Statefulset => WorkloadKind::StatefulSet,
            _ => WorkloadKind::Deployment,
        }
    }

    /// The kind with this [`id`](Self::id), or `None` if it is not a Kanary kind.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The kind of a manifest or of an owner reference, in any version, or `None` if it is not a Kanary kind.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, _) = api_version.split_once('/')?;
        let is_it = |known: &Self| known.api_group() == group && known.as_str() == kind;
        Self::ALL.into_iter().find(is_it)
    }
}

impl fmt::Display for KanaryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
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

    fn group(kind: &KanaryKind) -> Cow<'_, str> {
        kind.api_group().into()
    }

    fn version(kind: &KanaryKind) -> Cow<'_, str> {
        kind.version().into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_optional_kinds_are_the_others() {
        let mut kinds = Vec::from(KanaryKind::ALWAYS);
        kinds.extend(KanaryKind::OPTIONAL);
        assert_eq!(kinds, KanaryKind::ALL);
    }

    #[test]
    fn a_kind_is_found_by_what_names_it_alone() {
        for kind in KanaryKind::ALL {
            assert_eq!(KanaryKind::parse(kind.id()), Some(kind));
            assert_eq!(KanaryKind::of(&kind.api_version(), kind.as_str()), Some(kind));
        }
        assert_eq!(
            KanaryKind::of("kanary.k8s-operators.dev/v2", "KanaryDeployment"),
            Some(KanaryKind::Deployment)
        );
        for (api_version, kind) in [
            ("example.com/v1alpha1", "KanaryDeployment"),
            ("v1alpha1", "KanaryDeployment"),
            ("kanary.k8s.io/v1alpha1", "KanaryStatefulset"),
        ] {
            assert_eq!(KanaryKind::of(api_version, kind), None, "{api_version} {kind}");
        }
    }
}
