//! Writes of the objects that a front end keeps beyond its runs.

use kanary_core::{
    api::names::FIELD_MANAGER,
    decision::{Keep, KeepWhat},
};
use kube::{
    api::{Patch, PostParams},
    core::Request,
};
use serde_json::Value;

use super::{
    Writer,
    send::{delete_params, patch_params},
};
use crate::{cluster::error::ApiError, reconcile::kept, shard::Right};

impl Writer {
    /// Creates an object, or changes or deletes it in the version that was read, which `keep.body` names. Returns it as the API server
    /// stored it, or `None` after a delete.
    ///
    /// # Errors
    ///
    /// The object exists already or somebody changed it in the meantime (a conflict), the right ended, or the request failed or timed
    /// out.
    pub(in crate::reconcile) async fn keep(
        &self,
        namespace: &str,
        keep: &Keep,
        right: Right,
    ) -> Result<Option<Value>, ApiError> {
        let verb = match keep.what {
            KeepWhat::Create => "create",
            KeepWhat::Patch => "change",
            KeepWhat::Delete => "delete",
        };
        let failed = |error| ApiError::new(verb, keep.resource.kind.into(), namespace, &keep.name, error);
        let objects = Request::new(keep.resource.path(namespace));
        let written = match keep.what {
            KeepWhat::Create => {
                let body = serde_json::to_vec(&keep.body).map_err(|error| failed(kube::Error::SerdeError(error)))?;
                let params = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                self.send::<Value>(objects.create(&params, body), "create", right).await
            }
            KeepWhat::Patch => {
                let patch = objects.patch(&keep.name, &patch_params(), &Patch::Merge(&keep.body));
                self.send::<Value>(patch, "patch", right).await
            }
            KeepWhat::Delete => {
                let text = |field: &str| keep.body.pointer(field).and_then(Value::as_str).map(str::to_owned);
                let delete = objects.delete(
                    &keep.name,
                    &delete_params(text("/metadata/uid"), text("/metadata/resourceVersion")),
                );
                let deleted = self
                    .send::<Value>(delete, "delete", right)
                    .await
                    .map(drop)
                    .map_err(failed);
                let is_gone = deleted.as_ref().is_err_and(ApiError::is_not_found);
                return if is_gone { Ok(None) } else { deleted.map(|()| None) };
            }
        };
        let written = kept::trimmed(written.map_err(failed)?);
        kept::store(&self.cache, keep, &written);
        Ok(Some(written))
    }
}
