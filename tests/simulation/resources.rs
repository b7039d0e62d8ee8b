//! The kinds of objects that users write.

use kanary_core::api::names;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::Value;

use crate::world::NAMESPACE;

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
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ControllerRevision" => ("apps", "v1"),
        "Pod" | "Service" | "ResourceQuota" | "PersistentVolumeClaim" | "Node" => ("", "v1"),
        "Gateway" | "HTTPRoute" => ("gateway.networking.k8s.io", "v1"),
        "VirtualService" | "DestinationRule" => ("networking.istio.io", "v1"),
        "CanaryApp" => (group, "v1"),
        _ => (group, "v1alpha1"),
    };
    let gvk = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk(&gvk)
}

/// The API for objects of a kind: those of the namespace, or nodes, which belong to none.
pub(crate) fn api(client: Client, resource: &ApiResource) -> Api<DynamicObject> {
    if resource.kind == "Node" {
        return Api::all_with(client, resource);
    }
    Api::namespaced_with(client, NAMESPACE, resource)
}
