//! The result of activation.

use jiff::Timestamp;

use super::{
    api::Reason,
    decision::{Action, Need},
    problem::Problem,
};

/// The result of activation.
#[derive(Debug, Default)]
pub struct Activation {
    /// Writes that are still missing.
    pub actions: Vec<Action>,
    /// The problem that prevents activation.
    pub problem: Option<Problem>,
    /// Reason and message of a failure that ends the run.
    pub failed: Option<(Reason, String)>,
    /// The target does not exist and is created; there is no canary.
    pub bootstrap: bool,
    /// Why the run has to restart.
    pub anew: Option<String>,
    /// When to decide again.
    pub wake: Option<Timestamp>,
    /// The read that is needed before a decision.
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
