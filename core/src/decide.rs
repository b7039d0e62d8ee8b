//! The lifecycle: decides on actions from a Kanary and the observed cluster. Pure and total.

use std::{cell::RefCell, ops::ControlFlow};

use jiff::Timestamp;

use super::{
    adopt,
    decision::{Action, Decision},
    deletion, in_place,
    kanary::ParsedKanary,
    leave, leftovers, manual_verdicts,
    observation::Observation,
    problem::{Problem, set_problem},
    promotion, restoring, rollout, run,
    spec::Spec,
    status::{Draft, ERRORED, Phase, RECONCILING, RUNNING, STALLED, find},
    step::Step,
    upkeep::{self, Upkeep},
};
use crate::api::{KanaryStatus, Reason};

/// Decides what to do about `canary` at `now`.
///
/// Guarantees: the same input gives the same output, and no input panics. The target is changed only if the status that
/// was read already says `Succeeded`. Repeated decisions on their own results reach a fixed point.
#[must_use]
pub fn decide(kanary: &ParsedKanary, seen: &Observation, now: Timestamp) -> Decision {
    let stale = manual_verdicts::stale(kanary);
    let counted;
    let spec: &Spec = if stale.are_none() {
        &kanary.spec
    } else {
        counted = kanary.spec.without(&stale);
        &counted
    };
    let placed = spec.scale.in_place().map(|_| shown_in_place(kanary, spec, seen));
    let (spec, seen) = placed.as_ref().map_or((spec, seen), |(spec, seen)| (spec, seen));
    let step = Step {
        kanary,
        spec,
        seen,
        now,
        route_changes: RefCell::default(),
    };
    if kanary.deleting {
        return deletion::decide(&step);
    }
    if seen.kind_is_off {
        return switched_off(&step);
    }
    if spec.is_sound() && is_another_run(kanary, spec) {
        return step.begin();
    }
    if spec.frame.is_some() && Phase::of(&kanary.status) == Phase::Failed {
        // A canary that failed leaves before anything else is looked at.
        let decision = in_phase(&step);
        if !decision.is_at_rest() {
            return decision;
        }
    }
    match upkeep::look(&step) {
        Upkeep::First(decision) => *decision,
        Upkeep::Fine(wake) => {
            let decision = in_phase(&step);
            let wake = [decision.wake, wake].into_iter().flatten().min();
            Decision { wake, ..decision }
        }
        Upkeep::Blocked(refusal) => {
            let seen = Observation {
                refusal: Some(refusal),
                ..seen.clone()
            };
            in_phase(&Step { seen: &seen, ..step })
        }
    }
}

fn in_phase(step: &Step<'_>) -> Decision {
    let phase = Phase::of(&step.kanary.status);
    if phase != Phase::Failed
        && let Some(decision) = leave::left_before(step)
    {
        return decision;
    }
    if let Some(holds) = hold_again(step, phase) {
        return Decision {
            actions: vec![holds],
            ..Decision::default()
        };
    }
    let decision = match phase {
        Phase::Scheduled | Phase::Running => run::decide(step),
        _ if step.spec.tracked.is_some() => promotion::of_tracks(step),
        Phase::Succeeded => leftovers::astray(step).unwrap_or_else(|| promotion::promote(step)),
        Phase::Failed => rollout::clean_up_failed(step),
        Phase::DeploymentUpdated => rollout::clean_up(step),
    };
    adopt::add(step, decision)
}

/// The finalizer that somebody removed in mid-run, as `kubectl replace` does. Without it, a deleted Kanary would leave its share in a
/// route, or its template in a target.
fn hold_again(step: &Step<'_>, phase: Phase) -> Option<Action> {
    let status = &step.kanary.status;
    if step.refused().is_some() {
        return None;
    }
    if status.in_place.is_some() && !restoring::is_kept(step) {
        return Some(Action::HoldInPlace);
    }
    let has_ended = phase > Phase::Succeeded || status.completed_at.is_some();
    let traffic = status
        .traffic
        .as_ref()
        .filter(|_| !has_ended && step.kanary.held.is_none())?;
    Some(Action::Hold {
        route: traffic.route.clone(),
        run: step.kanary.run(step.spec),
    })
}

/// What a decision about a run in place sees: pods of the target are the canary, and are called by the target's name.
fn shown_in_place(kanary: &ParsedKanary, spec: &Spec, seen: &Observation) -> (Spec, Observation) {
    let (mut spec, mut seen) = (spec.clone(), seen.clone());
    in_place::complete(kanary, &mut seen);
    spec.canary = spec.target.clone();
    (spec, seen)
}

/// Targets of this kind are off: nothing is known of the target and the canary. Only pods, which are known, can leave production.
fn switched_off(step: &Step<'_>) -> Decision {
    let mut draft = step.draft();
    if Phase::of(&step.kanary.status) == Phase::Failed
        && let ControlFlow::Break(leaves) = leave::all(step, &draft, false)
    {
        return leaves;
    }
    let kind = step.spec.target.kind;
    let message = format!(
        "targets of kind {kind} are off in this installation: start the controller with --target-kinds={kind} (targetKinds in the \
         values of the chart)"
    );
    set_problem(&mut draft, Some(&Problem::new(Reason::TargetKindDisabled, message)));
    step.write(draft)
}

/// A status that was never written has no run yet, so the first run simply starts. A verdict without the hash of its
/// template is ignored.
fn is_another_run(kanary: &ParsedKanary, spec: &Spec) -> bool {
    let status = &kanary.status;
    match &status.current_hash {
        Some(hash) => {
            *hash != spec.template_hash
                || status.retry.unwrap_or_default() != spec.retry
                || has_another_traffic(kanary, spec)
        }
        None => Phase::of(status) != Phase::Scheduled,
    }
}

/// Whether the traffic of a canary under validation differs from the spec. A promotion must match what was validated, so
/// the validation restarts. An existing verdict still holds for what was validated, and without a canary there is no
/// traffic.
fn has_another_traffic(kanary: &ParsedKanary, spec: &Spec) -> bool {
    let status = &kanary.status;
    let has_canary = find(status, RUNNING).is_none_or(|running| running.reason != Reason::TargetCreated);
    let former = status.current_traffic.as_ref();
    Phase::of(status) <= Phase::Running && has_canary && former.is_some_and(|former| *former != spec.traffic_key)
}

/// The status of a Kanary whose `status.epoch` no replica can have written: it reports that, and nothing else is done.
/// `None` if it is already reported.
#[must_use]
pub fn disown(kanary: &ParsedKanary, now: Timestamp) -> Option<KanaryStatus> {
    let epoch = kanary.status.epoch.unwrap_or_default();
    let why = format!(
        "status.epoch is {epoch}, which no replica of the controller can have written, and the API server does not let it go \
         down: the Kanary is left alone; delete it and create it again"
    );
    let mut draft = Draft::of(kanary, now);
    draft.set(ERRORED, true, Reason::EpochForged, &why);
    draft.set(STALLED, true, Reason::EpochForged, &why);
    draft.clear(RECONCILING, Reason::EpochForged, &why);
    draft.finish(kanary, &kanary.spec)
}
