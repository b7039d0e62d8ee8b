//! `spec.scale`: how many canary pods run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::InPlaceScale;

/// How many canary pods run. Set at most one of the fields. Default: `static` with one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.static), has(self.percent), has(self.hpa), has(self.keda), has(self.nodes), has(self.inPlace)].filter(x, x)\
             .size() <= 1",
    "message": "spec.scale takes one of static, percent, hpa, keda, nodes and inPlace: keep one and remove the others",
}]))]
pub struct ScaleSpec {
    /// A fixed number of canary pods.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticScale>,
    /// A percentage of the target's replicas. The canary is scaled when the target is scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<PercentScale>,
    /// A HorizontalPodAutoscaler for the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hpa: Option<HpaScale>,
    /// A ScaledObject of KEDA for the canary. The installation may not offer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keda: Option<KedaScale>,
    /// The nodes on which a target that is a DaemonSet has canary pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesScale>,
    /// Some pods of the target run the template, and there is no canary beside it. Only for a StatefulSet.
    #[serde(default, rename = "inPlace", skip_serializing_if = "Option::is_none")]
    pub in_place: Option<InPlaceScale>,
}

/// The nodes of a DaemonSet that have canary pods: those of its nodes that match, at most 500.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodesScale {
    /// Labels of the nodes, as a LabelSelector.
    #[schemars(schema_with = "super::crd::label_selector")]
    pub selector: LabelSelector,
}

/// A fixed number of canary pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StaticScale {
    /// Number of canary pods, 1 or more. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replicas: Option<i32>,
}

/// A percentage of the target's replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
    "message": "spec.scale.percent.min is greater than max: lower min or raise max",
}]))]
pub struct PercentScale {
    /// Canary pods as a percentage of the target's replicas, rounded up; 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub value: i32,
    /// Minimum number of canary pods. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min: Option<i32>,
    /// Maximum number of canary pods. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max: Option<i32>,
}

/// The autoscaling/v2 HorizontalPodAutoscaler spec without `scaleTargetRef`, which Kanary sets to the canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
    "message": "spec.scale.hpa.minReplicas is greater than maxReplicas: lower minReplicas or raise maxReplicas",
}]))]
pub struct HpaScale {
    /// Lower limit of canary pods. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Upper limit of canary pods.
    #[schemars(range(min = 1))]
    pub max_replicas: i32,
    /// Metrics as in autoscaling/v2, or as in autoscaling/v2beta1. Default: 80 % average CPU utilisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_list")]
    pub metrics: Option<Vec<Value>>,
    /// Scaling behaviour as in autoscaling/v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub behavior: Option<Value>,
}

/// The spec of a ScaledObject (keda.sh/v1alpha1) without `scaleTargetRef`, which Kanary sets to the canary. A canary is never scaled to
/// 0, because nothing would be judged: `idleReplicaCount` is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(has(self.minReplicaCount) ? self.minReplicaCount : 1) <= (has(self.maxReplicaCount) ? self.maxReplicaCount : 100)",
        "message": "spec.scale.keda.minReplicaCount is greater than maxReplicaCount, which is 100 by default: lower minReplicaCount or \
                    raise maxReplicaCount",
    },
    {
        "rule": "!has(self.minReplicaCount) || self.minReplicaCount > 0",
        "message": "spec.scale.keda.minReplicaCount is less than 1, and a canary without pods proves nothing: use 1 or more",
    },
    {
        "rule": "!has(self.idleReplicaCount)",
        "message": "spec.scale.keda.idleReplicaCount would scale the canary to 0, and a canary without pods proves nothing: remove it",
    },
]))]
pub struct KedaScale {
    /// Lower limit of canary pods, 1 or more. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replica_count: Option<i32>,
    /// Upper limit of canary pods. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replica_count: Option<i32>,
    /// Seconds between two looks at each trigger. KEDA's default is 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub polling_interval: Option<i32>,
    /// Seconds without activity before KEDA would scale to 0, which it does not do here. KEDA's default is 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cooldown_period: Option<i32>,
    /// Seconds before `cooldownPeriod` counts after the creation. KEDA's default is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_cooldown_period: Option<i32>,
    /// Refused: the canary would be scaled to 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_replica_count: Option<i32>,
    /// What KEDA assumes while a trigger cannot be read, as in KEDA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub fallback: Option<Value>,
    /// Settings of the HorizontalPodAutoscaler that KEDA creates, as in KEDA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub advanced: Option<Value>,
    /// The triggers, as in KEDA: at least one.
    #[schemars(schema_with = "super::crd::free_list")]
    pub triggers: Vec<Value>,
}
