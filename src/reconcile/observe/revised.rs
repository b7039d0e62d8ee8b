//! Pods that are read live: those of a canary, and those of a target that run the template in place. No watch reports the latter,
//! because they have no labels of a canary.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kanary_core::{
    ParsedKanary,
    api::{
        WorkloadRef,
        names::{KANARY_NAME, POD_REVISION, RUN},
    },
    decision::Need,
    spec::Spec,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectList},
};

use super::Observer;
use crate::{
    cache::{Cached, for_kind, pod_of},
    cluster::{
        client::{CALL_TIMEOUT, within},
        error::ApiError,
    },
};

impl Observer<'_> {
    /// Reads the pods of the target's newest revision, and before a verdict the target as well.
    pub(super) async fn confirm_in_place(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        (need, now): (Need, Timestamp),
    ) -> Result<(), ApiError> {
        let (namespace, name) = (&kanary.key.namespace, &spec.target.name);
        if need == Need::LiveCanary {
            for_kind!(spec.target.kind, K => {
                if let Some(live) = self.read::<K>(kanary, name).await? {
                    K::put(self.cache, &live);
                }
            });
        }
        let target = self.cache.observe(kanary, spec).target;
        let revision = target.as_ref().and_then(|target| target.set.as_ref()?.revision.clone());
        let (Some(target), Some(revision)) = (target, revision) else {
            return Ok(());
        };
        let of_revision = format!("{POD_REVISION}={}", revision.name);
        let pods = self.pods_of(namespace, &spec.target, &of_revision).await?;
        let is_targets = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.uid == target.uid);
        let pods = pods.iter().filter(is_targets).filter_map(pod_of).collect();
        self.memory.set_revised(&kanary.key, revision, now, pods);
        Ok(())
    }

    /// Reads the pods of the run live.
    pub(super) async fn confirm_pods(&self, kanary: &ParsedKanary, spec: &Spec) -> Result<(), ApiError> {
        let of_run = format!("{RUN}={},{KANARY_NAME}={}", kanary.run(spec), kanary.key.name);
        let pods = self.pods_of(&kanary.key.namespace, &spec.canary, &of_run).await?;
        for pod in pods {
            Pod::put(self.cache, &pod);
        }
        Ok(())
    }
    /// Reads the pods with these labels, which are those of a workload.
    async fn pods_of(
        &self,
        namespace: &str,
        WorkloadRef { kind, name }: &WorkloadRef,
        labels: &str,
    ) -> Result<ObjectList<Pod>, ApiError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = within(CALL_TIMEOUT, api.list(&ListParams::default().labels(labels))).await;
        pods.map_err(|error| ApiError::new("list the pods of", kind.as_str().into(), namespace, name, error))
    }
}
