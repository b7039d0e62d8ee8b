//! `status`: what users see. Written when the state changes, never periodically.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{GoDuration, InPlace, ManualVerdict, RouteRef, RunPlace};

/// What the controller observed and decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KanaryStatus {
    /// The `metadata.generation` for which this status was computed, or -1 before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Hash of the pod template of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_hash: Option<String>,
    /// Value of `spec.retry` for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Traffic source of the run: `spec.traffic.source` and the names of the Services it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_traffic: Option<String>,
    /// The highest fencing token that wrote this status. Writes with a lower token come from a replaced replica and are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::epoch")]
    pub epoch: Option<i64>,
    /// Number of the run, from 1. A changed template or `spec.retry` starts the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// Id of the run's trace, if the controller collects traces.
    #[serde(default, rename = "traceID", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Hash of the target's pod template when the run started. A different hash means `TargetChanged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_hash: Option<String>,
    /// uid of the canary Deployment under validation. A Deployment with another uid is validated from the start. Until the
    /// canary of a new run is available, this is the uid from the previous run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_uid: Option<String>,
    /// Hash of the canary's pod template when it was created. A different hash means `CanaryChanged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_hash: Option<String>,
    /// Hash of the pod template that this run wrote to the target, as the API server stored it. A rollback only replaces this
    /// template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_hash: Option<String>,
    /// When the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub start_time: Option<Timestamp>,
    /// When the canary became available, by the API server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub available_at: Option<Timestamp>,
    /// Since when the canary has been available, as included in the times below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub available_since: Option<Timestamp>,
    /// Total time for which the canary was unavailable after it first became available. It does not count as validation time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::duration")]
    pub unavailable_for: Option<GoDuration>,
    /// When the analysis starts: `availableAt` + `initialDelay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub validation_start_time: Option<Timestamp>,
    /// When the verdict is due: `validationStartTime` + `validationPeriod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub deadline: Option<Timestamp>,
    /// The `spec.validation.initialDelay` on which the times of the run are based.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<GoDuration>,
    /// The `spec.validation.validationPeriod` on which the times of the run are based.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_period: Option<GoDuration>,
    /// When the current pause began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub paused_at: Option<Timestamp>,
    /// When the last pause ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub resumed_at: Option<Timestamp>,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub completed_at: Option<Timestamp>,
    /// Hashes of the last 20 pod templates that failed, oldest first. These templates are not run again. A run that ended with
    /// `TargetChanged` or `CanaryChanged` does not add its template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_templates: Vec<String>,
    /// What a route sends to the canary, for the traffic sources `weighted`, `tagged` and `mirror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficStatus>,
    /// Place of the run among the canaries that run at the same time, if their number is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<RunPlace>,
    /// The template that passed last, for kinds whose canary exists between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub latest_successful_deployment_snapshot: Option<Box<Snapshot>>,
    /// The objects of both tracks after Kanary's last write to them, for kinds whose canary exists between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub tracks: Option<Box<Tracks>>,
    /// What the run changes in the target, for `spec.scale.inPlace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place: Option<Box<InPlace>>,
    /// Verdicts in the spec, and those that are ignored because they are from an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Verdicts>,
    /// Summary of the run for `kubectl get`.
    #[serde(default)]
    pub report: Report,
    /// One entry for each validation item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemStatus>,
    /// Standard conditions: Scheduled, Activated, Traffic, Running, Succeeded, Failed, DeploymentUpdated, `RolledBack`, Errored,
    /// `VerdictIgnored`, and kstatus' Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::crd::conditions")]
    pub conditions: Vec<Condition>,
    /// Fields that only front ends have. They are not read with the others: a status of another kind must cost nothing for them.
    #[serde(flatten, skip_deserializing)]
    #[schemars(skip)]
    pub own: OwnFields,
}

/// The fields of a status that only one kind of front end has, by name. Other kinds have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnFields(Option<Box<Map<String, Value>>>);

impl OwnFields {
    /// These fields.
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self(Some(fields).filter(|fields| !fields.is_empty()).map(Box::new))
    }

    /// A field, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.as_ref()?.get(name)
    }

    /// The fields of these names in a status.
    #[must_use]
    pub fn of(status: &Value, names: &[&str]) -> Self {
        let field = |name: &&str| Some(((*name).to_owned(), status.get(name)?.clone()));
        Self::new(names.iter().filter_map(field).collect())
    }
}

impl Serialize for OwnFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_deref().unwrap_or(&Map::new()).serialize(serializer)
    }
}

/// A pod template with its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Hash of the pod template.
    #[serde(default)]
    pub template_hash: String,
    /// The pod template as JSON, without the labels of a track.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// When the verdict was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub timestamp: Option<Timestamp>,
}

/// The objects of both tracks after Kanary's last write to them. Another generation means that somebody has edited the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tracks {
    /// The canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Written>,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Written>,
}

/// An object after a write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// When the last write was made that changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub at: Option<Timestamp>,
}

/// What a route sends to the canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficStatus {
    /// The route.
    pub route: RouteRef,
    /// Number of the step, from 1.
    pub step: u32,
    /// The canary's share of the requests in percent at this step, or 0 for the sources `tagged` and `mirror`.
    pub weight: u8,
    /// Since when the traffic of this step is in force. Absent while the canary does not get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub since: Option<Timestamp>,
    /// When the step ends: `since` + `spec.traffic.weighted.interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub deadline: Option<Timestamp>,
    /// The `metadata.generation` of the route that gives the canary its requests. Absent while the traffic is not in force, and while
    /// several Kanaries use the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// Verdicts in the spec, and those that are ignored because they are from an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdicts {
    /// Verdicts in the spec when this status was written.
    #[serde(default, skip_serializing_if = "ManualVerdicts::are_none")]
    pub present: ManualVerdicts,
    /// Verdicts that were already in the spec during an earlier run and do not count for this one.
    #[serde(default, skip_serializing_if = "ManualVerdicts::are_none")]
    pub stale: ManualVerdicts,
}

/// How many times a spec says `valid` and `invalid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManualVerdicts {
    /// `spec.verdict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ManualVerdict>,
    /// Number of manual items whose `status` is `valid`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub valid: u32,
    /// Number of manual items whose `status` is `invalid`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub invalid: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl KanaryStatus {
    /// Number of the run, also before the first one is in the status.
    #[must_use]
    pub fn run_number(&self) -> i64 {
        self.run.unwrap_or(1)
    }
}

impl ManualVerdicts {
    /// Whether the spec contains no verdict.
    #[must_use]
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Summary of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Scheduled, Running, Succeeded, DeploymentUpdated, Failed or Errored; Deleting while a finalizer blocks deletion of the
    /// Kanary.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub deployment: String,
    /// The production Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// static, percent, hpa, keda, nodes or inPlace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scale: String,
    /// The traffic source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traffic: String,
    /// The kinds of validation items.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub validation: String,
    /// `elapsed/total` of the initial delay plus the validation period, when this status was written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub duration: String,
}

/// State of one validation item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemStatus {
    /// Kind and index in `items`, like `promQL[0]`.
    pub name: String,
    /// Hash of the item's check. The counts belong to this hash. It does not change when the item moves in the list or its
    /// tolerance is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `Pending`, `Good`, `Bad`, `NoData`, `Error` or `Inconclusive`.
    #[serde(default)]
    pub state: ItemState,
    /// Reason why the run waits, if it needs attention: `NoData`, `Inconclusive`, `QueryInvalid`, `NotAnswered`, `TooFewSamples`
    /// or `LastMeasurementBad`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last measured value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_value: Option<f64>,
    /// When the item was last checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub last_check: Option<Timestamp>,
    /// Good measurements so far.
    #[serde(default)]
    pub good: u32,
    /// Bad measurements so far.
    #[serde(default)]
    pub bad: u32,
    /// Consecutive queries that failed.
    #[serde(default)]
    pub errors: u32,
    /// Why the item is in this state, with the measured number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Warnings about the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The state of a validation item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at ItemStatus::state; docs here would make the schema a oneOf"
)]
pub enum ItemState {
    #[default]
    Pending,
    Good,
    Bad,
    NoData,
    Error,
    Inconclusive,
}

#[cfg(test)]
mod tests {
    use super::ItemStatus;

    /// If a number changes when it is read back, the controller assumes that its status was not stored.
    #[test]
    fn the_last_value_of_an_item_is_read_as_it_was_written() {
        let mut bits = 0x3fb9_9999_9999_999a_u64;
        for _ in 0..10_000 {
            bits = bits
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let value = Some(f64::from_bits(bits)).filter(|value| value.is_finite());
            let written = ItemStatus {
                last_value: value,
                ..ItemStatus::default()
            };
            let text = serde_json::to_string(&written).unwrap();
            let read: ItemStatus = serde_json::from_str(&text).unwrap();
            assert_eq!(read.last_value, value, "{text}");
        }
    }
}
