//! A parsed spec with defaults.

use std::time::Duration;

use jiff::Timestamp;

pub use super::scale::Scale;
use super::{
    front_ends::Frame, invalid::Invalid, route::Desired, template::WorkloadTemplate, track::Tracked,
    validation::Validation,
};
use crate::api::{ManualVerdict, RouteKind, TrafficSource, WorkloadRef};

/// End of [`Spec::traffic_key`] of a run in place.
pub(super) const IN_PLACE: &str = " in place";

/// A parsed spec with defaults. If it is not [sound](Spec::is_sound), invalid fields have the value with the least
/// effect.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the user's, and any combination is legal"
)]
pub struct Spec {
    /// The target.
    pub target: WorkloadRef,
    /// The canary.
    pub canary: WorkloadRef,
    /// Name of the production Service.
    pub service: Option<String>,
    /// Name of the canary's own Service, if the traffic source needs one.
    pub kanary_service: Option<String>,
    /// The workload to validate and promote.
    pub template: WorkloadTemplate,
    /// Hash of the pod template, which identifies a run.
    pub template_hash: String,
    /// `spec.retry`.
    pub retry: i64,
    /// Start time. Nothing is created before it.
    pub schedule: Option<Timestamp>,
    /// The number of canary pods.
    pub scale: Scale,
    /// The requests that reach the canary.
    pub traffic: TrafficSource,
    /// The traffic source and the names of its Services. Two specs with the same key have the same traffic.
    pub traffic_key: String,
    /// What a route does for the canary, if the traffic source needs one.
    pub routing: Option<Routing>,
    /// How the canary is validated.
    pub validation: Validation,
    /// Whether the run ends at Succeeded without a change to the target.
    pub dry_run: bool,
    /// Whether a failed canary is kept without traffic.
    pub retain_failed: bool,
    /// Whether a missing target is created from the template.
    pub create_target: bool,
    /// How long a target must have been missing before it is created.
    pub create_target_after: Duration,
    /// Whether a target that another client changed is overwritten.
    pub promote_over_change: bool,
    /// How long the canary and the target may take to become available.
    pub progress_deadline: Duration,
    /// Whether the former template is restored if the promoted target does not become available.
    pub rollback: bool,
    /// Whether the run is held in its current state.
    pub paused: bool,
    /// Whether that is because a migration to this Kanary has not ended, whatever `spec.paused` says.
    pub migrating: bool,
    /// The manual verdict for the whole run.
    pub verdict: Option<ManualVerdict>,
    /// The tracks of a Kanary whose canary exists between runs.
    pub tracked: Option<Box<Tracked>>,
    /// What a front end adds to its translated spec.
    pub frame: Option<Box<Frame>>,
    /// All problems with the spec.
    pub problems: Vec<Invalid>,
}

/// What a route does for the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// The kind of route, if it is chosen.
    pub kind: Option<RouteKind>,
    /// Its name, if it is chosen.
    pub name: Option<String>,
    /// What the canary gets at each step; never empty.
    pub steps: Vec<Desired>,
    /// How long the canary is analysed at each step but the last.
    pub interval: Duration,
}

impl Spec {
    /// Whether the spec is valid. An unsound spec creates nothing, starts no run and promotes nothing. Its valid fields
    /// still protect the run in progress.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the traffic source needs the production Service.
    #[must_use]
    pub fn traffic_needs_service(&self) -> bool {
        self.traffic != TrafficSource::None
    }

    /// The production Service and the canary's as a route names them: with the subset, if a front end has subsets of one Service.
    #[must_use]
    pub fn backends(&self) -> (&str, &str) {
        if let Some(subsets) = self.frame.as_ref().and_then(|frame| frame.subsets.as_ref()) {
            return (&subsets.production, &subsets.canary);
        }
        let service = self.service.as_deref().unwrap_or_default();
        (service, self.kanary_service.as_deref().unwrap_or_default())
    }

    /// Whether a Service of this name selects the pods of the target and those of the canary, and the route tells them apart.
    #[must_use]
    pub fn shares_service(&self, name: &str) -> bool {
        let shares = self.frame.as_ref().is_some_and(|frame| frame.subsets.is_some());
        shares && self.service.as_deref() == Some(name)
    }

    /// Whether a front end keeps this object beyond its runs.
    #[must_use]
    pub fn keeps(&self, kind: &str, name: &str) -> bool {
        let frame = self.frame.as_ref();
        frame.is_some_and(|frame| {
            frame
                .kept
                .iter()
                .any(|kept| kept.resource.kind == kind && kept.name == name)
        })
    }

    /// Whether canary pods are behind the production Service.
    #[must_use]
    pub fn in_production(&self) -> bool {
        matches!(self.traffic, TrafficSource::Service | TrafficSource::Both)
    }
}
