//! The conditions of a canary under validation.

use super::{
    adopt,
    analysis::{self, Judgement},
    availability::is_available,
    health,
    problem::Problem,
    status::{Draft, RECONCILING, RUNNING, find, is_true},
    step::Step,
    validation::Window,
};
use crate::api::Reason;

pub(super) fn judged_until(step: &Step<'_>, draft: &Draft, window: Window) -> String {
    let status = &draft.status;
    let running = find(status, RUNNING).filter(|running| running.status == "True");
    // Pods that run the template in place may become available later than the first of them did, without anybody's doing.
    let has_canary = step.spec.scale.in_place().is_none();
    let replaced =
        running.is_some_and(|running| status.available_at > Some(running.last_transition_time.0)) && has_canary;
    let anew = if replaced {
        "was replaced, and its successor is"
    } else {
        "is"
    };
    let down = match status.unavailable_for {
        Some(down) if down.0.is_zero() => "; less than 1s in which it was not available does not count".to_owned(),
        Some(down) => format!("; {down} in which it was not available do not count"),
        None if status.available_since > status.available_at => {
            "; the beginning of an outage is not known, so a whole period counts from its end".to_owned()
        }
        None => String::new(),
    };
    format!("{} {anew} judged until {}{down}", step.spec.canary, window.deadline)
}

/// Reports why the canary is not available, unless there is another problem.
pub(super) fn report(step: &Step<'_>, draft: &mut Draft, problem: Option<&Problem>) -> health::Report {
    match problem {
        None => health::report(step, draft),
        Some(_) => health::Report::default(),
    }
}

/// There is no problem: replaces the reports of a pause or a problem that has ended.
pub(super) fn validating(step: &Step<'_>, draft: &mut Draft, window: Window) {
    let why = judged_until(step, draft, window);
    draft.set(RUNNING, true, Reason::Validating, warned(step, why.clone()));
    draft.set(RECONCILING, true, Reason::Validating, why);
}

/// The canary has been unavailable long enough to report it: the deadline in its conditions is not the final one.
pub(super) fn interrupted(step: &Step<'_>, draft: &mut Draft, window: Window) {
    if is_available(step) || !is_true(&draft.status, RUNNING) {
        return;
    }
    let why = format!(
        "{} is not available: its deadline, {} before this outage, moves by the length of the outage",
        step.spec.canary, window.deadline
    );
    draft.set(RUNNING, true, Reason::Validating, warned(step, why));
}

/// Appends the warnings about queries that may not mean what the author intended.
pub(super) fn warned(step: &Step<'_>, text: String) -> String {
    let validation = &step.spec.validation;
    let mut warnings = analysis::warnings(&validation.items, validation.initial_delay);
    warnings.extend(adopt::warning(step));
    if warnings.is_empty() {
        return text;
    }
    format!("{text}; warning: {}", warnings.join("; "))
}

pub(super) fn with_items(mut draft: Draft, judgement: Judgement) -> Draft {
    draft.status.items = judgement.items;
    draft
}
