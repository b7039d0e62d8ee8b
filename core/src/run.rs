//! A run in progress: starts and validates the canary.

mod placed;

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{
    activate,
    analysis::{self, Judgement},
    availability::{self, is_available},
    bootstrap,
    decision::{Action, Decision, Need},
    ending::fail,
    held, in_place,
    integrity::{self, canary},
    leftovers, manual_verdicts,
    objection::speaks_against,
    pause,
    place::{self, Admission},
    problem::{Problem, blocked, clear_problem, set_problem, still_blocked},
    promotion::promoting,
    rollout::end_dry_run,
    routing, services,
    shifting::{self, Follow},
    status::{ACTIVATED, Draft, ERRORED, Phase, RECONCILING, RUNNING, SCHEDULED, STALLED, SUCCEEDED, find, is_true},
    step::Step,
    times, tracks,
    validating::{judged_until, report, validating, warned, with_items},
    validation::Window,
};
use crate::api::{ManualVerdict, Reason};

/// Decides about a Kanary in the phase Scheduled or Running.
pub(super) fn decide(step: &Step<'_>) -> Decision {
    let decision = decide_on(step);
    let leaves_line = place::leaves_at(step).filter(|at| *at > step.now);
    let reads_again = in_place::look_again(step.kanary, step.seen).filter(|at| *at > step.now);
    Decision {
        wake: [decision.wake, leaves_line, reads_again].into_iter().flatten().min(),
        ..decision
    }
}

fn decide_on(step: &Step<'_>) -> Decision {
    let mut draft = step.draft();
    place::follow(step, &mut draft);
    if !step.spec.paused {
        pause::end(step, &mut draft);
        times::follow_edits(step, &mut draft);
    }
    if let Some(need) = in_place::unread(step.kanary, step.seen, step.now) {
        return Decision::needing(need);
    }
    if let Some((reason, message)) = integrity::changed(step) {
        return fail(step, draft, reason, &message);
    }
    if let Some(failure) = speaks_against(step, &draft) {
        return failure.end(step, draft);
    }
    if let Some(decision) = end_former(step, &draft) {
        return decision;
    }
    if step.spec.paused {
        return paused(step, draft);
    }
    // Editing the schedule after the canary exists has no effect. Invalid fields are reported immediately.
    let started = canary(step).is_some() || step.kanary.status.available_at.is_some() || !step.spec.is_sound();
    if let Some(schedule) = step.spec.schedule.filter(|schedule| *schedule > step.now && !started) {
        return wait_for_schedule(step, draft, schedule);
    }
    let activation = activate::decide(step);
    if let Some((reason, message)) = &activation.failed {
        return fail(step, draft, *reason, message);
    }
    if let Some(why) = &activation.anew {
        return step.begin_anew(Reason::TargetReplaced, why);
    }
    if let Some(need) = activation.needs {
        return Decision::needing(need);
    }
    if let Admission::Wait = place::turn(step, &mut draft, &activation) {
        return place::wait(step, draft);
    }
    if let Some(ahead) = activation.ahead {
        return placed::begin(step, draft, ahead);
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
    // A finalizer changes the Kanary, so the status follows later.
    let holds = activation.actions.contains(&Action::HoldInPlace);
    Decision {
        actions: activation.actions.into_iter().chain(decision.actions).collect(),
        wake: [decision.wake, activation.wake].into_iter().flatten().min(),
        status: decision.status.filter(|_| !holds),
        ..decision
    }
}

/// Takes away what a former run, or a former spec, left in the target, in a route and in the cluster.
fn end_former(step: &Step<'_>, draft: &Draft) -> Option<Decision> {
    if let Some(decision) = placed::end(step, draft) {
        return Some(decision);
    }
    if let Some(decision) = routing::leave_former(step, draft) {
        return Some(decision);
    }
    if let Some(decision) = leftovers::astray(step) {
        return Some(decision);
    }
    match leftovers::remove(step) {
        Err(need) => Some(Decision::needing(need)),
        Ok(actions) => (!actions.is_empty()).then(|| Decision {
            actions,
            ..Decision::default()
        }),
    }
}

/// A pause protects production: a canary that cannot answer leaves the route, and a route that somebody changes is reported.
fn paused(step: &Step<'_>, draft: Draft) -> Decision {
    behind_route(step, draft, true, |draft, follow| {
        pause::hold(step, draft, follow.problem.clone())
    })
}

fn wait_for_schedule(step: &Step<'_>, mut draft: Draft, schedule: Timestamp) -> Decision {
    place::block(step, &mut draft);
    let why = format!("nothing is created before {schedule}");
    draft.set(SCHEDULED, true, Reason::WaitingForSchedule, &why);
    draft.set(RECONCILING, true, Reason::WaitingForSchedule, why);
    clear_problem(&mut draft);
    // With three objects to create, one more status would be the run's eighth write.
    let is_first = step.kanary.status.conditions.is_empty();
    let decision = if is_first && activate::objects(step.spec) > 2 {
        Decision::default()
    } else {
        step.write(draft)
    };
    Decision {
        wake: Some(schedule),
        ..decision
    }
}

/// Evaluates the canary if it is time.
fn judge(step: &Step<'_>, mut draft: Draft, problem: Option<&Problem>) -> Decision {
    if let Some(canary) = canary(step) {
        // A canary that exists between runs is older than the run.
        let began = if step.spec.tracked.is_some() {
            step.now
        } else {
            canary.created
        };
        draft.status.start_time.get_or_insert(began);
        draft.status.target_hash = draft.status.target_hash.take().or_else(|| canary.target_hash.clone());
    } else if let Some(since) = step.refused().and_then(|refusal| refusal.uncreated_since) {
        draft.status.start_time.get_or_insert(since);
    }
    behind_route(step, draft, problem.is_some(), |draft, follow| {
        let problem = Problem::all(problem.cloned().into_iter().chain(follow.problem.clone()));
        judge_traffic(step, draft, problem.as_ref(), follow)
    })
}

/// Brings the route to the present step, and then decides about the rest of the run. `blocked` says that something else prevents
/// changes of the route.
fn behind_route(
    step: &Step<'_>,
    mut draft: Draft,
    blocked: bool,
    rest: impl FnOnce(Draft, &Follow) -> Decision,
) -> Decision {
    let follow = shifting::follow(step, &mut draft, blocked);
    if let Some(need) = follow.needs {
        return Decision::needing(need);
    }
    if !follow.actions.is_empty() {
        return route_first(step, draft, follow);
    }
    let decision = rest(draft, &follow);
    Decision {
        wake: [decision.wake, follow.wake].into_iter().flatten().min(),
        ..decision
    }
}

/// Writes the route. The finalizer that comes before the first write changes the Kanary, so the status follows later.
fn route_first(step: &Step<'_>, draft: Draft, follow: Follow) -> Decision {
    let holds = follow
        .actions
        .iter()
        .any(|action| matches!(action, Action::Hold { .. }));
    let status = if holds { Decision::default() } else { step.write(draft) };
    Decision {
        actions: follow.actions,
        status: status
            .status
            .filter(|status| Phase::of(status) == Phase::of(&step.kanary.status)),
        ..Decision::default()
    }
}

fn judge_traffic(step: &Step<'_>, mut draft: Draft, problem: Option<&Problem>, follow: &Follow) -> Decision {
    let available = is_available(step);
    let window = availability::fix(step, &mut draft);
    routing::make_room(step, &mut draft);
    let window = window.and_then(|_| Window::stored(&draft.status));
    let is_last = routing::is_last(step, &draft.status);
    let reached = window.map(|window| {
        let status = &draft.status;
        availability::reached(step, status, routing::of_step(step, status, window))
    });
    let judgement = judged(step, &draft, (reached, is_last));
    if let Some((reason, message)) = judgement.bad() {
        let message = message.to_owned();
        return fail(step, with_items(draft, judgement), reason, &message);
    }
    let valid_early = judgement.valid_early && routing::is_in_force(step, &draft.status);
    let by_hand = step.spec.verdict == Some(ManualVerdict::Valid) || valid_early;
    let is_new = Phase::of(&step.kanary.status) == Phase::Scheduled;
    let open = reached.is_some_and(|reached| reached.start <= step.now);
    let Some(window) = window.filter(|_| !is_new || open || (by_hand && available)) else {
        return scheduled(step, draft, window, (problem, follow));
    };
    if is_new {
        return running(step, draft, window, judgement, problem);
    }
    let is_over = routing::is_ahead(step, &draft.status);
    let due = !is_over && reached.is_some_and(|reached| reached.deadline <= step.now);
    if problem.is_none() && available && (by_hand || (due && is_last && judgement.all_agree())) {
        if let Some(need) = unread(step) {
            return Decision::needing(need);
        }
        return succeed(step, draft, judgement, by_hand);
    }
    let mut look = None;
    if problem.is_none() && available && due && !is_last && judgement.measured_agree(step.spec) {
        match shifting::raise(step, &draft) {
            ControlFlow::Break(decision) => return decision,
            ControlFlow::Continue(wake) => look = wake,
        }
    }
    let held = held::hold(step, draft, window, (&judgement, due), problem);
    Decision {
        wake: [held.wake, look].into_iter().flatten().min(),
        ..held
    }
}

/// What has to be read live before the canary passes. The route comes last: what is read after it replaces it by what is remembered.
fn unread(step: &Step<'_>) -> Option<Need> {
    if !step.seen.confirmed {
        return Some(Need::LiveCanary);
    }
    (!routing::is_live(step)).then_some(Need::Route)
}

/// The verdicts of all items. Measurements from before a step that begins now do not count for it.
fn judged(step: &Step<'_>, draft: &Draft, window: (Option<Window>, bool)) -> Judgement {
    let Some(since) = routing::began(step, &draft.status) else {
        return analysis::judge_step(step.spec, step.seen, window, step.now);
    };
    let mut seen = step.seen.clone();
    for tally in &mut seen.tallies {
        tally.begin(since, false);
    }
    analysis::judge_step(step.spec, &seen, window, step.now)
}

/// The validation has not started: the canary is starting or in its initial delay.
fn scheduled(
    step: &Step<'_>,
    mut draft: Draft,
    window: Option<Window>,
    (problem, follow): (Option<&Problem>, &Follow),
) -> Decision {
    set_problem(&mut draft, problem);
    let window = window.filter(|_| is_available(step));
    let warming_up = window.is_some();
    let report = report(step, &mut draft, problem);
    let wake = window.map(|window| window.start).or(report.wake);
    let canary = &step.spec.canary;
    let (reason, why) = match problem {
        _ if warming_up => {
            let why = format!("{canary} is available and warms up for the initial delay");
            (Reason::InitialDelay, why)
        }
        Some(problem) => (problem.reason, blocked(problem)),
        None => follow
            .waits
            .clone()
            .unwrap_or_else(|| (Reason::Activating, format!("waits for {canary} to be available"))),
    };
    draft.set(SCHEDULED, true, reason, &why);
    if problem.is_none() && !report.reported {
        draft.set(RECONCILING, true, reason, why);
    }
    if problem.is_none() && !report.reported && !is_worth_a_write(step, &draft, warming_up) {
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

/// A status that was never written already counts as Scheduled, and one that waited for the schedule shows it. The
/// initial delay is also reported as long as the whole run stays within its seven writes, and a place always.
fn is_worth_a_write(step: &Step<'_>, draft: &Draft, warming_up: bool) -> bool {
    let stored = &step.kanary.status;
    if draft.status.place != stored.place || draft.status.traffic != stored.traffic {
        return true;
    }
    let waited = find(stored, SCHEDULED).is_some_and(|condition| condition.reason == Reason::WaitingForSchedule);
    let is_first = stored.conditions.is_empty();
    let is_over = is_true(stored, ERRORED) || is_true(stored, STALLED) || stored.paused_at.is_some();
    if is_over || manual_verdicts::are_to_be_recorded(step.kanary) || !(waited || is_first) {
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
    draft.set(SCHEDULED, true, Reason::Started, "the run has started");
    draft.set(
        ACTIVATED,
        true,
        Reason::CanaryAvailable,
        format!("{} is available", spec.canary),
    );
    services::show(step, &mut draft);
    if problem.is_none() {
        validating(step, &mut draft, window);
    } else {
        let why = judged_until(step, &draft, window);
        draft.set(RUNNING, true, Reason::Validating, warned(step, why));
    }
    step.write(with_items(draft, judgement))
}

/// The canary passed. The target is changed only when the status that is read contains this.
fn succeed(step: &Step<'_>, mut draft: Draft, judgement: Judgement, by_hand: bool) -> Decision {
    let (reason, by) = match (step.spec.verdict, by_hand) {
        (Some(ManualVerdict::Valid), _) => (Reason::VerdictValid, "spec.verdict is valid"),
        (_, true) => (
            Reason::ManualValid,
            "a manual item is valid and every other item agrees",
        ),
        _ => (Reason::AllItemsGood, "every validation item is good at the deadline"),
    };
    services::show_again(step, &mut draft);
    clear_problem(&mut draft);
    draft.clear(RUNNING, reason, "the verdict is good");
    // A successful retry removes the template from the failed ones.
    let failed = &mut draft.status.failed_templates;
    failed.retain(|hash| *hash != step.spec.template_hash);
    if step.spec.tracked.is_some() {
        draft.status.latest_successful_deployment_snapshot = Some(Box::new(tracks::snapshot(step)));
    }
    if step.spec.dry_run {
        end_dry_run(step, &mut draft, by);
    } else {
        draft.set(SUCCEEDED, true, reason, by);
        promoting(step, &mut draft);
    }
    step.write(with_items(draft, judgement))
}
