//! The revisions of a StatefulSet that its pods run.

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec},
    core::v1::PodTemplateSpec,
};

use super::ACTOR;
use crate::{
    cluster::Cluster,
    controllers::history::{Keeper, name, template},
    failure::Failure,
};

const KEEPER: Keeper = Keeper {
    actor: ACTOR,
    label: "controller.kubernetes.io/hash",
};

/// The revisions that matter to a reconciliation.
pub(super) struct Revisions {
    /// Name of the revision that the rollout started from.
    pub(super) current: String,
    /// Name of the revision of the present template.
    pub(super) update: String,
    current_template: PodTemplateSpec,
}

impl Revisions {
    /// Makes the revision of the present template the newest.
    pub(super) fn of(cluster: &Cluster, set: &StatefulSet, spec: &StatefulSetSpec) -> Result<Self, Failure> {
        let history = KEEPER.history(cluster, set, &spec.selector, &spec.template)?;
        let update = history.update.map(|update| name(&update)).unwrap_or_default();
        let stored = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = history.all.iter().find(|revision| Some(name(revision)) == stored);
        let revisions = Self {
            current: current.map_or_else(|| update.clone(), |current| name(current)),
            current_template: current
                .and_then(|current| template(current))
                .unwrap_or_else(|| spec.template.clone()),
            update,
        };
        let live = [&revisions.current, &revisions.update];
        KEEPER.clean_up(cluster, &history.all, &live, spec.revision_history_limit)?;
        Ok(revisions)
    }

    /// Template and revision of a new pod: below the partition, it runs the current one.
    pub(super) fn for_new(
        &self,
        ordinal: i32,
        partition: Option<i32>,
        spec: &StatefulSetSpec,
    ) -> (PodTemplateSpec, &str) {
        if partition.is_some_and(|partition| ordinal < partition) {
            return (self.current_template.clone(), &self.current);
        }
        (spec.template.clone(), &self.update)
    }
}
