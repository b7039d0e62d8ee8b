//! The Deployment controller.

mod limits;
mod revision;
mod rolling;
mod scale;
mod status;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};

use super::claim::{claim, unless_gone};
use crate::{cluster::Cluster, failure::Failure, store::Place, write::DeleteOptions};

const ACTOR: &str = "system:serviceaccount:kube-system:deployment-controller";

/// Label that distinguishes the ReplicaSets of a Deployment and their pods.
const HASH: &str = "pod-template-hash";

/// One reconciliation of a Deployment and its ReplicaSets.
struct Rollout<'a> {
    cluster: &'a Cluster,
    deployment: Arc<Deployment>,
    spec: &'a DeploymentSpec,
    /// The stored status.
    stored: Option<DeploymentStatus>,
    /// The ReplicaSet of the current template.
    new: Option<Arc<ReplicaSet>>,
    /// The other ReplicaSets, sorted by age.
    old: Vec<Arc<ReplicaSet>>,
}

/// Reconciles a Deployment and returns when to reconcile it again.
pub(super) fn sync(cluster: &Cluster, place: &Place) -> Result<Option<Duration>, Failure> {
    let Some(deployment) = cluster.get::<Deployment>(&place.0, &place.1) else {
        return Ok(None);
    };
    let looked_at = deployment.clone();
    let Some(spec) = &looked_at.spec else {
        return Ok(None);
    };
    let mut sets: Vec<Arc<ReplicaSet>> = claim(cluster, ACTOR, &*deployment, &spec.selector)?;
    sets.sort_by_cached_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
    let mut rollout = Rollout {
        cluster,
        stored: deployment.status.clone(),
        deployment,
        spec,
        new: None,
        old: Vec::new(),
    };
    let new = sets.iter().position(|set| revision::is_of(set, &rollout.spec.template));
    rollout.new = new.map(|index| sets.remove(index));
    rollout.old = sets;
    rollout.sync()
}

/// Desired replicas of a ReplicaSet.
fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Existing replicas of a ReplicaSet.
fn present(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Available replicas of a ReplicaSet.
fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or_default()
}

impl Rollout<'_> {
    fn sync(&mut self) -> Result<Option<Duration>, Failure> {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            self.write_status()?;
            return Ok(None);
        }
        self.note_pause();
        self.sync_revision()?;
        if self.spec.paused == Some(true) || self.is_scaling() {
            self.scale()?;
            if self.spec.paused == Some(true) {
                self.clean_up()?;
            }
            self.write_status()?;
            return Ok(None);
        }
        if self.is_rolling() {
            self.roll()?;
        } else {
            self.recreate()?;
        }
        self.write_progress()
    }

    fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new).map(|set| &**set)
    }

    fn is_rolling(&self) -> bool {
        let strategy = self
            .spec
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.type_.as_deref());
        strategy != Some("Recreate")
    }

    /// One step of a rolling update: scales up, or otherwise down.
    fn roll(&mut self) -> Result<(), Failure> {
        if self.new.is_none() {
            self.create_new()?;
        }
        if !self.scale_new()? && !self.scale_old()? && self.is_complete() {
            self.clean_up()?;
        }
        Ok(())
    }

    /// One step of the `Recreate` strategy: scales everything down, and scales up after the old pods have ended.
    fn recreate(&mut self) -> Result<(), Failure> {
        let mut scaled = false;
        for index in 0..self.old.len() {
            scaled |= self.scale_old_to(index, 0)?;
        }
        if scaled || self.has_old_pods() {
            return Ok(());
        }
        if self.new.is_none() {
            self.create_new()?;
        }
        self.scale_new_to(self.wanted())?;
        if self.is_complete() {
            self.clean_up()?;
        }
        Ok(())
    }

    fn has_old_pods(&self) -> bool {
        self.old.iter().any(|set| {
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            let is_over = |pod: &Pod| {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                matches!(phase, Some("Failed" | "Succeeded"))
            };
            present(set) > 0 || !self.cluster.owned::<Pod>(uid).iter().all(|pod| is_over(pod))
        })
    }

    /// Deletes the oldest ReplicaSets beyond `revisionHistoryLimit`.
    fn clean_up(&mut self) -> Result<(), Failure> {
        let Some(limit) = self.spec.revision_history_limit else {
            return Ok(());
        };
        let mut alive: Vec<_> = self
            .old
            .iter()
            .filter(|set| set.metadata.deletion_timestamp.is_none())
            .collect();
        alive.sort_by_key(|set| revision::of(&set.metadata));
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        for set in alive.into_iter().take(surplus) {
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            let seen = observed.unwrap_or_default() >= set.metadata.generation.unwrap_or_default();
            if size(set) == 0 && present(set) == 0 && seen {
                let meta = &set.metadata;
                let place = (
                    meta.namespace.clone().unwrap_or_default(),
                    meta.name.clone().unwrap_or_default(),
                );
                let deleted = self
                    .cluster
                    .delete(ACTOR, "replicasets.apps", &place, &DeleteOptions::default());
                unless_gone(deleted)?;
            }
        }
        Ok(())
    }
}
