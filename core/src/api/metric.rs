//! `metric` items: values of the Kubernetes metrics APIs, in the form of autoscaling/v2.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GoDuration, OnNoData, duration::at_least_100ms};

/// A value of a Kubernetes metrics API that must not exceed a target, in the form of a HorizontalPodAutoscaler's metric, and
/// tolerances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(self.type == 'Resource') == has(self.resource) && \
             (self.type == 'ContainerResource') == has(self.containerResource) && \
             (self.type == 'Pods') == has(self.pods) && (self.type == 'Object') == has(self.object) && \
             (self.type == 'External') == has(self.external)",
    "message": "metric needs the block of its type and no other: resource for Resource, containerResource for \
                ContainerResource, pods for Pods, object for Object, external for External",
}]))]
pub struct MetricItem {
    /// Which metric: `Resource` and `ContainerResource` are CPU or memory of the canary's pods, `Pods` is a custom metric of the
    /// canary's pods, `Object` is a custom metric of another object, and `External` is a metric from outside of the cluster.
    #[serde(rename = "type")]
    pub source: MetricSource,
    /// CPU or memory of each canary pod, for type `Resource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceMetric>,
    /// CPU or memory of a container of each canary pod, for type `ContainerResource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerResourceMetric>,
    /// A custom metric of each canary pod, for type `Pods`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsMetric>,
    /// A custom metric of an object in the namespace of the Kanary, for type `Object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectMetric>,
    /// A metric from outside of the cluster, for type `External`. Several values are added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMetric>,
    /// Bad measurements tolerated in the whole run. Must be less than the number of measurements due until the deadline. Default
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub failure_limit: Option<u32>,
    /// Consecutive failed requests after which the item is `Inconclusive`. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub consecutive_error_limit: Option<u32>,
    /// Minimum number of good measurements for success. Must not exceed the number of measurements due until the deadline.
    /// Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub min_samples: Option<u32>,
    /// Time between two checks. Default: the validation's `maxIntervalPeriod`, which is also the maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_least_100ms("interval")))]
    pub interval: Option<GoDuration>,
    /// What happens at the deadline with too few samples, or after `consecutiveErrorLimit` consecutive measurements without
    /// data: `hold` waits and reports a condition and an event, `fail` fails the run. A canary without data is never promoted.
    /// Default `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at MetricItem::source; docs here would make the schema a oneOf"
)]
pub enum MetricSource {
    #[default]
    Resource,
    ContainerResource,
    Pods,
    Object,
    External,
}

/// CPU or memory of each canary pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = of_pods()))]
pub struct ResourceMetric {
    /// `cpu` or `memory`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What each pod must not exceed.
    pub target: MetricTarget,
}

/// CPU or memory of a container of each canary pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = of_pods()))]
pub struct ContainerResourceMetric {
    /// `cpu` or `memory`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the container.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// What the container of each pod must not exceed.
    pub target: MetricTarget,
}

/// A custom metric of each canary pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.target.type == 'AverageValue'",
    "message": "a metric of pods is measured per pod, and has no request: set target.type to AverageValue",
}]))]
pub struct PodsMetric {
    /// The metric.
    pub metric: MetricName,
    /// What each pod must not exceed.
    pub target: MetricTarget,
}

/// A custom metric of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_another()))]
pub struct ObjectMetric {
    /// The object, in the namespace of the Kanary.
    pub described_object: DescribedObject,
    /// The metric.
    pub metric: MetricName,
    /// What the value must not exceed.
    pub target: MetricTarget,
}

/// A metric from outside of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = of_another()))]
pub struct ExternalMetric {
    /// The metric.
    pub metric: MetricName,
    /// What the sum of the values must not exceed.
    pub target: MetricTarget,
}

/// An object in the namespace of the Kanary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribedObject {
    /// Group and version, like `networking.k8s.io/v1`. Default `v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub api_version: Option<String>,
    /// Kind, like `Service`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Name of a metric, and which of its series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricName {
    /// Name of the metric.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Only series with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// What a value must not exceed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(self.type == 'Value') == has(self.value) && (self.type == 'AverageValue') == has(self.averageValue) && \
             (self.type == 'Utilization') == has(self.averageUtilization)",
    "message": "target needs the field of its type and no other: value for Value, averageValue for AverageValue, \
                averageUtilization for Utilization",
}]))]
pub struct MetricTarget {
    /// How the value is compared: `Value` as it is, `AverageValue` per canary pod, `Utilization` in percent of what a canary pod
    /// requests.
    #[serde(rename = "type")]
    pub kind: TargetKind,
    /// Highest good value, for type `Value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::quantity")]
    pub value: Option<MetricQuantity>,
    /// Highest good value per canary pod, for type `AverageValue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::quantity")]
    pub average_value: Option<MetricQuantity>,
    /// Highest good percentage of the request, for type `Utilization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub average_utilization: Option<i32>,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at MetricTarget::kind; docs here would make the schema a oneOf"
)]
pub enum TargetKind {
    #[default]
    Value,
    AverageValue,
    Utilization,
}

/// A quantity as a user writes it: `10`, `"250m"`, `"1.5Gi"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricQuantity {
    /// A whole number.
    Number(i64),
    /// A number with an optional suffix.
    Text(String),
}

impl std::fmt::Display for MetricQuantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The rule for metrics of pods whose requests are known.
fn of_pods() -> serde_json::Value {
    serde_json::json!([{
        "rule": "self.target.type != 'Value'",
        "message": "a resource is measured per pod: set target.type to AverageValue or Utilization",
    }])
}

/// The rule for metrics that are not those of pods.
fn of_another() -> serde_json::Value {
    serde_json::json!([{
        "rule": "self.target.type != 'Utilization'",
        "message": "only resources of pods have a utilization: set target.type to Value or AverageValue",
    }])
}
