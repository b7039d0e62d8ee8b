//! Writes to a workload that belongs to a Kanary.

use kanary_core::{decision::Update, observation::Created};
use kube::{ResourceExt, api::Patch};
use serde_json::{Value, json};

use super::{Writer, json_patch, made, target::json_pointer};
use crate::{
    cache::Workload,
    cluster::error::{ApiError, Class},
    shard::Right,
};

impl Writer {
    /// Writes all that is kept in a workload, on condition that its spec is unchanged since it was read. Sent again, the patch
    /// changes nothing, and the API server answers with the object as it is.
    pub(super) async fn update<K: Workload>(
        &self,
        namespace: &str,
        change: &Update,
        right: Right,
    ) -> Result<Option<Created>, ApiError> {
        let (verb, name) = ("update", &change.workload.name);
        let patch: Patch<Value> = json_patch(operations(change)).map_err(|e| {
            let error = kube::Error::SerdeError(e);
            ApiError::new(verb, K::kind(&()), namespace, name, error)
        })?;
        let error = match self.patch::<K>(namespace, name, patch, verb, right).await {
            Ok(updated) => return Ok(Some(made(&updated))),
            Err(error) if error.class() == Class::Invalid => error,
            Err(error) => return Err(error),
        };
        // A failed condition looks like a refusal. After a change, the controller decides again.
        let Ok(now) = self.read::<K>(namespace, name).await else {
            return Err(error);
        };
        let is_unchanged = now.uid().as_ref() == Some(&change.uid) && now.meta().generation == Some(change.generation);
        Err(if is_unchanged { error } else { error.into_conflict() })
    }
}

fn operations(change: &Update) -> Vec<Value> {
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": change.uid}),
        json!({"op": "test", "path": "/metadata/generation", "value": change.generation}),
    ];
    let add = |path: String, value: Value| json!({"op": "add", "path": path, "value": value});
    if change.labelled {
        let labels = change.labels.iter();
        patch.extend(labels.map(|(name, value)| add(format!("/metadata/labels/{}", json_pointer(name)), json!(value))));
    } else {
        patch.push(add("/metadata/labels".to_owned(), json!(change.labels)));
    }
    let owner = change.owner.iter();
    patch.extend(owner.map(|owner| add("/metadata/ownerReferences".to_owned(), json!([owner]))));
    let fields = change.spec.iter();
    patch.extend(fields.map(|(field, value)| add(format!("/spec/{field}"), value.clone())));
    patch
}
