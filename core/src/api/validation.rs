//! `spec.validation`: how the canary is judged.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GoDuration, MetricItem, PrometheusAuth, duration::at_least_100ms};

/// How the canary is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.manual) && !has(self.labelWatch) && !has(self.promQL) && !has(self.metric)",
    "message": "manual, labelWatch, promQL and metric are entries of a list: write them under `items:`, each after a dash",
}]))]
pub struct ValidationSpec {
    /// Warm-up time between the canary becoming available and the start of the analysis. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<GoDuration>,
    /// How long the canary is judged. Default 15m. Editing it moves the deadline of the current run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_period: Option<GoDuration>,
    /// Maximum time between two checks of a metric. Default 20s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_least_100ms("maxIntervalPeriod")))]
    pub max_interval_period: Option<GoDuration>,
    /// `true` makes the run a dry-run: it ends at `Succeeded` and does not change the target. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_update: Option<bool>,
    /// The checks. The run fails as soon as one item fails, and succeeds if all items are good at the deadline. Default: one
    /// manual item, which waits for a manual verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub items: Option<Vec<ValidationItem>>,
    /// Not a field: move it under `items`. Declared only to produce an error message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub manual: Option<Value>,
    /// Not a field: move it under `items`. Declared only to produce an error message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub label_watch: Option<Value>,
    /// Not a field: move it under `items`. Declared only to produce an error message.
    #[serde(rename = "promQL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub prom_ql: Option<Value>,
    /// Not a field: move it under `items`. Declared only to produce an error message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub metric: Option<Value>,
}

/// One check, of exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.manual), has(self.labelWatch), has(self.promQL), has(self.metric)].filter(x, x).size() == 1",
    "message": "a validation item is exactly one of manual, labelWatch, promQL and metric: split it into several items",
}]))]
pub struct ValidationItem {
    /// A manual verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualItem>,
    /// Labels that fail the run when they appear on a canary pod or on the canary Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_watch: Option<LabelWatchItem>,
    /// A Prometheus query.
    #[serde(rename = "promQL", default, skip_serializing_if = "Option::is_none")]
    pub prom_ql: Option<PromQlItem>,
    /// A value of a Kubernetes metrics API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricItem>,
}

/// A manual verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described where it is used; docs here would make the schema a oneOf"
)]
pub enum ManualVerdict {
    Valid,
    Invalid,
}

impl fmt::Display for ManualVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        })
    }
}

/// The result of a manual item that has no verdict at the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at ManualItem; docs here would make the schema a oneOf"
)]
pub enum AfterDeadline {
    #[default]
    None,
    Valid,
    Invalid,
}

/// A manual verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManualItem {
    /// Result of the item if `status` is not set at the deadline. `none` waits for a verdict. Default `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_after_deadline: Option<AfterDeadline>,
    /// Manual verdict, `valid` or `invalid`, applied immediately. A verdict left over from an earlier run does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ManualVerdict>,
}

/// Labels that fail the run when they appear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.podInvalidationLabels) || has(self.deploymentInvalidationLabels)",
    "message": "labelWatch needs podInvalidationLabels, deploymentInvalidationLabels or both",
}]))]
pub struct LabelWatchItem {
    /// A match on any canary pod fails the run immediately. A plain map, like `monitoring-alert: high-cpu`, or a LabelSelector
    /// with `matchLabels` and `matchExpressions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_invalidation_labels: Option<LabelMatch>,
    /// A match on the canary Deployment fails the run immediately. A plain map, like `validation: failed`, or a LabelSelector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_invalidation_labels: Option<LabelMatch>,
}

/// A plain map of labels or a LabelSelector.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(schema_with = "super::crd::some_labels", inline)]
pub enum LabelMatch {
    /// Matches if all labels of the map are present with these values.
    Labels(BTreeMap<String, String>),
    /// A LabelSelector without other keys. A label beside `matchLabels` would be ignored, so it is refused.
    Selector(LabelSelector),
}

impl<'de> Deserialize<'de> for LabelMatch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_labels(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn read_labels(value: Value) -> Result<LabelMatch, String> {
    const REMEDY: &str = "write a plain map of label names to string values, like `validation: \"failed\"`, or nothing but \
                          matchLabels (such a map) and matchExpressions (a list of key, operator and a list of values)";
    const FIELDS: [&str; 2] = ["matchLabels", "matchExpressions"];
    let unreadable = |why: String| format!("labels that can't be read: {why}: {REMEDY}");
    let Value::Object(fields) = value else {
        return Err(unreadable(format!("{value} is not a map")));
    };
    let other = fields.iter().find(|(_, value)| !value.is_string());
    let is_selector = fields.keys().any(|name| FIELDS.contains(&name.as_str()));
    match other {
        Some(_) if is_selector => {
            if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
                return Err(unreadable(format!(
                    "the label {name:?} stands beside {}",
                    FIELDS.join(" or ")
                )));
            }
            let selector = serde_json::from_value(Value::Object(fields));
            selector
                .map(LabelMatch::Selector)
                .map_err(|error| unreadable(error.to_string()))
        }
        Some((name, value)) => Err(unreadable(format!(
            "the value of the label {name:?} is {value}, which is not a string"
        ))),
        None => serde_json::from_value(Value::Object(fields))
            .map(LabelMatch::Labels)
            .map_err(|error| unreadable(error.to_string())),
    }
}

/// A Prometheus query, one criterion for its result, and tolerances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.valueInRange), has(self.discreteValueOutOfList), has(self.continuousValueDeviation), \
                 has(self.boolean), has(self.noResult)].filter(x, x).size() == 1",
        "message": "promQL needs exactly one criterion: valueInRange, discreteValueOutOfList, \
                    continuousValueDeviation, boolean or noResult",
    },
    {
        "rule": "(has(self.prometheusService) && self.prometheusService != '') != (has(self.prometheusURL) && \
                 self.prometheusURL != '')",
        "message": "promQL needs prometheusService (like prometheus.monitoring:9090) or prometheusURL, and not both",
    },
    {
        "rule": "!has(self.evidenceQuery) || self.evidenceQuery == '' || has(self.noResult)",
        "message": "evidenceQuery is for noResult only: remove it",
    },
]))]
pub struct PromQlItem {
    /// Address of Prometheus: `host:port` or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub prometheus_service: Option<String>,
    /// http or https URL of Prometheus, with an optional path prefix.
    #[serde(rename = "prometheusURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub prometheus_url: Option<String>,
    /// Credentials, CA certificate and headers for Prometheus. Secrets are read from the Kanary's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_auth: Option<PrometheusAuth>,
    /// The PromQL query, evaluated as an instant query. It may contain `{{ deployment.name }}`, `{{ canary.name }}`, `{{
    /// service.name }}`, `{{ namespace }}`, `{{ kanary.name }}` and, after `=~` and `!~`, `{{ pods }}` (a regex that matches the
    /// names of the canary's ready pods) and `{{ canary.pods }}` (the names of all pods of the run, ready or not).
    #[schemars(length(min = 1, max = 16384))]
    pub query: String,
    /// Only with `noResult`: a query that proves that Prometheus has data about the canary's pods. Without this evidence an
    /// empty result is not good. The result must contain every ready pod with a value above 0; with `allPodsQuery`, a result
    /// without `podNamekey` stands for all pods. By default Kanary checks two things. Each pod must have a series with its name,
    /// and not all of its scrapes may fail. The operands of the query must exist, be numbers, and have matching labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub evidence_query: Option<String>,
    /// The label that contains the pod name in the result. Default `pod`.
    #[serde(rename = "podNamekey", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pod_name_key: Option<String>,
    /// `true`: the result stands for all canary pods. `false`: the result is split by `podNamekey` and each ready canary pod is
    /// judged separately; series of other pods are ignored. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_pods_query: Option<bool>,
    /// Good if the value is within the bounds, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_in_range: Option<ValueInRange>,
    /// The values are counts, split by a label. Bad if the percentage of bad counts exceeds the tolerance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discrete_value_out_of_list: Option<DiscreteValueOutOfList>,
    /// Bad if the deviation from the mean exceeds the maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuous_value_deviation: Option<ContinuousValueDeviation>,
    /// Good if the value is 1, bad if it is 0. This is the result of a comparison with the `bool` modifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boolean: Option<Boolean>,
    /// For queries written like an alert: bad if the result contains any series, good if it is empty. An empty result only
    /// counts if there is evidence that Prometheus has data about the pods and about the operands of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_result: Option<NoResult>,
    /// Bad measurements tolerated in the whole run. Must be less than the number of measurements due until the deadline. Default
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub failure_limit: Option<u32>,
    /// Consecutive failed queries after which the item is `Inconclusive`. Default 4.
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
    /// data: `hold` waits and reports a condition and an event, `fail` fails the run. A slow or unavailable Prometheus does not
    /// fail a run. A canary without data is never promoted. Default `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
}

/// What happens at the deadline with too few samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at PromQlItem::on_no_data; docs here would make the schema a oneOf"
)]
pub enum OnNoData {
    #[default]
    Hold,
    Fail,
}

/// Good if the value is within the bounds, inclusive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.min) ? self.min : 0.0) <= (has(self.max) ? self.max : 1.0)",
    "message": "valueInRange.min (default 0) is greater than max (default 1): lower min or raise max",
}]))]
pub struct ValueInRange {
    /// Lower bound. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Upper bound. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// The values are counts, split by a label. Bad if the percentage of bad counts exceeds the tolerance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.goodValues) && self.goodValues.size() > 0) != (has(self.badValues) && self.badValues.size() > 0)",
    "message": "discreteValueOutOfList needs goodValues or badValues, and not both",
}]))]
pub struct DiscreteValueOutOfList {
    /// The label whose values are good or bad, like `code`.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// Good values. All others are bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub good_values: Option<Vec<String>>,
    /// Bad values. All others are good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub bad_values: Option<Vec<String>>,
    /// Percentage of bad counts that is tolerated, at most 99, because 100 could never fail. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub tolerance: Option<u32>,
}

/// Bad if the deviation from the mean exceeds the maximum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContinuousValueDeviation {
    /// Maximum deviation from the mean, in percent.
    #[schemars(range(min = 0.0))]
    pub max_deviation_percent: f64,
    /// What the query returns: `ratio` is the value divided by the mean (1 means no deviation); with `value`, the controller
    /// divides each value by the mean of the result. Default `ratio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<DeviationOf>,
}

/// What a deviation query returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at ContinuousValueDeviation::of; docs here would make the schema a oneOf"
)]
pub enum DeviationOf {
    #[default]
    Ratio,
    Value,
}

/// Good if the value is 1, bad if it is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Boolean {}

/// Bad if the result contains any series, good if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoResult {}
