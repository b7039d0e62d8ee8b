//! Requests, as they leave.

use kanary_core::api::names::FIELD_MANAGER;
use kube::{Resource, api::PatchParams, core::Request};
use serde::de::DeserializeOwned;

use super::Writer;
use crate::shard::Right;

impl Writer {
    /// Sends a request behind the fence.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        name: &'static str,
        right: Right,
    ) -> kube::Result<T> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        // What kube's traces call it.
        request.extensions_mut().insert(name);
        let send = |request| self.client.request::<T>(request);
        self.fence.write(right, request, send).await
    }
}

/// Requests about objects of a kind.
pub(super) fn of<K>(namespace: &str) -> Request
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    Request::new(K::url_path(&(), Some(namespace)))
}

/// How objects are patched.
pub(super) fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
