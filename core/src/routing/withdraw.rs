//! The end of a run's traffic: the route becomes what its user wrote, before anything that it leads to is removed.

use std::ops::ControlFlow;

use jiff::Timestamp;
use serde_json::Value;

use super::{LOOK_AGAIN, LOOK_SOON, There, is_fresh, is_held, known, there};
use crate::{
    api::RouteKind,
    decision::{Action, Decision, Need},
    observation::{Refusal, RouteFound, RouteSeen},
    problem::{Problem, set_problem},
    route::{Change, Desired, Share},
    status::Draft,
    step::Step,
};

/// Takes everything of this Kanary out of the route that may hold something of it, and waits until that is in force. Continues when
/// no requests come through the route any more. Nothing but the route delays this.
pub(crate) fn withdraw(step: &Step<'_>, draft: &Draft) -> ControlFlow<Decision> {
    let Some(held) = &step.kanary.held else {
        return ControlFlow::Continue(());
    };
    if held.route.is_none() {
        // Somebody removed the annotation and the status, so nothing says which route it was.
        return ControlFlow::Continue(());
    }
    let Some(seen) = known(step).filter(|seen| is_fresh(step, seen, LOOK_SOON)) else {
        return ControlFlow::Break(Decision::needing(Need::Route));
    };
    let found = match &seen.found {
        RouteFound::There(..) | RouteFound::Forbidden(_) | RouteFound::Disabled => there(step, seen),
        // The route is gone. Proxies may not know it yet.
        RouteFound::Missing(_) | RouteFound::NoKind(_) | RouteFound::Nowhere | RouteFound::Several(_) => {
            return settled(step, seen.since.checked_add(step.seen.route_settling).ok());
        }
    };
    let found = match found {
        Ok(found) => found,
        Err(problem) => {
            return hold(
                step,
                draft,
                &still_routed(&problem),
                seen.at.checked_add(LOOK_AGAIN).ok(),
            );
        }
    };
    if found.is_foreign(step) {
        // The route of this Kanary is gone.
        return settled(step, seen.since.checked_add(step.seen.route_settling).ok());
    }
    match found.change(step, None) {
        Err(problem) => hold(
            step,
            draft,
            &still_routed(&problem),
            seen.at.checked_add(LOOK_AGAIN).ok(),
        ),
        Ok(Change::Traffic(patch) | Change::Update(patch)) => act(step, draft, seen, clear(&found, patch)),
        Ok(Change::None) if !seen.cleared => fence(step, draft, &found),
        Ok(Change::None) => match (found.outdated_at(step), found.behind(step)) {
            (None, Some(problem)) => hold(step, draft, &problem, step.now.checked_add(LOOK_SOON).ok()),
            (None, None) => ControlFlow::Break(Decision {
                wake: step.now.checked_add(LOOK_SOON).ok(),
                ..Decision::default()
            }),
            (outdated_at, _) => settled(step, outdated_at),
        },
    }
}

fn settled(step: &Step<'_>, at: Option<Timestamp>) -> ControlFlow<Decision> {
    match at.filter(|at| *at > step.now) {
        None => ControlFlow::Continue(()),
        wake => ControlFlow::Break(Decision {
            wake,
            ..Decision::default()
        }),
    }
}

/// What a canary gets from a route, with the run that it is for.
pub(super) fn share(step: &Step<'_>, number: u32, desired: Desired) -> Share {
    let kanary = step.kanary;
    Share {
        kanary: format!("{}/{}", kanary.key.kind, kanary.key.name),
        uid: kanary.uid.clone(),
        run: kanary.run(step.spec),
        service: step.spec.backends().0.to_owned(),
        canary: step.spec.backends().1.to_owned(),
        step: number,
        desired,
    }
}

/// A former owner may have written the route in a call that has not arrived yet. It applies only to the version that it read, so the
/// route gets another version: an entry without any effect, which is then taken out.
fn fence(step: &Step<'_>, draft: &Draft, found: &There<'_>) -> ControlFlow<Decision> {
    let nothing = share(step, 0, Desired::default());
    match found.change(step, Some(&nothing)) {
        Ok(Change::Traffic(patch) | Change::Update(patch)) => {
            let action = Action::SetRoute {
                route: found.route.clone(),
                patch,
                gives: "gives the canary nothing".to_owned(),
                clears: false,
            };
            act(step, draft, found.seen, action)
        }
        Ok(Change::None) => ControlFlow::Continue(()),
        Err(problem) => hold(step, draft, &problem, found.seen.at.checked_add(LOOK_AGAIN).ok()),
    }
}

pub(crate) fn clear(found: &There<'_>, patch: Vec<Value>) -> Action {
    Action::SetRoute {
        route: found.route.clone(),
        patch,
        gives: "takes the canary out".to_owned(),
        clears: true,
    }
}

fn act(step: &Step<'_>, draft: &Draft, seen: &RouteSeen, action: Action) -> ControlFlow<Decision> {
    if let Some(refusal) = refused(step) {
        let problem = Problem::new(refusal.reason, refusal.message.clone());
        return hold(step, draft, &still_routed(&problem), Some(refusal.retry_at));
    }
    ControlFlow::Break(if seen.live {
        Decision {
            actions: vec![action],
            ..Decision::default()
        }
    } else {
        Decision::needing(Need::Route)
    })
}

/// A refused write of this route. Others delay nothing here.
fn refused<'a>(step: &'a Step<'_>) -> Option<&'a Refusal> {
    let route = step.kanary.held.as_ref()?.route.as_ref()?.key();
    step.refused().filter(|refusal| refusal.about == route)
}

fn still_routed(problem: &Problem) -> Problem {
    let message = format!(
        "requests may still reach the canary through its route, so the canary stays until that is over: {}",
        problem.message
    );
    Problem::new(problem.reason, message)
}

fn hold(step: &Step<'_>, draft: &Draft, problem: &Problem, wake: Option<Timestamp>) -> ControlFlow<Decision> {
    let mut draft = draft.clone();
    set_problem(&mut draft, Some(problem));
    ControlFlow::Break(Decision {
        wake: wake.max(step.now.checked_add(LOOK_SOON).ok()),
        ..step.write(draft)
    })
}

/// Whether a route may still send requests to pods of a former run by the labels that a Service in production selects, as the subset of
/// a `VirtualService` does. Without these labels, the subset would be empty, and its share of the requests would fail.
pub(crate) fn leads_to_former_pods(step: &Step<'_>) -> bool {
    let held = step.kanary.held.as_ref().filter(|_| step.spec.frame.is_some());
    held.is_some_and(|held| {
        let is_virtual = held
            .route
            .as_ref()
            .is_some_and(|route| route.kind == RouteKind::Virtual);
        is_virtual && held.run != step.kanary.run(step.spec)
    })
}

/// Removes the finalizer, once the route holds nothing of this Kanary.
pub(crate) fn release(step: &Step<'_>) -> Option<Action> {
    is_held(step).then_some(Action::Release)
}

/// The route still holds something of another run, or of a spec that asks for no route any more.
pub(crate) fn leave_former(step: &Step<'_>, draft: &Draft) -> Option<Decision> {
    let held = step.kanary.held.as_ref()?;
    let is_of_run = held.run == step.kanary.run(step.spec);
    if is_of_run && (step.spec.routing.is_some() || !step.spec.is_sound()) {
        return None;
    }
    Some(match withdraw(step, draft) {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(()) => Decision {
            actions: release(step).into_iter().collect(),
            ..Decision::default()
        },
    })
}
