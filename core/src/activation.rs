//! The result of activation.

use jiff::Timestamp;

use super::{
    api::{InPlace, Reason},
    decision::{Action, Need},
    problem::Problem,
};

/// The result of activation.
#[derive(Debug, Default)]
pub(crate) struct Activation {
    /// Writes that are still missing.
    pub(crate) actions: Vec<Action>,
    /// What has to be in the status before a run in place changes the target.
    pub(crate) ahead: Option<Box<InPlace>>,
    /// The problem that prevents activation.
    pub(crate) problem: Option<Problem>,
    /// Reason and message of a failure that ends the run.
    pub(crate) failed: Option<(Reason, String)>,
    /// The target does not exist and is created; there is no canary.
    pub(crate) bootstrap: bool,
    /// Why the run has to restart.
    pub(crate) anew: Option<String>,
    /// When to decide again.
    pub(crate) wake: Option<Timestamp>,
    /// The read that is needed before a decision.
    pub(crate) needs: Option<Need>,
}

impl Activation {
    pub(super) fn blocked(problem: Problem) -> Self {
        Self {
            problem: Some(problem),
            ..Self::default()
        }
    }

    pub(super) fn problem(reason: Reason, message: impl Into<String>) -> Self {
        Self::blocked(Problem::new(reason, message))
    }

    pub(super) fn failed(reason: Reason, message: String) -> Self {
        Self {
            failed: Some((reason, message)),
            ..Self::default()
        }
    }
}
