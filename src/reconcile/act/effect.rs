//! Checks whether a write had its effect: a webhook or a policy may change the object although the API server reports success.

use k8s_openapi::api::core::v1::Pod;
use kanary_core::observation::Owned;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cache::{Cached, Workload},
    cluster::error::ApiError,
};

/// # Errors
///
/// The returned workload has another number of replicas.
pub(super) fn took_replicas<K: Workload>(scaled: &K, namespace: &str, name: &str, wanted: i32) -> Result<(), ApiError> {
    let got = scaled.replicas();
    if got == Some(wanted) {
        return Ok(());
    }
    let got = got.unwrap_or_default();
    let why =
        format!("requested {wanted} replicas, but it has {got}: an admission webhook or policy changed the number");
    Err(ApiError::without_effect("scale", K::kind(&()), namespace, name, &why))
}

/// # Errors
///
/// The returned workload has other nodes.
pub(super) fn took_nodes<K: Workload>(
    placed: &K,
    namespace: &str,
    name: &str,
    wanted: &[String],
) -> Result<(), ApiError> {
    let daemon = K::view(placed).and_then(|row| row.workload().daemon);
    if daemon.is_none_or(|daemon| daemon.has_just(wanted)) {
        return Ok(());
    }
    let why = "it has other nodes than requested: an admission webhook or policy changed its affinity";
    Err(ApiError::without_effect("place", K::kind(&()), namespace, name, why))
}

/// # Errors
///
/// An autoscaler that was created scales something else than its manifest says. It would be deleted and created again and again.
pub(super) fn scales_as_asked<K>(
    created: Option<&K>,
    (namespace, name): (&str, &str),
    manifest: &Value,
) -> Result<(), ApiError>
where
    K: Cached<View = Owned> + DeserializeOwned,
{
    let scales = |object: &K| K::view(object).and_then(|owned| owned.scales);
    let asked = serde_json::from_value::<K>(manifest.clone()).ok();
    let asked = asked.as_ref().and_then(scales);
    if created.is_none_or(|created| scales(created) == asked) {
        return Ok(());
    }
    let why = "it scales something else than requested: an admission webhook or policy changed its scaleTargetRef";
    Err(ApiError::without_effect("create", K::kind(&()), namespace, name, why))
}

/// # Errors
///
/// The returned pod still has one of the labels.
pub(super) fn lost_labels(pod: &Pod, namespace: &str, name: &str, labels: &[String]) -> Result<(), ApiError> {
    let left: Vec<_> = labels
        .iter()
        .filter(|label| pod.labels().contains_key(*label))
        .cloned()
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let why = format!(
        "it still has {}: an admission webhook or policy put them back",
        left.join(", ")
    );
    Err(ApiError::without_effect(
        "take labels off",
        Pod::kind(&()),
        namespace,
        name,
        &why,
    ))
}

/// # Errors
///
/// The returned pod does not have this owner.
pub(super) fn has_owner(pod: &Pod, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
    if pod.owner_references().iter().any(|owner| owner.uid == uid) {
        return Ok(());
    }
    let why = "an admission webhook or policy removed its ownerReference";
    Err(ApiError::without_effect(
        "add an owner to",
        Pod::kind(&()),
        namespace,
        name,
        why,
    ))
}
