//! The times of a run in progress after its periods were edited.

use jiff::{SignedDuration, Timestamp};

use super::{status::Draft, step::Step};
use crate::api::GoDuration;

/// Moves the pending times of the run: an edit of `validationPeriod` moves the deadline, and an edit of `initialDelay`
/// the start of the validation if that is pending. Nothing moves into the past: a period that is shortened to less than
/// the elapsed time ends now, with a measurement.
pub(super) fn follow_edits(step: &Step<'_>, draft: &mut Draft) {
    let status = &mut draft.status;
    let (Some(start), Some(deadline), true) = (status.validation_start_time, status.deadline, step.spec.is_sound())
    else {
        return;
    };
    let delay = GoDuration(step.spec.validation.initial_delay);
    let period = GoDuration(step.spec.validation.period);
    // A status of a version without these fields was written with the current values.
    let former_delay = *status.initial_delay.get_or_insert(delay);
    let former_period = *status.validation_period.get_or_insert(period);
    let mut deadline = deadline;
    if differ(delay, former_delay) && start > step.now {
        let Some(moved) = moved(start, delay, former_delay, step.now) else {
            return;
        };
        let Ok(later) = deadline.checked_add(moved.duration_since(start)) else {
            return;
        };
        deadline = later;
        status.validation_start_time = Some(moved);
        status.deadline = Some(deadline);
        status.initial_delay = Some(delay);
    }
    if differ(period, former_period)
        && let Some(moved) = moved(deadline, period, former_period, step.now)
    {
        status.deadline = Some(moved);
        status.validation_period = Some(period);
    }
}

/// Whether two durations differ in their stored form, which is precise to a tenth of a second.
fn differ(one: GoDuration, other: GoDuration) -> bool {
    one.to_string() != other.to_string()
}

/// Moves a time that is a duration after another one, for a new duration.
fn moved(time: Timestamp, now: GoDuration, former: GoDuration, present: Timestamp) -> Option<Timestamp> {
    let [now, former] = [now, former].map(|duration| SignedDuration::try_from(duration.0).ok());
    let moved = time.checked_add(now?.checked_sub(former?)?).ok()?;
    // An elapsed time stays unchanged unless it is postponed.
    Some(moved.max(time.min(present)))
}
