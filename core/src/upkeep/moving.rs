//! The way from one spec to another that keeps other objects: first comes what the new spec needs, and its route last. Once that is in
//! force, the objects of the former spec are deleted, so that requests are served all the time.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Upkeep, blocked, version, write};
use crate::{
    api::{Reason, RouteKind},
    decision::{Decision, Keep, KeepWhat, Need, Resource},
    front_ends::Frame,
    integrity::controls,
    observation::{KeptFound, KeptSeen},
    problem::Problem,
    route::{self, Standing},
    routing::BEHIND,
    step::Step,
};

/// An object of a former spec that is still there.
pub(super) struct Left<'a> {
    resource: Resource,
    name: &'a str,
    object: &'a Value,
}

/// Whether a run has not left the route of a former spec. Nothing changes before that.
pub(super) fn waits_for_run(step: &Step<'_>) -> bool {
    let held = step.kanary.held.as_ref().and_then(|held| held.route.as_ref());
    let routing = step.spec.routing.as_ref();
    held.zip(routing)
        .is_some_and(|(held, routing)| routing.kind != Some(held.kind))
}

/// The objects of a former spec that belong to this Kanary, in the order in which they go. `None` if they are not known.
pub(super) fn left<'a>(step: &Step<'_>, frame: &'a Frame, seen: &'a KeptSeen) -> Option<Vec<Left<'a>>> {
    let mut left = Vec::new();
    for (resource, name) in &frame.unwanted {
        if let KeptFound::There(object) = seen.objects.get(&resource.key(name))?
            && controls(step, object)
        {
            left.push(Left {
                resource: *resource,
                name,
                object,
            });
        }
    }
    Some(left)
}

/// How long to wait before the objects are read again: as long as nothing has changed.
pub(super) fn patience(seen: &KeptSeen) -> SignedDuration {
    unchanged(seen).clamp(SignedDuration::from_secs(1), SignedDuration::from_mins(1))
}

fn unchanged(seen: &KeptSeen) -> SignedDuration {
    seen.at.duration_since(seen.since)
}

/// The next step on the way. `writes` is what the objects of the present spec need.
pub(super) fn next(
    step: &Step<'_>,
    (frame, seen): (&Frame, &KeptSeen),
    (writes, left): (Vec<Keep>, &[Left<'_>]),
    next: Option<Timestamp>,
) -> Upkeep {
    let is_route = |keep: &Keep| {
        let mut kept = frame.kept.iter();
        kept.any(|kept| kept.key() == keep.key() && !kept.of_run.is_empty())
    };
    let (routes, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(is_route);
    if !others.is_empty() {
        return write(others);
    }
    let settled = seen.since.checked_add(step.seen.route_settling).ok();
    if settled.is_none_or(|settled| settled > step.now) {
        return wait(settled);
    }
    if !routes.is_empty() {
        return write(routes);
    }
    if let Some(problem) = not_yet(frame, seen, left) {
        return if step.seen.target.is_none() {
            // Nothing is in production yet, so the first version waits for no route.
            Upkeep::Fine(next)
        } else if unchanged(seen) >= BEHIND {
            blocked(step, problem, next)
        } else {
            wait(next)
        };
    }
    match left.first() {
        Some(_) if !seen.live => Upkeep::First(Box::new(Decision::needing(Need::Kept))),
        Some(first) => write(vec![delete(first)]),
        None => Upkeep::Fine(next),
    }
}

/// The last step: what leads to more pods than before does so once no proxy follows the route that is gone.
pub(super) fn last(step: &Step<'_>, (frame, seen): (&Frame, &KeptSeen), writes: Vec<Keep>) -> Upkeep {
    let changes_last = |keep: &Keep| {
        let mut kept = frame.kept.iter().filter(|kept| kept.changes_last);
        keep.what == KeepWhat::Patch && kept.any(|kept| kept.key() == keep.key())
    };
    let (last, first): (Vec<_>, Vec<_>) = writes.into_iter().partition(changes_last);
    let outdated = seen.gone.checked_add(step.seen.route_settling).ok();
    match outdated.filter(|outdated| *outdated > step.now) {
        wake if wake.is_some() && first.is_empty() => wait(wake),
        Some(_) => write(first),
        None => write(last.into_iter().chain(first).collect()),
    }
}

/// Nothing begins meanwhile.
fn wait(wake: Option<Timestamp>) -> Upkeep {
    Upkeep::First(Box::new(Decision {
        wake,
        ..Decision::default()
    }))
}

/// Why the next object cannot go yet.
fn not_yet(frame: &Frame, seen: &KeptSeen, left: &[Left<'_>]) -> Option<Problem> {
    let first = left.first()?;
    let what = format!("{} {}", first.resource.kind, first.name);
    if first.object.pointer("/metadata/deletionTimestamp").is_some() {
        let message = format!(
            "{what}, which the spec does not ask for any more, is being deleted, and something holds it: see its finalizers"
        );
        return Some(Problem::new(Reason::NameTaken, message));
    }
    frame.kept.iter().find_map(|kept| {
        let kind = RouteKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == kept.resource.kind)?;
        let KeptFound::There(object) = seen.objects.get(&kept.key())? else {
            return None;
        };
        let (Standing::Refused(why) | Standing::Not(why)) = route::standing(kind, object) else {
            return None;
        };
        let message = format!(
            "{kind} {} is not in force: {why}; {what} of the former spec stays until it is",
            kept.name
        );
        Some(Problem::new(Reason::GatewayBehind, message))
    })
}

fn delete(left: &Left<'_>) -> Keep {
    Keep {
        resource: left.resource,
        name: left.name.to_owned(),
        what: KeepWhat::Delete,
        body: version(left.object),
    }
}

#[cfg(test)]
mod tests;
