//! The spec that every Kanary kind shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ManualVerdict, RolloutSpec, ScaleSpec, TrafficSpec, ValidationSpec, WorkloadKind};

/// What to run and on how many pods, its traffic, how it is judged, and what happens after the verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.items)",
        "message": "spec.items belongs under spec.validation: indent `items` so that it reads spec.validation.items",
    },
    {
        "rule": "!(has(self.validation) && has(self.validations))",
        "message": "spec.validation and spec.validations are two names of one block: keep one and remove the other",
    },
    {
        "rule": "!has(self.traffic) || !has(self.traffic.source) || self.traffic.source == 'none' || \
                 (has(self.serviceName) && self.serviceName != '')",
        "message": "this spec.traffic.source needs spec.serviceName, the production Service: set it, or use source none",
    },
    {
        "rule": "!has(oldSelf.deploymentName) || oldSelf.deploymentName == '' || (has(self.deploymentName) && \
                 self.deploymentName == oldSelf.deploymentName)",
        "message": "spec.deploymentName can't change once set: create another Kanary for another target",
    },
    {
        "rule": "!has(oldSelf.targetRef) || (has(self.targetRef) && self.targetRef == oldSelf.targetRef)",
        "message": "spec.targetRef can't change once set: create another Kanary for another target",
    },
    {
        "rule": "!has(oldSelf.statefulSetName) || oldSelf.statefulSetName == '' || (has(self.statefulSetName) && \
                 self.statefulSetName == oldSelf.statefulSetName)",
        "message": "spec.statefulSetName can't change once set: create another Kanary for another target",
    },
    {
        "rule": "!has(self.targetRef) || !has(self.deploymentName) || self.deploymentName == '' || \
                 (self.targetRef.kind == 'Deployment' && self.targetRef.name == self.deploymentName)",
        "message": "spec.targetRef and spec.deploymentName name two targets: keep one of them",
    },
    {
        "rule": "!has(self.statefulSetName) || self.statefulSetName == '' || \
                 ((!has(self.deploymentName) || self.deploymentName == '') && (!has(self.targetRef) || \
                 (self.targetRef.kind == 'StatefulSet' && self.targetRef.name == self.statefulSetName)))",
        "message": "spec.statefulSetName and another field name two targets: keep one of spec.targetRef, spec.deploymentName and \
                    spec.statefulSetName",
    },
]))]
pub struct KanarySpec {
    /// Name of a target that is a Deployment, to which a successful canary is promoted. Default: `template.metadata.name`, or the
    /// Kanary's own name if that is not set. Can't change once set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub deployment_name: Option<String>,
    /// Name of a target that is a StatefulSet. Short for `targetRef` with this kind. Can't change once set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub stateful_set_name: Option<String>,
    /// The target, by kind and name: the workload to which a successful canary is promoted, and whose kind the canary has. Default:
    /// the Deployment of `deploymentName`. A `KanaryDaemonset` without `deploymentName` has a DaemonSet as its target. Can't change once
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Name of the production Service, which selects the target's pods. Required for every traffic source but
    /// `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_name: Option<String>,
    /// The workload under test: the canary runs its pod template, and a successful run writes that pod template to the target.
    /// A target that does not exist is created from this template.
    pub template: Template,
    /// When the run may start, in RFC 3339, like 2020-04-12T20:42:00Z. Nothing is created before this time. A time in the past
    /// starts the run immediately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = [{
        "rule": "self == '' || self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3])\
                 :[0-5][0-9]:([0-5][0-9]|60)([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$')",
        "message": "write spec.schedule in RFC 3339 with a time zone, like 2020-04-12T20:42:00Z",
    }]))]
    pub schedule: Option<String>,
    /// How many canary pods run. Default: `static` with one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleSpec>,
    /// Which requests reach the canary. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficSpec>,
    /// How the canary is judged. Default: one manual item, which waits for a manual verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSpec>,
    /// An alias of `validation`. Set only one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validations: Option<ValidationSpec>,
    /// What happens after the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
    /// `true` pauses the run: Kanary creates and promotes nothing and sends no queries, and the deadline moves by the length of
    /// the pause. A verdict against the canary (`verdict: invalid`, a manual `invalid`, labels) still fails it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Manual verdict for the whole run, which overrides all items: `valid` promotes the canary once it is available, `invalid`
    /// removes it. A verdict left over from an earlier run does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ManualVerdict>,
    /// Change this number to run the same template again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Order of Kanaries that wait because the number of canaries that run at the same time is limited: higher numbers start
    /// first. From -100 to 100, default 0. A step is worth ten minutes of waiting. An edit takes effect immediately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -100, max = 100))]
    pub priority: Option<i32>,
    /// Not a field: move `items` under `spec.validation`. Declared only to produce an error message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_list")]
    pub items: Option<Value>,
}

/// A target, in the namespace of the Kanary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetRef {
    /// `Deployment`, or `StatefulSet` or `DaemonSet` if the operator has switched these on.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A workload of the target's kind as in apps/v1: metadata and spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    /// Metadata of the workload. The labels and annotations are used when Kanary creates the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::template_metadata")]
    pub metadata: Option<Value>,
    /// Spec of the workload, as in apps/v1. `replicas` and `selector` are used when Kanary creates the target.
    #[schemars(schema_with = "super::crd::free_object")]
    pub spec: Value,
}
