//! Writes of the objects that a front end keeps beyond its runs.

use kanary_core::{api::names::FIELD_MANAGER, decision::Keep};
use kube::{
    api::{Patch, PostParams},
    core::Request,
};
use serde_json::Value;

use super::{Writer, send::patch_params};
use crate::{cluster::error::ApiError, reconcile::kept, shard::Right};

impl Writer {
    /// Creates an object, or changes it in the version that was read, which the patch names. Returns it as the API server stored it.
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
    ) -> Result<Value, ApiError> {
        let verb = if keep.creates { "create" } else { "change" };
        let failed = |error| ApiError::new(verb, keep.resource.kind.into(), namespace, &keep.name, error);
        let objects = Request::new(keep.resource.path(namespace));
        let written = if keep.creates {
            let body = serde_json::to_vec(&keep.body).map_err(|error| failed(kube::Error::SerdeError(error)))?;
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            self.send::<Value>(objects.create(&params, body), "create", right).await
        } else {
            let patch = objects.patch(&keep.name, &patch_params(), &Patch::Merge(&keep.body));
            self.send::<Value>(patch, "patch", right).await
        };
        let written = kept::trimmed(written.map_err(failed)?);
        kept::store(&self.cache, keep, &written);
        Ok(written)
    }
}
