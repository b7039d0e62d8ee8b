//! Requests to the API server.

use kanary_core::api::names::FIELD_MANAGER;
use kube::{
    Resource,
    api::{DeleteParams, PatchParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde::de::DeserializeOwned;

use super::Writer;
use crate::shard::Right;

impl Writer {
    /// Sends a request through the fence.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        name: &'static str,
        right: Right,
    ) -> kube::Result<T> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        // The name for kube's traces.
        request.extensions_mut().insert(name);
        let send = |request| self.client.request::<T>(request);
        self.fence.write(right, request, send).await
    }
}

/// Builder for requests about objects of a kind.
pub(super) fn of<K>(namespace: &str) -> Request
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    Request::new(K::url_path(&(), Some(namespace)))
}

/// Parameters of a delete of one object, and of one version of it if that is given.
pub(super) fn delete_params(uid: Option<String>, version: Option<String>) -> DeleteParams {
    DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid,
            resource_version: version,
        }),
        ..DeleteParams::default()
    }
}

/// Parameters of patches.
pub(super) fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
