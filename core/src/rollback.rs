//! `rollbackOnFailure`: restores the former template of a target that did not become available after its promotion, or
//! whose canary got an invalid verdict during the rollout.
//!
//! The condition `RolledBack` shows its progress. A rollback starts with the status that ends the run, replaces only the
//! template that this run promoted, and never starts again once the condition shows its result.

use super::{
    decision::{Action, Decision, Need, SetTemplate},
    ending::fail,
    observation::Workload,
    status::{Draft, ROLLED_BACK, find},
    step::Step,
    workload,
};

/// Reason of `RolledBack` from the verdict until the result is known.
use crate::api::Reason;

/// Ends the run as failed. The rollback follows when the status that is read contains the failure.
pub(super) fn begin(step: &Step<'_>, mut draft: Draft, reason: Reason, message: &str) -> Decision {
    let why = format!("{} is about to get its former template back", step.spec.target);
    draft.set(ROLLED_BACK, false, Reason::Pending, why);
    let message = format!("{message}; the former template is put back, if the rollout history has one");
    fail(step, draft, reason, &message)
}

/// The next step of a rollback, or `None` if there is none now.
pub(super) fn decide(step: &Step<'_>) -> Option<Decision> {
    let condition = find(&step.kanary.status, ROLLED_BACK)?;
    if condition.status == "True" || condition.reason != Reason::Pending {
        return None;
    }
    let name = &step.spec.target;
    if !step.spec.rollback {
        let why = format!("spec.rollout.rollbackOnFailure is false now: {name} keeps its template");
        return Some(over(step, false, Reason::NotWanted, why));
    }
    let target = step.seen.target.as_ref().filter(|target| !target.deleting);
    let Some(target) = target else {
        let why = format!("{name} is gone: there is nothing to roll back");
        return Some(over(step, false, Reason::TargetNotFound, why));
    };
    if target.promoted_by == Some(restored(step)) {
        let note = workload::of(name.kind).after_rollback(target);
        let why = format!("{name} has the template back that it had before the promotion{note}");
        return Some(over(step, true, Reason::TemplateRestored, why));
    }
    if !is_ours(step, target.promoted_by.as_ref(), &target.template_hash) {
        let why = format!(
            "{name} no longer has the template that this run promoted, or another run has promoted it since: it is \
             left alone"
        );
        return Some(over(step, false, Reason::TargetChanged, why));
    }
    if step.seen.no_former_template {
        let why = format!("the rollout history of {name} has no other template: it keeps the one that was promoted");
        return Some(over(step, false, Reason::NoFormerTemplate, why));
    }
    if step.refused().is_some() {
        return None;
    }
    Some(put_back(step, target))
}

/// The annotation of a target that was rolled back.
fn restored(step: &Step<'_>) -> String {
    format!("{}/rolled-back", step.kanary.marker(step.spec))
}

/// Whether a target is unchanged since its promotion by this run. Its annotation may be missing; a different one belongs
/// to another promotion.
fn is_ours(step: &Step<'_>, promoted_by: Option<&String>, template_hash: &String) -> bool {
    let by_another = promoted_by.is_some_and(|by| *by != step.kanary.marker(step.spec));
    !by_another && step.kanary.status.promoted_hash.as_ref() == Some(template_hash)
}

fn over(step: &Step<'_>, done: bool, reason: Reason, why: String) -> Decision {
    let mut draft = step.draft();
    draft.set(ROLLED_BACK, done, reason, why);
    step.write(draft)
}

fn put_back(step: &Step<'_>, target: &Workload) -> Decision {
    let (Some(live), Some(former)) = (&step.seen.live_target, &step.seen.former_template) else {
        return Decision::needing(Need::FormerTemplate);
    };
    if live.uid != target.uid || !is_ours(step, live.promoted_by.as_ref(), &live.template_hash) {
        // The watch is behind and will catch up.
        return Decision::default();
    }
    Decision {
        actions: vec![Action::SetTemplate(SetTemplate {
            template: former.clone(),
            ..live.written(
                &step.spec.target,
                restored(step),
                format!("rolled back by {}", step.kanary.key),
            )
        })],
        ..Decision::default()
    }
}
