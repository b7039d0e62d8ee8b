//! The parts of a run that are about a run in place.

use crate::{
    api::{InPlace, Reason},
    decision::Decision,
    ending::fail,
    in_place,
    problem::set_problem,
    restoring,
    status::{Draft, RECONCILING, SCHEDULED},
    step::Step,
};

/// Ends a run in place that somebody has changed, or gives the target back what a former one changed.
pub(super) fn end(step: &Step<'_>, draft: &Draft) -> Option<Decision> {
    if let Some(decision) = restoring::take_back_former(step) {
        return Some(decision);
    }
    match in_place::changed(step.kanary, step.seen) {
        Ok(None) => None,
        Ok(Some(what)) => {
            let why = restoring::changed_message(step, what);
            Some(fail(step, draft.clone(), Reason::TargetChanged, &why))
        }
        Err(need) => Some(Decision::needing(need)),
    }
}

/// Stores what a run in place is about to change in the target.
pub(super) fn begin(step: &Step<'_>, mut draft: Draft, ahead: Box<InPlace>) -> Decision {
    draft.status.start_time.get_or_insert(step.now);
    draft.status.target_hash = Some(ahead.former_hash.clone());
    draft.status.in_place = Some(ahead);
    set_problem(&mut draft, None);
    let why = format!("pods of {} are about to get the template", step.spec.target);
    draft.set(SCHEDULED, true, Reason::Activating, &why);
    draft.set(RECONCILING, true, Reason::Activating, why);
    step.write(draft)
}
