//! The rollout of the target after its promotion, and the removal of the canary after a bad verdict.

use std::{ops::ControlFlow, time::Duration};

use jiff::Timestamp;

use super::{
    decision::{Action, Decision, Need, ObjectKind},
    ending::end,
    integrity::{is_of_later_run, is_of_run, is_ours, is_own_canary},
    leave::{self, Rest},
    observation::{Stray, Workload},
    patience,
    problem::{Problem, set_problem},
    restoring,
    rollback::{self},
    routing,
    status::{DEPLOYMENT_UPDATED, Draft, ERRORED, FAILED, RECONCILING, STALLED, SUCCEEDED, find},
    step::Step,
    too_late, workload,
};
use crate::api::{GoDuration, Reason};

/// A rollout without progress for longer than this may lack resources that the canary holds.
const NO_PROGRESS: Duration = Duration::from_mins(2);

/// Ends a run that passed without a change to the target.
pub(super) fn end_dry_run(step: &Step<'_>, draft: &mut Draft, by: &str) {
    end(draft, step.now, Reason::DryRun);
    let message = format!("{by}; a dry-run leaves {} alone", step.spec.target);
    draft.set(SUCCEEDED, true, Reason::DryRun, message);
    draft.set(
        DEPLOYMENT_UPDATED,
        false,
        Reason::DryRun,
        "a dry-run does not update the target",
    );
}

/// The target has the template: waits for its rollout and then ends the run.
pub(super) fn conclude(step: &Step<'_>, mut draft: Draft, target: &Workload) -> Decision {
    let late = too_late::text(step, &mut draft);
    // The removal of the canary does not wait for the transfer of field ownership, which also happens after the run.
    if let Some(hand_over) = hand_over(step).filter(|_| late.is_none()) {
        return Decision {
            actions: vec![hand_over],
            ..Decision::default()
        };
    }
    if !target.rolled_out {
        return await_rollout(step, draft, target);
    }
    if let ControlFlow::Break(waits) = routing::withdraw(step, &draft) {
        return waits;
    }
    set_problem(&mut draft, step.unsound().as_ref());
    end(&mut draft, step.now, Reason::DeploymentUpdated);
    draft.status.promoted_hash = Some(target.template_hash.clone());
    let late = late.map_or_else(String::new, |late| format!("; {late}"));
    let message = format!(
        "{} was updated: it ran the template on all its replicas when the run ended{late}",
        step.spec.target
    );
    draft.set(DEPLOYMENT_UPDATED, true, Reason::TargetRolledOut, message);
    step.write(draft)
}

fn await_rollout(step: &Step<'_>, mut draft: Draft, target: &Workload) -> Decision {
    // Earlier problems are resolved: the target is updated.
    set_problem(&mut draft, None);
    if let Some(problem) = step.unsound() {
        // The problem prevents the next run, but not this one.
        draft.set(ERRORED, true, problem.reason, problem.message);
    }
    if let Some(decision) = too_late::roll_back(step, &draft, target) {
        return decision;
    }
    let late = too_late::report(step, &mut draft);
    let waits = match rolling_out(step, &mut draft, target, late.as_deref()) {
        ControlFlow::Break(decision) => return decision,
        ControlFlow::Continue(waits) => waits,
    };
    if !waits.actions.is_empty()
        && let ControlFlow::Break(decision) = routing::withdraw(step, &draft)
    {
        return Decision {
            wake: [decision.wake, waits.wake].into_iter().flatten().min(),
            ..decision
        };
    }
    if late.is_none() {
        // Without news nothing is written: the Succeeded status already announces the update of the target.
        return Decision {
            actions: waits.actions,
            wake: waits.wake,
            ..step.write(draft)
        };
    }
    match too_late::leave(step, &mut draft) {
        ControlFlow::Break(leaves) => Decision {
            wake: [leaves.wake, waits.wake].into_iter().flatten().min(),
            ..leaves
        },
        ControlFlow::Continue(rest) => Decision {
            actions: unless_refused(step, deletes(step, false)),
            wake: [rest.wake, waits.wake].into_iter().flatten().min(),
            ..step.write(draft)
        },
    }
}

/// Pending actions and times while the target rolls out.
#[derive(Default)]
struct Waits {
    actions: Vec<Action>,
    wake: Option<Timestamp>,
}

/// Reports that a user should look at the target. `late` is the report about a verdict that came too late.
fn stall(draft: &mut Draft, reason: Reason, why: &str, late: Option<&str>) {
    let why = late.map_or_else(|| why.to_owned(), |late| format!("{why}; {late}"));
    draft.set(STALLED, true, reason, &why);
    draft.set(RECONCILING, false, reason, why);
}

fn rolling_out(
    step: &Step<'_>,
    draft: &mut Draft,
    target: &Workload,
    late: Option<&str>,
) -> ControlFlow<Decision, Waits> {
    let again = step.refused().map(|refusal| refusal.retry_at);
    let name = &step.spec.target;
    if let Some(held) = workload::of(name.kind).held_back(name, target) {
        let mut why = format!("{name} was updated and {}", held.why);
        if late.is_none() {
            why = format!("{why}: {}", held.mend);
        }
        let needs = workload::of(name.kind).needs_of_canary(target);
        let room = needs.map(|_| unless_refused(step, deletes(step, false)));
        stall(draft, held.reason, &why, late);
        return ControlFlow::Continue(Waits {
            actions: room.unwrap_or_default(),
            wake: again.filter(|_| late.is_some()),
        });
    }
    let since = patience::promoting_since(step);
    let until = since.checked_add(step.spec.progress_deadline).ok();
    if until.is_some_and(|until| until <= step.now) || target.progress_failed {
        return not_available(step, draft, target, late);
    }
    if late.is_some() {
        return ControlFlow::Continue(Waits {
            wake: [until, again].into_iter().flatten().min(),
            ..Waits::default()
        });
    }
    let stuck = since.max(target.progressed.unwrap_or(since));
    let (actions, looks) = make_room(step, draft, target, stuck);
    ControlFlow::Continue(Waits {
        actions,
        wake: [until, looks, again].into_iter().flatten().min(),
    })
}

/// The target did not become available in time.
fn not_available(
    step: &Step<'_>,
    draft: &mut Draft,
    target: &Workload,
    late: Option<&str>,
) -> ControlFlow<Decision, Waits> {
    let (name, patience) = (&step.spec.target, step.spec.progress_deadline);
    let cause = target.replica_failure.as_ref();
    let message = format!(
        "{name} was updated and did not become available within {}{}",
        GoDuration(patience),
        cause.map_or_else(String::new, |cause| format!(": {cause}"))
    );
    draft.status.promoted_hash = Some(target.template_hash.clone());
    if step.spec.rollback && target.created_by != Some(step.kanary.marker(step.spec)) {
        if !step.seen.target_confirmed {
            // It may have rolled out while the API server was unreachable.
            return ControlFlow::Break(Decision::needing(Need::Target));
        }
        return ControlFlow::Break(rollback::begin(
            step,
            draft.clone(),
            Reason::TargetNotAvailable,
            &message,
        ));
    }
    stall(draft, Reason::TargetNotAvailable, &message, late);
    ControlFlow::Continue(Waits {
        // A canary that passed and waits for nothing must not hold resources that the target needs.
        actions: unless_refused(step, deletes(step, false)),
        wake: step.refused().map(|refusal| refusal.retry_at),
    })
}

/// The canary may hold resources that the target's rollout needs: a quota, or the last free node. If the rollout is
/// stuck, the canary is deleted. Otherwise returns when to check again.
fn make_room(
    step: &Step<'_>,
    draft: &mut Draft,
    target: &Workload,
    stuck: Timestamp,
) -> (Vec<Action>, Option<Timestamp>) {
    let going = deletes(step, false);
    let gave_way =
        find(&step.kanary.status, RECONCILING).filter(|c| c.status == "True" && c.reason == Reason::CanaryGaveWay);
    if let Some(gave_way) = gave_way {
        draft.set(RECONCILING, true, Reason::CanaryGaveWay, gave_way.message.clone());
        return (unless_refused(step, going), None);
    }
    if going.is_empty() {
        return (going, None);
    }
    let patience = (step.spec.progress_deadline / 4).min(NO_PROGRESS);
    let due = stuck
        .checked_add(patience)
        .ok()
        .filter(|_| step.spec.target.kind.has_times());
    let needs = workload::of(step.spec.target.kind).needs_of_canary(target);
    let why = match (&target.replica_failure, needs) {
        (Some(cause), _) => format!("its pods cannot be created ({cause})"),
        (None, Some(needs)) => needs,
        (None, None) if due.is_some_and(|due| due <= step.now) => {
            format!("its rollout has made no progress for {}", GoDuration(patience))
        }
        (None, None) => return (Vec::new(), due),
    };
    let why = format!(
        "{} was updated and {why}: {} is deleted to make room",
        step.spec.target, step.spec.canary
    );
    draft.set(RECONCILING, true, Reason::CanaryGaveWay, why);
    (unless_refused(step, going), None)
}

fn unless_refused(step: &Step<'_>, actions: Vec<Action>) -> Vec<Action> {
    if step.refused().is_some() { Vec::new() } else { actions }
}

/// Transfers the ownership of promoted fields to the manager that applies the target, even if that starts after the run.
fn hand_over(step: &Step<'_>) -> Option<Action> {
    let target = step.seen.target.as_ref();
    let target = target.filter(|target| target.holds_fields && !target.deleting && !step.kanary.deleting)?;
    let uid = format!("{}/", step.kanary.uid);
    let by_us = |marker: &Option<String>| marker.as_ref().is_some_and(|marker| marker.starts_with(&uid));
    let concerned = by_us(&target.promoted_by) || by_us(&target.created_by);
    (concerned && !step.seen.keeps_ownership && step.refused().is_none()).then(|| Action::HandOver {
        target: step.spec.target.clone(),
        uid: target.uid.clone(),
    })
}

/// The verdict is bad: removes canary pods from production, and then deletes the canary or keeps it without traffic. A
/// target that did not become available gets its former template back, whether or not the canary can leave.
pub(super) fn clean_up_failed(step: &Step<'_>) -> Decision {
    if let Some(decision) = restoring::take_back(step) {
        return decision;
    }
    let draft = step.draft();
    let retain = step.spec.retain_failed;
    let leaves = match routing::withdraw(step, &draft) {
        ControlFlow::Break(waits) => ControlFlow::Break(waits),
        ControlFlow::Continue(()) => leave::all(step, &draft, retain),
    };
    match leaves {
        ControlFlow::Break(waits) if waits.actions.is_empty() && waits.needs.is_none() => {
            match rollback::decide(step) {
                Some(rollback) => Decision {
                    wake: [rollback.wake, waits.wake].into_iter().flatten().min(),
                    ..rollback
                },
                None => waits,
            }
        }
        ControlFlow::Break(leaves) => leaves,
        ControlFlow::Continue(rest) => {
            rollback::decide(step).unwrap_or_else(|| act(step, draft, deletes(step, retain), rest))
        }
    }
}

/// Removes the canary from traffic, and when that is done or in progress, all objects of the run. `retain` keeps the
/// canary.
pub(super) fn take_away(step: &Step<'_>, draft: Draft, retain: bool) -> Decision {
    match leave::all(step, &draft, retain) {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(rest) => act(step, draft, deletes(step, retain), rest),
    }
}

/// The run has ended: deletes its objects.
pub(super) fn clean_up(step: &Step<'_>) -> Decision {
    let draft = step.draft();
    if let ControlFlow::Break(waits) = routing::withdraw(step, &draft) {
        return waits;
    }
    match leave::set_aside(step, &draft) {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(rest) => act(step, draft, deletes(step, false), rest),
    }
}

/// Acts, or waits until a refused write may be retried. The result of the run does not change.
pub(super) fn act(step: &Step<'_>, mut draft: Draft, actions: Vec<Action>, rest: Rest) -> Decision {
    leave::explain(step, &mut draft);
    leave::follow_retained(step, &mut draft);
    let refused = step.refused();
    let refusal = refused.map(|refusal| Problem::new(refusal.reason, refusal.message.clone()));
    let unsound = step.unsound().filter(|_| !step.kanary.deleting);
    let problem = Problem::all(rest.problem.into_iter().chain(refusal).chain(unsound));
    if problem.is_some() || super::status::is_true(&draft.status, ERRORED) {
        set_problem(&mut draft, problem.as_ref());
    }
    if !step.kanary.deleting {
        restore_stall(&mut draft, problem.is_some());
    }
    // A refused rollback must not keep a failed canary in production.
    let waits = refused.is_some_and(|refusal| refusal.about != step.spec.target.key());
    let actions = if waits { Vec::new() } else { actions };
    let mut decision = Decision {
        actions: actions.into_iter().chain(hand_over(step)).collect(),
        wake: [refused.map(|refusal| refusal.retry_at), rest.wake]
            .into_iter()
            .flatten()
            .min(),
        ..step.write(draft)
    };
    if decision.status.is_none() && !step.kanary.deleting && !waits {
        // Both change the Kanary that was read.
        decision
            .actions
            .extend(routing::release(step).or_else(|| restoring::release(step)));
    }
    decision
}

/// A failed run stays stalled for kstatus after its clean-up succeeds.
fn restore_stall(draft: &mut Draft, problem: bool) {
    let failed = find(&draft.status, FAILED).filter(|c| c.status == "True").cloned();
    if let Some(failed) = failed.filter(|_| !problem) {
        let reason = Reason::parse(&failed.reason).unwrap_or(Reason::RunFailed);
        draft.set(STALLED, true, reason, failed.message);
    }
}

/// Deletes all objects of this Kanary, whatever spec they were created for. `retain` keeps the canary of this run; one of
/// an earlier run was not removed from traffic.
fn deletes(step: &Step<'_>, retain: bool) -> Vec<Action> {
    let seen = step.seen;
    let stays = |canary: &Workload| is_of_later_run(step, &canary.labels) || retain && is_of_run(step, canary);
    let is_beside = step.spec.tracked.is_none() && step.spec.scale.in_place().is_none();
    let canary = seen.canary.as_ref().filter(|canary| is_beside && !stays(canary));
    let canary = canary.map(|canary| {
        let deployment = (
            ObjectKind::Workload(step.spec.canary.kind),
            Some(&step.spec.canary.name),
        );
        let is_own = is_own_canary(step, canary);
        (deployment, &canary.uid, is_own, canary.deleting)
    });
    let service = seen.kanary_service.as_ref().map(|service| {
        let kind = (ObjectKind::Service, step.spec.kanary_service.as_ref());
        let is_own = is_ours(step, service.owner.as_ref());
        (kind, &service.uid, is_own, service.deleting)
    });
    let autoscalers = seen.autoscalers().map(|(object, autoscaler)| {
        let is_own = is_ours(step, autoscaler.owner.as_ref());
        let kind = (object, Some(&step.spec.canary.name));
        (kind, &autoscaler.uid, is_own, autoscaler.deleting)
    });
    autoscalers
        .chain(canary)
        .chain(service)
        .filter(|(_, _, is_own, deleting)| *is_own && !deleting)
        .filter_map(|((object, name), uid, _, _)| {
            Some(Action::Delete {
                object,
                name: name?.clone(),
                uid: uid.clone(),
                unchanged: matches!(object, ObjectKind::Workload(_)),
            })
        })
        .chain(seen.strays.iter().map(Stray::delete))
        .collect()
}
