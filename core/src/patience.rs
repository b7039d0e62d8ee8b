//! `spec.rollout.progressDeadline`: how long the run waits for a canary that is unavailable or cannot be created, and since when it waits
//! for its target.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    activation::Activation,
    availability::is_replaced,
    integrity::canary,
    observation::Promotion,
    status::{ERRORED, Phase, RECONCILING, SUCCEEDED, find},
    step::Step,
};
use crate::api::Reason;

/// Since when the canary has been unavailable, restarted after a pause. `None` if it is available or does not exist.
pub(super) fn unavailable_since(step: &Step<'_>) -> Option<Timestamp> {
    let canary = canary(step)?;
    if canary.available_since.is_some() {
        return None;
    }
    if step.spec.tracked.is_some() {
        // It may be much older than the run. Before its controller has seen the new template, nothing is known.
        return Some(resumed(step, canary.unavailable_since?));
    }
    let since = match (
        canary.unavailable_since.or(step.seen.down_since),
        step.kanary.status.available_at,
    ) {
        (Some(since), _) => since,
        // It was available, and no outage is reported.
        (None, Some(at)) if canary.created <= at => return None,
        (None, _) => canary.created,
    };
    Some(resumed(step, since))
}

/// Until when the canary may stay unavailable.
pub(super) fn until(step: &Step<'_>) -> Option<Timestamp> {
    let since = unavailable_since(step)?;
    if step.spec.tracked.is_some() && canary(step)?.progress_failed {
        return Some(since);
    }
    since.checked_add(limit(step, since)).ok()
}

/// The maximum length of an outage that started at `since`: `progressDeadline`. Together with all earlier outages, the
/// limit is that or the time that the canary was available, whichever is longer. A flapping canary therefore fails
/// eventually, while a canary that an autoscaler scales up over days does not.
fn limit(step: &Step<'_>, since: Timestamp) -> Duration {
    let whole = step.spec.progress_deadline;
    let status = &step.kanary.status;
    let (Some(at), Some(down)) = (status.available_at, status.unavailable_for) else {
        return whole;
    };
    if canary(step).is_none_or(|canary| is_replaced(status, canary)) {
        return whole;
    }
    let up = Duration::try_from(since.duration_since(at)).unwrap_or_default();
    let up = up.saturating_sub(down.0);
    whole.min(whole.max(up).saturating_sub(down.0))
}

/// The given time, or the end of the last pause if that is later.
pub(super) fn resumed(step: &Step<'_>, since: Timestamp) -> Timestamp {
    // This includes the end of a pause that this decision detects.
    let resumed_now = step.kanary.status.paused_at.map(|_| step.now);
    [step.kanary.status.resumed_at, resumed_now]
        .into_iter()
        .flatten()
        .fold(since, Timestamp::max)
}

/// Until when the run waits for objects that it cannot create, counted from the first failed attempt, which the status
/// stores as the start of the run.
pub(super) fn uncreated_until(step: &Step<'_>) -> Option<Timestamp> {
    let since = step.seen.refusal.as_ref()?.uncreated_since?;
    if canary(step).is_some() && Phase::of(&step.kanary.status) != Phase::Scheduled {
        return None;
    }
    let reported = find(&step.kanary.status, ERRORED).filter(|reported| reported.status == "True");
    let reported = reported.is_some_and(|reported| {
        matches!(
            Reason::parse(&reported.reason),
            Some(Reason::WriteRefused | Reason::WriteFailed | Reason::WriteUndone)
        )
    });
    let began = step
        .kanary
        .status
        .start_time
        .filter(|_| reported && canary(step).is_none());
    let since = began.map_or(since, |began| began.min(since));
    resumed(step, since).checked_add(step.spec.progress_deadline).ok()
}

/// A problem whose end no event reports: what it is about is looked at again after `pause`.
pub(super) fn look_again(
    step: &Step<'_>,
    pause: SignedDuration,
    reason: Reason,
    message: impl Into<String>,
) -> Activation {
    Activation {
        wake: next(step, step.now.checked_add(pause).unwrap_or(step.now)),
        ..Activation::problem(reason, message)
    }
}

/// When the next step is due while a write is retried at `retry_at`.
pub(super) fn next(step: &Step<'_>, retry_at: Timestamp) -> Option<Timestamp> {
    let ends = [uncreated_until(step), until(step)];
    let ends = ends.into_iter().flatten().filter(|end| *end > step.now);
    ends.chain([retry_at]).min()
}

/// Since when nothing prevented the update of the target: pauses and problems do not count towards its deadline.
pub(super) fn promoting_since(step: &Step<'_>) -> Timestamp {
    let since = |condition| find(&step.kanary.status, condition).map(|c| c.last_transition_time.0);
    let succeeded = since(SUCCEEDED).unwrap_or(step.now);
    let succeeded = match step.seen.promotion {
        Promotion::Done { at: Some(at), .. } => succeeded.max(at),
        _ => succeeded,
    };
    match find(&step.kanary.status, RECONCILING) {
        Some(reconciling) if reconciling.status == "True" => succeeded.max(reconciling.last_transition_time.0),
        Some(given_up) if given_up.reason == Reason::TargetNotAvailable => succeeded,
        _ => step.now,
    }
}
