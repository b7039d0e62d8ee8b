//! API calls of a client that accepts a refusal.

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::{Value, json};

use crate::world::{NAMESPACE, World, resource};

/// A client.
#[derive(Clone)]
pub(super) struct Hand {
    client: Client,
}

fn object(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).unwrap()
}

/// The result, or `None` if the API server refused. Without a network in between, there are no other errors.
fn done<T>(result: kube::Result<T>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(kube::Error::Api(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

impl Hand {
    pub(super) fn of(world: &World, user: &str) -> Self {
        Self {
            client: world.stack.server.client(user),
        }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource(kind))
    }

    pub(super) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let found = done(self.api(kind).get(name).await)?;
        Some(serde_json::to_value(found).unwrap())
    }

    /// Objects with these labels, sorted by name.
    pub(super) async fn list(&self, kind: &str, labels: &str) -> Vec<Value> {
        let found = done(self.api(kind).list(&ListParams::default().labels(labels)).await);
        let objects = found.into_iter().flat_map(|list| list.items);
        objects.map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    pub(super) async fn create(&self, manifest: &Value) -> bool {
        let kind = manifest["kind"].as_str().unwrap();
        let created = self.api(kind).create(&PostParams::default(), &object(manifest)).await;
        done(created).is_some()
    }

    /// A merge patch.
    pub(super) async fn patch(&self, kind: &str, name: &str, patch: &Value) -> bool {
        let patched = self
            .api(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        done(patched).is_some()
    }

    /// Server-side apply with `force`, as GitOps tools do.
    pub(super) async fn apply(&self, manifest: &Value) -> bool {
        let (kind, name) = (
            manifest["kind"].as_str().unwrap(),
            manifest["metadata"]["name"].as_str().unwrap(),
        );
        let params = PatchParams::apply("gitops").force();
        done(self.api(kind).patch(name, &params, &Patch::Apply(manifest)).await).is_some()
    }

    /// Reads, changes and writes an object, as `kubectl edit` does.
    pub(super) async fn edit(&self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) -> bool {
        let Some(mut value) = self.get(kind, name).await else {
            return false;
        };
        change(&mut value);
        let Ok(edited) = serde_json::from_value::<DynamicObject>(value) else {
            return false;
        };
        done(self.api(kind).replace(name, &PostParams::default(), &edited).await).is_some()
    }

    pub(super) async fn delete(&self, kind: &str, name: &str) {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        done(self.api(kind).delete(name, &params).await);
    }

    /// Restarts a Deployment like `kubectl rollout restart`.
    pub(super) async fn restart(&self, name: &str, number: u32) {
        let annotation = json!({"kubectl.kubernetes.io/restartedAt": number.to_string()});
        let template = json!({"metadata": {"annotations": annotation}});
        self.patch("Deployment", name, &json!({"spec": {"template": template}}))
            .await;
    }

    /// Restores a Deployment's previous template like `kubectl rollout undo`.
    pub(super) async fn undo(&self, name: &str) {
        let Some(deployment) = self.get("Deployment", name).await else {
            return;
        };
        let revision = |object: &Value| -> i64 {
            let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
            revision
                .as_str()
                .and_then(|revision| revision.parse().ok())
                .unwrap_or_default()
        };
        let mut sets = self.list("ReplicaSet", "").await;
        sets.retain(|set| {
            set["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"]
                && revision(set) < revision(&deployment)
        });
        let Some(former) = sets.into_iter().max_by_key(revision) else {
            return;
        };
        self.edit("Deployment", name, |deployment| {
            let mut template = former["spec"]["template"].clone();
            if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
                labels.remove("pod-template-hash");
            }
            deployment["spec"]["template"] = template;
        })
        .await;
    }
}
