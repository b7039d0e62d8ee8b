//! Creation of a missing target: after it has been missing for a while it is created from the template, and the run only
//! waits until it is available.
//!
//! `kubectl apply` may create the objects of several files in any order, so a missing target may be created soon. A
//! target that another client creates is validated in an ordinary run.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    activation::Activation,
    decision::{Action, Decision, Need, ObjectKind},
    integrity::{is_of_run, target_changed_message},
    manual_verdicts,
    observation::{Likeness, Promotion, Workload},
    overdue,
    patience::{self, resumed},
    problem::{Problem, clear_problem, set_problem, still_blocked},
    services,
    status::{Draft, ERRORED, Phase, RECONCILING, RUNNING, SCHEDULED, SUCCEEDED, find, is_true},
    step::Step,
    traffic,
};
use crate::api::{GoDuration, Reason};

/// If a target appears within this time, its absence causes no status write.
const QUIET: Duration = Duration::from_secs(5);

/// Decides about a Kanary without a target.
pub(super) fn without_target(step: &Step<'_>) -> Activation {
    if let Some(problem) = not_created(step) {
        return problem;
    }
    if let Some(late) = overdue::uncreated(step, Need::MissingTarget) {
        return late;
    }
    if let Some(refusal) = step.refused() {
        return Activation {
            bootstrap: true,
            wake: patience::next(step, refusal.retry_at),
            ..Activation::problem(refusal.reason, refusal.message.clone())
        };
    }
    let bootstrap = Activation {
        bootstrap: true,
        ..Activation::default()
    };
    match missing(step) {
        Some((since, until)) if step.now < until => Activation {
            wake: Some(
                reported_from(since)
                    .filter(|reported| step.now < *reported && *reported < until)
                    .unwrap_or(until),
            ),
            ..bootstrap
        },
        // The period ends only after a live read has confirmed that the target is missing.
        Some(_) if step.seen.confirmed => Activation {
            actions: vec![Action::Create {
                object: ObjectKind::Workload(step.spec.target.kind),
                name: step.spec.target.name.clone(),
                manifest: traffic::target_workload(step.kanary, step.spec),
            }],
            ..bootstrap
        },
        _ => Activation {
            needs: Some(Need::MissingTarget),
            ..bootstrap
        },
    }
}

/// Why a missing target is not created.
fn not_created(step: &Step<'_>) -> Option<Activation> {
    let name = &step.spec.target;
    let of_run = step.seen.canary.as_ref().filter(|canary| is_of_run(step, canary));
    let started = step.kanary.status.target_hash.is_some() || of_run.is_some();
    let problem = |message: String| Some(Activation::problem(Reason::TargetNotFound, message));
    if started {
        let alone = services::serves_alone(step);
        return problem(format!("{name} is gone: create it again, or delete this Kanary{alone}"));
    }
    if step.seen.target.is_some() {
        return problem(format!("{name} is being deleted"));
    }
    let canary_of = step.seen.target_is_canary_of.as_ref();
    if canary_of.is_some() {
        return Some(Activation::problem(
            Reason::TargetIsCanary,
            services::target_is_canary(name, canary_of),
        ));
    }
    if step.spec.dry_run {
        return problem(format!(
            "{name} does not exist, and a dry-run does not create it: create it first"
        ));
    }
    if !step.spec.create_target {
        return problem(format!(
            "{name} does not exist and is not created, because spec.rollout.onTargetMissing is wait: create it"
        ));
    }
    None
}

/// Since when the target has been missing without interruption, and when it may be created.
fn missing(step: &Step<'_>) -> Option<(Timestamp, Timestamp)> {
    let since = resumed(step, step.seen.target_missing_since?);
    let until = since.checked_add(step.spec.create_target_after).ok()?;
    Some((since, until))
}

fn reported_from(since: Timestamp) -> Option<Timestamp> {
    since.checked_add(QUIET).ok()
}

/// Decides about a target that this run created, or returns `None` for any other target. If another client changed its
/// template, it becomes an ordinary target, and the run restarts.
pub(super) fn of_created(step: &Step<'_>, target: &Workload) -> Option<Activation> {
    let marked = target.created_by.as_ref() == Some(&step.kanary.marker(step.spec));
    if let Promotion::Done { template_hash, .. } = &step.seen.promotion {
        let same = *template_hash == target.template_hash;
        return Some(if same {
            await_target(step, target)
        } else {
            begin_anew(step)
        });
    }
    let is_reported = find(&step.kanary.status, RUNNING).is_some_and(|c| c.reason == Reason::TargetCreated);
    if !marked && !is_reported {
        return None;
    }
    let needs = |need| Activation {
        needs: Some(need),
        ..Activation::default()
    };
    if step.seen.live_target.is_none() {
        return Some(needs(Need::LiveTarget));
    }
    Some(match step.seen.likeness {
        Likeness::Unasked => needs(Need::SameTemplate),
        Likeness::Same => await_target(step, target),
        Likeness::Unknown if marked => await_target(step, target),
        Likeness::Other | Likeness::Unknown => begin_anew(step),
    })
}

fn begin_anew(step: &Step<'_>) -> Activation {
    if step.kanary.status.run == Some(i64::MAX) {
        return Activation::failed(Reason::TargetChanged, target_changed_message(step));
    }
    Activation {
        anew: Some(format!(
            "{} did not exist and was created from the template, and somebody has replaced its template since: a \
             new run starts",
            step.spec.target
        )),
        ..Activation::default()
    }
}

fn await_target(step: &Step<'_>, target: &Workload) -> Activation {
    let patience = step.spec.progress_deadline;
    let until = resumed(step, target.created).checked_add(patience).ok();
    if !target.rolled_out && (target.progress_failed || until.is_some_and(|until| until <= step.now)) {
        let name = &step.spec.target;
        return Activation::failed(
            Reason::ProgressDeadlineExceeded,
            format!(
                "{name} was created and did not become available within {}",
                GoDuration(patience)
            ),
        );
    }
    Activation {
        bootstrap: true,
        wake: until.filter(|until| *until > step.now),
        ..Activation::default()
    }
}

/// Reports the progress of the target's creation.
pub(super) fn judge(step: &Step<'_>, mut draft: Draft, problem: Option<&Problem>) -> Decision {
    set_problem(&mut draft, problem);
    let Some(target) = &step.seen.target else {
        return awaited(step, draft, problem);
    };
    draft.status.start_time.get_or_insert(target.created);
    draft
        .status
        .target_hash
        .get_or_insert_with(|| target.template_hash.clone());
    let name = &step.spec.target;
    // The status always becomes Running before Succeeded.
    if !target.rolled_out || Phase::of(&step.kanary.status) == Phase::Scheduled {
        let why = format!("{name} did not exist and was created; waits for it to be available");
        draft.set(
            SCHEDULED,
            true,
            Reason::TargetCreated,
            "the target did not exist and was created",
        );
        draft.set(RUNNING, true, Reason::TargetCreated, &why);
        draft.set(RECONCILING, true, Reason::TargetCreated, why);
        return step.write(draft);
    }
    let why = format!("{name} did not exist, was created from the template and is available");
    clear_problem(&mut draft);
    draft.clear(RUNNING, Reason::TargetCreated, "the target is available");
    draft.status.available_at = draft.status.available_at.or(target.available_since);
    draft.set(
        SCHEDULED,
        true,
        Reason::TargetCreated,
        "the target did not exist and was created",
    );
    draft.set(SUCCEEDED, true, Reason::TargetCreated, why);
    step.write(draft)
}

/// The target is missing. The status reports that after a while, or together with other news.
fn awaited(step: &Step<'_>, mut draft: Draft, problem: Option<&Problem>) -> Decision {
    let stored = &step.kanary.status;
    let news = problem.is_some() || is_true(stored, ERRORED) || stored.paused_at.is_some();
    let waits = missing(step).filter(|(_, until)| step.now < *until);
    let reported = waits.is_some_and(|(since, _)| reported_from(since).is_some_and(|reported| reported <= step.now));
    if !news && !reported {
        return if manual_verdicts::are_to_be_recorded(step.kanary) {
            step.write(draft)
        } else {
            Decision::default()
        };
    }
    let name = &step.spec.target;
    let why = waits.map_or_else(
        || format!("{name} does not exist and is created from the template"),
        |(_, until)| {
            format!(
                "{name} does not exist: if nobody creates it, it is created from the template at {until}; set \
                 spec.rollout.onTargetMissing to wait to prevent that"
            )
        },
    );
    still_blocked(&mut draft, problem);
    if problem.is_none() {
        draft.set(SCHEDULED, true, Reason::WaitingForTarget, &why);
        draft.set(RECONCILING, true, Reason::WaitingForTarget, why);
    }
    step.write(draft)
}
