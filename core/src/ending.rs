//! The end of a run.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    decision::Decision,
    leave,
    status::{
        ACTIVATED, DEPLOYMENT_UPDATED, Draft, ERRORED, FAILED, RECONCILING, RUNNING, STALLED, SUCCEEDED, TRAFFIC, find,
        late_verdict,
    },
    step::Step,
};
use crate::api::Reason;

/// Marks a run as ended, with either verdict.
pub(super) fn end(draft: &mut Draft, now: Timestamp, reason: Reason) {
    draft.status.completed_at = Some(now);
    if let Some(traffic) = &mut draft.status.traffic {
        (traffic.weight, traffic.since, traffic.deadline) = (0, None, None);
    }
    draft.clear(RUNNING, reason, "the run has ended");
    if late_verdict(&draft.status).is_some() {
        draft.set(ACTIVATED, false, reason, "the run has ended");
    }
    draft.clear(ACTIVATED, reason, "the run has ended");
    let is_late = |traffic: &Condition| traffic.reason == Reason::VerdictTooLate;
    if find(&draft.status, TRAFFIC).is_some_and(is_late) {
        draft.set(TRAFFIC, false, reason, "the run has ended");
    }
    draft.clear(TRAFFIC, reason, "the run has ended");
    // It may be False already, with a problem that the end of the run has resolved.
    if find(&draft.status, RECONCILING).is_some() {
        draft.set(RECONCILING, false, reason, "the run has ended");
    }
}

/// Reasons of failures that do not depend on the template: the template may run again after another one.
const BLAMELESS: [Reason; 2] = [Reason::TargetChanged, Reason::CanaryChanged];

/// Records that a run failed. The clean-up follows when the status that is read contains the failure.
pub(super) fn fail(step: &Step<'_>, mut draft: Draft, reason: Reason, message: &str) -> Decision {
    end(&mut draft, step.now, Reason::RunFailed);
    leave::announce_retained(step, &mut draft);
    show_former_verdict(&mut draft);
    draft.clear(SUCCEEDED, reason, message);
    draft.clear(DEPLOYMENT_UPDATED, reason, message);
    draft.clear(ERRORED, reason, "the run has ended");
    let is_blameless = BLAMELESS.contains(&reason);
    let remedy = if is_blameless {
        // The message names the remedy.
        ""
    } else {
        "; to try again, change spec.template, or set spec.retry to another number"
    };
    let text = format!("{message}{remedy}");
    draft.set(FAILED, true, reason, &text);
    draft.set(STALLED, true, reason, text);
    let template = step.kanary.template_of_run(step.spec).to_owned();
    if is_blameless {
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
    let was = match verdict.and_then(|verdict| Reason::parse(&verdict.reason)) {
        Some(Reason::VerdictValid) => "spec.verdict was valid",
        Some(Reason::ManualValid) => "a manual item was valid and every other item agreed",
        Some(Reason::AllItemsGood) => "every validation item was good at the deadline",
        _ => return,
    };
    if find(&draft.status, RUNNING).is_some() {
        let why = format!("{was}, and the run failed afterwards: the condition Failed says why");
        draft.set(RUNNING, false, Reason::RunFailed, why);
    }
}
