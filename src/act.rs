//! The one place where writes about runs leave the program. Others write only who acts on what (`shard`): Leases, the number
//! of shards, and the slot of a Kanary.
//!
//! Every write carries a precondition that makes a doubled or a late one harmless: a deterministic name, a uid, a
//! resourceVersion, or the template that was read. Replies go to the cache, so that the next decision rests on them.

mod announce;
mod effect;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    api::{
        Kanary, KanaryStatus,
        names::{CHANGE_CAUSE, FIELD_MANAGER, PROMOTED_BY, REVISION},
    },
    cache::{Cache, Cached, template_hash},
    canary::{
        Canary, Key,
        decision::{Action, ObjectKind},
        hash,
        observation::Created,
    },
    client::{CALL_TIMEOUT, within},
    error::{ApiError, Class},
    shard::{Fence, Fenced, Right},
};

/// Writes to the API server, behind the fence.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    cache: Arc<Cache>,
    fence: Arc<Fence>,
    /// Name of this replica, for Events.
    instance: String,
}

fn json_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Writer {
    /// Writes with `client` what `fence` lets pass, and tells `cache` what came of it.
    #[must_use]
    pub fn new(client: Client, cache: Arc<Cache>, fence: Arc<Fence>, instance: String) -> Self {
        Self {
            client,
            cache,
            fence,
            instance,
        }
    }

    /// Does one action for `canary`. Of a promotion and of the creation of a Deployment, what the API server made of it.
    ///
    /// # Errors
    ///
    /// The right to it ended; what the API server answered, or that it did not.
    pub async fn act(&self, canary: &Canary, action: &Action, right: Right) -> Result<Option<Created>, ApiError> {
        let namespace = &canary.key.namespace;
        let done = match action {
            Action::SetTemplate { .. } => return self.set_template(namespace, action, right).await,
            Action::Create { object, name, manifest } => match object {
                ObjectKind::Deployment => {
                    let created = self.create::<Deployment>(namespace, name, manifest, right).await;
                    return created.map(|created| created.as_ref().map(made));
                }
                ObjectKind::Service => {
                    let created = self.create::<Service>(namespace, name, manifest, right).await;
                    created.map(drop)
                }
                ObjectKind::HorizontalPodAutoscaler => {
                    let created = self.create::<HorizontalPodAutoscaler>(namespace, name, manifest, right);
                    created.await.map(drop)
                }
            },
            Action::ScaleCanary { name, uid, replicas } => {
                let patch = json!({"metadata": {"uid": uid}, "spec": {"replicas": replicas}});
                let patch = Patch::Merge(patch);
                let done = self.patch::<Deployment>(namespace, name, patch, "scale", right).await;
                done.and_then(|scaled| effect::took_replicas(&scaled, namespace, name, *replicas))
            }
            Action::Unlabel { pod, uid, labels } => {
                let none: serde_json::Map<_, _> = labels.iter().map(|name| (name.clone(), Value::Null)).collect();
                let patch = json!({"metadata": {"uid": uid, "labels": none}});
                let patch = Patch::Merge(patch);
                let done = self.patch::<Pod>(namespace, pod, patch, "take labels off", right).await;
                let done = done.and_then(|patched| effect::lost_labels(&patched, namespace, pod, labels));
                self.gone_is_done::<Pod>(done, namespace, pod, uid)
            }
            Action::Delete { object, name, uid } => {
                let done = match object {
                    ObjectKind::Deployment => self.delete::<Deployment>(namespace, name, uid, right).await,
                    ObjectKind::Service => self.delete::<Service>(namespace, name, uid, right).await,
                    ObjectKind::HorizontalPodAutoscaler => {
                        self.delete::<HorizontalPodAutoscaler>(namespace, name, uid, right)
                            .await
                    }
                };
                if done.is_ok() {
                    let place = (namespace.clone(), name.clone());
                    self.cache.mark_deleting(*object, &place, uid);
                }
                done
            }
        };
        done.map(|()| None)
    }

    /// Creates an object; what the API server made of it, or `None` if it was there already.
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
        // As raw JSON, so that fields which this build does not know arrive as the user wrote them.
        let body = serde_json::to_vec(manifest).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = Request::new(K::url_path(&(), Some(namespace))).create(&params, body);
        let mut request = request.map_err(|e| failed(kube::Error::BuildRequest(e)))?;
        request.extensions_mut().insert("create");
        match self.fence.write(right, self.client.request::<K>(request)).await {
            Ok(created) => {
                K::put(&self.cache, &created);
                Ok(Some(created))
            }
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                // Ours from before a restart, or somebody else's: the next decision tells by the owner.
                let existing = self.api::<K>(namespace);
                let existing = within(CALL_TIMEOUT, existing.get(name)).await.map_err(failed)?;
                K::put(&self.cache, &existing);
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
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
        let api = self.api::<K>(namespace);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // A pod that cannot leave by its labels in time leaves in another way.
        let limit = CALL_TIMEOUT / if K::kind(&()) == "Pod" { 2 } else { 1 };
        let call = within(limit, api.patch(name, &params, &patch));
        let patched = self.fence.write(right, call).await;
        let patched = patched.map_err(|error| ApiError::new(verb, K::kind(&()), namespace, name, error))?;
        K::put(&self.cache, &patched);
        Ok(patched)
    }

    async fn delete<K>(&self, namespace: &str, name: &str, uid: &str, right: Right) -> Result<(), ApiError>
    where
        K: Cached + Resource<Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.api::<K>(namespace);
        let deleted = self.fence.write(right, api.delete(name, &params)).await.map(|_| ());
        let deleted = deleted.map_err(|error| ApiError::new("delete", K::kind(&()), namespace, name, error));
        self.gone_is_done::<K>(deleted, namespace, name, uid)
    }

    /// An object that is gone is what a delete wanted; the cache is told, in case its watch was slower.
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

    /// The one write to a target. Its `test`s make it apply once, to the version that was read, or not at all. The hash of the
    /// template that it has then: as the API server answered, because the cache may know of a later one already.
    async fn set_template(&self, namespace: &str, action: &Action, right: Right) -> Result<Option<Created>, ApiError> {
        let Action::SetTemplate {
            name,
            uid,
            former,
            revision,
            ..
        } = action
        else {
            return Ok(None);
        };
        let verb = "set the template of";
        let patch = json_patch(template_patch(action)).map_err(|e| {
            let error = kube::Error::SerdeError(e);
            ApiError::new(verb, "Deployment".into(), namespace, name, error)
        })?;
        let done = self.patch::<Deployment>(namespace, name, patch, verb, right).await;
        let error = match done {
            Ok(target) => return Ok(Some(made(&target))),
            Err(error) => error,
        };
        if error.class() != Class::Invalid {
            return Err(error);
        }
        // Refused for the template, or because the target is no longer the one that was read? Only the first is news
        // for the user; the second is decided anew.
        let api = self.api::<Deployment>(namespace);
        let Ok(now) = within(CALL_TIMEOUT, api.get(name)).await else {
            return Err(error);
        };
        Deployment::put(&self.cache, &now);
        let same_version = revision.is_none() || now.annotations().get(REVISION) == revision.as_ref();
        let unchanged = same_version
            && now.metadata.uid.as_ref() == Some(uid)
            && template_hash(&now) == hash::of(&typed_template(former));
        Err(if unchanged { error } else { error.into_conflict() })
    }

    /// Writes a status on top of the version that was read, and nothing else. It carries the epoch of the right, and the API
    /// server takes none that is lower than the stored one: that of a replica which is alone, or one that nobody can have
    /// owned ([`Canary::has_forged_epoch`]), is kept. Whether the API server stored the status as it was written.
    ///
    /// # Errors
    ///
    /// Somebody changed the Kanary since (a conflict), the right ended, or what the API server answered.
    pub async fn write_status(
        &self,
        canary: &Canary,
        status: &KanaryStatus,
        right: Right,
        now: Timestamp,
    ) -> Result<bool, ApiError> {
        let Key { kind, namespace, name } = &canary.key;
        let failed = |error| ApiError::new("write the status of", kind.as_str().into(), namespace, name, error);
        let stored = canary.status.epoch;
        if right.epoch.is_some() && stored > right.epoch && !canary.has_forged_epoch(now) {
            self.fence.distrust(right);
            return Err(failed(kube::Error::Service(Box::new(Fenced::NotOwned))));
        }
        let status = KanaryStatus {
            epoch: right.epoch.max(stored),
            ..status.clone()
        };
        let status = serde_json::to_value(status).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let patch = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": canary.uid}),
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": canary.resource_version}),
            json!({"op": "add", "path": "/status", "value": &status}),
        ];
        let patch = json_patch(patch).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let api: Api<Kanary> = Api::namespaced_with(self.client.clone(), namespace, kind);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let written = self.fence.write(right, api.patch_status(name, &params, &patch)).await;
        let written = written.map_err(|error| failed(error).into_transient());
        if written.as_ref().is_err_and(|error| error.class() == Class::Fenced) {
            self.fence.distrust(right);
        }
        if written.as_ref().is_err_and(ApiError::is_not_found) {
            // Deleted, and the watch is behind.
            self.cache.forget_kanary(canary);
        }
        let written = written?;
        if let Err(error) = self.cache.update_kanary(*kind, &written) {
            tracing::error!(kind = %kind, namespace, name, error, "the reply to a status write cannot be read");
        }
        let read = |status: Value| serde_json::from_value::<KanaryStatus>(status).ok();
        Ok(read(status) == read(written.status.unwrap_or_default()))
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn made(deployment: &Deployment) -> Created {
    Created {
        uid: deployment.uid().unwrap_or_default(),
        template_hash: template_hash(deployment),
    }
}

/// The JSON Patch of a promotion.
fn template_patch(action: &Action) -> Vec<Value> {
    let Action::SetTemplate {
        uid,
        former,
        revision,
        template,
        annotated,
        marker,
        cause,
        ..
    } = action
    else {
        return Vec::new();
    };
    let at = |annotation: &str| format!("/metadata/annotations/{}", json_pointer(annotation));
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": uid}),
        json!({"op": "test", "path": "/spec/template", "value": former}),
    ];
    if let Some(revision) = revision {
        // A template that was replaced and put back is another version: a promotion that is late must not undo that.
        patch.push(json!({"op": "test", "path": at(REVISION), "value": revision}));
    }
    patch.push(json!({"op": "replace", "path": "/spec/template", "value": template}));
    let annotations = [(PROMOTED_BY, marker), (CHANGE_CAUSE, cause)];
    if *annotated {
        patch.extend(annotations.map(|(name, value)| json!({"op": "add", "path": at(name), "value": value})));
    } else {
        let annotations = annotations.map(|(name, value)| (name.to_owned(), json!(value)));
        let annotations: serde_json::Map<_, _> = annotations.into_iter().collect();
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
    }
    patch
}

/// A template as this build reads it: the form that hashes are made of.
#[must_use]
pub fn typed_template(template: &Value) -> Value {
    // Through text, as replies are read: one way to read the type is half the code to compile.
    serde_json::from_str::<k8s_openapi::api::core::v1::PodTemplateSpec>(&template.to_string())
        .and_then(serde_json::to_value)
        .unwrap_or_else(|_| template.clone())
}

fn json_patch(operations: Vec<Value>) -> Result<Patch<Value>, serde_json::Error> {
    let patch = serde_json::from_value(Value::Array(operations))?;
    Ok(Patch::Json(patch))
}
