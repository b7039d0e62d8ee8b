//! After the verdict of a run whose canary exists between runs: the target gets the template of a good one, and the canary of a
//! failed one gets the last good template back. Afterwards, both are kept as they are.

use super::{promoting, refused};
use crate::{
    activate, decision::Decision, leave::Rest, objection::speaks_against, problem::set_problem, rollout, status::Phase,
    step::Step, tracks,
};

/// Decides about a run with a verdict.
pub(crate) fn decide(step: &Step<'_>) -> Decision {
    let mut draft = step.draft();
    let problem = step.unsound().or_else(|| activate::foreign_tracks(step));
    let Some(tracked) = step.spec.tracked.as_ref().filter(|_| problem.is_none()) else {
        let rest = Rest {
            problem: problem.filter(|_| step.spec.is_sound()),
            ..Rest::default()
        };
        // What is wrong with a spec never ends the protection of production.
        let restore = tracks::restore(step).filter(|_| step.refused().is_none());
        return rollout::act(step, draft, restore.into_iter().collect(), rest);
    };
    if Phase::of(&step.kanary.status) != Phase::Succeeded {
        return rollout::act(step, draft, tracks::keep(step, tracked), Rest::default());
    }
    promoting(step, &mut draft);
    if tracks::keep_target(step, tracked).is_some()
        && let Some(failure) = speaks_against(step, &draft)
    {
        return failure.end(step, draft);
    }
    let actions = tracks::keep(step, tracked);
    if !actions.is_empty() {
        return refused(step, draft).unwrap_or_else(|| Decision {
            actions,
            ..Decision::default()
        });
    }
    let Some(target) = step.seen.target.as_ref().filter(|target| !target.deleting) else {
        // It is being deleted. It is created again once it is gone.
        set_problem(&mut draft, None);
        return step.write(draft);
    };
    rollout::conclude(step, draft, target)
}
