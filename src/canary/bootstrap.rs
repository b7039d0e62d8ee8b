//! A target that does not exist: it is created from the template, and the run only checks that it becomes available.

use super::{
    activate::Problem,
    decide::Step,
    decision::Decision,
    run::{clear_problem, set_problem},
    status::{Draft, ERRORED, Phase, RECONCILING, RUNNING, SCHEDULED, SUCCEEDED, TARGET_CREATED, is_true},
};

/// Says where the target's creation stands.
pub(super) fn judge(step: &Step<'_>, mut draft: Draft, problem: Option<&Problem>) -> Decision {
    set_problem(&mut draft, problem);
    let Some(target) = &step.seen.target else {
        // About to be created; only a problem, or one that is over, is worth a status.
        return if problem.is_some() || is_true(&step.canary.status, ERRORED) {
            step.write(draft)
        } else {
            Decision::default()
        };
    };
    draft.status.start_time.get_or_insert(target.created);
    draft
        .status
        .target_hash
        .get_or_insert_with(|| target.template_hash.clone());
    let name = &step.spec.target;
    // Running is always written before Succeeded.
    if !target.rolled_out || Phase::of(&step.canary.status) == Phase::Scheduled {
        let why = format!("Deployment {name} did not exist and was created; waits for it to be available");
        draft.set(
            SCHEDULED,
            true,
            TARGET_CREATED,
            "the target did not exist and was created",
        );
        draft.set(RUNNING, true, TARGET_CREATED, &why);
        draft.set(RECONCILING, true, TARGET_CREATED, why);
        return step.write(draft);
    }
    let why = format!("Deployment {name} did not exist, was created from the template and is available");
    clear_problem(&mut draft);
    draft.clear(RUNNING, TARGET_CREATED, "the target is available");
    draft.status.available_at = draft.status.available_at.or(target.available_since);
    draft.set(
        SCHEDULED,
        true,
        TARGET_CREATED,
        "the target did not exist and was created",
    );
    draft.set(SUCCEEDED, true, TARGET_CREATED, why);
    step.write(draft)
}
