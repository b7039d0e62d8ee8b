//! Runs on the target itself: some pods of a StatefulSet run the template, and there is no canary beside it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The highest ordinals of the target, which is a StatefulSet, run the template. There is no canary beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InPlaceScale {
    /// Number of pods that run the template, 1 or more, and fewer than the target has. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replicas: Option<i32>,
}

/// What a run in place changes in the target. It is stored before the target is written, and until the target has its own partition
/// back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InPlace {
    /// The run, as an annotation of the target names it.
    pub run: String,
    /// Since when this is stored.
    #[schemars(schema_with = "super::crd::time")]
    pub since: Timestamp,
    /// `metadata.uid` of the target.
    pub target_uid: String,
    /// `metadata.generation` of the target before it is written.
    pub generation: i64,
    /// Hash of the pod template that the target had before.
    pub former_hash: String,
    /// The partition that the target had before.
    pub former_partition: i32,
    /// The partition of the run: pods from this ordinal on run the template.
    pub partition: i32,
    /// Hash of the pod template of the run, as the API server stored it in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
}

/// End of the annotation of a target while some of its pods run the template.
const BEGUN: &str = "/in-place";

impl InPlace {
    /// The annotation on the target while some of its pods run the template.
    #[must_use]
    pub fn begun(&self) -> String {
        format!("{}{BEGUN}", self.run)
    }

    /// Whether this annotation says that a run in place is under way.
    #[must_use]
    pub fn is_mark(annotation: &str) -> bool {
        annotation.ends_with(BEGUN)
    }

    /// The annotation of a target that has back what it had before.
    #[must_use]
    pub fn undone(&self) -> String {
        format!("{}/rolled-back", self.run)
    }
}
