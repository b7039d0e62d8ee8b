//! `spec.validation`: how the canary is judged.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GoDuration, PrometheusAuth, duration::at_least_100ms};

/// How the canary is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.manual) && !has(self.labelWatch) && !has(self.promQL)",
    "message": "manual, labelWatch and promQL are entries of a list: write them under `items:`, each after a dash",
}]))]
pub struct ValidationSpec {
    /// How long the canary warms up, from when it is available, before it is judged. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<GoDuration>,
    /// How long the canary is judged. Default 15m. Editing it moves the deadline of a run under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_period: Option<GoDuration>,
    /// A metric is checked at least this often. Default 20s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_least_100ms("maxIntervalPeriod")))]
    pub max_interval_period: Option<GoDuration>,
    /// `true` is a dry-run: the run ends at `Succeeded` and the target is left alone. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_update: Option<bool>,
    /// What is judged. Any item that fails, fails the run, at once; all must be good at the deadline. Default: one manual
    /// item that waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub items: Option<Vec<ValidationItem>>,
    /// Not a field: write it under `items`. Declared only so that the mistake is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub manual: Option<Value>,
    /// Not a field: write it under `items`. Declared only so that the mistake is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub label_watch: Option<Value>,
    /// Not a field: write it under `items`. Declared only so that the mistake is answered.
    #[serde(rename = "promQL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub prom_ql: Option<Value>,
}

/// One thing that is judged: exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.manual), has(self.labelWatch), has(self.promQL), has(self.metric)].filter(x, x).size() == 1",
    "message": "a validation item is exactly one of manual, labelWatch, promQL and metric: split it into several items",
}]))]
pub struct ValidationItem {
    /// A person's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualItem>,
    /// Labels that fail the run when they appear on a canary pod or on the canary Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_watch: Option<LabelWatchItem>,
    /// A Prometheus query.
    #[serde(rename = "promQL", default, skip_serializing_if = "Option::is_none")]
    pub prom_ql: Option<PromQlItem>,
    /// Reserved for the Kubernetes metrics APIs; refused for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub metric: Option<Value>,
}

/// A user's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described where it is used; docs here would make the schema a oneOf"
)]
pub enum Word {
    Valid,
    Invalid,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        })
    }
}

/// What a manual item comes to when nobody spoke before the deadline.
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

/// A person's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManualItem {
    /// What the item comes to if `status` is not set by the deadline; `none` waits for it. Default `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_after_deadline: Option<AfterDeadline>,
    /// The user's verdict, taken at once: `valid` or `invalid`. One that is left in the spec from an earlier run does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Word>,
}

/// Labels that fail the run when they appear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.podInvalidationLabels) || has(self.deploymentInvalidationLabels)",
    "message": "labelWatch needs podInvalidationLabels, deploymentInvalidationLabels or both",
}]))]
pub struct LabelWatchItem {
    /// A match on any canary pod fails the run at once. A plain map, like `monitoring-alert: high-cpu`, or a
    /// LabelSelector with `matchLabels` and `matchExpressions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_invalidation_labels: Option<LabelMatch>,
    /// A match on the canary Deployment fails the run at once. A plain map, like `validation: failed`, or a
    /// LabelSelector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_invalidation_labels: Option<LabelMatch>,
}

/// A plain map of labels or a LabelSelector.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(schema_with = "super::crd::some_labels", inline)]
pub enum LabelMatch {
    /// Every label of the map must be there with its value.
    Labels(BTreeMap<String, String>),
    /// A LabelSelector, and nothing beside it: a label that is written beside `matchLabels` would be ignored.
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

/// A Prometheus query, one criterion that its result must meet, and how much of what is tolerated.
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
    /// Where Prometheus answers: `host:port`, or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub prometheus_service: Option<String>,
    /// Where Prometheus answers, as an http or https URL, with a path prefix if there is one.
    #[serde(rename = "prometheusURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub prometheus_url: Option<String>,
    /// Who Kanary is to Prometheus and whom it trusts: Secrets of the Kanary's namespace, and headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_auth: Option<PrometheusAuth>,
    /// The PromQL query, evaluated as an instant query. May use `{{ deployment.name }}`, `{{ canary.name }}`,
    /// `{{ service.name }}`, `{{ namespace }}`, `{{ kanary.name }}` and, behind `=~` and `!~`, `{{ pods }}` (a regex of the
    /// names of the canary's ready pods).
    #[schemars(length(min = 1, max = 16384))]
    pub query: String,
    /// With `noResult`: the query that proves that Prometheus knows the canary's pods, without which no result proves
    /// nothing. Every ready pod has to be in its result, with a value above 0; with `allPodsQuery`, a result without
    /// `podNamekey` stands for all pods. Default: any series with a pod's name, unless every scrape of the pod fails, and
    /// what the query compares: the operands are there, are numbers, and have labels that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub evidence_query: Option<String>,
    /// The label that names the pod in the result. Default `pod`.
    #[serde(rename = "podNamekey", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pod_name_key: Option<String>,
    /// `true`: the result stands for all canary pods. `false`: it is split by `podNamekey` and judged per ready canary
    /// pod; series of other pods are neither proof nor failure. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_pods_query: Option<bool>,
    /// Good is a value within the bounds, bounds included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_in_range: Option<ValueInRange>,
    /// Values are counts, split by a label; bad is a share of bad counts above the tolerance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discrete_value_out_of_list: Option<DiscreteValueOutOfList>,
    /// Bad is a deviation from the mean above the maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuous_value_deviation: Option<ContinuousValueDeviation>,
    /// Good is the value 1, bad is 0, as comparisons with `bool` yield.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boolean: Option<Boolean>,
    /// An alert-like query: any series is bad, none is good, as long as there is evidence that Prometheus knows the pods and
    /// has what the query compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_result: Option<NoResult>,
    /// Bad measurements that are tolerated in the whole run: fewer than are due until the deadline. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub failure_limit: Option<u32>,
    /// Queries in a row that could not be answered before the item is `Inconclusive`. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub consecutive_error_limit: Option<u32>,
    /// Good measurements that success needs at least: no more than are due until the deadline. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub min_samples: Option<u32>,
    /// Time between two checks. Default: the validation's `maxIntervalPeriod`; a longer interval is shortened to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_least_100ms("interval")))]
    pub interval: Option<GoDuration>,
    /// At the deadline with too few samples, or with `consecutiveErrorLimit` measurements in a row that had no data: `hold`
    /// waits with a condition and an event, `fail` fails the run. A Prometheus that is slow or down fails nobody. Nothing
    /// promotes on no data. Default `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
}

/// At the deadline with too few samples.
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

/// Good is a value within the bounds, bounds included.
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

/// Values are counts, split by a label; bad is a share of bad counts above the tolerance.
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
    /// Values that are good; all others are bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub good_values: Option<Vec<String>>,
    /// Values that are bad; all others are good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub bad_values: Option<Vec<String>>,
    /// Share of bad counts that is tolerated, in percent, 99 at most: 100 could not fail. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub tolerance: Option<u32>,
}

/// Bad is a deviation from the mean above the maximum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContinuousValueDeviation {
    /// Largest deviation from the mean that is good, in percent.
    #[schemars(range(min = 0.0))]
    pub max_deviation_percent: f64,
    /// What the query yields: `ratio`, the value divided by the mean (1 is no deviation), or `value`, which the
    /// controller divides by the mean over the result. Default `ratio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<DeviationOf>,
}

/// What a deviation query yields.
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

/// Good is the value 1, bad is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Boolean {}

/// Any series is bad, none is good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoResult {}
