//! The traffic of a run in progress: from one step to the next.

mod endpoints;

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{
    api::{Reason, TrafficStatus},
    availability::{self, is_available},
    decision::{Action, Decision, Need},
    integrity::canary,
    observation::Workload,
    problem::Problem,
    route::{Change, Share},
    routing::{self, LOOK_AGAIN, LOOK_SOON, There, gives, is_fresh, is_held, known, present, share_at, there},
    services,
    spec::Routing,
    status::{Draft, TRAFFIC},
    step::Step,
};

/// What the traffic of a run needs now.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    /// The read that is needed first.
    pub(crate) needs: Option<Need>,
    /// Writes.
    pub(crate) actions: Vec<Action>,
    /// A problem that a user should look into.
    pub(crate) problem: Option<Problem>,
    /// What the canary waits for until it gets its requests.
    pub(crate) waits: Option<(Reason, String)>,
    /// When to look again.
    pub(crate) wake: Option<Timestamp>,
}

impl Follow {
    fn needing(need: Need) -> Self {
        Self {
            needs: Some(need),
            ..Self::default()
        }
    }

    fn waiting(reason: Reason, why: impl Into<String>) -> Self {
        Self {
            waits: Some((reason, why.into())),
            ..Self::default()
        }
    }

    fn at(self, wake: Option<Timestamp>) -> Self {
        Self { wake, ..self }
    }

    /// Looks again at `wake` at the latest.
    fn until(self, wake: Option<Timestamp>) -> Self {
        let wake = [self.wake, wake].into_iter().flatten().min();
        Self { wake, ..self }
    }
}

/// Brings the route to the present step, and records in the draft when its traffic is in force, or is not any more. `blocked` says
/// that something else prevents changes. A canary that cannot answer is taken out nevertheless.
pub(crate) fn follow(step: &Step<'_>, draft: &mut Draft, blocked: bool) -> Follow {
    let (Some(routing), true) = (&step.spec.routing, step.spec.is_sound()) else {
        return Follow::default();
    };
    let canary = canary(step);
    if canary.is_none() && !is_held(step) {
        return Follow::default();
    }
    let Some(seen) = known(step).filter(|seen| is_fresh(step, seen, LOOK_AGAIN)) else {
        return Follow::needing(Need::Route);
    };
    let later = seen.at.checked_add(LOOK_AGAIN).ok();
    let Ok(found) = there(step, seen) else {
        // It is an obstacle of the run, which reports it.
        interrupt(draft);
        return Follow::default().at(later);
    };
    if let Some(why) = barred(step, &found) {
        return cut_off(step, draft, &found, (Reason::WaitingForEndpoints, why)).at(later);
    }
    let canary = canary.filter(|_| !is_unserved(step));
    let Some(canary) = canary.filter(|canary| !is_another(draft, canary)) else {
        let why = format!("waits for {} to be available", step.spec.canary);
        return cut_off(step, draft, &found, (Reason::Activating, why)).at(later);
    };
    if availability::is_replaced(&draft.status, canary) {
        // It is validated from the start.
        draft.status.traffic = None;
    }
    let number = match (&draft.status.traffic, &step.kanary.status.traffic) {
        (None, Some(_)) => 1,
        _ => present(step, &found, routing),
    };
    let Some(share) = share_at(step, routing, number) else {
        return Follow::default();
    };
    let stored = draft.status.traffic.as_ref().filter(|traffic| traffic.step == number);
    let is_in_force = stored.is_some_and(|traffic| traffic.since.is_some());
    let is_taken_over = seen.taken.is_some() || found.share(step).is_none();
    let pause = if is_in_force || blocked || is_taken_over {
        LOOK_AGAIN
    } else {
        LOOK_SOON
    };
    if !is_fresh(step, seen, pause) {
        return Follow::needing(Need::Route);
    }
    at_step(step, draft, (&found, &share, routing), (canary, blocked)).until(seen.at.checked_add(pause).ok())
}

/// Compares the route with the present step.
fn at_step(
    step: &Step<'_>,
    draft: &mut Draft,
    (found, share, routing): (&There<'_>, &Share, &Routing),
    (canary, blocked): (&Workload, bool),
) -> Follow {
    let was_in_force = draft
        .status
        .traffic
        .as_ref()
        .is_some_and(|traffic| traffic.since.is_some());
    let change = found.change(step, Some(share));
    let lost = match &change {
        Ok(Change::Traffic(_)) if was_in_force => Some(routing::reverted(found, share)),
        Ok(Change::None | Change::Update(_)) => routing::overlooked(step, &draft.status, found, share),
        _ => None,
    };
    if let Some(problem) = lost {
        // The status says so before the route is written again.
        interrupt(draft);
        draft.set(TRAFFIC, false, problem.reason, problem.message);
        return Follow::default();
    }
    match change {
        Err(_) => {
            interrupt(draft);
            Follow::default()
        }
        Ok(Change::Traffic(patch)) => write(step, found, share, patch, blocked),
        Ok(Change::Update(_)) if blocked => Follow::default(),
        Ok(Change::Update(patch)) => {
            // The write makes another version, so the edit before it must be noted now.
            note_version(step, draft, found);
            set(step, found, share, patch)
        }
        Ok(Change::None) => settle(step, draft, (found, share, routing), canary),
    }
}

/// Notes the version of a route that still gives the canary its share. A CRD of an older version drops this field: it is not written
/// again and again then.
fn note_version(step: &Step<'_>, draft: &mut Draft, found: &There<'_>) {
    if let Some(traffic) = &mut draft.status.traffic {
        traffic.generation = traffic.generation.and_then(|_| found.generation(step));
    }
}

/// The traffic of the present step is not in force any more. The step starts anew.
fn interrupt(draft: &mut Draft) {
    if let Some(traffic) = &mut draft.status.traffic {
        (traffic.since, traffic.deadline, traffic.generation) = (None, None, None);
    }
}

/// Whether no pod of the canary can answer requests.
fn is_unserved(step: &Step<'_>) -> bool {
    !step.seen.pods.iter().any(|pod| pod.ready && !pod.terminating)
}

/// Whether a canary is another one than the traffic in the status was for. It gets no requests before it is available.
fn is_another(draft: &Draft, canary: &Workload) -> bool {
    draft.status.traffic.is_some()
        && canary.available_since.is_none()
        && availability::is_replaced(&draft.status, canary)
}

/// Whether requests that the route gives the canary would fail: none of its pods can answer, or its own Service does not lead to them.
pub(crate) fn leads_nowhere(step: &Step<'_>) -> bool {
    is_unserved(step) || services::is_cut_off(step)
}

/// Why a canary that can answer requests must not get any. Other problems are reported elsewhere.
fn barred(step: &Step<'_>, found: &There<'_>) -> Option<String> {
    if services::is_cut_off(step) {
        let service = routing::own_service(step);
        let why =
            format!("Service {service} does not lead to the pods of the canary, which gets no requests before that");
        return Some(why);
    }
    if found.is_disowned(step) {
        return Some(format!("{} does not belong to this Kanary any more", found.route));
    }
    // Pods of its owner get their requests through the route.
    let owned = found.owned(step).map(|problem| problem.message);
    owned.or_else(|| step.blocked().map(|blocked| blocked.message.clone()))
}

/// The canary must not get requests.
fn cut_off(step: &Step<'_>, draft: &mut Draft, found: &There<'_>, (reason, why): (Reason, String)) -> Follow {
    interrupt(draft);
    let waiting = Follow::waiting(reason, why);
    if found.share(step).is_none() {
        return waiting;
    }
    Follow {
        waits: waiting.waits,
        ..taken_out(step, found)
    }
}

/// Takes the canary out of the route.
fn taken_out(step: &Step<'_>, found: &There<'_>) -> Follow {
    match found.change(step, None) {
        Ok(Change::Traffic(_) | Change::Update(_)) if !found.seen.live => Follow::needing(Need::Route),
        Ok(Change::Traffic(patch) | Change::Update(patch)) => Follow {
            actions: vec![routing::clear(found, patch)],
            ..Follow::default()
        },
        _ => Follow::default(),
    }
}

/// Writes a step into the route, if the canary can answer the requests.
fn write(step: &Step<'_>, found: &There<'_>, share: &Share, patch: Vec<serde_json::Value>, blocked: bool) -> Follow {
    if blocked {
        return Follow::default();
    }
    if !is_available(step) {
        let why = format!("waits for {} to be available", step.spec.canary);
        return Follow::waiting(Reason::Activating, why);
    }
    match endpoints::ready(step) {
        ControlFlow::Break(follow) => return follow,
        ControlFlow::Continue(()) => {}
    }
    set(step, found, share, patch)
}

fn set(step: &Step<'_>, found: &There<'_>, share: &Share, patch: Vec<serde_json::Value>) -> Follow {
    if !found.seen.live {
        return Follow::needing(Need::Route);
    }
    let (route, run) = (found.route.clone(), share.run.clone());
    let hold = (!is_held(step)).then(|| Action::Hold {
        route: route.clone(),
        run,
    });
    let gives = format!("gives the canary {} (step {})", gives(share), share.step);
    let change = Action::SetRoute {
        route,
        patch,
        gives,
        clears: false,
    };
    Follow {
        actions: hold.into_iter().chain([change]).collect(),
        ..Follow::default()
    }
}

/// The route is as it should be: waits until its traffic is in force.
fn settle(
    step: &Step<'_>,
    draft: &mut Draft,
    (found, share, routing): (&There<'_>, &Share, &Routing),
    canary: &Workload,
) -> Follow {
    let stored = draft
        .status
        .traffic
        .as_ref()
        .filter(|traffic| traffic.step == share.step);
    let since = stored.and_then(|traffic| traffic.since);
    if let Some(problem) = found.behind(step) {
        interrupt(draft);
        let follow = match found.served_in_part() {
            // It could stay so for ever, and nobody would judge the canary.
            Some(_) if found.is_late(step) => taken_out(step, found),
            _ => Follow::default(),
        };
        return Follow {
            problem: Some(problem),
            ..follow
        };
    }
    let available = canary.available_since.filter(|_| is_available(step));
    if since.is_some_and(|since| available.is_none_or(|available| available <= since)) {
        // In force, also while a gateway takes over an edit of the user.
        note_version(step, draft, found);
        return Follow::default();
    }
    if step.spec.paused {
        // The times of a step begin after the pause.
        return Follow::default();
    }
    let waits = || {
        let why = format!("{} gives the canary {}, and proxies follow", found.route, gives(share));
        Follow::waiting(Reason::TrafficShifting, why)
    };
    let (Some(settled), Some(_)) = (found.settled_at(step), available) else {
        return waits();
    };
    if settled > step.now {
        return waits().at(Some(settled));
    }
    if !is_fresh(step, found.seen, LOOK_SOON) {
        return Follow::needing(Need::Route);
    }
    draft.status.traffic = Some(TrafficStatus {
        route: found.route.clone(),
        step: share.step,
        weight: share.desired.weight,
        since: Some(step.now),
        deadline: step
            .now
            .checked_add(routing.interval)
            .ok()
            .filter(|_| share.step < routing::count(routing)),
        generation: found.generation(step),
    });
    Follow::default()
}

/// The canary passed the present step: writes the next one into the route.
pub(crate) fn raise(step: &Step<'_>, draft: &Draft) -> ControlFlow<Decision, Option<Timestamp>> {
    let soon = step.now.checked_add(LOOK_SOON).ok();
    let (Some(routing), Some(traffic)) = (&step.spec.routing, &draft.status.traffic) else {
        return ControlFlow::Continue(None);
    };
    let Some(found) = known(step)
        .filter(|seen| seen.live)
        .and_then(|seen| there(step, seen).ok())
    else {
        return ControlFlow::Break(Decision::needing(Need::Route));
    };
    let Some(share) = share_at(step, routing, traffic.step.saturating_add(1)) else {
        return ControlFlow::Continue(None);
    };
    if found.share(step).is_some_and(|written| written.step >= share.step) {
        // It is written, and the run waits until it is in force.
        return ControlFlow::Continue(None);
    }
    if found.settled_at(step).is_none_or(|settled| settled > step.now) {
        // A gateway takes over an edit of the user.
        return ControlFlow::Continue(soon);
    }
    let patch = match found.change(step, Some(&share)) {
        Ok(change) => change.patch().unwrap_or_default(),
        Err(_) => return ControlFlow::Continue(soon),
    };
    let follow = write(step, &found, &share, patch, false);
    match follow.needs {
        Some(need) => ControlFlow::Break(Decision::needing(need)),
        None if follow.actions.is_empty() => ControlFlow::Continue(follow.wake.or(soon)),
        None => ControlFlow::Break(Decision {
            actions: follow.actions,
            ..Decision::default()
        }),
    }
}
