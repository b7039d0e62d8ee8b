//! Deletion of a Kanary. Usually it is removed at once, and the garbage collector deletes its objects. If another
//! client's finalizer holds it, the canary must not stay in production in the meantime. A route becomes what its user wrote first.

use std::ops::ControlFlow;

use super::{
    api::{
        Reason,
        names::{IN_PLACE_FINALIZER, ROUTE_FINALIZER},
    },
    decision::Decision,
    restoring, rollout, routing,
    status::{ACTIVATED, Phase, RECONCILING, STALLED, TRAFFIC, is_true},
    step::Step,
};

/// The finalizer of `kubectl delete --cascade=orphan`: the user wants to keep the owned objects.
const ORPHAN: &str = "orphan";

/// Removes everything. Nothing is created or promoted any more.
pub(super) fn decide(step: &Step<'_>) -> Decision {
    if let Some(decision) = restoring::take_back(step) {
        return decision;
    }
    let mut draft = step.draft();
    if let ControlFlow::Break(waits) = routing::withdraw(step, &draft) {
        return waits;
    }
    let finalizers = step.kanary.finalizers.iter();
    let own = [ROUTE_FINALIZER, IN_PLACE_FINALIZER];
    let finalizers: Vec<_> = finalizers
        .filter(|name| !own.contains(&name.as_str()))
        .cloned()
        .collect();
    if let Some(release) = routing::release(step).or_else(|| restoring::release(step)) {
        return Decision {
            actions: vec![release],
            ..Decision::default()
        };
    }
    // Both tracks are in production until the garbage collector deletes them.
    let is_kept = step.spec.tracked.is_some();
    if is_kept || finalizers.is_empty() || finalizers.iter().any(|finalizer| finalizer == ORPHAN) {
        return Decision::default();
    }
    let why = format!(
        "this Kanary is being deleted and is held by its finalizers ({}): its canary is taken away, and {} stays as \
         it is",
        finalizers.join(", "),
        step.spec.target
    );
    for condition in [ACTIVATED, TRAFFIC, STALLED] {
        draft.clear(condition, Reason::Deleting, "this Kanary is being deleted");
    }
    // The status still shows how far the run got.
    let phase = Phase::of(&draft.status);
    if matches!(phase, Phase::Scheduled | Phase::Running) && is_true(&draft.status, phase.as_str()) {
        let over = "this Kanary is being deleted, so its canary is not judged any more";
        draft.set(phase.as_str(), true, Reason::Deleting, over);
    }
    draft.set(RECONCILING, true, Reason::Deleting, why);
    rollout::take_away(step, draft, false)
}
