//! The canary's own Service.

use crate::{
    api::Reason,
    integrity::{is_of_run, is_ours},
    labels,
    problem::Problem,
    step::Step,
    traffic,
};

/// Whether the canary's own Service does not lead to its pods: requests that a route sends there would fail, or reach something else.
pub(crate) fn is_cut_off(step: &Step<'_>) -> bool {
    let own = step.seen.kanary_service.as_ref();
    let leads = own.is_some_and(|own| is_ours(step, own.owner.as_ref()) && !own.deleting)
        && step.seen.kanary_selector == traffic::own_selector(step.kanary);
    step.spec.kanary_service.is_some() && !leads
}

/// Changes of other clients to the canary's own Service.
pub(super) fn changed(step: &Step<'_>) -> Option<Problem> {
    let (name, seen) = (step.spec.kanary_service.as_ref()?, step.seen);
    // Before the canary exists, the Service of the former run may still be terminating.
    seen.canary.as_ref().filter(|canary| is_of_run(step, canary))?;
    let own = seen.kanary_service.as_ref();
    let own = own.filter(|own| is_ours(step, own.owner.as_ref()))?;
    if own.deleting {
        let message = format!("Service {name}, the canary's own, is being deleted: it is made again once it is gone");
        return Some(Problem::new(Reason::TrafficLost, message));
    }
    let wanted = traffic::own_selector(step.kanary);
    (seen.kanary_selector != wanted).then(|| {
        let message = format!(
            "Service {name}, the canary's own, selects {} instead of {}: delete it, and it is made again",
            labels::shown(&seen.kanary_selector),
            labels::shown(&wanted)
        );
        Problem::new(Reason::TrafficLost, message)
    })
}
