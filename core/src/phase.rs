//! How far a run is, by the conditions of its status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::api::{KanaryStatus, Reason};

/// The phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waiting for the schedule, for the canary to become available, or for the initial delay.
    Scheduled,
    /// The canary is being validated.
    Running,
    /// The canary failed. Final.
    Failed,
    /// The canary passed. Final for a dry-run.
    Succeeded,
    /// The target was updated and has rolled out. Final.
    DeploymentUpdated,
}

impl Phase {
    /// The phase in a status.
    #[must_use]
    pub fn of(status: &KanaryStatus) -> Self {
        [
            (DEPLOYMENT_UPDATED, Self::DeploymentUpdated),
            (FAILED, Self::Failed),
            (SUCCEEDED, Self::Succeeded),
            (RUNNING, Self::Running),
        ]
        .into_iter()
        .find(|(condition, _)| is_true(status, condition))
        .map_or(Self::Scheduled, |(_, phase)| phase)
    }

    /// The name of the phase that users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => SCHEDULED,
            Self::Running => RUNNING,
            Self::Failed => FAILED,
            Self::Succeeded => SUCCEEDED,
            Self::DeploymentUpdated => DEPLOYMENT_UPDATED,
        }
    }
}

/// Condition: the run was accepted, and waits or waited for its time.
pub const SCHEDULED: &str = "Scheduled";
/// Condition: the canary exists and is available.
pub const ACTIVATED: &str = "Activated";
/// Condition: the canary gets the requested traffic.
pub const TRAFFIC: &str = "Traffic";
/// Condition: the canary is being validated.
pub const RUNNING: &str = "Running";
/// Condition: the verdict is good.
pub const SUCCEEDED: &str = "Succeeded";
/// Condition: the verdict is bad.
pub const FAILED: &str = "Failed";
/// Condition: the target runs the template.
pub const DEPLOYMENT_UPDATED: &str = "DeploymentUpdated";
/// Condition: the target was rolled back to its template from before a promotion after which it did not become available.
pub const ROLLED_BACK: &str = "RolledBack";
/// Condition: there is a problem that is not the canary's failure.
pub const ERRORED: &str = "Errored";
/// Condition: a verdict in the spec does not count for this run.
pub const VERDICT_IGNORED: &str = "VerdictIgnored";
/// kstatus: the controller is making progress.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: the controller waits for a user.
pub const STALLED: &str = "Stalled";

/// Whether a condition is True.
#[must_use]
pub fn is_true(status: &KanaryStatus, condition: &str) -> bool {
    find(status, condition).is_some_and(|c| c.status == "True")
}

/// Whether a condition is true for this reason.
#[must_use]
pub fn is_true_for(status: &KanaryStatus, condition: &str, reason: Reason) -> bool {
    find(status, condition).is_some_and(|c| c.status == "True" && c.reason == reason)
}

/// A condition, if it is set.
#[must_use]
pub fn find<'a>(status: &'a KanaryStatus, condition: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == condition)
}
