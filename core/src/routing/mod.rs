//! The route of a run: what is known of it, what it should have at each step, and the way out of it again. `shifting.rs` goes from step
//! to step.
//!
//! The route itself is the record of what was written: its annotation names the step. The status follows when the traffic of the step
//! is in force, so it never claims requests that the canary does not get, and a controller that is killed in between continues from
//! the route. A finalizer, which names the route, comes before the first write.

mod behind;
mod foreign;
mod in_part;
mod lost;
mod withdraw;

use jiff::{SignedDuration, Timestamp};

use self::withdraw::share;
pub(super) use self::{
    foreign::{is_front_end, owned_service},
    lost::{lost, overlooked, reverted},
    withdraw::{clear, leads_to_former_pods, leave_former, release, withdraw},
};
use super::{
    api::{ManualVerdict, Reason, RouteKind, RouteRef, names},
    decision::Need,
    kanary::ParsedKanary,
    observation::{RouteFound, RouteSeen},
    problem::Problem,
    route::{self, Change, Own, Record, Share},
    spec::{Routing, Spec},
    status::Draft,
    step::Step,
    validation::Window,
};
use crate::api::KanaryStatus;

/// A route that has its traffic in force, or a problem, is read again after this time: nothing watches routes.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(10);
/// A route whose traffic changes is read again after this time.
pub(super) const LOOK_SOON: SignedDuration = SignedDuration::from_secs(1);
/// A gateway that takes longer than this to take over a route is reported.
pub(super) const BEHIND: SignedDuration = SignedDuration::from_secs(30);

/// The route to read for a Kanary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Named(RouteRef),
    /// The only one of these kinds that leads to a Service.
    LeadingTo {
        /// The production Service.
        service: String,
        /// The kinds to look for.
        kinds: Vec<RouteKind>,
    },
}

/// The route to read for a Kanary: the one that may hold something of a run, or the one that its spec asks for.
#[must_use]
pub fn wanted(kanary: &ParsedKanary, spec: &Spec) -> Option<Wanted> {
    let used = kanary.held.as_ref().and_then(|held| held.route.clone());
    let used = used.or_else(|| kanary.status.traffic.as_ref().map(|traffic| traffic.route.clone()));
    if let Some(route) = used {
        return Some(Wanted::Named(route));
    }
    let routing = spec.routing.as_ref()?;
    if let (Some(kind), Some(name)) = (routing.kind, &routing.name) {
        return Some(Wanted::Named(RouteRef {
            kind,
            name: name.clone(),
        }));
    }
    Some(Wanted::LeadingTo {
        service: spec.service.clone()?,
        kinds: routing.kind.map_or_else(|| RouteKind::ALL.to_vec(), |kind| vec![kind]),
    })
}

/// A route that was found.
pub(super) struct There<'a> {
    pub(super) seen: &'a RouteSeen,
    pub(super) route: &'a RouteRef,
    object: &'a serde_json::Value,
}

/// The route as far as it is known, if it is the one that is wanted now.
pub(super) fn known<'a>(step: &Step<'a>) -> Option<&'a RouteSeen> {
    let seen = step.seen.route.as_ref()?;
    let is_it = match (wanted(step.kanary, step.spec)?, &seen.found) {
        (Wanted::Named(wanted), RouteFound::There(route, _) | RouteFound::Missing(route)) => wanted == *route,
        (Wanted::Named(_), RouteFound::Nowhere | RouteFound::Several(_))
        | (Wanted::LeadingTo { .. }, RouteFound::Missing(_)) => false,
        (Wanted::LeadingTo { service, kinds }, RouteFound::There(route, object)) => {
            kinds.contains(&route.kind) && route::leads_to(route.kind, object, &service)
        }
        (_, _) => true,
    };
    is_it.then_some(seen)
}

pub(super) fn is_fresh(step: &Step<'_>, seen: &RouteSeen, for_long: SignedDuration) -> bool {
    seen.live || seen.at.checked_add(for_long).is_ok_and(|until| until > step.now)
}

/// Whether the route was read for this decision. Always without a route.
pub(super) fn is_live(step: &Step<'_>) -> bool {
    step.spec.routing.is_none() || known(step).is_some_and(|seen| seen.live)
}

/// The route, or why there is none.
pub(super) fn there<'a>(step: &Step<'a>, seen: &'a RouteSeen) -> Result<There<'a>, Problem> {
    let service = step.spec.service.as_deref().unwrap_or_default();
    let (reason, message) = match &seen.found {
        RouteFound::There(route, object) => {
            return Ok(There { seen, route, object });
        }
        RouteFound::Missing(route) => (
            Reason::RouteNotFound,
            format!("{route} does not exist: create it, or change spec.traffic.route"),
        ),
        RouteFound::Nowhere => (
            Reason::RouteNotFound,
            format!("no route of the namespace leads to Service {service}: create one, or name it in spec.traffic.route"),
        ),
        RouteFound::Several(routes) => {
            let names = routes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            (
                Reason::RouteAmbiguous,
                format!("several routes lead to Service {service} ({names}): name one in spec.traffic.route"),
            )
        }
        RouteFound::NoKind(kinds) => {
            let crds = kinds.iter().map(|kind| kind.crd()).collect::<Vec<_>>().join(", ");
            (
                Reason::RouteKindMissing,
                format!(
                    "spec.traffic.source {} needs a route, and this cluster does not have the CustomResourceDefinition {crds}: install \
                     it, or use another source",
                    step.spec.traffic
                ),
            )
        }
        RouteFound::Forbidden(message) => (
            Reason::RouteForbidden,
            format!("{message}: give Kanary the right to get, list and patch routes, with the value routes.enabled of the chart"),
        ),
        RouteFound::Disabled => (
            Reason::RouteDisabled,
            "routes are off: start the controller with --routes, or set the value routes.enabled of the chart, which adds the rights \
             for them as well"
                .to_owned(),
        ),
    };
    Err(Problem::new(reason, message))
}

impl There<'_> {
    /// What the Kanary has in the route, if it was written for this run.
    pub(super) fn share(&self, step: &Step<'_>) -> Option<Share> {
        let record = Record::of(self.object);
        let share = record.share(&step.kanary.uid)?;
        (share.run == step.kanary.run(step.spec) && share.step > 0).then(|| share.clone())
    }

    /// The version of what the route says. `None` if other Kanaries change it as well.
    pub(super) fn generation(&self, step: &Step<'_>) -> Option<i64> {
        let record = Record::of(self.object);
        let is_shared = record.shares.iter().any(|share| share.uid != step.kanary.uid);
        let generation = self.object.pointer("/metadata/generation")?.as_i64();
        generation.filter(|_| !is_shared)
    }

    /// What the route needs so that the Kanary has `share`. Several parts of a decision ask about the present step.
    pub(super) fn change(&self, step: &Step<'_>, share: Option<&Share>) -> Result<Change, Problem> {
        let Some(number) = share.map(|share| share.step).filter(|number| *number > 0) else {
            return self.computed(step, share);
        };
        let known = step.route_changes.borrow().get(&number).cloned();
        known.unwrap_or_else(|| {
            let change = self.computed(step, share);
            step.route_changes.borrow_mut().insert(number, change.clone());
            change
        })
    }

    fn computed(&self, step: &Step<'_>, share: Option<&Share>) -> Result<Change, Problem> {
        let own = Own {
            uid: &step.kanary.uid,
            canary: step.spec.backends().1,
            service: step.spec.backends().0,
        };
        let change = route::change(self.route.kind, self.object, own, share);
        change.map_err(|why| Problem::new(Reason::RouteUnsuitable, format!("{}: {why}", self.route)))
    }

    /// When the traffic is in force, as far as the route shows it: once gateways have taken it over, and proxies had time to follow.
    pub(super) fn settled_at(&self, step: &Step<'_>) -> Option<Timestamp> {
        self.seen.taken?.checked_add(step.seen.route_settling).ok()
    }

    /// When what the route no longer says is out of force: once gateways have seen it, and proxies had time to follow.
    pub(super) fn outdated_at(&self, step: &Step<'_>) -> Option<Timestamp> {
        self.seen.observed?.checked_add(step.seen.route_settling).ok()
    }

    /// A port that the production Service does not have: a gateway answers such requests with an error.
    fn lacks_port(&self, step: &Step<'_>) -> Option<Problem> {
        let service = step.seen.service.as_ref().filter(|service| !service.ports.is_empty())?;
        let has = |port: u64| service.ports.iter().any(|known| known["port"] == port);
        let wanted = route::ports(self.route.kind, self.object, &service.name);
        let port = wanted.into_iter().find(|port| !has(*port))?;
        let message = format!(
            "{}: a backend has port {port}, and Service {} has no such port: change it, or add the port to the Service",
            self.route, service.name
        );
        Some(Problem::new(Reason::RouteUnsuitable, message))
    }

    /// A gateway that ignores what the spec asks for.
    fn unsupported(&self, routing: &Routing) -> Option<Problem> {
        let asks = routing.steps.iter().any(|desired| desired.affinity.is_some());
        let name = route::ignores_affinity(self.object).filter(|_| asks)?;
        let message = format!(
            "the gateway of {} ({name}) ignores sessionPersistence, so a user would change versions: remove \
             spec.traffic.sessionAffinity, or use a gateway that supports it",
            self.route
        );
        Some(Problem::new(Reason::Unsupported, message))
    }
}

pub(super) fn own_service<'a>(step: &Step<'a>) -> &'a str {
    step.spec.kanary_service.as_deref().unwrap_or_default()
}

/// What the canary gets at a step, from 1.
pub(super) fn share_at(step: &Step<'_>, routing: &Routing, number: u32) -> Option<Share> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    Some(share(step, number, routing.steps.get(index)?.clone()))
}

pub(super) fn count(routing: &Routing) -> u32 {
    u32::try_from(routing.steps.len()).unwrap_or(u32::MAX)
}

/// The step that the route was written for, or is to be written for.
pub(super) fn present(step: &Step<'_>, there: &There<'_>, routing: &Routing) -> u32 {
    let written = there.share(step).map_or(0, |share| share.step);
    let stored = step.kanary.status.traffic.as_ref().map_or(0, |traffic| traffic.step);
    written.max(stored).clamp(1, count(routing))
}

/// What prevents the traffic of the spec, whether or not there is a canary yet. `Err` if the route has to be read first. With the
/// problem comes the time of the next look.
pub(super) fn obstacle(step: &Step<'_>) -> Result<Option<(Problem, Option<Timestamp>)>, Need> {
    let Some(routing) = &step.spec.routing else {
        return Ok(None);
    };
    let seen = known(step).filter(|seen| is_fresh(step, seen, LOOK_AGAIN));
    let Some(seen) = seen else {
        return Err(Need::Route);
    };
    let problem = there(step, seen).and_then(|there| {
        let unsuitable = there.foreign(step).or_else(|| there.unsupported(routing));
        let unsuitable = unsuitable.or_else(|| there.lacks_port(step));
        if let Some(problem) = unsuitable.or_else(|| there.refuses_first_share(step)) {
            return Err(problem);
        }
        // Whether the route can be written is known before there is a canary. Every step has the same form.
        let share = share_at(step, routing, present(step, &there, routing));
        there.change(step, share.as_ref()).map(drop)
    });
    Ok(problem
        .err()
        .map(|problem| (problem, seen.at.checked_add(LOOK_AGAIN).ok())))
}

/// What a canary gets, in words.
pub(super) fn gives(share: &Share) -> String {
    let desired = &share.desired;
    let mut parts = Vec::new();
    if desired.weight > 0 {
        parts.push(format!("{}% of the requests", desired.weight));
    }
    if !desired.tags.is_empty() {
        parts.push("tagged requests".to_owned());
    }
    if let Some(percent) = desired.mirror {
        parts.push(format!("copies of {percent}% of the requests"));
    }
    parts.join(" and ")
}

/// What the canary gets according to the status, for the condition `Traffic`.
pub(super) fn shown(step: &Step<'_>, status: &KanaryStatus) -> Option<String> {
    let (routing, traffic) = (step.spec.routing.as_ref()?, status.traffic.as_ref()?);
    let share = share_at(step, routing, traffic.step)?;
    let steps = count(routing);
    let number = if steps > 1 {
        format!(" (step {} of {steps})", traffic.step)
    } else {
        String::new()
    };
    Some(format!("{} of {}{number}", gives(&share), traffic.route))
}

/// Whether requests of the present step reach the canary, as the draft has it. Always without a route.
pub(super) fn is_in_force(step: &Step<'_>, status: &KanaryStatus) -> bool {
    step.spec.routing.is_none() || status.traffic.as_ref().is_some_and(|traffic| traffic.since.is_some())
}

/// Whether the present step is the last one, after which the canary may pass.
pub(super) fn is_last(step: &Step<'_>, status: &KanaryStatus) -> bool {
    let Some(routing) = &step.spec.routing else {
        return true;
    };
    status
        .traffic
        .as_ref()
        .is_some_and(|traffic| traffic.since.is_some() && traffic.step >= count(routing))
}

/// The window of the present step. While its traffic is not in force, its end is out of reach.
pub(super) fn of_step(step: &Step<'_>, status: &KanaryStatus, window: Window) -> Window {
    if step.spec.routing.is_none() {
        return window;
    }
    Window::of_step(status).unwrap_or(Window {
        start: window.start,
        deadline: Timestamp::MAX,
    })
}

/// Since when the canary gets its first requests, which starts the validation. `None` while it gets none.
pub(super) fn begun(step: &Step<'_>, status: &KanaryStatus, since: Timestamp) -> Option<Timestamp> {
    if step.spec.routing.is_none() || step.spec.verdict == Some(ManualVerdict::Valid) {
        return Some(since);
    }
    let first = status.traffic.as_ref()?.since?;
    Some(first.max(since))
}

/// Moves the deadline of the run so that the present step and all later ones fit, if the present step has just begun.
pub(super) fn make_room(step: &Step<'_>, draft: &mut Draft) {
    let (Some(routing), Some(traffic)) = (&step.spec.routing, &draft.status.traffic) else {
        return;
    };
    let (Some(since), Some(deadline)) = (began(step, &draft.status), draft.status.deadline) else {
        return;
    };
    let from = draft
        .status
        .validation_start_time
        .map_or(since, |start| start.max(since));
    let left = count(routing).saturating_sub(traffic.step).saturating_add(1);
    let end = from
        .checked_add(routing.interval.saturating_mul(left))
        .unwrap_or(deadline);
    draft.status.deadline = Some(deadline.max(end));
    if let Some(traffic) = &mut draft.status.traffic {
        traffic.deadline = (left > 1).then(|| from.checked_add(routing.interval).ok()).flatten();
    }
}

/// Whether the next step is written into the route, so that the present one is over.
pub(super) fn is_ahead(step: &Step<'_>, status: &KanaryStatus) -> bool {
    let stored = status.traffic.as_ref().map_or(0, |traffic| traffic.step);
    let found = known(step).and_then(|seen| there(step, seen).ok());
    let written = found.and_then(|found| found.share(step));
    written.is_some_and(|share| share.step > stored)
}

/// Since when the present step counts, if that is news: what was measured before is no evidence for it.
pub(super) fn began(step: &Step<'_>, status: &KanaryStatus) -> Option<Timestamp> {
    let since = status.traffic.as_ref()?.since?;
    let former = step.kanary.status.traffic.as_ref().and_then(|former| former.since);
    (former != Some(since)).then_some(since)
}

pub(super) fn is_held(step: &Step<'_>) -> bool {
    step.kanary
        .finalizers
        .iter()
        .any(|finalizer| finalizer == names::ROUTE_FINALIZER)
}
