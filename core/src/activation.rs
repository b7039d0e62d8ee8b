//! What activation comes to.

use jiff::Timestamp;

use super::{
    api::Reason,
    decision::{Action, Need},
    problem::Problem,
};

/// What activation comes to.
#[derive(Debug, Default)]
pub struct Activation {
    /// Writes that are still missing.
    pub actions: Vec<Action>,
    /// What stands in the way.
    pub problem: Option<Problem>,
    /// Reason and message of a failure that ends the run.
    pub failed: Option<(Reason, String)>,
    /// The target did not exist: it is created, and there is no canary.
    pub bootstrap: bool,
    /// Why the run has to begin anew.
    pub anew: Option<String>,
    /// When to look again.
    pub wake: Option<Timestamp>,
    /// What has to be read before it can be told.
    pub needs: Option<Need>,
}

impl Activation {
    pub(super) fn problem(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            problem: Some(Problem::new(reason, message)),
            ..Self::default()
        }
    }

    pub(super) fn failed(reason: Reason, message: String) -> Self {
        Self {
            failed: Some((reason, message)),
            ..Self::default()
        }
    }
}
