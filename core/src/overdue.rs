//! Failure of a run that has waited too long for its canary or another object.

use super::{
    activation::Activation,
    availability::is_replaced,
    decision::Need,
    health,
    integrity::canary,
    patience::{uncreated_until, until},
    step::Step,
};
use crate::api::{GoDuration, Reason};

/// Fails a run whose canary has been unavailable for too long.
pub(super) fn late(step: &Step<'_>) -> Option<Activation> {
    let until = until(step)?;
    if until <= step.now && !step.seen.confirmed {
        return Some(unconfirmed(Need::LiveCanary));
    }
    (until <= step.now).then(|| Activation::failed(Reason::ProgressDeadlineExceeded, unavailable(step)))
}

/// Requests a live read first: a watch may be behind unnoticed, and a run must not fail because of that.
pub(super) fn unconfirmed(need: Need) -> Activation {
    Activation {
        needs: Some(need),
        ..Activation::default()
    }
}

pub(super) fn unavailable(step: &Step<'_>) -> String {
    let (name, patience) = (&step.spec.canary, GoDuration(step.spec.progress_deadline));
    let (status, why) = (&step.kanary.status, health::why(step));
    let is_first = status.available_at.is_none() || canary(step).is_none_or(|canary| is_replaced(status, canary));
    match status.unavailable_for {
        _ if is_first => format!("{name} did not become available within {patience}: {why}"),
        Some(before) if !before.0.is_zero() => format!(
            "{name} is not available, after {before} in which it was not before, and progressDeadline is \
             {patience}: {why}"
        ),
        _ => format!("{name} was not available for {patience}: {why}"),
    }
}

/// Fails a run whose objects could not be created for too long.
pub(super) fn uncreated(step: &Step<'_>, need: Need) -> Option<Activation> {
    let refusal = step.seen.refusal.as_ref()?;
    uncreated_until(step).filter(|until| *until <= step.now)?;
    if !step.seen.confirmed {
        return Some(unconfirmed(need));
    }
    let patience = GoDuration(step.spec.progress_deadline);
    let message = format!(
        "what the run needs could not be created within {patience}: {}",
        refusal.message
    );
    Some(Activation::failed(Reason::ProgressDeadlineExceeded, message))
}
