//! Why a canary does not get its requests, or is not known to.

use super::{Change, There, gives, is_in_force, known, present, share_at, there};
use crate::{
    api::{KanaryStatus, Reason},
    problem::Problem,
    route::Share,
    spec::Routing,
    status::{Phase, TRAFFIC, find},
    step::Step,
};

/// Why a canary does not get the requests that it got according to `status`, or that it should get by now, or why that is not known:
/// its former share may still be served.
pub(crate) fn lost(step: &Step<'_>, status: &KanaryStatus) -> Option<Problem> {
    let is_running = Phase::of(&step.kanary.status) == Phase::Running;
    let routing = step.spec.routing.as_ref().filter(|_| is_running)?;
    let in_force = is_in_force(step, status);
    let problem = known(step).and_then(|seen| match there(step, seen) {
        Ok(found) => of_share(step, &found, routing, status),
        Err(problem) => Some(problem),
    });
    if in_force || problem.is_some() {
        return problem;
    }
    let why = find(status, TRAFFIC).filter(|traffic| traffic.status == "False");
    let why = why.and_then(|why| Some(Problem::new(Reason::parse(&why.reason)?, &why.message)));
    why.or_else(|| {
        let why = "the canary is not known to get its requests: the step starts anew once it is";
        Some(Problem::new(Reason::TrafficLost, why))
    })
}

/// Why a route does not give the canary its present share, or is not known to.
fn of_share(step: &Step<'_>, found: &There<'_>, routing: &Routing, status: &KanaryStatus) -> Option<Problem> {
    let in_force = is_in_force(step, status);
    if let Some(problem) = found.owned(step) {
        return Some(problem);
    }
    let share = share_at(step, routing, present(step, found, routing))?;
    match found.change(step, Some(&share)) {
        Err(problem) => Some(problem),
        // What was not in force may have been taken out by Kanary itself.
        Ok(Change::Traffic(_)) if in_force => Some(reverted(found, &share)),
        Ok(_) => found.behind(step).or_else(|| overlooked(step, status, found, &share)),
    }
}

/// A route that had versions which Kanary has not read while the canary had its share. An edit at a time is read before and after it,
/// so the share was there throughout. A tool that reverts the route and brings it back makes two.
pub(crate) fn overlooked(step: &Step<'_>, status: &KanaryStatus, found: &There<'_>, share: &Share) -> Option<Problem> {
    let traffic = status.traffic.as_ref().filter(|traffic| traffic.step == share.step)?;
    let (former, now) = (traffic.generation?, found.generation(step)?);
    if matches!(now.checked_sub(former), Some(0 | 1)) {
        return None;
    }
    let message = format!(
        "{} was changed more than once since it was read (generation {now} after {former}), so it may not have given the canary {} all \
         the time: the step starts anew",
        found.route,
        gives(share),
    );
    Some(Problem::new(Reason::TrafficReverted, message))
}

pub(crate) fn reverted(there: &There<'_>, share: &Share) -> Problem {
    let hint = match &share.desired {
        desired if desired.affinity.is_some() => "; the CRD may also lack sessionPersistence, which is experimental",
        desired if desired.mirror.is_some_and(|percent| percent < 100) => {
            "; the CRD may also lack the percent of a mirror"
        }
        _ => "",
    };
    let message = format!(
        "{} does not give the canary {} any more: somebody changed it, such as a GitOps tool, which has to ignore what Kanary changes; \
         it is written again, and the step starts anew{hint}",
        there.route,
        gives(share),
    );
    Problem::new(Reason::TrafficReverted, message)
}
