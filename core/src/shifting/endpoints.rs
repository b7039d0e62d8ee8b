//! The addresses behind the canary's own Service, before the canary gets more requests.

use std::ops::ControlFlow;

use super::Follow;
use crate::{
    api::Reason,
    decision::Need,
    integrity::canary,
    problem::Problem,
    routing::{self, LOOK_SOON},
    step::Step,
};

/// Whether the canary's own Service has an address for each of its pods, for as long as proxies may need to know it.
pub(super) fn ready(step: &Step<'_>) -> ControlFlow<Follow> {
    let Some(seen) = &step.seen.endpoints else {
        return ControlFlow::Break(Follow::needing(Need::Endpoints));
    };
    let canary = canary(step);
    let wanted = canary.map_or(1, |canary| usize::try_from(canary.replicas).unwrap_or_default().max(1));
    // Nobody reads them during an outage, so a number from before it may come back unnoticed.
    let up = canary.and_then(|canary| canary.available_since);
    let since = up.map_or(seen.since, |up| up.max(seen.since));
    let settled = since.checked_add(step.seen.route_settling).unwrap_or(since);
    let (ready, service) = (seen.ready, routing::own_service(step));
    if ready >= wanted && settled <= step.now {
        return ControlFlow::Continue(());
    }
    let soon = step.now.checked_add(LOOK_SOON).ok();
    let (why, wake) = if ready >= wanted {
        let why = format!("Service {service} has addresses of all pods of the canary, and proxies learn them");
        (why, Some(settled))
    } else {
        if let Some(port) = &seen.lacking {
            let problem = Some(portless(step, port));
            return ControlFlow::Break(
                Follow {
                    problem,
                    ..Follow::default()
                }
                .at(soon),
            );
        }
        let why = format!("Service {service} has addresses of {ready} pods, and the canary has {wanted}");
        (why, soon)
    };
    let why = format!("{why}: it gets no more requests before that");
    ControlFlow::Break(Follow::waiting(Reason::WaitingForEndpoints, why).at(wake))
}

/// Why ready pods of the canary cannot answer: a gateway would send their requests nowhere.
fn portless(step: &Step<'_>, port: &str) -> Problem {
    let (own, service) = (
        routing::own_service(step),
        step.spec.service.as_deref().unwrap_or_default(),
    );
    let message = format!(
        "ready pods of the canary have no port named {port}, which is a targetPort of Service {own}, so they get no more requests: \
         give a port of a container that name in the template, or change the targetPort in Service {service} and delete Service \
         {own}, which is made again"
    );
    Problem::new(Reason::PortMissing, message)
}
