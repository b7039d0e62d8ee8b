//! `CanaryDeployment`: two Deployments of one pod template, a canary and a stable one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Face;
use crate::api::{MetricItem, Snapshot, Tracks, crd::schema_of};

pub(super) const FACE: Face = Face {
    description: "A canary and a stable Deployment of one pod template: each new template runs in the canary first, and in the stable \
                  Deployment once the metrics of the canary have been checked.",
    spec,
    status,
    columns: &[
        ("Status", "string", ".status.report.status"),
        ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
        ("Canary", "integer", ".spec.tracks.canary.replicas"),
        ("Stable", "integer", ".spec.tracks.stable.replicas"),
        (
            "Check",
            "string",
            ".status.deploymentReadyStatusCheckpoint.metricCheckResult",
        ),
    ],
    rules: &[
        (
            "size(self.metadata.name) <= 63",
            "the name of a CanaryDeployment is a label value: use 63 characters at most",
        ),
        (
            "self.spec.selector == oldSelf.spec.selector",
            "spec.selector can't change, as that of a Deployment: create another CanaryDeployment",
        ),
    ],
};

/// The pod template, its two tracks, and how the canary is checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["selector", "template", "tracks"]))]
pub struct CanaryDeploymentSpec {
    /// Selects the pods of both tracks. It must match the labels of the template, and cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::label_selector")]
    pub selector: Option<LabelSelector>,
    /// The pod template. Another one runs in the canary first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::free_object")]
    pub template: Option<Value>,
    /// The two Deployments, `<name>-canary` and `<name>-stable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CanaryDeploymentTracks")]
    pub tracks: Option<CanaryDeploymentTracks>,
    /// Seconds for which a new pod must be ready before it counts as available. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
    /// Seconds in which the rollout of a track must make progress. A canary that does not fails. Default 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub progress_deadline_seconds: Option<i32>,
    /// Change this number to try the same template again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
}

/// The two Deployments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryDeploymentTracks {
    /// The Deployment that runs each new template first, and its check.
    #[serde(default)]
    pub canary: CanaryTrack,
    /// The Deployment that runs the last template that passed.
    #[serde(default)]
    pub stable: StableTrack,
}

/// The Deployment that runs each new template first, and its check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryTrack {
    /// Number of pods. If it is not set, the Deployment starts with 1, and others may scale it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replicas: Option<i32>,
    /// Labels of the Deployment and its pods, beside those of the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Seconds between the time at which all pods of the canary are ready and the check of the metrics. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub metrics_check_delay_seconds: Option<u32>,
    /// What is checked once, after the delay, in the form of the metrics of a HorizontalPodAutoscaler: a value that reaches its
    /// target fails the canary. Without metrics, the canary passes if it is available until the delay is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub metrics: Vec<Value>,
}

/// The Deployment that runs the last template that passed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StableTrack {
    /// Number of pods. If it is not set, the Deployment starts with 1, and others may scale it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Labels of the Deployment and its pods, beside those of the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn spec() -> Value {
    let mut schema = schema_of::<CanaryDeploymentSpec>();
    if let Some(metrics) = schema.pointer_mut("/properties/tracks/properties/canary/properties/metrics/items") {
        *metrics = metric();
    }
    schema
}

/// The schema of a metric: that of an item of a Kanary without its tolerances. The limit may be a fraction.
fn metric() -> Value {
    let mut schema = schema_of::<MetricItem>();
    let terms = [
        "failureLimit",
        "consecutiveErrorLimit",
        "minSamples",
        "interval",
        "onNoData",
    ];
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !terms.contains(&name.as_str()));
        for block in properties.values_mut() {
            if let Some(target) = block.pointer_mut("/properties/target") {
                limit(target);
            }
        }
    }
    if let Some(fields) = schema.as_object_mut() {
        let description = "A metric, in the form of autoscaling/v2: a value that reaches the target fails the canary.";
        fields.insert("description".to_owned(), json!(description));
    }
    schema
}

/// Rules cannot read what may be any number, so the controller checks that the field of the type is set.
fn limit(target: &mut Value) {
    let Some(fields) = target.as_object_mut() else { return };
    fields.remove("x-kubernetes-validations");
    fields.insert(
        "description".to_owned(),
        json!("The limit: a value that reaches it fails the canary."),
    );
    let number = |what: &str| {
        json!({
            "x-kubernetes-preserve-unknown-fields": true,
            "description": format!("{what}: a number such as 0.1, or a quantity such as 100m."),
        })
    };
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    if let Some(properties) = properties {
        properties.insert("value".to_owned(), number("The limit for type `Value`"));
        properties.insert(
            "averageValue".to_owned(),
            number("The limit per pod, for type `AverageValue`"),
        );
    }
}

fn status() -> Value {
    let snapshot = |description: &str| {
        let mut schema = schema_of::<Snapshot>();
        if let Some(fields) = schema.as_object_mut() {
            fields.insert("description".to_owned(), json!(description));
        }
        schema
    };
    json!({
        "observedTemplateHash": {"type": "string", "description": "Hash of the pod template of the last run."},
        "deploymentReadyStatusCheckpoint": {
            "type": "object",
            "description": "The last template that became ready in the canary, and the result of its check.",
            "properties": {
                "templateHash": {"type": "string", "description": "Hash of the pod template."},
                "latestReadyTimestamp": {
                    "type": "string", "format": "date-time",
                    "description": "Since when all pods of the canary have been ready. The delay counts from then.",
                },
                "metricCheckResult": {
                    "type": "string", "description": "`Success` or `Failure`; empty before the check.",
                },
            },
        },
        "latestSuccessfulDeploymentSnapshot": snapshot("The last template that passed. The stable Deployment runs it."),
        "latestFailedDeploymentSnapshot": snapshot("The last template that failed."),
        "latestMetrics": {
            "type": "array",
            "description": "The last values of the metrics, in the form of the status of a HorizontalPodAutoscaler.",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
        "tracks": schema_of::<Tracks>(),
    })
}
