//! Limits on the number of canaries that run at the same time: a run waits for a place before it creates its canary.
//!
//! A place is granted to one request, which the status stores. A run that has started keeps its place until it ends, whatever
//! the limits are. A run that waits and cannot start for another reason leaves the line after a minute, because it would keep
//! a place from others.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    activation::Activation,
    decision::{Action, Decision, ObjectKind},
    integrity::canary,
    observation::Limited,
    problem::clear_problem,
    status::{Draft, Phase, RECONCILING, RUNNING, SCHEDULED, find},
    step::Step,
};
use crate::api::{InLine, PlaceState, Reason, RunPlace};

/// How long a run keeps its request while it cannot start. It is longer than a late request of a former owner can take, so
/// a request that is given up creates no canary any more.
const TURN: Duration = Duration::from_mins(1);

/// The place of a run at the start.
pub(super) enum Admission {
    /// The run may start, or has started.
    Go,
    /// The run waits in line. Nothing is created.
    Wait,
}

/// Whether the run has created its canary, or had its place and may have.
fn has_started(step: &Step<'_>) -> bool {
    let status = &step.kanary.status;
    let is_running = Phase::of(status) > Phase::Scheduled || status.available_at.is_some();
    let has_place = status
        .place
        .as_ref()
        .is_some_and(|place| place.state == PlaceState::Taken);
    canary(step).is_some() || is_running || has_place
}

/// Records that a run that has started has a place. One that started without a request takes a place by that.
pub(super) fn follow(step: &Step<'_>, draft: &mut Draft) {
    // A run that creates a missing target has no canary.
    let creates_target = find(&draft.status, RUNNING).is_some_and(|running| running.reason == Reason::TargetCreated);
    if step.seen.place.is_none() || creates_target || !has_started(step) {
        return;
    }
    take(step, draft);
}

fn take(step: &Step<'_>, draft: &mut Draft) {
    let requested = match &draft.status.place {
        Some(place) if place.state != PlaceState::Left => place.requested_at,
        former => next_request(step, former.as_ref()),
    };
    draft.status.place = Some(RunPlace::requested(requested, PlaceState::Taken));
}

/// The time of a new request, later than all former ones even if a clock was set back.
fn next_request(step: &Step<'_>, former: Option<&RunPlace>) -> Timestamp {
    let after = former.and_then(|former| former.requested_at.checked_add(SignedDuration::from_millis(1)).ok());
    after.map_or(step.now, |after| after.max(step.now))
}

/// Decides whether a run may create its canary now.
pub(super) fn turn(step: &Step<'_>, draft: &mut Draft, activation: &Activation) -> Admission {
    let Some(limited) = step.seen.place.as_ref().filter(|_| !has_started(step)) else {
        return Admission::Go;
    };
    let creates_canary = |action: &Action| match action {
        Action::Create {
            object: ObjectKind::Workload(_),
            name,
            ..
        } => *name == step.spec.canary.name,
        Action::Update(update) => update.workload == step.spec.canary,
        _ => false,
    };
    let starts = activation.ahead.is_some() || activation.actions.iter().any(creates_canary);
    if activation.bootstrap || !starts {
        // A write that was refused is tried again, and one that failed may have been executed.
        if step.refused().is_none() {
            block(step, draft);
        }
        return Admission::Go;
    }
    let request = draft
        .status
        .place
        .as_ref()
        .filter(|place| place.state != PlaceState::Left);
    let request = request.map(|place| place.requested_at);
    if request.is_some() && request == limited.granted {
        take(step, draft);
        return Admission::Go;
    }
    Admission::Wait
}

/// Records that a waiting run cannot start. It leaves the line if that lasts.
pub(super) fn block(step: &Step<'_>, draft: &mut Draft) {
    let place = draft.status.place.as_mut();
    let Some(place) = place.filter(|place| place.state == PlaceState::Waiting && step.seen.place.is_some()) else {
        return;
    };
    let since = *place.blocked_at.get_or_insert(step.now);
    if since.checked_add(TURN).is_ok_and(|until| until <= step.now) {
        *place = RunPlace::requested(place.requested_at, PlaceState::Left);
    }
}

/// When a run that cannot start leaves the line.
pub(super) fn leaves_at(step: &Step<'_>) -> Option<Timestamp> {
    let place = step.kanary.status.place.as_ref();
    let place = place.filter(|place| place.state == PlaceState::Waiting && step.seen.place.is_some())?;
    place.blocked_at?.checked_add(TURN).ok()
}

/// Waits in line. The status is written when the run asks for a place, and once more when its place in the line is known.
pub(super) fn wait(step: &Step<'_>, mut draft: Draft) -> Decision {
    let none = Limited::default();
    let limited = step.seen.place.as_ref().unwrap_or(&none);
    let place = match draft.status.place.take() {
        Some(place) if place.state == PlaceState::Waiting => RunPlace {
            blocked_at: None,
            line: place.line.or_else(|| limited.line.clone()),
            ..place
        },
        former => RunPlace::requested(next_request(step, former.as_ref()), PlaceState::Waiting),
    };
    let why = why(limited, place.line.as_ref());
    draft.status.place = Some(place);
    clear_problem(&mut draft);
    draft.set(SCHEDULED, true, Reason::WaitingForPlace, &why);
    draft.set(RECONCILING, true, Reason::WaitingForPlace, why);
    step.write(draft)
}

fn why(limited: &Limited, line: Option<&InLine>) -> String {
    let canaries = |limit| match limit {
        1 => "1 canary".to_owned(),
        limit => format!("{limit} canaries"),
    };
    let total = limited
        .total
        .map(|limit| format!("{} at the same time (--max-concurrent-canaries)", canaries(limit)));
    let per_namespace = limited.per_namespace.map(|limit| {
        format!(
            "{} of a namespace at the same time (--max-concurrent-canaries-per-namespace)",
            canaries(limit)
        )
    });
    let limits: Vec<_> = [total, per_namespace].into_iter().flatten().collect();
    let place = line.map_or_else(String::new, |line| {
        let at = line.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        match line.position {
            Some(position) => format!("; place {position} of {} at {at}", line.waiting),
            None => format!("; behind the first 100 of {} at {at}", line.waiting),
        }
    });
    format!(
        "waits for a place, because Kanary runs no more than {}{place}; a higher spec.priority starts earlier",
        limits.join(", and ")
    )
}
