//! API calls of a client that accepts a refusal.

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::{Value, json};

use crate::{
    resources::{api, resource, resource_of},
    world::World,
};

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
        api(self.client.clone(), &resource(kind))
    }

    fn api_of(&self, manifest: &Value) -> Api<DynamicObject> {
        api(self.client.clone(), &resource_of(manifest))
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
        let created = self
            .api_of(manifest)
            .create(&PostParams::default(), &object(manifest))
            .await;
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
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("gitops").force();
        done(
            self.api_of(manifest)
                .patch(name, &params, &Patch::Apply(manifest))
                .await,
        )
        .is_some()
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

    /// Restarts a workload like `kubectl rollout restart`.
    pub(super) async fn restart(&self, kind: &str, name: &str, number: u32) {
        let annotation = json!({"kubectl.kubernetes.io/restartedAt": number.to_string()});
        let template = json!({"metadata": {"annotations": annotation}});
        self.patch(kind, name, &json!({"spec": {"template": template}})).await;
    }

    /// Restores the previous template of a workload like `kubectl rollout undo`.
    pub(super) async fn undo(&self, kind: &str, name: &str) {
        let Some(workload) = self.get(kind, name).await else {
            return;
        };
        // The newest revision of a Deployment may not exist yet, and the others number their revisions themselves.
        let (revisions, number): (&str, fn(&Value) -> i64) = match kind {
            "Deployment" => ("ReplicaSet", |object| {
                let number = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
                let number = number.as_str().and_then(|number| number.parse().ok());
                number.unwrap_or_default()
            }),
            _ => ("ControllerRevision", |object| {
                object["revision"].as_i64().unwrap_or_default()
            }),
        };
        let mut revisions = self.list(revisions, "").await;
        revisions.retain(|revision| revision["metadata"]["ownerReferences"][0]["uid"] == workload["metadata"]["uid"]);
        let newest = revisions.iter().map(number).chain([number(&workload)]).max();
        revisions.retain(|revision| Some(number(revision)) < newest);
        let Some(former) = revisions.into_iter().max_by_key(number) else {
            return;
        };
        self.edit(kind, name, |workload| {
            let of_set = &former["data"]["spec"]["template"];
            let mut template = if of_set.is_null() {
                &former["spec"]["template"]
            } else {
                of_set
            }
            .clone();
            if let Some(fields) = template.as_object_mut() {
                fields.remove("$patch");
            }
            if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
                labels.remove("pod-template-hash");
            }
            workload["spec"]["template"] = template;
        })
        .await;
    }
}
