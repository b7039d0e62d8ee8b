//! Promotion after a good run in place: the target gets its own partition back, so that its other pods get the template as well.

use super::{held, promoting, without_target};
use crate::{
    api::{InPlace, Reason},
    decision::{Action, Decision, Need, SetTemplate},
    ending::fail,
    in_place,
    objection::speaks_against,
    restoring,
    step::Step,
};

/// The next step of the promotion. A verdict against the run, or a change by somebody else, prevents it.
pub(super) fn decide(step: &Step<'_>, record: &InPlace) -> Decision {
    if let Some(need) = in_place::unread(step.kanary, step.seen, step.now) {
        return Decision::needing(need);
    }
    let mut draft = step.draft();
    promoting(step, &mut draft);
    if let Some(failure) = speaks_against(step, &draft) {
        return failure.end(step, draft);
    }
    match in_place::changed(step.kanary, step.seen) {
        Err(need) => return Decision::needing(need),
        Ok(Some(what)) => {
            let why = restoring::changed_message(step, what);
            return fail(step, draft, Reason::TargetChanged, &why);
        }
        Ok(None) => {}
    }
    let Some(target) = step.seen.target.as_ref().filter(|target| !target.deleting) else {
        return without_target(step, draft);
    };
    if let Some(decision) = held(step, draft, Some(target)) {
        return decision;
    }
    let Some(live) = step.seen.live_target.as_ref() else {
        return Decision::needing(Need::LiveTarget);
    };
    if live.generation != Some(target.generation) || live.promoted_by.as_ref() != Some(&record.begun()) {
        return Decision {
            wake: step.now.checked_add(restoring::LOOK_SOON).ok(),
            ..Decision::default()
        };
    }
    Decision {
        actions: vec![Action::SetTemplate(SetTemplate {
            partition: Some(record.former_partition),
            ..live.written(
                &step.spec.target,
                record.run.clone(),
                format!("promoted by {}", step.kanary.key),
            )
        })],
        ..Decision::default()
    }
}
