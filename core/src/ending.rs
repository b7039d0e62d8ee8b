//! The end of a run.

use jiff::Timestamp;

use super::{
    decision::Decision,
    integrity, leave,
    status::{
        DEPLOYMENT_UPDATED, Draft, ERRORED, FAILED, RECONCILING, RUNNING, STALLED, SUCCEEDED, find, told_too_late,
    },
    step::Step,
};

/// Marks a run as ended, with either verdict.
pub(super) fn end(draft: &mut Draft, now: Timestamp, reason: &str) {
    draft.status.completed_at = Some(now);
    draft.clear(RUNNING, reason, "the run has ended");
    if told_too_late(&draft.status).is_some() {
        draft.set(super::status::ACTIVATED, false, reason, "the run has ended");
    }
    draft.clear(super::status::ACTIVATED, reason, "the run has ended");
    draft.clear(super::status::TRAFFIC, reason, "the run has ended");
    draft.clear(RECONCILING, reason, "the run has ended");
}

/// Reasons of failures that do not depend on the template: the template may run again after another one.
pub(super) const BLAMELESS: [&str; 2] = [integrity::TARGET_CHANGED, integrity::CANARY_CHANGED];

/// Records that a run failed. The clean-up follows when the status that is read contains the failure.
pub(super) fn fail(step: &Step<'_>, mut draft: Draft, reason: &str, message: &str) -> Decision {
    end(&mut draft, step.now, "RunFailed");
    leave::announce_retained(step, &mut draft);
    show_former_verdict(&mut draft);
    draft.clear(SUCCEEDED, reason, message);
    draft.clear(DEPLOYMENT_UPDATED, reason, message);
    draft.clear(ERRORED, reason, "the run has ended");
    draft.set(FAILED, true, reason, message);
    draft.set(STALLED, true, reason, message);
    let template = step.kanary.template_of_run(step.spec).to_owned();
    if BLAMELESS.contains(&reason) {
        if !template.is_empty() {
            draft.status.current_hash.get_or_insert(template);
        }
        return step.write(draft);
    }
    let failed = &mut draft.status.failed_templates;
    failed.retain(|hash| *hash != template);
    if !template.is_empty() {
        draft.status.current_hash.get_or_insert_with(|| template.clone());
        failed.push(template);
    }
    let surplus = failed.len().saturating_sub(20);
    failed.drain(..surplus);
    step.write(draft)
}

/// If a run fails after a good verdict, `Running` shows that verdict, which no longer holds.
pub(super) fn show_former_verdict(draft: &mut Draft) {
    let verdict = find(&draft.status, SUCCEEDED).filter(|condition| condition.status == "True");
    let was = match verdict.map(|verdict| verdict.reason.as_str()) {
        Some(VERDICT_VALID) => "spec.verdict was valid",
        Some(MANUAL_VALID) => "a manual item was valid and every other item agreed",
        Some(ALL_ITEMS_GOOD) => "every validation item was good at the deadline",
        _ => return,
    };
    if find(&draft.status, RUNNING).is_some() {
        let why = format!("{was}, and the run failed afterwards: the condition Failed says why");
        draft.set(RUNNING, false, "RunFailed", why);
    }
}

/// Reason of a verdict: `spec.verdict`.
pub(super) const VERDICT_VALID: &str = "VerdictValid";

/// Reason of a verdict: a manual item.
pub(super) const MANUAL_VALID: &str = "ManualValid";

/// Reason of a verdict: every item agrees at the deadline.
pub(super) const ALL_ITEMS_GOOD: &str = "AllItemsGood";
