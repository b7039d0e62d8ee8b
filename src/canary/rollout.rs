//! After the verdict: the target gets the template, or the canary goes.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{
    activate::{Problem, is_of_later_run, is_of_run, is_ours, target_changed_message},
    decide::{Step, end, fail},
    decision::{Action, Decision, Need, ObjectKind},
    leave::{self, Rest},
    observation::{Deployment, Promotion, Stray},
    run::{set_problem, speaks_against},
    services,
    status::{DEPLOYMENT_UPDATED, DRY_RUN, Draft, ERRORED, FAILED, RECONCILING, STALLED, SUCCEEDED, find},
};
use crate::api::GoDuration;

/// Reason of a failure that has the former template put back.
const NOT_AVAILABLE: &str = "TargetNotAvailable";

/// The verdict is good: promote, wait for the target to roll out, and say so. A dry-run only cleans up.
pub(super) fn promote(step: &Step<'_>) -> Decision {
    // A dry-run that has ended stays ended, whatever becomes of its spec.
    if step.canary.status.completed_at.is_some() {
        return clean_up(step);
    }
    let mut draft = step.draft();
    let target = step.seen.target.as_ref().filter(|target| !target.deleting);
    promoting(step, &mut draft);
    let Some(target) = target.filter(|target| is_promoted(step, target)) else {
        return update(step, draft, target.is_some());
    };
    // What is promoted is with the Deployment controller: a pause, or an edit, holds nothing any more.
    if let Some(message) = why_replaced(step, target) {
        return fail(step, draft, "TargetChanged", &message);
    }
    if target.rolled_out {
        set_problem(&mut draft, step.unsound().as_ref());
        end(&mut draft, step.now, "DeploymentUpdated");
        let name = &step.spec.target;
        let message = format!("Deployment {name} runs the template on all its replicas");
        draft.set(DEPLOYMENT_UPDATED, true, "TargetRolledOut", message);
        return step.write(draft);
    }
    await_rollout(step, draft, target)
}

/// The controller is about to update the target, or waits for it to roll out.
pub(super) fn promoting(step: &Step<'_>, draft: &mut Draft) {
    let why = format!(
        "Deployment {} gets the template, and the run ends once all its replicas run it",
        step.spec.target
    );
    draft.set(RECONCILING, true, "Promoting", why);
}

fn replaced(target: &str) -> String {
    format!("Deployment {target} was updated, and somebody replaced its template before it had rolled out")
}

fn is_promoted(step: &Step<'_>, target: &Deployment) -> bool {
    let marker = Some(step.canary.marker(step.spec));
    target.promoted_by == marker || target.created_by == marker
}

/// Why a target that was promoted is not held to be so any more. Where it is not known what it was given, because there was no
/// reply or another replica made it, the template from before the run counts as another one: it may be that the canary had the
/// same, but nothing proves that.
fn why_replaced(step: &Step<'_>, target: &Deployment) -> Option<String> {
    let name = &step.spec.target;
    if let Promotion::Done { template_hash, .. } = &step.seen.promotion {
        return (*template_hash != target.template_hash).then(|| replaced(name));
    }
    let has_marker = target.promoted_by == Some(step.canary.marker(step.spec));
    let is_as_before = step.canary.status.target_hash.as_ref() == Some(&target.template_hash);
    (has_marker && is_as_before).then(|| {
        format!(
            "Deployment {name} was updated, and has the template from before the run: somebody put it back, or the canary had \
             the same; set spec.retry to another number to run again"
        )
    })
}

/// Why the promotion cannot be made now, if it is known that it was not made yet. (If that is not known, the target is read
/// first.)
fn held(step: &Step<'_>, mut draft: Draft, is_there: bool) -> Option<Decision> {
    let name = &step.spec.target;
    if let Some(problem) = step.unsound() {
        set_problem(&mut draft, Some(&problem));
        return Some(step.write(draft));
    }
    if !is_there {
        let message = format!("Deployment {name} is gone, so it cannot be updated: create it again");
        set_problem(&mut draft, Some(&Problem::new("TargetNotFound", message)));
    }
    if step.spec.paused {
        if is_there {
            set_problem(&mut draft, None);
        }
        let why = format!("spec.paused is true: Deployment {name} is not updated");
        draft.set(RECONCILING, false, "Paused", why);
        return Some(step.write(draft));
    }
    if !is_there {
        return Some(step.write(draft));
    }
    if let Some((problem, wake)) = services::before_promotion(step) {
        set_problem(&mut draft, Some(&problem));
        return Some(Decision {
            wake,
            ..step.write(draft)
        });
    }
    let refusal = step.refused()?;
    let problem = Problem::new(&refusal.reason, refusal.message.clone());
    set_problem(&mut draft, Some(&problem));
    Some(Decision {
        wake: Some(refusal.retry_at),
        ..step.write(draft)
    })
}

/// The one write to the target, under the precondition that it still is what was read.
fn update(step: &Step<'_>, mut draft: Draft, is_there: bool) -> Decision {
    let was_made = matches!(step.seen.promotion, Promotion::Done { .. });
    match speaks_against(step, &draft) {
        Some(failure) if !is_there || step.seen.promotion == Promotion::NotYet => return failure.end(step, draft),
        // Whether it was promoted already has to be read first.
        Some(_) => {}
        None if is_there && was_made => {}
        None => {
            if let Some(decision) = held(step, draft.clone(), is_there) {
                return decision;
            }
        }
    }
    let Some(live) = &step.seen.live_target else {
        return Decision::needing(Need::LiveTarget);
    };
    let marker = step.canary.marker(step.spec);
    if live.promoted_by.as_ref() == Some(&marker) {
        // Done already; the cache does not know yet, and will tell.
        return Decision::default();
    }
    if live.was_promoted || was_made {
        // Undone, or replaced by another Kanary: promoting again would overrule whoever did it.
        return fail(step, draft, "TargetChanged", &replaced(&step.spec.target));
    }
    if let Some(failure) = speaks_against(step, &draft) {
        return failure.end(step, draft);
    }
    if step.spec.dry_run {
        set_problem(&mut draft, None);
        end_dry_run(
            step,
            &mut draft,
            "the run became a dry-run before the target was updated",
        );
        return step.write(draft);
    }
    let started_with = step.canary.status.target_hash.as_ref();
    let changed = started_with.is_some_and(|started_with| *started_with != live.template_hash);
    if changed && !step.spec.promote_over_change {
        return fail(step, draft, "TargetChanged", &target_changed_message(&step.spec.target));
    }
    Decision {
        actions: vec![Action::SetTemplate {
            name: step.spec.target.clone(),
            uid: live.uid.clone(),
            former: live.template.clone(),
            template: step.spec.pod_template(),
            revision: live.revision.clone(),
            annotated: live.annotated,
            marker,
            cause: format!("promoted by {}", step.canary.key),
        }],
        ..Decision::default()
    }
}

/// A run that passed and leaves the target alone.
pub(super) fn end_dry_run(step: &Step<'_>, draft: &mut Draft, by: &str) {
    end(draft, step.now, DRY_RUN);
    let message = format!("{by}; a dry-run leaves Deployment {} alone", step.spec.target);
    draft.set(SUCCEEDED, true, DRY_RUN, message);
    draft.set(
        DEPLOYMENT_UPDATED,
        false,
        DRY_RUN,
        "a dry-run does not update the target",
    );
}

fn await_rollout(step: &Step<'_>, mut draft: Draft, target: &Deployment) -> Decision {
    let name = &step.spec.target;
    let patience = step.spec.progress_deadline;
    let until = promoting_since(step).checked_add(patience).ok();
    let late = until.is_some_and(|until| until <= step.now);
    // What stood in the way before is over: the target is updated.
    set_problem(&mut draft, None);
    if let Some(problem) = step.unsound() {
        // It keeps the next run from starting, and this one from nothing.
        draft.set(ERRORED, true, &problem.reason, problem.message);
    }
    if target.paused {
        let why = format!(
            "Deployment {name} was updated and is paused itself, so it does not roll out: resume it with kubectl rollout \
             resume deployment/{name}"
        );
        draft.set(STALLED, true, "TargetPaused", &why);
        draft.set(RECONCILING, false, "TargetPaused", why);
        return step.write(draft);
    }
    if !late && !target.progress_failed {
        // Without such news nothing is written: the Succeeded status already says that the target is to be updated.
        return Decision {
            wake: until,
            ..step.write(draft)
        };
    }
    let message = format!(
        "Deployment {name} was updated and did not become available within {}",
        GoDuration(patience)
    );
    if step.spec.rollback && target.created_by != Some(step.canary.marker(step.spec)) {
        return fail(
            step,
            draft,
            NOT_AVAILABLE,
            &format!("{message}; the former template is put back, if the rollout history has one"),
        );
    }
    draft.set(STALLED, true, NOT_AVAILABLE, &message);
    draft.set(RECONCILING, false, NOT_AVAILABLE, message);
    step.write(draft)
}

/// Since when nothing kept the target from being updated: a pause, or a problem, does not count against its deadline.
fn promoting_since(step: &Step<'_>) -> Timestamp {
    let since = |condition| find(&step.canary.status, condition).map(|c| c.last_transition_time.0);
    let succeeded = since(SUCCEEDED).unwrap_or(step.now);
    let succeeded = match step.seen.promotion {
        Promotion::Done { at: Some(at), .. } => succeeded.max(at),
        _ => succeeded,
    };
    match find(&step.canary.status, RECONCILING) {
        Some(reconciling) if reconciling.status == "True" => succeeded.max(reconciling.last_transition_time.0),
        Some(given_up) if given_up.reason == NOT_AVAILABLE => succeeded,
        _ => step.now,
    }
}

/// The verdict is bad: canary pods leave production, then the canary goes, or stays out of traffic.
pub(super) fn clean_up_failed(step: &Step<'_>) -> Decision {
    let draft = step.draft();
    let retain = step.spec.retain_failed;
    match leave::all(step, &draft, retain) {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(rest) => roll_back(step).unwrap_or_else(|| act(step, draft, deletes(step, retain), rest)),
    }
}

/// Takes the canary out of traffic, and when that is done, or under way, everything that was created for the run away.
/// `retain` keeps the canary itself.
pub(super) fn take_away(step: &Step<'_>, draft: Draft, retain: bool) -> Decision {
    match leave::all(step, &draft, retain) {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(rest) => act(step, draft, deletes(step, retain), rest),
    }
}

/// The run is over: what was created for it goes.
pub(super) fn clean_up(step: &Step<'_>) -> Decision {
    act(step, step.draft(), deletes(step, false), Rest::default())
}

/// Acts, or waits for the time at which a refused write may be tried again. How the run ended stays as it is.
fn act(step: &Step<'_>, mut draft: Draft, actions: Vec<Action>, rest: Rest) -> Decision {
    leave::explain(step, &mut draft);
    let refused = step.refused();
    let refusal = refused.map(|refusal| Problem::new(&refusal.reason, refusal.message.clone()));
    let unsound = step.unsound().filter(|_| !step.canary.deleting);
    let problem = Problem::all(rest.problem.into_iter().chain(refusal).chain(unsound));
    if problem.is_some() || super::status::is_true(&draft.status, ERRORED) {
        set_problem(&mut draft, problem.as_ref());
    }
    if !step.canary.deleting {
        restore_stall(&mut draft, problem.is_some());
    }
    Decision {
        actions: if refused.is_some() { Vec::new() } else { actions },
        wake: [refused.map(|refusal| refusal.retry_at), rest.wake]
            .into_iter()
            .flatten()
            .min(),
        ..step.write(draft)
    }
}

/// A failed run stays stalled for kstatus after its clean-up worked.
fn restore_stall(draft: &mut Draft, problem: bool) {
    let failed = find(&draft.status, FAILED).filter(|c| c.status == "True").cloned();
    if let Some(failed) = failed.filter(|_| !problem) {
        draft.set(STALLED, true, &failed.reason, failed.message);
    }
}

/// Deletes everything that is this Kanary's, whatever spec it was made for. `retain` keeps the canary of this run; one of an
/// earlier run was not taken out of traffic.
fn deletes(step: &Step<'_>, retain: bool) -> Vec<Action> {
    let seen = step.seen;
    let stays = |canary: &Deployment| is_of_later_run(step, canary) || retain && is_of_run(step, canary);
    let canary = seen.canary.as_ref().filter(|canary| !stays(canary));
    let canary = canary.map(|canary| {
        let deployment = (ObjectKind::Deployment, Some(&step.spec.canary));
        (deployment, &canary.uid, canary.owner.as_ref(), canary.deleting)
    });
    let service = seen.kanary_service.as_ref().map(|service| {
        let kind = (ObjectKind::Service, step.spec.kanary_service.as_ref());
        (kind, &service.uid, service.owner.as_ref(), service.deleting)
    });
    let hpa = seen.hpa.as_ref().map(|hpa| {
        let kind = (ObjectKind::HorizontalPodAutoscaler, Some(&step.spec.canary));
        (kind, &hpa.uid, hpa.owner.as_ref(), hpa.deleting)
    });
    [hpa, canary, service]
        .into_iter()
        .flatten()
        .filter(|(_, _, owner, deleting)| is_ours(step, *owner) && !deleting)
        .filter_map(|((object, name), uid, _, _)| {
            Some(Action::Delete {
                object,
                name: name?.clone(),
                uid: uid.clone(),
            })
        })
        .chain(seen.strays.iter().map(Stray::delete))
        .collect()
}

/// Puts the former template back on a target that did not become available, after the status says that the run failed.
fn roll_back(step: &Step<'_>) -> Option<Decision> {
    let failed = find(&step.canary.status, FAILED)?;
    let target = step.seen.target.as_ref().filter(|target| !target.deleting)?;
    let marker = step.canary.marker(step.spec);
    if step.seen.no_former_template || failed.reason != NOT_AVAILABLE || target.promoted_by.as_ref() != Some(&marker) {
        return None;
    }
    if step.refused().is_some() {
        return Some(act(step, step.draft(), Vec::new(), Rest::default()));
    }
    let (Some(live), Some(former)) = (&step.seen.live_target, &step.seen.former_template) else {
        return step.seen.live_target.is_none().then(|| Decision {
            needs: Some(Need::FormerTemplate),
            ..Decision::default()
        });
    };
    if live.promoted_by.as_ref() != Some(&marker) {
        return None;
    }
    Some(Decision {
        actions: vec![Action::SetTemplate {
            name: step.spec.target.clone(),
            uid: live.uid.clone(),
            former: live.template.clone(),
            template: former.clone(),
            revision: live.revision.clone(),
            annotated: live.annotated,
            marker: format!("{marker}/rolled-back"),
            cause: format!("rolled back by {}", step.canary.key),
        }],
        ..Decision::default()
    })
}
