//! `status.place`: a run's place among the canaries that run at the same time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run's place among the canaries that run at the same time, if their number is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPlace {
    /// When the run asked for its place. It identifies the request: the next request of the Kanary has a later time.
    #[schemars(schema_with = "super::crd::time")]
    pub requested_at: Timestamp,
    /// `Waiting`: the run waits in line. `Taken`: the run has started. `Left`: the request does not count any more.
    pub state: PlaceState,
    /// Since when something else keeps the waiting run from starting. After a minute, it leaves the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::time")]
    pub blocked_at: Option<Timestamp>,
    /// The place in the line when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<InLine>,
}

/// A place in the line at one point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InLine {
    /// The place, from 1. It is absent behind the first hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// How many runs waited.
    pub waiting: u32,
    /// When the position was read.
    #[schemars(schema_with = "super::crd::time")]
    pub at: Timestamp,
}

/// The state of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at RunPlace::state; docs here would make the schema a oneOf"
)]
pub enum PlaceState {
    Waiting,
    Taken,
    Left,
}

impl RunPlace {
    /// A request.
    #[must_use]
    pub fn requested(at: Timestamp, state: PlaceState) -> Self {
        Self {
            requested_at: at,
            state,
            blocked_at: None,
            line: None,
        }
    }
}
