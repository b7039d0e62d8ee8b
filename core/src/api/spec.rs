//! The spec that every Kanary kind shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RolloutSpec, ScaleSpec, TrafficSpec, ValidationSpec, Word};

/// What to run, how many, which traffic, how it is judged, and what happens then.
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
        "rule": "!has(self.traffic) || !has(self.traffic.source) || !(self.traffic.source in ['service', \
                 'kanary-service', 'both']) || (has(self.serviceName) && self.serviceName != '')",
        "message": "this spec.traffic.source needs spec.serviceName, the production Service: set it, or use source none",
    },
    {
        "rule": "!has(oldSelf.deploymentName) || oldSelf.deploymentName == '' || (has(self.deploymentName) && \
                 self.deploymentName == oldSelf.deploymentName)",
        "message": "spec.deploymentName can't change once set: create another Kanary for another target",
    },
]))]
pub struct KanarySpec {
    /// Name of the target, the Deployment that a good canary is promoted to. Default: `template.metadata.name`, else the
    /// Kanary's own name. Can't change once set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub deployment_name: Option<String>,
    /// Name of the production Service, which the target's pods are behind. Needed by the traffic sources `service`,
    /// `kanary-service` and `both`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_name: Option<String>,
    /// The Deployment to try: the canary runs its pod template, and success writes that pod template to the target. If
    /// the target does not exist, it is created from this.
    pub template: Template,
    /// When the run may start, in RFC 3339, like 2020-04-12T20:42:00Z. Nothing is created before. A time in the past
    /// means at once.
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
    /// How the canary is judged. Default: one manual item that waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSpec>,
    /// The same block as `validation` under its other published name; setting both is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validations: Option<ValidationSpec>,
    /// What happens after the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
    /// `true` holds the run where it is: nothing is created or promoted, no query is asked, and the deadline moves by the
    /// length of the pause. What speaks against the canary (`verdict: invalid`, a manual `invalid`, labels) still fails it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The user's word over the whole run, whatever the items say: `valid` promotes (once the canary is available),
    /// `invalid` takes the canary away. One that is left in the spec from an earlier run does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Word>,
    /// Changing the number runs the same template once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Who goes first when fleet limits make Kanaries wait: the higher number. There are no fleet limits yet, so every
    /// Kanary starts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Not a field: `items` goes under `spec.validation`. Declared only so that the mistake is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_list")]
    pub items: Option<Value>,
}

/// A Deployment as in apps/v1: metadata and spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    /// Metadata of the Deployment: its labels and annotations are used when the target has to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::template_metadata")]
    pub metadata: Option<Value>,
    /// Spec of the Deployment, as in apps/v1. `replicas` and `selector` are used when the target has to be created.
    #[schemars(schema_with = "super::crd::free_object")]
    pub spec: Value,
}
