//! The kinds of objects used in the test cases.

use kube::core::ApiResource;

/// A namespaced kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "named as in Kubernetes")]
pub(crate) struct Kind {
    group: &'static str,
    version: &'static str,
    /// `Deployment`, …
    pub(crate) kind: &'static str,
    /// `deployments`, …
    pub(crate) plural: &'static str,
}

pub(crate) const KANARY: Kind = kanary_kind("KanaryDeployment", "kanarydeployments");
pub(crate) const KANARY_STATEFULSET: Kind = kanary_kind("KanaryStatefulset", "kanarystatefulsets");
pub(crate) const KANARY_DAEMONSET: Kind = kanary_kind("KanaryDaemonset", "kanarydaemonsets");
/// [`KANARY`] in the version that only a conversion webhook serves.
pub(crate) const KANARY_V1: Kind = Kind {
    version: "v1",
    ..KANARY
};
/// The kind of the group that is served only with `--kinds`.
pub(crate) const OLD_KANARY: Kind = kind("kanary.k8s.io", "v1alpha1", "KanaryDeployment", "kanarydeployments");
/// A front end, served only with `--kinds`.
pub(crate) const CANARY_APP: Kind = kind("canary.atze.io", "v1", "CanaryApp", "canaryapps");
pub(crate) const CANARY_DEPLOYMENT: Kind = kind(
    "kanarini.nilebox.github.com",
    "v1alpha1",
    "CanaryDeployment",
    "canarydeployments",
);
pub(crate) const DEPLOYMENT: Kind = kind("apps", "v1", "Deployment", "deployments");
pub(crate) const REPLICA_SET: Kind = kind("apps", "v1", "ReplicaSet", "replicasets");
pub(crate) const STATEFUL_SET: Kind = kind("apps", "v1", "StatefulSet", "statefulsets");
pub(crate) const DAEMON_SET: Kind = kind("apps", "v1", "DaemonSet", "daemonsets");
pub(crate) const CONTROLLER_REVISION: Kind = kind("apps", "v1", "ControllerRevision", "controllerrevisions");
pub(crate) const PERSISTENT_VOLUME_CLAIM: Kind = kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
pub(crate) const PERSISTENT_VOLUME: Kind = kind("", "v1", "PersistentVolume", "persistentvolumes");
pub(crate) const NODE: Kind = kind("", "v1", "Node", "nodes");
pub(crate) const POD: Kind = kind("", "v1", "Pod", "pods");
pub(crate) const SERVICE: Kind = kind("", "v1", "Service", "services");
pub(crate) const CONFIG_MAP: Kind = kind("", "v1", "ConfigMap", "configmaps");
pub(crate) const LEASE: Kind = kind("coordination.k8s.io", "v1", "Lease", "leases");
pub(crate) const SECRET: Kind = kind("", "v1", "Secret", "secrets");
pub(crate) const ENDPOINT_SLICE: Kind = kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
pub(crate) const HPA: Kind = kind(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
);
pub(crate) const SCALED_OBJECT: Kind = kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");
pub(crate) const ROLE_BINDING: Kind = kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
pub(crate) const GATEWAY: Kind = kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways");
pub(crate) const HTTP_ROUTE: Kind = kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
pub(crate) const GRPC_ROUTE: Kind = kind("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes");
pub(crate) const VIRTUAL_SERVICE: Kind = kind("networking.istio.io", "v1", "VirtualService", "virtualservices");
pub(crate) const DESTINATION_RULE: Kind = kind("networking.istio.io", "v1", "DestinationRule", "destinationrules");
pub(crate) const ISTIO_GATEWAY: Kind = kind("networking.istio.io", "v1", "Gateway", "gateways");
pub(crate) const EVENT: Kind = kind("events.k8s.io", "v1", "Event", "events");

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
    }
}

const fn kanary_kind(name: &'static str, plural: &'static str) -> Kind {
    kind(
        kanary_core::api::names::GROUP,
        kanary_core::api::names::VERSION,
        name,
        plural,
    )
}

impl Kind {
    /// `apiVersion` in a manifest.
    pub(crate) fn api_version(&self) -> String {
        self.resource().api_version
    }

    /// The kind in the format of kube's dynamic API.
    pub(crate) fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: if self.group.is_empty() {
                self.version.to_owned()
            } else {
                format!("{}/{}", self.group, self.version)
            },
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}
