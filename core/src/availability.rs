//! The times of a run: since when the canary is available, when its validation starts, and when the verdict is due.
//!
//! Only time in which the canary was fully available and got the requested traffic counts as validation. An outage
//! therefore moves the times later, never earlier, and a canary that was replaced is validated again from the start.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    integrity::{Origin, canary, origin},
    observation::{Outage, Workload},
    routing, services,
    status::{Draft, Phase, traffic_lost_since},
    step::Step,
    validation::Window,
};
use crate::api::{GoDuration, KanaryStatus};

/// Whether the canary is fully available and unchanged since its creation.
pub(super) fn is_available(step: &Step<'_>) -> bool {
    available(step).is_some()
}

/// The canary and since when it is available.
fn available<'a>(step: &Step<'a>) -> Option<(&'a Workload, Timestamp)> {
    let canary = canary(step).filter(|canary| origin(step, canary) == Origin::Kept)?;
    Some((canary, canary.available_since?))
}

/// Whether a canary is not the one that the times in the status belong to.
pub(super) fn is_replaced(status: &KanaryStatus, canary: &Workload) -> bool {
    match (&status.canary_uid, status.available_at) {
        (Some(uid), _) => *uid != canary.uid,
        // A status of an older version does not name its canary.
        (None, Some(at)) => canary.created > at,
        (None, None) => false,
    }
}

/// Sets the times of the run once the canary is available, and moves them after an outage. Returns `None` before that.
pub(super) fn fix(step: &Step<'_>, draft: &mut Draft) -> Option<Window> {
    let status = &mut draft.status;
    let stored = Window::stored(status);
    let Some((canary, since)) = available(step) else {
        return stored;
    };
    let window = match stored {
        Some(window) if !is_replaced(status, canary) => {
            if is_traffic_back(step, status) {
                if let Some(outage) = watched(status, canary, since) {
                    add(status, since.duration_since(outage.from));
                }
                again(step, status, window, step.now)
            } else if status.available_since.or(status.available_at) == Some(since) {
                return stored;
            } else {
                resume(step, status, window, canary, since)
            }
        }
        _ => {
            let Some(anew) = begin(step, status, since) else {
                return stored;
            };
            let window = stored.map_or(anew, |former| later(former, anew));
            status.available_at = Some(since);
            status.initial_delay = Some(GoDuration(step.spec.validation.initial_delay));
            status.validation_period = Some(GoDuration(step.spec.validation.period));
            status.unavailable_for = None;
            status.canary_hash = None;
            window
        }
    };
    status.available_since = Some(since);
    status.canary_uid = Some(canary.uid.clone());
    status.canary_hash.get_or_insert_with(|| canary.template_hash.clone());
    status.validation_start_time = Some(window.start);
    status.deadline = Some(window.deadline);
    Some(window)
}

/// Whether the canary gets the requested traffic again. Measurements without it are no evidence, so a full period starts
/// now.
fn is_traffic_back(step: &Step<'_>, status: &KanaryStatus) -> bool {
    traffic_lost_since(&step.kanary.status).is_some() && services::lost_since(step, status).is_none()
}

/// The times of a canary that became available at this time.
fn begin(step: &Step<'_>, status: &KanaryStatus, since: Timestamp) -> Option<Window> {
    let since = routing::begun(step, status, since)?;
    let base = status.resumed_at.map_or(since, |resumed| resumed.max(since));
    let start = base.checked_add(step.spec.validation.initial_delay).ok()?;
    let deadline = start.checked_add(step.spec.validation.period).ok()?;
    Some(Window { start, deadline })
}

/// The outage that ended at `since`, if it was watched from its beginning.
fn watched(status: &KanaryStatus, canary: &Workload, since: Timestamp) -> Option<Outage> {
    let is_new = status.available_since != Some(since);
    let outage = canary
        .outage
        .filter(|outage| is_new && Some(outage.before) == status.available_since)?;
    Some(Outage {
        from: outage.from.max(outage.before),
        ..outage
    })
}

/// Moves the times after an outage.
fn resume(step: &Step<'_>, status: &mut KanaryStatus, window: Window, canary: &Workload, since: Timestamp) -> Window {
    let Some(outage) = watched(status, canary, since) else {
        return again(step, status, window, since);
    };
    let from = outage.from;
    add(status, since.duration_since(from));
    if window.deadline <= from {
        return window;
    }
    let length = since.duration_since(from) - in_pause(step, outage, since);
    let moved = |time: Timestamp| time.checked_add(length.max(SignedDuration::ZERO)).unwrap_or(time);
    Window {
        start: if window.start > from {
            moved(window.start)
        } else {
            window.start
        },
        deadline: moved(window.deadline),
    }
}

/// The times after an outage whose start was not observed: a full period from its end.
fn again(step: &Step<'_>, status: &KanaryStatus, window: Window, since: Timestamp) -> Window {
    let Some(anew) = begin(step, status, since) else {
        return window;
    };
    let start = if window.start > step.now {
        anew.start
    } else {
        window.start
    };
    later(window, Window { start, ..anew })
}

/// Combines windows so that times never move back.
fn later(former: Window, next: Window) -> Window {
    Window {
        start: former.start.max(next.start),
        deadline: former.deadline.max(next.deadline),
    }
}

/// The part of an outage within the pause that ends with this decision. The pause has already moved the times by that
/// part.
fn in_pause(step: &Step<'_>, outage: Outage, until: Timestamp) -> SignedDuration {
    let Some(paused_at) = step.kanary.status.paused_at else {
        return SignedDuration::ZERO;
    };
    let both = until.min(step.now).duration_since(outage.from.max(paused_at));
    both.max(SignedDuration::ZERO)
}

fn add(status: &mut KanaryStatus, length: SignedDuration) {
    let length = Duration::from_secs(u64::try_from(length.as_secs()).unwrap_or_default());
    let former = status.unavailable_for.map_or(Duration::ZERO, |former| former.0);
    // Times are in whole seconds, so a short outage has no length. It was watched all the same.
    status.unavailable_for = Some(GoDuration(former.saturating_add(length)));
}

/// The part of the window that may have been reached by now. While the canary is unavailable or does not get its traffic,
/// the validation stands still, so the rest of the window stays out of reach.
pub(super) fn reached(step: &Step<'_>, status: &KanaryStatus, window: Window) -> Window {
    let (is_available, lost) = (is_available(step), services::lost_since(step, status));
    if is_available && lost.is_none() {
        return window;
    }
    let stopped = if is_available {
        lost
    } else {
        let same = canary(step).filter(|canary| !is_replaced(&step.kanary.status, canary));
        same.and_then(|canary| canary.unavailable_since)
            .map(|down| lost.map_or(down, |lost| lost.min(down)))
    };
    let reached = |time: Timestamp| {
        if stopped.is_some_and(|stopped| time <= stopped) {
            time
        } else {
            Timestamp::MAX
        }
    };
    // Remaining pods of a deleted canary are still evaluated.
    let is_gone = canary(step).is_none() && Phase::of(&step.kanary.status) == Phase::Running;
    Window {
        start: if is_gone { window.start } else { reached(window.start) },
        deadline: reached(window.deadline),
    }
}
