//! Targets and canaries, by kind.

use std::borrow::Cow;

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kanary_core::{
    Key,
    api::{WorkloadKind, names},
    decision::ObjectKind,
    hash,
};
use kube::{ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{
    Cached, Contents, Place,
    index::Index,
    keys,
    table::Store,
    view::{self, WorkloadRow},
};

/// Evaluates an expression in which `$K` is the Kubernetes type of a kind.
macro_rules! for_kind {
    ($kind:expr, $K:ident => $body:expr) => {
        match $kind {
            kanary_core::api::WorkloadKind::Deployment => {
                type $K = k8s_openapi::api::apps::v1::Deployment;
                $body
            }
            kanary_core::api::WorkloadKind::StatefulSet => {
                type $K = k8s_openapi::api::apps::v1::StatefulSet;
                $body
            }
            kanary_core::api::WorkloadKind::DaemonSet => {
                type $K = k8s_openapi::api::apps::v1::DaemonSet;
                $body
            }
        }
    };
}
pub(crate) use for_kind;

/// The Kubernetes type of a kind of targets.
pub(crate) trait Workload:
    Cached<View = WorkloadRow> + kube::Resource<Scope = NamespaceResourceScope> + DeserializeOwned
{
    /// The kind.
    const KIND: WorkloadKind;

    /// What its controller keeps of each pod template.
    type Revision: Revision;

    /// The pod template.
    fn template(&self) -> Option<&PodTemplateSpec>;

    /// The pod template without what Kanary adds to it while a canary runs.
    fn judged_template(&self) -> Option<Cow<'_, PodTemplateSpec>> {
        self.template().map(Cow::Borrowed)
    }

    /// `spec.replicas`.
    fn replicas(&self) -> Option<i32>;

    /// `spec.selector`.
    fn selector(&self) -> Option<&LabelSelector>;
}

impl Workload for Deployment {
    const KIND: WorkloadKind = WorkloadKind::Deployment;

    type Revision = ReplicaSet;

    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.as_ref()?.template)
    }

    fn replicas(&self) -> Option<i32> {
        self.spec.as_ref()?.replicas
    }

    fn selector(&self) -> Option<&LabelSelector> {
        Some(&self.spec.as_ref()?.selector)
    }
}

impl Workload for StatefulSet {
    const KIND: WorkloadKind = WorkloadKind::StatefulSet;

    type Revision = ControllerRevision;

    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.as_ref()?.template)
    }

    fn replicas(&self) -> Option<i32> {
        self.spec.as_ref()?.replicas
    }

    fn selector(&self) -> Option<&LabelSelector> {
        Some(&self.spec.as_ref()?.selector)
    }
}

impl Workload for DaemonSet {
    const KIND: WorkloadKind = WorkloadKind::DaemonSet;

    type Revision = ControllerRevision;

    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.as_ref()?.template)
    }

    fn judged_template(&self) -> Option<Cow<'_, PodTemplateSpec>> {
        view::without_nodes(self)
    }

    fn replicas(&self) -> Option<i32> {
        None
    }

    fn selector(&self) -> Option<&LabelSelector> {
        Some(&self.spec.as_ref()?.selector)
    }
}

/// A revision in the rollout history of a workload. Its controller copies the annotations of the workload to it.
pub(crate) trait Revision:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug
{
    /// Its number. The newest has the highest.
    fn number(&self) -> Option<i64>;

    /// The pod template, as the user wrote it.
    fn template(&self) -> Option<PodTemplateSpec>;
}

impl Revision for ReplicaSet {
    fn number(&self) -> Option<i64> {
        self.annotations().get(names::REVISION)?.parse().ok()
    }

    fn template(&self) -> Option<PodTemplateSpec> {
        let mut template = self.spec.as_ref()?.template.clone()?;
        // The Deployment controller adds this label.
        if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
            labels.remove(names::POD_TEMPLATE_HASH);
        }
        Some(template)
    }
}

impl Revision for ControllerRevision {
    fn number(&self) -> Option<i64> {
        Some(self.revision)
    }

    fn template(&self) -> Option<PodTemplateSpec> {
        let template = self.data.as_ref()?.0.pointer("/spec/template")?;
        // Parsed from text like responses, because a second way to deserialize the type would double its compile time.
        serde_json::from_str(&template.to_string()).ok()
    }
}

/// Hash of a workload's pod template, as [`hash::of`] its JSON: k8s-openapi writes the fields of an object in the order of their
/// names.
#[must_use]
pub(crate) fn template_hash(object: &impl Workload) -> String {
    hash::digest(&serde_json::to_vec(&object.judged_template()).unwrap_or_default())
}

/// Targets and canaries of one kind.
#[derive(Debug, Default)]
pub(super) struct OfKind {
    pub(super) rows: Store<WorkloadRow>,
    /// Kanaries whose target or canary has this name.
    pub(super) named: Index<Place, Key>,
    /// Pods of a workload, by name.
    pub(super) pods: Index<Place, String>,
}

/// Targets and canaries.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    deployments: OfKind,
    stateful_sets: OfKind,
    daemon_sets: OfKind,
}

impl Workloads {
    pub(super) fn of(&self, kind: WorkloadKind) -> &OfKind {
        match kind {
            WorkloadKind::Deployment => &self.deployments,
            WorkloadKind::StatefulSet => &self.stateful_sets,
            WorkloadKind::DaemonSet => &self.daemon_sets,
        }
    }

    pub(super) fn of_mut(&mut self, kind: WorkloadKind) -> &mut OfKind {
        match kind {
            WorkloadKind::Deployment => &mut self.deployments,
            WorkloadKind::StatefulSet => &mut self.stateful_sets,
            WorkloadKind::DaemonSet => &mut self.daemon_sets,
        }
    }

    /// Kanaries whose target or canary has this name, of whatever kind.
    pub(super) fn named(&self, place: &Place) -> Vec<Key> {
        let all = WorkloadKind::ALL.into_iter();
        all.flat_map(|kind| keys(&self.of(kind).named, place)).collect()
    }
}

impl Contents {
    /// Updates the indexes for a workload that was added or removed, and returns the affected Kanaries.
    pub(super) fn touch_workload(
        &mut self,
        kind: WorkloadKind,
        place: &Place,
        row: &WorkloadRow,
        there: bool,
    ) -> Vec<Key> {
        let mut keys = keys(&self.workloads.of(kind).named, place);
        let owner = (row.rest.owner.as_ref(), row.rest.owner_name.as_ref());
        self.enlist_owned(ObjectKind::Workload(kind), place, owner, there, &mut keys);
        keys
    }
}
