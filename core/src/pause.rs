//! `spec.paused`: a run is held in its current state and resumes there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    availability,
    decision::Decision,
    place,
    problem::{self, Problem},
    services,
    status::{Draft, Phase, RECONCILING, RUNNING, SCHEDULED, STALLED, is_true},
    step::Step,
};
use crate::api::{GoDuration, Reason};

/// Holds a run in its current state. Only the times are recorded, because the pause moves the deadline. Reasons against
/// the canary were evaluated before: a pause does not shield it. `traffic` is a problem with its traffic.
pub(super) fn hold(step: &Step<'_>, mut draft: Draft, traffic: Option<Problem>) -> Decision {
    place::block(step, &mut draft);
    if draft.status.paused_at.is_none() {
        // A canary that is already available keeps the elapsed part of its times.
        availability::fix(step, &mut draft);
        draft.status.paused_at = Some(step.now);
    }
    if draft.status.available_at.is_none() && draft.status.resumed_at.is_none() {
        draft.status.start_time.get_or_insert(step.now);
    }
    held(step, &mut draft);
    if step.spec.routing.is_some() && Phase::of(&draft.status) == Phase::Running {
        services::show(step, &mut draft);
    }
    let because = because(step);
    let why = format!("{because}: the run is held where it is");
    draft.set(RECONCILING, false, Reason::Paused, why);
    match Problem::all(step.unsound().into_iter().chain(traffic)) {
        None => draft.clear(STALLED, Reason::Paused, because),
        problem => problem::set_problem(&mut draft, problem.as_ref()),
    }
    step.write(draft)
}

/// Why the run is held.
fn because(step: &Step<'_>) -> &'static str {
    if step.spec.migrating {
        "`kubectl kanary migrate` has not ended (annotation kanary.k8s-operators.dev/migrates), run it again"
    } else {
        "spec.paused is true"
    }
}

/// Reports that the run's current activity is suspended.
fn held(step: &Step<'_>, draft: &mut Draft) {
    let because = because(step);
    let phase = Phase::of(&draft.status);
    let (deadline, paused_at) = (draft.status.deadline, draft.status.paused_at);
    if phase == Phase::Scheduled && is_true(&draft.status, SCHEDULED) {
        let why = format!("{because}: nothing is created, and no time passes for this run");
        draft.set(SCHEDULED, true, Reason::Paused, why);
    }
    // Without a canary there are no times.
    if let (Phase::Running, Some(deadline), Some(paused_at)) = (phase, deadline, paused_at) {
        let left = Duration::try_from(deadline.duration_since(paused_at)).unwrap_or_default();
        let why = format!(
            "{because}: {} can fail but not pass; {} of its validation are left",
            step.spec.canary,
            GoDuration(left)
        );
        draft.set(RUNNING, true, Reason::Paused, why);
    }
}

/// Ends a pause and moves the pending times by its length.
pub(super) fn end(step: &Step<'_>, draft: &mut Draft) {
    let Some(paused_at) = draft.status.paused_at.take() else {
        return;
    };
    // The clock of another replica may have been ahead.
    let length = step.now.duration_since(paused_at).max(SignedDuration::ZERO);
    draft.status.resumed_at = Some(step.now);
    let moved = |time: Timestamp| time.checked_add(length).unwrap_or(time);
    if let Some(start) = draft.status.validation_start_time.filter(|start| *start > paused_at) {
        draft.status.validation_start_time = Some(moved(start));
    }
    draft.status.deadline = draft.status.deadline.map(moved);
    if let Some(traffic) = &mut draft.status.traffic {
        traffic.deadline = traffic.deadline.map(moved);
    }
}
