//! Every read that a decision rests on: from the cache, and live where the cache is not enough.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{PodTemplateSpec, Service},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
    core::{ApiResource, Selector},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    act::{timeout, typed_template},
    api::names::PROMOTED_BY,
    cache::{Cache, Cached},
    canary::{
        Canary,
        canary::Spec,
        decision::Need,
        hash,
        observation::{LiveTarget, Observation},
    },
    error::ApiError,
    memory::Memory,
};

/// Reads for decisions.
pub struct Observer<'a> {
    /// For live reads.
    pub client: &'a Client,
    /// What is known.
    pub cache: &'a Cache,
    /// What is remembered.
    pub memory: &'a Memory,
}

impl Observer<'_> {
    /// What is to be seen of the cluster around a Kanary.
    ///
    /// The watches of different kinds are not in step: a Kanary that was applied together with its target and Service may
    /// be known before they are. So what seems to be missing is read once, live, before anything rests on its absence.
    ///
    /// # Errors
    ///
    /// A live read that failed.
    pub async fn observe(&self, canary: &Canary, spec: &Spec, now: Timestamp) -> Result<Observation, ApiError> {
        let mut seen = self.cache.observe(canary, spec);
        (seen.tallies, seen.refusal) = self.memory.recall(canary, spec);
        if seen.refusal.as_ref().is_some_and(|refusal| refusal.retry_at > now) {
            // Nothing is created before the refusal's time is up, so nothing rests on what is missing either.
            return Ok(seen);
        }
        let mut read = false;
        if seen.target.is_none() {
            read |= self.confirm::<Deployment>(canary, &spec.target).await?;
        }
        if let Some(name) = spec
            .service
            .as_ref()
            .filter(|_| seen.service.is_none() && spec.traffic_needs_service())
        {
            read |= self.confirm::<Service>(canary, name).await?;
        }
        if read {
            let known = self.cache.observe(canary, spec);
            seen = Observation {
                tallies: seen.tallies,
                refusal: seen.refusal,
                ..known
            };
        }
        Ok(seen)
    }

    /// Reads an object that the cache does not have. Whether it is there after all.
    async fn confirm<K>(&self, canary: &Canary, name: &str) -> Result<bool, ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned + std::fmt::Debug,
    {
        let object = format!("{}/{name}", K::kind(&()));
        if !self.memory.is_worth_reading(&canary.key, &object) {
            return Ok(false);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &canary.key.namespace);
        let found = timeout(api.get_opt(name)).await;
        let found = found.map_err(|error| ApiError::new("get", K::kind(&()), &canary.key.namespace, name, error))?;
        if let Some(object) = &found {
            K::put(self.cache, object);
        } else {
            self.memory.mark_missing(&canary.key, object);
        }
        Ok(found.is_some())
    }

    /// Reads what a decision asked for.
    ///
    /// # Errors
    ///
    /// A live read that failed.
    pub async fn provide(
        &self,
        canary: &Canary,
        spec: &Spec,
        need: Need,
        seen: &mut Observation,
    ) -> Result<(), ApiError> {
        let target = self.target(canary, spec).await?;
        if need == Need::FormerTemplate {
            seen.former_template = self.former_template(canary, spec, &target).await?;
        }
        let annotation = target.annotations().get(PROMOTED_BY).cloned();
        let template = target.data.pointer("/spec/template").cloned().unwrap_or_default();
        seen.live_target = Some(LiveTarget {
            uid: target.uid().unwrap_or_default(),
            template_hash: hash::of(&typed_template(&template)),
            template,
            annotated: target.metadata.annotations.is_some(),
            promoted_by: annotation,
        });
        Ok(())
    }

    /// The target to the letter: its template is the precondition of a write.
    async fn target(&self, canary: &Canary, spec: &Spec) -> Result<DynamicObject, ApiError> {
        let namespace = &canary.key.namespace;
        let resource = ApiResource::erase::<Deployment>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let target = timeout(api.get(&spec.target)).await;
        target.map_err(|error| ApiError::new("get", "Deployment".into(), namespace, &spec.target, error))
    }

    /// The template that the target had when the run started, from its rollout history.
    async fn former_template(
        &self,
        canary: &Canary,
        spec: &Spec,
        target: &DynamicObject,
    ) -> Result<Option<Value>, ApiError> {
        let namespace = &canary.key.namespace;
        let selector: LabelSelector = target
            .data
            .pointer("/spec/selector")
            .and_then(|selector| serde_json::from_value(selector.clone()).ok())
            .unwrap_or_default();
        let Ok(selector) = Selector::try_from(selector) else {
            return Ok(None);
        };
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), namespace);
        let history = timeout(api.list(&ListParams::default().labels_from(&selector))).await;
        let history =
            history.map_err(|error| ApiError::new("list", "ReplicaSet".into(), namespace, &spec.target, error))?;
        let is_former = |template: &PodTemplateSpec| {
            let template = serde_json::to_value(template).unwrap_or_default();
            Some(hash::of(&template)) == canary.status.target_hash
        };
        let template = history
            .items
            .into_iter()
            .filter(|set| {
                set.owner_references()
                    .iter()
                    .any(|owner| Some(&owner.uid) == target.metadata.uid.as_ref())
            })
            .filter_map(|set| set.spec?.template)
            .map(without_hash_label)
            .find(is_former);
        Ok(template.and_then(|template| serde_json::to_value(template).ok()))
    }
}

/// The Deployment controller adds a label to the templates of its ReplicaSets.
fn without_hash_label(mut template: PodTemplateSpec) -> PodTemplateSpec {
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove("pod-template-hash");
    }
    template
}
