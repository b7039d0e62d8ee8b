//! The lifecycle: from a Kanary and what was seen of the cluster to what will be done. Pure and total.

use jiff::Timestamp;

use super::{
    activate::Problem,
    adopt,
    decision::Decision,
    deletion, integrity,
    kanary::{Canary, Spec},
    leave,
    observation::Observation,
    promotion, rollout, run,
    status::{
        DEPLOYMENT_UPDATED, Draft, ERRORED, FAILED, Phase, RECONCILING, RUNNING, SCHEDULED, STALLED, SUCCEEDED,
        TARGET_CREATED, find,
    },
    too_late, words,
};
use crate::api::{KanaryStatus, Report, Verdicts, Words};

/// Decides what to do about `canary` at `now`.
///
/// Guarantees: the same input gives the same output, and no input panics; the target is touched only when the status
/// that was read already says `Succeeded`; deciding again on what a decision brought about comes to rest.
#[must_use]
pub fn decide(canary: &Canary, seen: &Observation, now: Timestamp) -> Decision {
    let stale = words::stale(canary);
    let counted;
    let spec = if stale.are_none() {
        &canary.spec
    } else {
        counted = canary.spec.without(&stale);
        &counted
    };
    let step = Step {
        canary,
        spec,
        seen,
        now,
    };
    if canary.deleting {
        return deletion::decide(&step);
    }
    if spec.is_sound() && is_another_run(canary, spec) {
        return step.begin();
    }
    let phase = Phase::of(&canary.status);
    if phase != Phase::Failed
        && let Some(decision) = leave::left_before(&step)
    {
        return decision;
    }
    let decision = match phase {
        Phase::Scheduled | Phase::Running => run::decide(&step),
        Phase::Succeeded => promotion::promote(&step),
        Phase::Failed => rollout::clean_up_failed(&step),
        Phase::DeploymentUpdated => rollout::clean_up(&step),
    };
    adopt::add(&step, decision)
}

/// Everything that one decision is made of.
pub struct Step<'a> {
    /// The Kanary.
    pub canary: &'a Canary,
    /// Its spec, as far as it can be read and without verdicts that do not count for this run.
    pub spec: &'a Spec,
    /// What was seen.
    pub seen: &'a Observation,
    /// The time.
    pub now: Timestamp,
}

/// A status that was never written has no run yet: the first one simply starts. A verdict that does not say about which
/// template it is, is none.
fn is_another_run(canary: &Canary, spec: &Spec) -> bool {
    let status = &canary.status;
    match &status.current_hash {
        Some(hash) => {
            *hash != spec.template_hash
                || status.retry.unwrap_or_default() != spec.retry
                || has_another_traffic(canary, spec)
        }
        None => Phase::of(status) != Phase::Scheduled,
    }
}

/// Whether a canary that is being judged has another traffic than the spec asks for now. What was judged is what is promoted, so
/// it is judged anew. A verdict that was given already stands for what was judged, and without a canary there is no traffic.
fn has_another_traffic(canary: &Canary, spec: &Spec) -> bool {
    let status = &canary.status;
    let has_canary = find(status, RUNNING).is_none_or(|running| running.reason != TARGET_CREATED);
    let former = status.current_traffic.as_ref();
    Phase::of(status) <= Phase::Running && has_canary && former.is_some_and(|former| *former != spec.traffic_key)
}

impl Step<'_> {
    /// A draft of the next status that knows which run it is about.
    #[must_use]
    pub fn draft(&self) -> Draft {
        let mut draft = Draft::of(self.canary, self.now);
        if self.spec.is_sound() {
            draft.status.current_hash = Some(self.spec.template_hash.clone());
            draft.status.retry = Some(self.spec.retry).filter(|retry| *retry != 0);
            if Phase::of(&draft.status) <= Phase::Running {
                // A status of a version that did not know it takes the present one.
                let traffic = &mut draft.status.current_traffic;
                traffic.get_or_insert_with(|| self.spec.traffic_key.clone());
            }
        }
        draft
    }

    /// Ends a draft: a decision that writes it if it says anything new.
    #[must_use]
    pub fn write(&self, mut draft: Draft) -> Decision {
        words::tell(&mut draft, self.canary);
        Decision {
            status: draft.finish(self.canary, self.spec),
            ..Decision::default()
        }
    }

    /// A draft of the first status of the next run. The status of the former run is cleared before anything else happens, so
    /// that it never speaks for the new one.
    fn next_run(&self) -> Draft {
        let former = &self.canary.status;
        let mut draft = self.draft();
        draft.status = KanaryStatus {
            failed_templates: former.failed_templates.clone(),
            current_hash: draft.status.current_hash.take(),
            retry: draft.status.retry,
            current_traffic: Some(self.spec.traffic_key.clone()),
            verdicts: Some(Verdicts {
                present: Words::default(),
                stale: words::stale_in_next_run(self.canary),
            }),
            run: Some(former.run.unwrap_or(1).saturating_add(1)),
            // By it the former canary is known, which has to go, though somebody removed its ownerReference.
            canary_uid: former.canary_uid.clone(),
            report: Report::default(),
            ..KanaryStatus::default()
        };
        draft
    }

    /// Starts the next run of the same template.
    pub(super) fn begin_anew(&self, reason: &str, why: &str) -> Decision {
        let mut draft = self.next_run();
        draft.set(SCHEDULED, true, reason, why);
        draft.set(RECONCILING, true, reason, why);
        self.write(draft)
    }

    /// A changed template, `retry` or traffic starts a new run, unless the template is another and failed before.
    fn begin(&self) -> Decision {
        let former = &self.canary.status;
        let mut draft = self.next_run();
        let retried = former.retry.unwrap_or_default() != self.spec.retry;
        let is_another = former.current_hash.as_ref() != Some(&self.spec.template_hash);
        if is_another && former.failed_templates.contains(&self.spec.template_hash) && !retried {
            draft.status.completed_at = Some(self.now);
            let why = "this template failed before and is not run again: change the template, or set spec.retry to \
                       another number to run it once more";
            draft.set(FAILED, true, "TemplateFailedBefore", why);
            draft.set(
                RECONCILING,
                false,
                "RunEnded",
                "nothing is run: this template failed before",
            );
            draft.set(STALLED, true, "TemplateFailedBefore", why);
            return self.write(draft);
        }
        let why = match (is_another, retried) {
            (true, _) => "spec.template changed: a new run starts",
            (false, true) => "spec.retry changed: a new run starts",
            (false, false) => {
                "spec.traffic or spec.serviceName changed: a new run starts, because only what had the traffic that the spec \
                 asks for is promoted"
            }
        };
        draft.set(SCHEDULED, true, "NewRun", why);
        draft.set(RECONCILING, true, "NewRun", "a new run starts");
        self.write(draft)
    }

    /// Everything in the spec that cannot be run.
    #[must_use]
    pub fn unsound(&self) -> Option<Problem> {
        let problems = self.spec.problems.iter();
        Problem::all(problems.map(|invalid| Problem::new(invalid.reason, &invalid.message)))
    }

    /// Whether the API server refused a write of ours not long ago.
    #[must_use]
    pub fn refused(&self) -> Option<&super::observation::Refusal> {
        self.seen.refusal.as_ref().filter(|refusal| refusal.retry_at > self.now)
    }
}

/// The status of a Kanary whose `status.epoch` nobody can have owned: only that is said, and nothing else done. `None` if it is
/// said already.
#[must_use]
pub fn disown(canary: &Canary, now: Timestamp) -> Option<KanaryStatus> {
    let epoch = canary.status.epoch.unwrap_or_default();
    let why = format!(
        "status.epoch is {epoch}, which no replica of the controller can have written, and the API server does not let it go \
         down: the Kanary is left alone; delete it and create it again"
    );
    let mut draft = Draft::of(canary, now);
    draft.set(ERRORED, true, "EpochForged", &why);
    draft.set(STALLED, true, "EpochForged", &why);
    draft.clear(RECONCILING, "EpochForged", &why);
    draft.finish(canary, &canary.spec)
}

/// Marks a run as ended, whatever its verdict.
pub(super) fn end(draft: &mut Draft, now: Timestamp, reason: &str) {
    draft.status.completed_at = Some(now);
    draft.clear(RUNNING, reason, "the run has ended");
    if too_late::told(&draft.status).is_some() {
        draft.set(super::status::ACTIVATED, false, reason, "the run has ended");
    }
    draft.clear(super::status::ACTIVATED, reason, "the run has ended");
    draft.clear(super::status::TRAFFIC, reason, "the run has ended");
    draft.clear(RECONCILING, reason, "the run has ended");
}

/// Reasons of failures that say nothing about the template: it may run again after another one.
const BLAMELESS: [&str; 2] = [promotion::TARGET_CHANGED, integrity::CANARY_CHANGED];

/// Records that a run failed. Clean-up follows once this is in the status that is read.
pub(super) fn fail(step: &Step<'_>, mut draft: Draft, reason: &str, message: &str) -> Decision {
    end(&mut draft, step.now, "RunFailed");
    leave::announce_retained(step, &mut draft);
    run::show_former_verdict(&mut draft);
    draft.clear(SUCCEEDED, reason, message);
    draft.clear(DEPLOYMENT_UPDATED, reason, message);
    draft.clear(ERRORED, reason, "the run has ended");
    draft.set(FAILED, true, reason, message);
    draft.set(STALLED, true, reason, message);
    let template = step.canary.template_of_run(step.spec).to_owned();
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
