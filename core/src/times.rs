//! The times of a run under way, after its periods were edited.

use jiff::{SignedDuration, Timestamp};

use super::{status::Draft, step::Step};
use crate::api::GoDuration;

/// Moves what is still to come of the run's times: an edited `validationPeriod` moves the deadline, and an edited
/// `initialDelay` the start of the validation while it is still to come. Nothing is moved into the past: a period that is cut
/// to less than what is over ends now, and with a measurement of now.
pub(super) fn follow_edits(step: &Step<'_>, draft: &mut Draft) {
    let status = &mut draft.status;
    let (Some(start), Some(deadline), true) = (status.validation_start_time, status.deadline, step.spec.is_sound())
    else {
        return;
    };
    let delay = GoDuration(step.spec.validation.initial_delay);
    let period = GoDuration(step.spec.validation.period);
    // A status of a version that did not know them was written with the present ones.
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

/// The status holds durations as they are shown, to the tenth of a second.
fn differ(one: GoDuration, other: GoDuration) -> bool {
    one.to_string() != other.to_string()
}

/// A time that lies a duration after something, when that duration is another.
fn moved(time: Timestamp, now: GoDuration, former: GoDuration, present: Timestamp) -> Option<Timestamp> {
    let [now, former] = [now, former].map(|duration| SignedDuration::try_from(duration.0).ok());
    let moved = time.checked_add(now?.checked_sub(former?)?).ok()?;
    // What is over already stays where it is, unless it is put off.
    Some(moved.max(time.min(present)))
}
