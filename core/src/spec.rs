//! A spec that was read, defaults filled in.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{invalid::Invalid, scale::Scale, validation::Validation};
use crate::api::{TrafficSource, Word};

/// A spec, defaults filled in. Where it is not [sound](Spec::is_sound), every field that could not be read has the value with
/// which the least happens.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the user's, and any combination is legal"
)]
pub struct Spec {
    /// Name of the target Deployment.
    pub target: String,
    /// Name of the canary Deployment.
    pub canary: String,
    /// Name of the production Service.
    pub service: Option<String>,
    /// Name of the canary's own Service, where the traffic source asks for one.
    pub kanary_service: Option<String>,
    /// `template.metadata`.
    pub template_metadata: Value,
    /// `template.spec`, a Deployment's spec.
    pub template_spec: Value,
    /// Hash of the pod template: what a run is about.
    pub template_hash: String,
    /// `spec.retry`.
    pub retry: i64,
    /// Nothing is created before.
    pub schedule: Option<Timestamp>,
    /// How many canary pods.
    pub scale: Scale,
    /// Which requests reach the canary; never one of the sources that are not there yet.
    pub traffic: TrafficSource,
    /// The traffic source and the names of the Services that it needs: two specs with the same bring the same traffic.
    pub traffic_key: String,
    /// How it is judged.
    pub validation: Validation,
    /// The run ends at Succeeded and leaves the target alone.
    pub dry_run: bool,
    /// A failed canary is kept, out of traffic.
    pub retain_failed: bool,
    /// A target that is missing is created from the template.
    pub create_target: bool,
    /// For how long a target must have been missing before it is created.
    pub create_target_after: Duration,
    /// A target that somebody else changed is overwritten.
    pub promote_over_change: bool,
    /// How long the canary and the target may take to become available.
    pub progress_deadline: Duration,
    /// The former template is put back if the promoted target does not become available.
    pub rollback: bool,
    /// The run is held where it is.
    pub paused: bool,
    /// The user's word over the whole run.
    pub verdict: Option<Word>,
    /// Everything that cannot be run.
    pub problems: Vec<Invalid>,
}

impl Spec {
    /// Whether all of it can be run. One that is not sound creates nothing, starts no run and promotes nothing; what can be
    /// read of it still protects the run that is under way.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// The pod template that is tried and promoted.
    #[must_use]
    pub fn pod_template(&self) -> Value {
        self.template_spec.get("template").cloned().unwrap_or_default()
    }

    /// Whether the traffic source asks for the production Service.
    #[must_use]
    pub fn traffic_needs_service(&self) -> bool {
        self.traffic != TrafficSource::None
    }

    /// Whether canary pods are behind the production Service.
    #[must_use]
    pub fn in_production(&self) -> bool {
        matches!(self.traffic, TrafficSource::Service | TrafficSource::Both)
    }
}
