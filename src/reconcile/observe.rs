//! All reads for decisions: from the cache, and live where the cache is not enough.

mod history;
mod nodes;
mod revised;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use kanary_core::{
    Key, ParsedKanary,
    api::{
        Kanary, WorkloadKind, WorkloadRef,
        names::{CREATED_BY, PROMOTED_BY},
    },
    decision::Need,
    hash, in_place,
    observation::{Claims, Keda, LiveTarget, Observation, Promotion},
    spec::Spec,
    workload,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use serde::de::DeserializeOwned;

use self::history::{former_template, tried_template};
use crate::{
    cache::{Cache, Cached, for_kind},
    cluster::{
        client::{CALL_TIMEOUT, within},
        error::ApiError,
    },
    places::Places,
    reconcile::{
        act::typed_template,
        kept,
        memory::{self, Memory},
    },
};

/// Reads for decisions.
pub struct Observer<'a> {
    /// The client for live reads.
    pub client: &'a Client,
    /// The cache.
    pub cache: &'a Cache,
    /// The state of the run in memory.
    pub memory: &'a Memory,
    /// Places for canaries, if they are limited.
    pub places: Option<&'a Places>,
    /// How long proxies may need to follow a route. `None` if routes are off.
    pub routes: Option<Duration>,
    /// Kinds of targets that are on.
    pub kinds: &'a BTreeSet<WorkloadKind>,
    /// Whether canaries may have ScaledObjects.
    pub keda: bool,
}

impl Observer<'_> {
    /// Observes the state around a Kanary.
    ///
    /// The watches of different kinds are not synchronized: a Kanary that was applied together with its target and Service may
    /// be reported before they are. An object that seems to be missing is therefore read live once before a decision depends on
    /// it.
    ///
    /// # Errors
    ///
    /// A live read failed.
    pub async fn observe(&self, kanary: &ParsedKanary, spec: &Spec, now: Timestamp) -> Result<Observation, ApiError> {
        let mut seen = self.known(kanary, spec, now);
        let is_refused = seen.refusal.as_ref().is_some_and(|refusal| refusal.retry_at > now);
        if is_refused || kanary.deleting || !spec.is_sound() || seen.kind_is_off {
            // Nothing is created, so nothing depends on missing objects.
            return Ok(seen);
        }
        let mut read = false;
        if seen.target.is_none() {
            let found = for_kind!(spec.target.kind, K => self.confirm::<K>(kanary, &spec.target.name, now).await?);
            read |= found;
            // Only a run that has not begun creates the target. The watch may not have reported its canary yet, for example one
            // whose creation timed out or happened before a restart.
            if !found && seen.canary.is_none() {
                read |= for_kind!(spec.canary.kind, K => self.confirm::<K>(kanary, &spec.canary.name, now).await?);
            }
        }
        if let Some(name) = spec
            .service
            .as_ref()
            .filter(|_| seen.service.is_none() && spec.traffic_needs_service())
        {
            read |= self.confirm::<Service>(kanary, name, now).await?;
        }
        if read || seen.target.is_none() {
            seen = self.known(kanary, spec, now);
        }
        Ok(seen)
    }

    /// The observation without reads.
    fn known(&self, kanary: &ParsedKanary, spec: &Spec, now: Timestamp) -> Observation {
        let mut seen = self.cache.observe(kanary, spec);
        if spec.scale.in_place().is_some() {
            seen.revised = self.memory.revised(&kanary.key);
            in_place::complete(kanary, &mut seen);
        }
        self.memory.recall(kanary, spec, &mut seen);
        if !spec.canary.kind.has_times() {
            let canary = seen.canary.as_ref();
            let canary = canary.filter(|canary| kanary.has(spec, canary, seen.created.as_ref()));
            let is_down = canary.is_some_and(|canary| canary.available_since.is_none());
            seen.down_since = self.memory.down_since(&kanary.key, is_down, now);
        }
        seen.kind_is_off = !self.kinds.contains(&spec.target.kind);
        if !self.keda {
            seen.keda = Keda::Off;
        }
        seen.place = self.places.map(|places| places.look(kanary));
        seen.route_settling = self.routes.unwrap_or_default();
        seen
    }

    /// Reads an object that is not in the cache. Returns whether it exists.
    async fn confirm<K>(&self, kanary: &ParsedKanary, name: &str, now: Timestamp) -> Result<bool, ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned + std::fmt::Debug,
    {
        let is_worth_it = self.memory.is_worth_reading(&kanary.key, &memory::object::<K>(name));
        Ok(is_worth_it && self.is_there::<K>(kanary, name, now).await?)
    }

    /// Reads an object in the Kanary's namespace live, if it exists.
    async fn read<K>(&self, kanary: &ParsedKanary, name: &str) -> Result<Option<K>, ApiError>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let namespace = &kanary.key.namespace;
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let found = within(CALL_TIMEOUT, api.get_opt(name)).await;
        found.map_err(|error| ApiError::new("get", K::kind(&()), namespace, name, error))
    }

    /// Reads live whether an object exists, and remembers if it does not.
    async fn is_there<K>(&self, kanary: &ParsedKanary, name: &str, now: Timestamp) -> Result<bool, ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned + std::fmt::Debug,
    {
        let found = self.read::<K>(kanary, name).await?;
        if let Some(object) = &found {
            K::put(self.cache, object);
        } else {
            self.memory.mark_missing(&kanary.key, memory::object::<K>(name), now);
        }
        Ok(found.is_some())
    }

    /// Reads the Kanary. Returns whether it differs from the version that the decision used.
    ///
    /// # Errors
    ///
    /// A live read failed.
    pub async fn refresh(&self, kanary: &ParsedKanary) -> Result<bool, ApiError> {
        let Key { kind, namespace, name } = &kanary.key;
        let api: Api<Kanary> = Api::namespaced_with(self.client.clone(), namespace, kind);
        let live = within(CALL_TIMEOUT, api.get_opt(name)).await;
        let live = live.map_err(|error| ApiError::new("get", kind.id().into(), namespace, name, error))?;
        let Some(live) = live.filter(|live| live.metadata.uid.as_ref() == Some(&kanary.uid)) else {
            // It is gone. The watch reports a new Kanary of the same name.
            self.cache.forget_kanary(kanary);
            return Ok(true);
        };
        if let Err(error) = self.cache.update_kanary(*kind, &live) {
            tracing::error!(key = %kanary.key, error, "ignoring an object that cannot be parsed");
        }
        Ok(live.metadata.resource_version.as_ref() != Some(&kanary.resource_version))
    }

    /// Reads the objects that a decision asked for.
    ///
    /// # Errors
    ///
    /// A live read failed.
    pub async fn provide(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        need: Need,
        seen: &mut Observation,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        if need == Need::LiveKanary {
            seen.confirmed = true;
            return Ok(());
        }
        if need == Need::Route || need == Need::Endpoints {
            return self.provide_traffic(kanary, spec, need, seen, now).await;
        }
        if need == Need::Kept {
            let read = kept::read(self.client, kanary, spec, (seen.kept.as_ref(), now)).await?;
            self.memory.kept_read(&kanary.key, &read);
            seen.kept = Some(read);
            return Ok(());
        }
        if need == Need::Target {
            // For this decision only, because later decisions use the watch.
            seen.target = for_kind!(spec.target.kind, K => {
                let live = self.read::<K>(kanary, &spec.target.name).await?;
                live.as_ref().and_then(K::view).map(|row| row.workload())
            });
            seen.target_confirmed = true;
            in_place::complete(kanary, seen);
            return Ok(());
        }
        if need == Need::Claims || need == Need::Nodes {
            return self.before_creation(kanary, spec, need, seen).await;
        }
        if need == Need::LivePods {
            self.confirm_pods(kanary, spec).await?;
            self.memory.mark_pods_confirmed(&kanary.key);
            *seen = self.known(kanary, spec, now);
            return Ok(());
        }
        if need == Need::RevisedPods || need == Need::LiveCanary && spec.scale.in_place().is_some() {
            self.confirm_in_place(kanary, spec, (need, now)).await?;
            *seen = self.known(kanary, spec, now);
            seen.confirmed = need == Need::LiveCanary;
            return Ok(());
        }
        if need == Need::LiveCanary {
            let known = seen.canary.as_ref().map(|kanary| kanary.uid.as_str());
            self.confirm_canary(kanary, spec, known).await?;
            *seen = self.known(kanary, spec, now);
            seen.confirmed = true;
            return Ok(());
        }
        if need == Need::MissingTarget {
            let found = for_kind!(spec.target.kind, K => self.is_there::<K>(kanary, &spec.target.name, now).await?);
            *seen = self.known(kanary, spec, now);
            seen.confirmed = !found;
            return Ok(());
        }
        self.provide_target(kanary, spec, need, seen).await
    }

    /// Reads the target with all fields, and its rollout history if needed.
    async fn provide_target(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        need: Need,
        seen: &mut Observation,
    ) -> Result<(), ApiError> {
        let mut target = self.target(kanary, spec).await?;
        let marker = kanary.marker(spec);
        let promoted = |object: &BTreeMap<String, String>| object.get(PROMOTED_BY) == Some(&marker);
        let is_known = seen.promotion != Promotion::Unknown || promoted(target.annotations());
        let history = if need == Need::LiveTarget && is_known {
            Vec::new()
        } else {
            for_kind!(spec.target.kind, K => self.history::<K>(kanary, spec, &target).await?)
        };
        if need == Need::FormerTemplate {
            seen.former_template = former_template(&history, &kanary.status);
            seen.tried_template = tried_template(&history, kanary, in_place::written(kanary, seen));
            seen.no_former_template = seen.former_template.is_none();
        }
        // The annotations of a revision survive an undo.
        let was_promoted = history.iter().any(|past| promoted(&past.annotations));
        if was_promoted && !promoted(target.annotations()) {
            // A promotion by another controller, or a late one, may have happened between the two reads.
            target = self.target(kanary, spec).await?;
        }
        let annotation = |name: &str| target.annotations().get(name).cloned();
        let template = target.data.pointer("/spec/template").cloned().unwrap_or_default();
        let strategy = target.data.pointer("/spec/updateStrategy/rollingUpdate");
        let strategy_is_bare = strategy.is_none_or(serde_json::Value::is_null);
        seen.live_target = Some(LiveTarget {
            uid: target.uid().unwrap_or_default(),
            created: target.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            template_hash: hash::of(&typed_template(&template)),
            template,
            generation: target.metadata.generation,
            resource_version: target.metadata.resource_version.clone(),
            strategy_is_bare,
            annotated: target.metadata.annotations.is_some(),
            promoted_by: annotation(PROMOTED_BY),
            created_by: annotation(CREATED_BY),
            was_promoted,
        });
        // Update the cache, because the target that was read is compared with it and the cache must not be older.
        for_kind!(spec.target.kind, K => {
            if let Ok(target) = serde_json::from_str::<K>(&serde_json::to_string(&target).unwrap_or_default()) {
                K::put(self.cache, &target);
                seen.target = self.cache.observe(kanary, spec).target;
            }
        });
        in_place::complete(kanary, seen);
        Ok(())
    }

    /// The target with all fields, because its template is the precondition of a write.
    async fn target(&self, kanary: &ParsedKanary, spec: &Spec) -> Result<DynamicObject, ApiError> {
        let namespace = &kanary.key.namespace;
        let WorkloadRef { kind, name } = &spec.target;
        let resource = for_kind!(*kind, K => ApiResource::erase::<K>(&()));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let target = within(CALL_TIMEOUT, api.get(name)).await;
        target.map_err(|error| ApiError::new("get", kind.as_str().into(), namespace, name, error))
    }

    /// Reads the canary live, and its pods if their labels are checked or they alone show since when it is available. `known` is the uid of the cached canary.
    async fn confirm_canary(&self, kanary: &ParsedKanary, spec: &Spec, known: Option<&str>) -> Result<(), ApiError> {
        let namespace = &kanary.key.namespace;
        let name = &spec.canary.name;
        for_kind!(spec.canary.kind, K => {
            if let Some(live) = self.read::<K>(kanary, name).await? {
                K::put(self.cache, &live);
            } else {
                let place = (namespace.clone(), name.clone());
                K::forget(self.cache, &place, known.unwrap_or_default());
            }
        });
        if !spec.canary.kind.has_times() || spec.validation.judges_pods() {
            self.confirm_pods(kanary, spec).await?;
        }
        Ok(())
    }

    /// Reads what the creation of a canary depends on, for some kinds of targets.
    async fn before_creation(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        need: Need,
        seen: &mut Observation,
    ) -> Result<(), ApiError> {
        if need == Need::Nodes {
            seen.nodes = Some(self.nodes(kanary, spec, seen.target.as_ref()).await?);
        } else {
            seen.claims = Some(self.claims(kanary, spec).await?);
        }
        Ok(())
    }

    /// The volume claims of earlier canaries, and those of others that a pod of the canary would get. The latter have any labels.
    async fn claims(&self, kanary: &ParsedKanary, spec: &Spec) -> Result<Claims, ApiError> {
        let Key { kind, namespace, name } = &kanary.key;
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let all = within(CALL_TIMEOUT, api.list_metadata(&ListParams::default())).await;
        let all = all.map_err(|error| {
            let verb = "list the volume claims of";
            ApiError::new(verb, kind.as_str().into(), namespace, name, error)
        })?;
        let mut claims = Claims::default();
        for claim in all {
            if kanary.is_named_by(claim.labels()) {
                claims.earlier.push(claim.name_any());
            } else if workload::would_take(&spec.canary, &spec.template, &claim.name_any()) {
                claims.others.push(claim.name_any());
            }
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
