//! A bad verdict on a canary after the target got its template: the canary is removed from production and deleted, and
//! the target keeps the template, unless the user asks for rollbacks.
//!
//! `Activated` records that such a verdict was given: a label that caused it is deleted with the canary.

use std::ops::ControlFlow;

use super::{
    analysis,
    decision::{Decision, Need},
    leave::{self, Rest},
    observation::Workload,
    problem::{set_problem, with_late_verdict},
    rollback, routing,
    status::{ACTIVATED, Draft, RECONCILING, SUCCEEDED, TRAFFIC, find, late_verdict},
    step::Step,
    validation::{Item, Window},
    workload,
};
use crate::api::{ItemStatus, ManualVerdict, Reason};

/// A verdict against the canary.
struct Objection {
    reason: Reason,
    message: String,
    /// The state of the item that gave it, if any did.
    item: Option<ItemStatus>,
}

impl Objection {
    /// Shows the state of the item in the status.
    fn show(&self, draft: &mut Draft) {
        let Some(item) = &self.item else { return };
        let items = &mut draft.status.items;
        match items.iter_mut().find(|former| former.name == item.name) {
            Some(former) => former.clone_from(item),
            None => items.push(item.clone()),
        }
    }
}

/// A manual verdict or a watched label against the canary. Measurements and rules for the deadline were settled with the verdict.
fn objection(step: &Step<'_>, draft: &Draft) -> Option<Objection> {
    if step.spec.verdict == Some(ManualVerdict::Invalid) {
        return Some(Objection {
            reason: Reason::VerdictInvalid,
            message: "spec.verdict is invalid".to_owned(),
            item: None,
        });
    }
    let passed = find(&draft.status, SUCCEEDED)?.last_transition_time.0;
    let judgement = analysis::judge(step.spec, step.seen, Window::stored(&draft.status), passed);
    let items = step.spec.validation.items.iter().zip(&judgement.verdicts);
    items
        .zip(judgement.items)
        .find_map(|((item, verdict), shown)| match (item, verdict) {
            (
                Item::LabelWatch { .. } | Item::Manual { status: Some(_), .. },
                analysis::Verdict::Bad { reason, message },
            ) => Some(Objection {
                reason: *reason,
                message: message.clone(),
                item: Some(shown),
            }),
            _ => None,
        })
}

/// The message about the late verdict, either stored or new. The item that gave it shows its state.
pub(super) fn text(step: &Step<'_>, draft: &mut Draft) -> Option<String> {
    let objection = objection(step, draft);
    if let Some(objection) = &objection {
        objection.show(draft);
    }
    if let Some(reported) = late_verdict(&draft.status) {
        return Some(reported.to_owned());
    }
    let objection = objection?.message;
    let target = &step.spec.target;
    Some(format!(
        "{objection}, and that came after {target} was updated: the canary is taken away, and {target} \
         keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo {}{}",
        target.argument(),
        workload::of(target.kind).about_undo()
    ))
}

/// With `rollbackOnFailure` the run fails, and the target is rolled back.
pub(super) fn roll_back(step: &Step<'_>, draft: &Draft, target: &Workload) -> Option<Decision> {
    let was_created = target.created_by == Some(step.kanary.marker(step.spec));
    if !step.spec.rollback || was_created {
        return None;
    }
    let objection = objection(step, draft)?;
    if !step.seen.target_confirmed {
        // It may have rolled out in the meantime, which ends the run.
        return Some(Decision::needing(Need::Target));
    }
    let mut draft = draft.clone();
    draft.status.promoted_hash = Some(target.template_hash.clone());
    objection.show(&mut draft);
    let message = format!("{}, while {} rolled out", objection.message, step.spec.target);
    Some(rollback::begin(step, draft, objection.reason, &message))
}

/// Reports a verdict that came too late.
pub(super) fn report(step: &Step<'_>, draft: &mut Draft) -> Option<String> {
    let text = text(step, draft)?;
    draft.set(ACTIVATED, false, Reason::VerdictTooLate, &text);
    draft.clear(
        TRAFFIC,
        Reason::VerdictTooLate,
        "the canary is taken out of its Services",
    );
    draft.set(RECONCILING, true, Reason::VerdictTooLate, &text);
    Some(text)
}

/// Removes the canary from production and then deletes it. Returns a decision, or what remains to be watched.
pub(super) fn leave(step: &Step<'_>, draft: &mut Draft) -> ControlFlow<Decision, Rest> {
    routing::withdraw(step, draft)?;
    let rest = leave::all(step, draft, false)?;
    if let Some(problem) = &rest.problem {
        set_problem(draft, with_late_verdict(&draft.status, problem).as_ref());
    }
    ControlFlow::Continue(rest)
}
