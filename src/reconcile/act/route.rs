//! Writes to routes, and the finalizers of a Kanary whose run changed one, or changed the target in place.

use kanary_core::{
    Key, ParsedKanary,
    api::{
        Kanary, RouteRef,
        names::{IN_PLACE_FINALIZER, ROUTE, ROUTE_FINALIZER},
    },
    kanary::HeldRoute,
};
use kube::{Resource, api::Patch, core::Request};
use serde_json::{Value, json};

use super::{Writer, json_patch, send::patch_params};
use crate::{cluster::error::ApiError, reconcile::routes, shard::Right};

impl Writer {
    /// Changes a route in the version that was read, which the patch names. Returns it as the API server stored it.
    ///
    /// # Errors
    ///
    /// Somebody changed the route in the meantime (a conflict), the right ended, or the request failed or timed out.
    pub(in crate::reconcile) async fn set_route(
        &self,
        namespace: &str,
        route: &RouteRef,
        patch: &[Value],
        right: Right,
    ) -> Result<Value, ApiError> {
        let failed = |error| ApiError::new("change", route.kind.as_str().into(), namespace, &route.name, error);
        let patch = json_patch(patch.to_vec()).map_err(|error| failed(kube::Error::SerdeError(error)))?;
        let request = routes::of(route.kind, namespace).patch(&route.name, &patch_params(), &patch);
        self.send::<Value>(request, "patch", right).await.map_err(failed)
    }

    /// Adds the finalizer, with an annotation that names the route.
    pub(super) async fn hold(
        &self,
        kanary: &ParsedKanary,
        (run, route): (&str, &RouteRef),
        right: Right,
    ) -> Result<(), ApiError> {
        let annotations = json!({ROUTE: HeldRoute::annotation(run, route)});
        let finalizers = with(kanary, ROUTE_FINALIZER);
        self.set_finalizers(kanary, &finalizers, &annotations, right).await
    }

    /// Removes the finalizer and its annotation.
    pub(super) async fn release(&self, kanary: &ParsedKanary, right: Right) -> Result<(), ApiError> {
        let finalizers = without(kanary, ROUTE_FINALIZER);
        self.set_finalizers(kanary, &finalizers, &json!({ROUTE: null}), right)
            .await
    }

    /// Adds the finalizer of a run in place.
    pub(super) async fn hold_in_place(&self, kanary: &ParsedKanary, right: Right) -> Result<(), ApiError> {
        let finalizers = with(kanary, IN_PLACE_FINALIZER);
        self.set_finalizers(kanary, &finalizers, &json!({}), right).await
    }

    /// Removes the finalizer of a run in place.
    pub(super) async fn release_in_place(&self, kanary: &ParsedKanary, right: Right) -> Result<(), ApiError> {
        let finalizers = without(kanary, IN_PLACE_FINALIZER);
        self.set_finalizers(kanary, &finalizers, &json!({}), right).await
    }

    /// Replaces the finalizers of the version that was read.
    async fn set_finalizers(
        &self,
        kanary: &ParsedKanary,
        finalizers: &[String],
        annotations: &Value,
        right: Right,
    ) -> Result<(), ApiError> {
        let Key { kind, namespace, name } = &kanary.key;
        // Null removes the field.
        let finalizers = Some(finalizers).filter(|finalizers| !finalizers.is_empty());
        let patch = Patch::Merge(json!({"metadata": {
            "uid": kanary.uid,
            "resourceVersion": kanary.resource_version,
            "finalizers": finalizers,
            "annotations": annotations,
        }}));
        let request = Request::new(Kanary::url_path(kind, Some(namespace))).patch(name, &patch_params(), &patch);
        let written = self.send::<Kanary>(request, "patch", right).await;
        let written = written
            .map_err(|error| ApiError::new("change the finalizers of", kind.id().into(), namespace, name, error));
        if written.as_ref().is_err_and(ApiError::is_not_found) {
            self.cache.forget_kanary(kanary);
        }
        if let Err(error) = self.cache.update_kanary(*kind, &written?) {
            tracing::error!(kind = %kind, namespace, name, error, "could not parse the response to a change of finalizers");
        }
        Ok(())
    }
}

fn with(kanary: &ParsedKanary, finalizer: &str) -> Vec<String> {
    let mut finalizers = kanary.finalizers.clone();
    finalizers.push(finalizer.to_owned());
    finalizers
}

fn without(kanary: &ParsedKanary, finalizer: &str) -> Vec<String> {
    let others = kanary.finalizers.iter().filter(|name| *name != finalizer);
    others.cloned().collect()
}
