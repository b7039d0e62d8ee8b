//! The canary's own Service.

use crate::{
    api::{Reason, names},
    integrity::{is_of_later_run, is_of_run, is_ours},
    labels,
    problem::Problem,
    step::Step,
    traffic,
};

/// Whether the canary's own Service does not lead to its pods: requests that a route sends there would fail, or reach something else.
pub(crate) fn is_cut_off(step: &Step<'_>) -> bool {
    let own = step.seen.kanary_service.as_ref();
    let leads = own.is_some_and(|own| is_ours(step, own.owner.as_ref()) && !own.deleting) && selects_canary(step);
    step.spec.kanary_service.is_some() && !leads
}

/// Whether the Service selects the pods of this run. One that an older version made selects those of all runs.
fn selects_canary(step: &Step<'_>) -> bool {
    let selector = &step.seen.kanary_selector;
    *selector == traffic::service_selector(step.kanary, step.spec) || *selector == traffic::own_selector(step.kanary)
}

/// Whether the Service is for a run that was replaced.
pub(crate) fn is_of_former_run(step: &Step<'_>) -> bool {
    let selector = &step.seen.kanary_selector;
    let run = selector.get(names::RUN);
    run.is_some_and(|run| *run != step.kanary.run(step.spec)) && !is_of_later_run(step, selector)
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
    let wanted = traffic::service_selector(step.kanary, step.spec);
    (!selects_canary(step)).then(|| {
        let message = format!(
            "Service {name}, the canary's own, selects {} instead of {}: delete it, and it is made again",
            labels::shown(&seen.kanary_selector),
            labels::shown(&wanted)
        );
        Problem::new(Reason::TrafficLost, message)
    })
}
