//! The only module that writes about runs. Other writes are about ownership (`shard`: Leases, the number of shards, and the
//! slots of Kanaries) and about limits (`places`: the `ConfigMap` with the places).
//!
//! Every write has a precondition that makes repeated or late execution safe: a deterministic name, a uid, a resourceVersion, or
//! the template that was read. Responses update the cache, so that the next decision includes them.

mod announce;
mod beside;
mod effect;
mod keep;
mod place;
mod route;
mod send;
mod target;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kanary_core::{
    Key, ParsedKanary,
    api::{Kanary, KanaryStatus, names::FIELD_MANAGER},
    decision::{Action, ObjectKind},
    kanary::read_status,
    observation::Created,
    trace::TraceId,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PostParams},
    core::Request,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use self::send::{delete_params, of, patch_params};
use crate::{
    cache::{Cache, Cached, Workload, for_kind, template_hash},
    cluster::{
        client::{CALL_TIMEOUT, within},
        error::{ApiError, Class, Fenced},
    },
    shard::{Fence, Right},
};

pub use target::typed_template;

/// Writes to the API server, through the fence.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    cache: Arc<Cache>,
    fence: Arc<Fence>,
    /// Name of this replica, for Events.
    instance: String,
    /// Whether the status says which trace the run has.
    traced: bool,
}

impl Writer {
    /// Writes with `client` through `fence`, and stores the responses in `cache`.
    #[must_use]
    pub fn new(client: Client, cache: Arc<Cache>, fence: Arc<Fence>, instance: String) -> Self {
        Self {
            client,
            cache,
            fence,
            instance,
            traced: false,
        }
    }

    /// Writes the id of a run's trace into its status, if `traced`.
    #[must_use]
    pub fn traced(self, traced: bool) -> Self {
        Self { traced, ..self }
    }

    /// Executes one action for `kanary`. For a promotion or the creation of a workload, returns the object as the API server
    /// stored it.
    ///
    /// # Errors
    ///
    /// The right ended, or the request failed or timed out.
    pub async fn act(&self, kanary: &ParsedKanary, action: &Action, right: Right) -> Result<Option<Created>, ApiError> {
        let namespace = &kanary.key.namespace;
        let done = match action {
            Action::SetTemplate(change) => {
                return for_kind!(change.target.kind, K => self.set_template::<K>(namespace, change, right).await);
            }
            Action::Update(change) => {
                return for_kind!(change.workload.kind, K => self.update::<K>(namespace, change, right).await);
            }
            Action::Hold { route, run } => self.hold(kanary, (run, route), right).await,
            Action::Release => self.release(kanary, right).await,
            Action::HoldInPlace => self.hold_in_place(kanary, right).await,
            Action::ReleaseInPlace => self.release_in_place(kanary, right).await,
            Action::Keep(_) | Action::SetRoute { .. } => self.act_raw(namespace, action, right).await,
            Action::HandOver { target, uid } => {
                for_kind!(target.kind, K => self.hand_over::<K>(namespace, &target.name, uid, right).await)
            }
            Action::Create { object, name, manifest } => match object {
                ObjectKind::Workload(kind) => {
                    return for_kind!(*kind, K => {
                        let created = self.create::<K>(namespace, name, manifest, right).await;
                        created.map(|created| created.as_ref().map(made))
                    });
                }
                other => self.create_beside(*other, (namespace, name), manifest, right).await,
            },
            Action::ScaleCanary { canary, uid, replicas } => {
                for_kind!(canary.kind, K => self.scale::<K>((namespace, &canary.name), (uid, *replicas), right).await)
            }
            Action::PlaceCanary { canary, .. } => {
                for_kind!(canary.kind, K => self.place::<K>(namespace, action, right).await)
            }
            Action::Unlabel { pod, uid, labels } => {
                let none: serde_json::Map<_, _> = labels.iter().map(|name| (name.clone(), Value::Null)).collect();
                let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": none}}));
                let done = self.patch::<Pod>(namespace, pod, patch, "take labels off", right).await;
                let done = done.and_then(|patched| effect::lost_labels(&patched, namespace, pod, labels));
                self.gone_is_done::<Pod>(done, namespace, pod, uid)
            }
            Action::Adopt { pod, uid } => {
                // This patch adds the owner to the existing ones.
                let patch = json!({"metadata": {"uid": uid, "ownerReferences": [owner_reference(kanary)]}});
                let patch = Patch::Strategic(patch);
                let done = self.patch::<Pod>(namespace, pod, patch, "add an owner to", right).await;
                let done = done.and_then(|patched| effect::has_owner(&patched, namespace, pod, &kanary.uid));
                self.gone_is_done::<Pod>(done, namespace, pod, uid)
            }
            Action::Delete {
                object,
                name,
                uid,
                unchanged,
            } => {
                let seen = (uid.as_str(), *unchanged);
                self.delete_kind(*object, (namespace, name), seen, right).await
            }
        };
        done.map(|()| None)
    }

    async fn scale<K: Workload>(
        &self,
        (namespace, name): (&str, &str),
        (uid, replicas): (&str, i32),
        right: Right,
    ) -> Result<(), ApiError> {
        let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "spec": {"replicas": replicas}}));
        let scaled = self.patch::<K>(namespace, name, patch, "scale", right).await?;
        effect::took_replicas(&scaled, namespace, name, replicas)
    }

    /// Writes an object of a kind that need not be known to this build.
    async fn act_raw(&self, namespace: &str, action: &Action, right: Right) -> Result<(), ApiError> {
        match action {
            Action::Keep(keep) => self.keep(namespace, keep, right).await.map(drop),
            Action::SetRoute { route, patch, .. } => self.set_route(namespace, route, patch, right).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Creates an object. Returns it as the API server stored it, or `None` if it already exists.
    async fn create<K>(
        &self,
        namespace: &str,
        name: &str,
        manifest: &Value,
        right: Right,
    ) -> Result<Option<K>, ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let failed = |error| ApiError::new("create", K::kind(&()), namespace, name, error);
        // Sent as raw JSON, so that fields unknown to this build are kept as the user wrote them.
        let body = serde_json::to_vec(manifest).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = of::<K>(namespace).create(&params, body);
        match self.send::<K>(request, "create", right).await {
            Ok(created) => {
                K::put(&self.cache, &created);
                Ok(Some(created))
            }
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                // The object is ours from before a restart, or belongs to someone else. The next decision checks its owner.
                self.read::<K>(namespace, name).await.map_err(failed)?;
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads an object live and puts it into the cache, also while the watch is late.
    async fn read<K>(&self, namespace: &str, name: &str) -> Result<K, kube::Error>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let object = within(CALL_TIMEOUT, self.api::<K>(namespace).get(name)).await?;
        K::put(&self.cache, &object);
        Ok(object)
    }

    async fn patch<K>(
        &self,
        namespace: &str,
        name: &str,
        patch: Patch<Value>,
        verb: &'static str,
        right: Right,
    ) -> Result<K, ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let request = of::<K>(namespace).patch(name, &patch_params(), &patch);
        // If the label patch of a pod times out, there must be time left to remove the pod from traffic another way.
        let limit = CALL_TIMEOUT / if K::kind(&()) == "Pod" { 2 } else { 1 };
        let patched = within(limit, self.send::<K>(request, "patch", right)).await;
        let patched = patched.map_err(|error| ApiError::new(verb, K::kind(&()), namespace, name, error))?;
        K::put(&self.cache, &patched);
        Ok(patched)
    }

    /// Deletes an object with this UID and, if `unchanged` is set, in the version that the cache holds.
    async fn delete<K>(
        &self,
        namespace: &str,
        name: &str,
        (uid, unchanged): (&str, bool),
        right: Right,
    ) -> Result<(), ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let place = (namespace.to_owned(), name.to_owned());
        let version = K::known_version(&self.cache, &place, uid).filter(|_| unchanged);
        let params = delete_params(Some(uid.to_owned()), version.as_ref().map(ToString::to_string));
        let request = of::<K>(namespace).delete(name, &params);
        // The response is the object or a Status.
        let deleted = self.send::<IgnoredAny>(request, "delete", right).await.map(drop);
        let deleted = deleted.map_err(|error| ApiError::new("delete", K::kind(&()), namespace, name, error));
        if version.is_some()
            && deleted
                .as_ref()
                .is_err_and(|error| error.class() == Class::Conflict && !error.is_not_found())
        {
            // The next attempt needs the newest version. If it cannot be read, the watch brings it.
            let _newest = self.read::<K>(namespace, name).await;
        }
        self.gone_is_done::<K>(deleted, namespace, name, uid)
    }

    /// Treats a missing object as a successful delete, and updates the cache in case the watch is late.
    fn gone_is_done<K: Cached>(
        &self,
        done: Result<(), ApiError>,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), ApiError> {
        match done {
            Err(error) if error.is_not_found() => {
                K::forget(&self.cache, &(namespace.to_owned(), name.to_owned()), uid);
                Ok(())
            }
            other => other,
        }
    }

    /// Writes only the status, on top of the version that was read. The status carries the epoch of the right, and the API
    /// server refuses an epoch below the stored one. The stored epoch is kept if this is the only replica, or if no replica can
    /// have owned it ([`ParsedKanary::has_forged_epoch`]). Returns whether the API server stored the status as written.
    ///
    /// # Errors
    ///
    /// The Kanary was changed in the meantime (a conflict), the right ended, or the request failed or timed out.
    pub async fn write_status(
        &self,
        kanary: &ParsedKanary,
        status: &KanaryStatus,
        right: Right,
        now: Timestamp,
    ) -> Result<bool, ApiError> {
        let Key { kind, namespace, name } = &kanary.key;
        let failed = |error| ApiError::new("write the status of", kind.id().into(), namespace, name, error);
        let stored = kanary.status.epoch;
        if right.epoch.is_some() && stored > right.epoch && !kanary.has_forged_epoch(now) {
            self.fence.revoke(right);
            return Err(failed(kube::Error::Service(Box::new(Fenced::NotOwned))));
        }
        let status = KanaryStatus {
            epoch: right.epoch.max(stored),
            trace_id: self
                .traced
                .then(|| TraceId::of(&kanary.uid, status).to_string())
                .or_else(|| status.trace_id.clone()),
            ..status.clone()
        };
        let status = serde_json::to_value(status).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let patch = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": kanary.uid}),
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": kanary.resource_version}),
            json!({"op": "add", "path": "/status", "value": &status}),
        ];
        let patch = json_patch(patch).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let request = Request::new(Kanary::url_path(kind, Some(namespace)));
        let request = request.patch_subresource("status", name, &patch_params(), &patch);
        let written = self.send::<Kanary>(request, "patch_status", right).await;
        let written = written.map_err(|error| failed(error).into_transient());
        if written
            .as_ref()
            .is_err_and(|error| error.class() == Class::Fenced && error.is_answer())
        {
            // An unsent write, because of a late session renewal, does not show who owns the shard.
            self.fence.revoke(right);
        }
        if written.as_ref().is_err_and(ApiError::is_not_found) {
            // The Kanary was deleted, and the watch is late.
            self.cache.forget_kanary(kanary);
        }
        let written = written?;
        if let Err(error) = self.cache.update_kanary(*kind, &written) {
            tracing::error!(kind = %kind, namespace, name, error, "could not parse the response to a status update");
        }
        let read = |status: &Value| read_status(*kind, status).ok();
        Ok(read(&status) == read(&written.status.unwrap_or_default()))
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// An owner reference for the garbage collector, without `controller`.
fn owner_reference(kanary: &ParsedKanary) -> Value {
    json!({
        "apiVersion": kanary.key.kind.api_version(),
        "kind": kanary.key.kind.as_str(),
        "name": kanary.key.name,
        "uid": kanary.uid,
    })
}

fn made(workload: &impl Workload) -> Created {
    Created {
        uid: workload.uid().unwrap_or_default(),
        template_hash: template_hash(workload),
        generation: workload.meta().generation.unwrap_or_default(),
    }
}

fn json_patch(operations: Vec<Value>) -> Result<Patch<Value>, serde_json::Error> {
    let patch = serde_json::from_value(Value::Array(operations))?;
    Ok(Patch::Json(patch))
}
