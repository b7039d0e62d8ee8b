//! Activation of a canary that exists between runs: it gets the template of the run, and both tracks are kept as they have to be.

use super::{belonged_to_a_former_kanary, name_taken, unless_late};
use crate::{
    activation::Activation, api::WorkloadRef, observation::Workload, patience, problem::Problem, step::Step, tracks,
};

/// Decides what is missing before the validation of the canary can start.
pub(super) fn decide(step: &Step<'_>) -> Activation {
    let wake = patience::until(step).filter(|until| *until > step.now);
    if let Some(problem) = foreign(step) {
        return Activation {
            wake,
            ..Activation::blocked(problem)
        };
    }
    let actions = step.spec.tracked.as_ref().map(|tracked| tracks::keep(step, tracked));
    let actions = actions.unwrap_or_default();
    unless_late(step, actions, wake)
}

/// Objects with the names of the tracks that are not those of the Kanary.
pub(crate) fn foreign(step: &Step<'_>) -> Option<Problem> {
    let of_track = |name: &WorkloadRef, seen: Option<&Workload>| {
        let seen = seen.filter(|seen| !tracks::is_own(step, name, seen))?;
        // The garbage collector deletes what belonged to a deleted object of the same name.
        let is_leftover = belonged_to_a_former_kanary(step, seen.owner_name.as_ref());
        let named = [&seen.owner_name, &seen.other_controller, &seen.owner];
        (!is_leftover).then(|| name_taken(name.kind.as_str(), &name.name, named))
    };
    let canary = of_track(&step.spec.canary, step.seen.canary.as_ref());
    Problem::all(
        canary
            .into_iter()
            .chain(of_track(&step.spec.target, step.seen.target.as_ref())),
    )
}
