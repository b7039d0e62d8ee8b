//! Tracks: a canary that exists between runs, and its target.

use serde_json::Value;

use super::labels::Labels;

/// The tracks of a Kanary whose canary exists between runs, and that owns its target as well. Their pods get the labels of their
/// track and are in production by the user's own Services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracked {
    /// The canary.
    pub canary: Track,
    /// The target.
    pub target: Track,
    /// The selector of the target.
    pub selector: Value,
}

/// One of the tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// Number of replicas. `None` leaves it to others, such as an autoscaler.
    pub replicas: Option<i32>,
    /// Labels of the workload and its pods, beside those of the template.
    pub labels: Labels,
}
