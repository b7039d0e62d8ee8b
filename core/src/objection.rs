//! Reasons against a canary at any time: a manual verdict, a label, or a measurement that was in progress.

use jiff::Timestamp;

use super::{
    analysis::{self, Judgement},
    api::ManualVerdict,
    availability,
    decision::Decision,
    ending::fail,
    routing,
    status::{Draft, SUCCEEDED, find},
    step::Step,
    validating::with_items,
    validation::Window,
};
use crate::api::Reason;

/// Why a run fails: a manual verdict or an item.
pub(super) struct Failure {
    reason: Reason,
    message: String,
    judgement: Option<Judgement>,
}

impl Failure {
    /// Ends the run.
    pub(super) fn end(self, step: &Step<'_>, mut draft: Draft) -> Decision {
        if let Some(judgement) = self.judgement {
            draft = with_items(draft, judgement);
        }
        fail(step, draft, self.reason, &self.message)
    }
}

/// Everything that speaks against the canary, as far as known. It counts even if the run is paused or waits for anything
/// else. An existing verdict has already stopped the clock.
pub(super) fn speaks_against(step: &Step<'_>, draft: &Draft) -> Option<Failure> {
    let status = &draft.status;
    let has_begun = step.spec.is_sound() || status.current_hash.is_some() || step.seen.canary.is_some();
    if step.spec.verdict == Some(ManualVerdict::Invalid) && has_begun {
        return Some(Failure {
            reason: Reason::VerdictInvalid,
            message: "spec.verdict is invalid".to_owned(),
            judgement: None,
        });
    }
    let verdict = find(status, SUCCEEDED).filter(|condition| condition.status == "True");
    let verdict = verdict.map(|condition| condition.last_transition_time.0);
    let now = [verdict, status.paused_at]
        .into_iter()
        .flatten()
        .fold(step.now, Timestamp::min);
    // An unavailable canary does not reach the rest of its window.
    let window = Window::stored(status).map(|window| {
        if verdict.is_some() {
            window
        } else {
            availability::reached(step, status, routing::of_step(step, status, window))
        }
    });
    let is_last = verdict.is_some() || routing::is_last(step, status);
    let judgement = analysis::judge_step(step.spec, step.seen, (window, is_last), now);
    let (reason, message) = judgement.bad()?;
    Some(Failure {
        reason,
        message: message.to_owned(),
        judgement: Some(judgement.clone()),
    })
}
