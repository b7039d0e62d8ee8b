//! Problems of a run, and their conditions in the status.

use super::{
    api::KanaryStatus,
    status::{Draft, ERRORED, RECONCILING, SCHEDULED, STALLED, is_true, late_verdict},
};
use crate::api::Reason;

/// A problem that is not the canary's failure. It is shown as `Errored`, prevents success, and changes nothing else.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    /// A CamelCase word.
    pub(crate) reason: Reason,
    /// The problem and how to fix it.
    pub(crate) message: String,
}

impl Problem {
    /// A problem with a reason and a message.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// Combines problems into one, with the reason of the first.
    pub(crate) fn all(problems: impl IntoIterator<Item = Self>) -> Option<Self> {
        problems.into_iter().reduce(|mut all, next| {
            all.message.push_str("; ");
            all.message.push_str(&next.message);
            all
        })
    }
}

/// Says what is wrong, or that nothing is any more.
pub(super) fn set_problem(draft: &mut Draft, problem: Option<&Problem>) {
    match problem {
        None => clear_problem(draft),
        Some(Problem { reason, message }) => {
            draft.set(ERRORED, true, *reason, message);
            draft.set(STALLED, true, *reason, message);
            draft.clear(RECONCILING, *reason, message);
        }
    }
}

pub(super) fn clear_problem(draft: &mut Draft) {
    draft.clear(ERRORED, Reason::Resolved, "what was wrong is resolved");
    draft.clear(STALLED, Reason::Resolved, "nothing is in the way any more");
}

pub(super) fn blocked(problem: &Problem) -> String {
    format!("the canary is not judged before this is resolved: {}", problem.message)
}

/// Replaces the reason why a run has not started yet.
pub(super) fn still_blocked(draft: &mut Draft, problem: Option<&Problem>) {
    if let Some(problem) = problem.filter(|_| is_true(&draft.status, SCHEDULED)) {
        draft.set(SCHEDULED, true, problem.reason, blocked(problem));
    }
}

/// Combines a problem with the stored reports, for conditions that show everything together.
pub(super) fn with_late_verdict(status: &KanaryStatus, problem: &Problem) -> Option<Problem> {
    let late = late_verdict(status).map(|late| Problem::new(Reason::VerdictTooLate, late));
    Problem::all([problem.clone()].into_iter().chain(late))
}
