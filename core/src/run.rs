//! A run under way: the canary is started and judged.

use jiff::Timestamp;

use super::{
    activate::{self, Problem},
    adopt,
    availability::{self, is_available},
    bootstrap,
    decide::{Step, fail},
    decision::{Decision, Need},
    health, held,
    integrity::{self, canary},
    leftovers, pause,
    promotion::promoting,
    rollout::end_dry_run,
    services,
    status::{ACTIVATED, Draft, ERRORED, Phase, RECONCILING, RUNNING, SCHEDULED, STALLED, SUCCEEDED, find, is_true},
    times,
    validation::{self, Judgement, Window},
    words,
};
use crate::api::Word;

/// Reason of `Scheduled` before the schedule.
const WAITING_FOR_SCHEDULE: &str = "WaitingForSchedule";
/// Reason of `Errored` and `Stalled` when nothing is wrong any more.
const RESOLVED: &str = "Resolved";
/// Reason of a verdict: `spec.verdict` says so.
const VERDICT_VALID: &str = "VerdictValid";
/// Reason of a verdict: a person says so in an item.
const MANUAL_VALID: &str = "ManualValid";
/// Reason of a verdict: no item says otherwise at the deadline.
const ALL_ITEMS_GOOD: &str = "AllItemsGood";

/// Decides about a Kanary that is Scheduled or Running.
pub(super) fn decide(step: &Step<'_>) -> Decision {
    let mut draft = step.draft();
    if !step.spec.paused {
        pause::end(step, &mut draft);
        times::follow_edits(step, &mut draft);
    }
    if let Some((reason, message)) = integrity::changed(step) {
        return fail(step, draft, reason, &message);
    }
    if let Some(failure) = speaks_against(step, &draft) {
        return failure.end(step, draft);
    }
    match leftovers::remove(step) {
        Err(need) => return Decision::needing(need),
        Ok(actions) if !actions.is_empty() => {
            return Decision {
                actions,
                ..Decision::default()
            };
        }
        Ok(_) => {}
    }
    if step.spec.paused {
        return pause::hold(step, draft);
    }
    // A schedule that is edited once the canary is there comes too late to hold anything. What cannot be run is said at once.
    let started = canary(step).is_some() || step.canary.status.available_at.is_some() || !step.spec.is_sound();
    if let Some(schedule) = step.spec.schedule.filter(|schedule| *schedule > step.now && !started) {
        return wait_for_schedule(step, draft, schedule);
    }
    let activation = activate::decide(step);
    if let Some((reason, message)) = &activation.failed {
        return fail(step, draft, reason, message);
    }
    if let Some(why) = &activation.anew {
        return step.begin_anew("TargetReplaced", why);
    }
    if let Some(need) = activation.needs {
        return Decision::needing(need);
    }
    let decision = if activation.bootstrap {
        bootstrap::judge(step, draft, activation.problem.as_ref())
    } else if !step.spec.is_sound() && canary(step).is_none() {
        set_problem(&mut draft, activation.problem.as_ref());
        still_blocked(&mut draft, activation.problem.as_ref());
        step.write(draft)
    } else {
        judge(step, draft, activation.problem.as_ref())
    };
    if decision.status.as_ref().map(Phase::of) > Some(Phase::Running) {
        // A run that ends starts nothing any more.
        return decision;
    }
    Decision {
        actions: activation.actions,
        wake: [decision.wake, activation.wake].into_iter().flatten().min(),
        ..decision
    }
}

/// Why a run fails: a person's word, or an item.
pub(super) struct Failure {
    reason: &'static str,
    message: String,
    judgement: Option<Judgement>,
}

impl Failure {
    /// Ends the run.
    pub(super) fn end(self, step: &Step<'_>, mut draft: Draft) -> Decision {
        if let Some(judgement) = self.judgement {
            draft = with_items(draft, judgement);
        }
        fail(step, draft, self.reason, &self.message)
    }
}

/// Whatever speaks against the canary, as far as it is known: it counts whether or not the run is paused, and whatever else
/// keeps the run waiting. A verdict that was given already stopped the clock.
pub(super) fn speaks_against(step: &Step<'_>, draft: &Draft) -> Option<Failure> {
    let status = &draft.status;
    let has_begun = step.spec.is_sound() || status.current_hash.is_some() || step.seen.canary.is_some();
    if step.spec.verdict == Some(Word::Invalid) && has_begun {
        return Some(Failure {
            reason: "VerdictInvalid",
            message: "spec.verdict is invalid".to_owned(),
            judgement: None,
        });
    }
    let verdict = find(status, SUCCEEDED).filter(|condition| condition.status == "True");
    let verdict = verdict.map(|condition| condition.last_transition_time.0);
    let now = [verdict, status.paused_at]
        .into_iter()
        .flatten()
        .fold(step.now, Timestamp::min);
    // What a canary that is not available had not reached before, it does not reach.
    let window = known_times(draft).map(|window| {
        if verdict.is_some() {
            window
        } else {
            availability::reached(step, window)
        }
    });
    let judgement = validation::judge(step.spec, step.seen, window, now);
    let (reason, message) = judgement.bad()?;
    Some(Failure {
        reason,
        message: message.to_owned(),
        judgement: Some(judgement.clone()),
    })
}

/// The times of the run, if they were fixed.
pub(super) fn known_times(draft: &Draft) -> Option<Window> {
    let (start, deadline) = (draft.status.validation_start_time?, draft.status.deadline?);
    Some(Window { start, deadline })
}

fn wait_for_schedule(step: &Step<'_>, mut draft: Draft, schedule: Timestamp) -> Decision {
    let why = format!("nothing is created before {schedule}");
    draft.set(SCHEDULED, true, WAITING_FOR_SCHEDULE, &why);
    draft.set(RECONCILING, true, WAITING_FOR_SCHEDULE, why);
    clear_problem(&mut draft);
    // With three objects to create, one more status would be the run's eighth write.
    let untold = step.canary.status.conditions.is_empty();
    let decision = if untold && activate::objects(step.spec) > 2 {
        Decision::default()
    } else {
        step.write(draft)
    };
    Decision {
        wake: Some(schedule),
        ..decision
    }
}

/// Judges the canary, if it is time.
fn judge(step: &Step<'_>, mut draft: Draft, problem: Option<&Problem>) -> Decision {
    if let Some(canary) = canary(step) {
        draft.status.start_time.get_or_insert(canary.created);
        draft.status.target_hash = draft.status.target_hash.take().or_else(|| canary.target_hash.clone());
    } else if let Some(since) = step.refused().and_then(|refusal| refusal.uncreated_since) {
        draft.status.start_time.get_or_insert(since);
    }
    let available = is_available(step);
    let window = availability::fix(step, &mut draft);
    let reached = window.map(|window| availability::reached(step, window));
    let judgement = validation::judge(step.spec, step.seen, reached, step.now);
    if let Some((reason, message)) = judgement.bad() {
        let message = message.to_owned();
        return fail(step, with_items(draft, judgement), reason, &message);
    }
    let word = step.spec.verdict == Some(Word::Valid) || judgement.valid_early;
    let is_new = Phase::of(&step.canary.status) == Phase::Scheduled;
    let open = reached.is_some_and(|reached| reached.start <= step.now);
    let Some(window) = window.filter(|_| !is_new || open || (word && available)) else {
        return scheduled(step, draft, window, problem);
    };
    if is_new {
        return running(step, draft, window, judgement, problem);
    }
    let due = reached.is_some_and(|reached| reached.deadline <= step.now);
    if problem.is_none() && available && (word || (due && judgement.all_agree())) {
        if !step.seen.confirmed {
            return Decision::needing(Need::LiveCanary);
        }
        return succeed(step, draft, judgement, word);
    }
    held::hold(step, draft, window, (&judgement, due), problem)
}

/// Not judged yet: the canary is coming up, or warms up.
fn scheduled(step: &Step<'_>, mut draft: Draft, window: Option<Window>, problem: Option<&Problem>) -> Decision {
    set_problem(&mut draft, problem);
    let window = window.filter(|_| is_available(step));
    let warming_up = window.is_some();
    let report = report(step, &mut draft, problem);
    let wake = window.map(|window| window.start).or(report.wake);
    let canary = &step.spec.canary;
    let (reason, why) = match problem {
        _ if warming_up => {
            let why = format!("Deployment {canary} is available and warms up for the initial delay");
            ("InitialDelay", why)
        }
        Some(problem) => (problem.reason.as_str(), blocked(problem)),
        None => ("Activating", format!("waits for Deployment {canary} to be available")),
    };
    draft.set(SCHEDULED, true, reason, &why);
    if problem.is_none() && !report.told {
        draft.set(RECONCILING, true, reason, why);
    }
    if problem.is_none() && !report.told && !is_worth_saying(step, warming_up) {
        return Decision {
            wake,
            ..Decision::default()
        };
    }
    Decision {
        wake,
        ..step.write(draft)
    }
}

fn blocked(problem: &Problem) -> String {
    format!("the canary is not judged before this is resolved: {}", problem.message)
}

/// Replaces what a run that was not started yet said it waits for.
pub(super) fn still_blocked(draft: &mut Draft, problem: Option<&Problem>) {
    if let Some(problem) = problem.filter(|_| is_true(&draft.status, SCHEDULED)) {
        draft.set(SCHEDULED, true, &problem.reason, blocked(problem));
    }
}

/// A status that was never written reads as Scheduled already, and one that waited for the schedule says so too. To show a
/// warm-up as well is worth it as long as the whole run stays within its seven writes.
fn is_worth_saying(step: &Step<'_>, warming_up: bool) -> bool {
    let stored = &step.canary.status;
    let waited = find(stored, SCHEDULED).is_some_and(|condition| condition.reason == WAITING_FOR_SCHEDULE);
    let untold = stored.conditions.is_empty();
    let is_over = is_true(stored, ERRORED) || is_true(stored, STALLED) || stored.paused_at.is_some();
    if is_over || words::are_to_be_recorded(step.canary) || !(waited || untold) {
        return true;
    }
    warming_up && activate::objects(step.spec) + usize::from(waited) <= 2
}

/// The validation starts.
fn running(
    step: &Step<'_>,
    mut draft: Draft,
    window: Window,
    judgement: Judgement,
    problem: Option<&Problem>,
) -> Decision {
    let spec = step.spec;
    set_problem(&mut draft, problem);
    draft.set(SCHEDULED, true, "Started", "the run has started");
    draft.set(
        ACTIVATED,
        true,
        "CanaryAvailable",
        format!("Deployment {} is available", spec.canary),
    );
    services::show(step, &mut draft);
    if problem.is_none() {
        validating(step, &mut draft, window);
    } else {
        let why = judged_until(step, &draft, window);
        draft.set(RUNNING, true, "Validating", warned(step, why));
    }
    step.write(with_items(draft, judgement))
}

fn judged_until(step: &Step<'_>, draft: &Draft, window: Window) -> String {
    let status = &draft.status;
    let running = find(status, RUNNING).filter(|running| running.status == "True");
    let replaced = running.is_some_and(|running| status.available_at > Some(running.last_transition_time.0));
    let anew = if replaced {
        "was replaced, and its successor is"
    } else {
        "is"
    };
    let down = match status.unavailable_for {
        Some(down) => format!("; {down} in which it was not available do not count"),
        None if status.available_since > status.available_at => {
            "; the beginning of an outage is not known, so a whole period counts from its end".to_owned()
        }
        None => String::new(),
    };
    format!(
        "Deployment {} {anew} judged until {}{down}",
        step.spec.canary, window.deadline
    )
}

/// Says why the canary does not come up, unless something else is wrong.
pub(super) fn report(step: &Step<'_>, draft: &mut Draft, problem: Option<&Problem>) -> health::Report {
    match problem {
        None => health::report(step, draft),
        Some(_) => health::Report::default(),
    }
}

/// Nothing stands in the way: also what a pause or a problem that is over leaves behind is replaced.
pub(super) fn validating(step: &Step<'_>, draft: &mut Draft, window: Window) {
    let why = judged_until(step, draft, window);
    draft.set(RUNNING, true, "Validating", warned(step, why.clone()));
    draft.set(RECONCILING, true, "Validating", why);
}

/// The canary went down for so long that its conditions say so: the deadline they show is not the one that it will have.
pub(super) fn interrupted(step: &Step<'_>, draft: &mut Draft, window: Window) {
    if is_available(step) || !is_true(&draft.status, RUNNING) {
        return;
    }
    let why = format!(
        "Deployment {} is not available: its deadline, {} before this outage, moves by the length of the outage",
        step.spec.canary, window.deadline
    );
    draft.set(RUNNING, true, "Validating", warned(step, why));
}

/// With what the queries themselves show that their authors may not have meant.
fn warned(step: &Step<'_>, text: String) -> String {
    let validation = &step.spec.validation;
    let mut warnings = validation::warnings(&validation.items, validation.initial_delay);
    warnings.extend(adopt::warning(step));
    if warnings.is_empty() {
        return text;
    }
    format!("{text}; warning: {}", warnings.join("; "))
}

/// The canary passed. The target is touched only once this is in the status that is read.
fn succeed(step: &Step<'_>, mut draft: Draft, judgement: Judgement, word: bool) -> Decision {
    let (reason, by) = match (step.spec.verdict, word) {
        (Some(Word::Valid), _) => (VERDICT_VALID, "spec.verdict is valid"),
        (_, true) => (MANUAL_VALID, "a manual item is valid and every other item agrees"),
        _ => (ALL_ITEMS_GOOD, "every validation item is good at the deadline"),
    };
    services::show_again(step, &mut draft);
    clear_problem(&mut draft);
    draft.clear(RUNNING, reason, "the verdict is good");
    // A retry made good what failed before.
    let failed = &mut draft.status.failed_templates;
    failed.retain(|hash| *hash != step.spec.template_hash);
    if step.spec.dry_run {
        end_dry_run(step, &mut draft, by);
    } else {
        draft.set(SUCCEEDED, true, reason, by);
        promoting(step, &mut draft);
    }
    step.write(with_items(draft, judgement))
}

/// Says in `Running` of a run that fails after a good verdict what that verdict was: it does not hold any more.
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

pub(super) fn with_items(mut draft: Draft, judgement: Judgement) -> Draft {
    draft.status.items = judgement.items;
    draft
}

/// Says what is wrong, or that nothing is any more.
pub(super) fn set_problem(draft: &mut Draft, problem: Option<&Problem>) {
    match problem {
        None => clear_problem(draft),
        Some(Problem { reason, message }) => {
            draft.set(ERRORED, true, reason, message);
            draft.set(STALLED, true, reason, message);
            draft.clear(RECONCILING, reason, message);
        }
    }
}

pub(super) fn clear_problem(draft: &mut Draft) {
    draft.clear(ERRORED, RESOLVED, "what was wrong is resolved");
    draft.clear(STALLED, RESOLVED, "nothing is in the way any more");
}
