//! The share of a good canary while the target gets the template.

use std::ops::ControlFlow;

use crate::{
    api::Reason,
    decision::Decision,
    routing, shifting,
    status::{Phase, TRAFFIC},
    step::Step,
};

/// Takes the share out of the route if the requests would fail, once nothing else is to be done: the target may need long to roll out.
pub(super) fn take_out(step: &Step<'_>, decision: Decision) -> Decision {
    let is_promoting = Phase::of(&step.kanary.status) == Phase::Succeeded && step.kanary.status.completed_at.is_none();
    if !is_promoting
        || !decision.is_at_rest()
        || step.spec.routing.is_none()
        || !step.spec.is_sound()
        || !shifting::leads_nowhere(step)
    {
        return decision;
    }
    let mut draft = step.draft();
    if let Some(traffic) = draft.status.traffic.as_mut().filter(|traffic| traffic.since.is_some()) {
        traffic.since = None;
        let why = "requests of the route would not reach the canary, so production gets all of them";
        draft.set(TRAFFIC, false, Reason::TrafficLost, why);
        return step.write(draft);
    }
    match routing::withdraw(step, &draft) {
        ControlFlow::Break(leaves) if !leaves.actions.is_empty() || leaves.needs.is_some() => Decision {
            actions: leaves.actions,
            needs: leaves.needs,
            wake: decision.wake,
            ..Decision::default()
        },
        _ => decision,
    }
}
