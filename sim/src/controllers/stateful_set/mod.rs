//! The StatefulSet controller: pods with stable names and volumes of their own, in order.

mod claims;
mod identity;
mod revision;
mod status;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec},
    core::v1::Pod,
};

use self::revision::Revisions;
use super::claim::{available_in, claim, delete_pod, is_over, unless_gone};
use crate::{cluster::Cluster, failure::Failure, store::Place};

const ACTOR: &str = "system:serviceaccount:kube-system:statefulset-controller";

/// One reconciliation of a StatefulSet.
struct Sync<'a> {
    cluster: &'a Cluster,
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    revisions: Revisions,
    /// The pods, by ordinal.
    pods: BTreeMap<i32, Arc<Pod>>,
}

/// Reconciles a StatefulSet and returns when to reconcile it again.
pub(super) fn sync(cluster: &Cluster, place: &Place) -> Result<Option<Duration>, Failure> {
    let Some(set) = cluster.get::<StatefulSet>(&place.0, &place.1) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else { return Ok(None) };
    let pods: Vec<Arc<Pod>> = claim(cluster, ACTOR, &*set, &spec.selector)?;
    let ordinal = |pod: Arc<Pod>| Some((identity::ordinal(&place.1, &pod)?, pod));
    let sync = Sync {
        cluster,
        set: &set,
        spec,
        revisions: Revisions::of(cluster, &set, spec)?,
        pods: pods.into_iter().filter_map(ordinal).collect(),
    };
    let managed = if set.metadata.deletion_timestamp.is_none() {
        sync.manage()
    } else {
        Ok(())
    };
    let (status, next) = sync.status();
    if set.status.as_ref() != Some(&status) {
        let mut written = Arc::unwrap_or_clone(set.clone());
        written.status = Some(status);
        unless_gone(cluster.update_status(ACTOR, written))?;
    }
    managed.map(|()| next)
}

impl Sync<'_> {
    fn start(&self) -> i32 {
        self.spec
            .ordinals
            .as_ref()
            .and_then(|ordinals| ordinals.start)
            .unwrap_or_default()
    }

    fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn is_parallel(&self) -> bool {
        self.spec.pod_management_policy.as_deref() == Some("Parallel")
    }

    /// The lowest ordinal that runs the newest template, or `None` if the user replaces the pods.
    fn partition(&self) -> Option<i32> {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        Some(self.start() + rolling.and_then(|rolling| rolling.partition).unwrap_or_default())
    }

    fn is_available(&self, pod: &Pod) -> bool {
        available_in(self.cluster, pod, self.spec.min_ready_seconds).is_some_and(|wait| wait.is_zero())
    }

    /// One step: creates missing pods, deletes surplus ones, or replaces one of a former template. Without `Parallel`, each pod waits
    /// for those before it.
    fn manage(&self) -> Result<(), Failure> {
        let ordinals = self.start()..self.start().saturating_add(self.wanted());
        for ordinal in ordinals.clone() {
            claims::ensure(
                self.cluster,
                self.set,
                self.spec,
                ordinal,
                self.pods.get(&ordinal),
                false,
            )?;
            match self.pods.get(&ordinal) {
                None => {
                    let (template, hash) = self.revisions.for_new(ordinal, self.partition(), self.spec);
                    let pod = identity::draft(self.set, self.spec, template, hash, ordinal);
                    self.cluster.create(ACTOR, &pod)?;
                    if !self.is_parallel() {
                        return Ok(());
                    }
                }
                Some(pod) if is_over(pod) => {
                    self.delete(pod)?;
                    return Ok(());
                }
                Some(pod) if !self.is_parallel() && !self.is_available(pod) => return Ok(()),
                Some(_) => {}
            }
        }
        for (ordinal, pod) in self
            .pods
            .iter()
            .rev()
            .filter(|(ordinal, _)| !ordinals.contains(ordinal))
        {
            if pod.metadata.deletion_timestamp.is_none() {
                claims::ensure(self.cluster, self.set, self.spec, *ordinal, Some(pod), true)?;
                self.delete(pod)?;
            }
            if !self.is_parallel() {
                return Ok(());
            }
        }
        self.roll()
    }

    /// Replaces the highest pod of a former template, after those above it are available.
    fn roll(&self) -> Result<(), Failure> {
        let Some(partition) = self.partition() else {
            return Ok(());
        };
        let end = self.start().saturating_add(self.wanted());
        for (_, pod) in self
            .pods
            .range(..end)
            .rev()
            .take_while(|(ordinal, _)| **ordinal >= partition)
        {
            let is_leaving = pod.metadata.deletion_timestamp.is_some();
            if !is_leaving && identity::revision(pod) != Some(&self.revisions.update) {
                return self.delete(pod);
            }
            if !self.is_available(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn delete(&self, pod: &Pod) -> Result<(), Failure> {
        delete_pod(self.cluster, ACTOR, pod)
    }
}
