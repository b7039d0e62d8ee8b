//! KEDA's API without KEDA: the definition of ScaledObjects with the fields that Kanary writes, in our own words.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary::controller::Options;
use kanary_core::api::WorkloadKind;
use serde_json::{Value, json};

use super::{Controller, Faults, World};

/// The definition of ScaledObjects.
pub(super) fn crd() -> CustomResourceDefinition {
    let count = json!({"type": "integer", "format": "int32"});
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let text = json!({"type": "string"});
    let target = json!({
        "type": "object", "required": ["name"],
        "properties": {"apiVersion": text, "kind": text, "name": text, "envSourceContainerName": text},
    });
    let trigger = json!({
        "type": "object", "required": ["type", "metadata"],
        "properties": {
            "type": text, "name": text, "metricType": text, "useCachedMetrics": {"type": "boolean"},
            "metadata": {"type": "object", "additionalProperties": text},
            "authenticationRef": {"type": "object", "required": ["name"], "properties": {"name": text, "kind": text}},
        },
    });
    let spec = json!({
        "type": "object", "required": ["scaleTargetRef", "triggers"],
        "properties": {
            "scaleTargetRef": target, "triggers": {"type": "array", "items": trigger},
            "minReplicaCount": count, "maxReplicaCount": count, "idleReplicaCount": count,
            "pollingInterval": count, "cooldownPeriod": count, "initialCooldownPeriod": count,
            "fallback": free, "advanced": free,
        },
    });
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": free}});
    let definition = json!({
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {
            "group": "keda.sh", "scope": "Namespaced",
            "names": {"kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject", "shortNames": ["so"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
            }],
        },
    });
    serde_json::from_value(definition).expect("the definition is valid")
}

/// What the chart adds to the role with `keda.enabled`.
pub(super) fn rule() -> Value {
    json!({
        "apiGroups": ["keda.sh"], "resources": ["scaledobjects"],
        "verbs": ["get", "list", "watch", "create", "delete"],
    })
}

impl World {
    /// A namespace with a controller that may create ScaledObjects.
    pub(crate) async fn with_keda(file: &str) -> Self {
        let world = Self::unserved(file).await;
        world.start_controller_with_keda(&Faults::none());
        world
    }

    /// Starts a controller for targets of all kinds that may create ScaledObjects.
    pub(crate) fn start_controller_for_everything(&self) {
        let plane = self.plane;
        let options = Options {
            keda: true,
            target_kinds: WorkloadKind::ALL.into(),
            ..Options::default()
        };
        self.put(Controller::with(&self.ns, options, move |clock| async move {
            plane.kanary(clock, None).await
        }));
    }

    /// Starts a controller that may create ScaledObjects.
    pub(crate) fn start_controller_with_keda(&self, faults: &Faults) {
        let (plane, faults) = (self.plane, faults.clone());
        let options = Options {
            keda: true,
            ..Options::default()
        };
        self.put(Controller::with(&self.ns, options, move |clock| async move {
            plane.kanary(clock, Some(&faults)).await
        }));
    }
}
