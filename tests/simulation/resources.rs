//! The kinds of objects that users write.

use kanary_core::api::names;
use kube::{api::ApiResource, core::GroupVersionKind};
use serde_json::Value;

/// The kind of a manifest.
pub(crate) fn resource_of(manifest: &Value) -> ApiResource {
    let text = |field: &str| manifest[field].as_str().unwrap();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")))
}

/// A kind, with its group if that is another one than usual: `KanaryDeployment.kanary.k8s.io`.
pub(crate) fn resource(kind: &str) -> ApiResource {
    let (kind, group) = kind.split_once('.').unwrap_or((kind, names::GROUP));
    let (group, version) = match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "ControllerRevision" => ("apps", "v1"),
        "Pod" | "Service" | "ResourceQuota" | "PersistentVolumeClaim" => ("", "v1"),
        "Gateway" | "HTTPRoute" => ("gateway.networking.k8s.io", "v1"),
        "VirtualService" => ("networking.istio.io", "v1"),
        _ => (group, "v1alpha1"),
    };
    let gvk = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk(&gvk)
}
