//! A Kanary that is being deleted. Usually it is gone at once, and the garbage collector takes what it owns. Where a finalizer
//! of somebody else's holds it, the canary does not stay in production for as long.

use super::{
    api::Reason,
    decision::Decision,
    rollout,
    status::{ACTIVATED, Phase, RECONCILING, STALLED, TRAFFIC, is_true},
    step::Step,
};

/// The finalizer of `kubectl delete --cascade=orphan`: whoever deletes wants what is owned to stay.
const ORPHAN: &str = "orphan";

/// Takes everything away; nothing is created or promoted any more.
pub(super) fn decide(step: &Step<'_>) -> Decision {
    let finalizers = &step.kanary.finalizers;
    if finalizers.is_empty() || finalizers.iter().any(|finalizer| finalizer == ORPHAN) {
        return Decision::default();
    }
    let mut draft = step.draft();
    let why = format!(
        "this Kanary is being deleted and is held by its finalizers ({}): its canary is taken away, and Deployment {} stays as \
         it is",
        finalizers.join(", "),
        step.spec.target
    );
    for condition in [ACTIVATED, TRAFFIC, STALLED] {
        draft.clear(condition, Reason::Deleting, "this Kanary is being deleted");
    }
    // How far the run got stays readable.
    let phase = Phase::of(&draft.status);
    if matches!(phase, Phase::Scheduled | Phase::Running) && is_true(&draft.status, phase.as_str()) {
        let over = "this Kanary is being deleted, so its canary is not judged any more";
        draft.set(phase.as_str(), true, Reason::Deleting, over);
    }
    draft.set(RECONCILING, true, Reason::Deleting, why);
    rollout::take_away(step, draft, false)
}
