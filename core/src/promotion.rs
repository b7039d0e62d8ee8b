//! Promotion after a good verdict: writes the template to the target once, and determines whether the target has it.
//!
//! The template that the target has is decisive. If this controller made the promotion, it knows that template from the
//! reply. If not (after a restart, a promotion by another replica, or a missing reply), a dry run shows how the API
//! server would store the template.

mod in_place;
mod share;
mod tracked;

pub(super) use tracked::decide as of_tracks;

use super::{
    activate::{self},
    decision::{Action, Decision, Need, SetTemplate},
    ending::fail,
    integrity::target_changed_message,
    objection::speaks_against,
    observation::{Likeness, LiveTarget, Promotion, Workload},
    problem::{Problem, set_problem},
    restoring,
    rollout::{self, end_dry_run},
    services,
    status::{Draft, RECONCILING, SUCCEEDED, find},
    step::Step,
};
use crate::api::Reason;

/// State of the promotion.
enum Standing {
    /// It has not been made.
    Open,
    /// The target has the template.
    Promoted,
    /// It was made, and now the target has another template.
    Replaced(String),
    /// A read is needed first.
    Unclear(Need),
    /// A live read was newer than the watch, which will catch up.
    Ahead,
}

/// Promotes the target, waits for its rollout and reports it. A dry-run only cleans up.
pub(super) fn promote(step: &Step<'_>) -> Decision {
    share::take_out(step, decide(step))
}

fn decide(step: &Step<'_>) -> Decision {
    // A dry-run that has ended stays ended, whatever changes in its spec.
    if step.kanary.status.completed_at.is_some() {
        return rollout::clean_up(step);
    }
    let mut draft = step.draft();
    if let (Some(record), Some(_)) = (&step.kanary.status.in_place, &draft.status.in_place) {
        return in_place::decide(step, record);
    }
    promoting(step, &mut draft);
    let target = step.seen.target.as_ref().filter(|target| !target.deleting);
    let is_known = given(step).is_some() || target.is_some_and(|target| is_marked_so(step, target));
    if !is_known || target.is_none() {
        // After the promotion, the Deployment controller takes over: a pause or an edit has no effect any more.
        match speaks_against(step, &draft) {
            Some(failure) if target.is_none() || step.seen.promotion == Promotion::NotYet => {
                return failure.end(step, draft);
            }
            // Whether it was already promoted has to be read first.
            Some(_) => {}
            None if is_known => {}
            None => {
                if let Some(decision) = held(step, draft.clone(), target) {
                    return decision;
                }
            }
        }
    }
    let Some(target) = target else {
        return without_target(step, draft);
    };
    match standing(step, target) {
        Standing::Open => update(step, draft, target),
        Standing::Promoted => rollout::conclude(step, draft, target),
        Standing::Replaced(why) => fail(step, draft, Reason::TargetChanged, &why),
        Standing::Unclear(need) => {
            // Only this need is met by a write request (a dry run), which may have been refused.
            let refused = (need == Need::SameTemplate).then(|| refused(step, draft)).flatten();
            refused.unwrap_or_else(|| Decision::needing(need))
        }
        Standing::Ahead => Decision::default(),
    }
}

/// The controller is about to update the target, or waits for its rollout.
pub(super) fn promoting(step: &Step<'_>, draft: &mut Draft) {
    let why = format!(
        "{} gets the template, and the run ends once all its replicas run it",
        step.spec.target
    );
    draft.set(RECONCILING, true, Reason::Promoting, why);
}

fn without_target(step: &Step<'_>, mut draft: Draft) -> Decision {
    let name = &step.spec.target;
    let message = match &step.seen.target {
        Some(_) => format!("{name} is being deleted: create it again once it is gone"),
        None if given(step).is_some() => format!("{name} was updated and is gone: create it again"),
        None => format!("{name} is gone, so it cannot be updated: create it again"),
    };
    let message = message + &services::serves_alone(step);
    set_problem(&mut draft, Some(&Problem::new(Reason::TargetNotFound, message)));
    if step.spec.paused {
        let why = format!("spec.paused is true: {name} is not updated");
        draft.set(RECONCILING, false, Reason::Paused, why);
    }
    step.write(draft)
}

/// Why the promotion cannot be made now, if it has certainly not been made yet. (Otherwise the target is read first.)
fn held(step: &Step<'_>, mut draft: Draft, target: Option<&Workload>) -> Option<Decision> {
    if let Some(problem) = step.unsound() {
        set_problem(&mut draft, Some(&problem));
        return Some(step.write(draft));
    }
    if target.is_none() {
        return Some(without_target(step, draft));
    }
    if step.spec.paused {
        set_problem(&mut draft, None);
        let why = format!("spec.paused is true: {} is not updated", step.spec.target);
        draft.set(RECONCILING, false, Reason::Paused, why);
        return Some(step.write(draft));
    }
    if let Some(problem) = target.and_then(|target| restoring::foreign_in_place(step, target)) {
        set_problem(&mut draft, Some(&problem));
        return Some(step.write(draft));
    }
    if let Some((problem, wake)) = services::before_promotion(step) {
        set_problem(&mut draft, Some(&problem));
        return Some(Decision {
            wake,
            ..step.write(draft)
        });
    }
    refused(step, draft)
}

/// The API server refused or failed a write: the report until it is retried.
fn refused(step: &Step<'_>, mut draft: Draft) -> Option<Decision> {
    let refusal = step.refused()?;
    let problem = Problem::new(refusal.reason, refusal.message.clone());
    set_problem(&mut draft, Some(&problem));
    Some(Decision {
        wake: Some(refusal.retry_at),
        ..step.write(draft)
    })
}

/// Hash of the template that this run wrote to the target, as far as known.
pub(super) fn given<'a>(step: &Step<'a>) -> Option<&'a String> {
    match &step.seen.promotion {
        Promotion::Done { template_hash, .. } => Some(template_hash),
        Promotion::NotYet | Promotion::Unknown => step.kanary.status.promoted_hash.as_ref(),
    }
}

/// Whether the annotations of a target name this run.
fn is_marked(step: &Step<'_>, promoted_by: Option<&String>, created_by: Option<&String>) -> bool {
    let marker = step.kanary.marker(step.spec);
    promoted_by == Some(&marker) || created_by == Some(&marker)
}

fn is_marked_so(step: &Step<'_>, target: &Workload) -> bool {
    is_marked(step, target.promoted_by.as_ref(), target.created_by.as_ref())
}

fn standing(step: &Step<'_>, target: &Workload) -> Standing {
    if let Some(given) = given(step) {
        return if *given == target.template_hash {
            Standing::Promoted
        } else if step.seen.target_confirmed {
            Standing::Replaced(replaced(step))
        } else {
            // A watch may show the template that the target had before.
            Standing::Unclear(Need::Target)
        };
    }
    let Some(live) = &step.seen.live_target else {
        let known = step.seen.promotion == Promotion::NotYet && !is_marked_so(step, target);
        return if known {
            Standing::Open
        } else {
            Standing::Unclear(Need::LiveTarget)
        };
    };
    let marked = is_marked(step, live.promoted_by.as_ref(), live.created_by.as_ref());
    if step.seen.promotion == Promotion::NotYet && !marked {
        return Standing::Open;
    }
    let as_before = step.kanary.status.target_hash.as_ref() == Some(&live.template_hash);
    let was_promoted = marked || live.was_promoted;
    // An invalid template need not be the promoted one, so no dry run is made with it.
    let is_template =
        step.spec.is_sound() || step.kanary.status.current_hash.as_ref() == Some(&step.spec.template_hash);
    let likeness = if is_template {
        step.seen.likeness
    } else {
        Likeness::Unknown
    };
    match likeness {
        _ if !was_promoted && as_before => unmarked(step, live),
        Likeness::Unasked => Standing::Unclear(Need::SameTemplate),
        Likeness::Same if live.template_hash == target.template_hash => Standing::Promoted,
        Likeness::Same => Standing::Ahead,
        Likeness::Unknown if marked && !(as_before && live.created_by.is_none()) => match live.template_hash {
            ref hash if *hash == target.template_hash => Standing::Promoted,
            _ => Standing::Ahead,
        },
        Likeness::Other | Likeness::Unknown if was_promoted => Standing::Replaced(replaced(step)),
        // Another client changed the target before its promotion.
        Likeness::Other | Likeness::Unknown => Standing::Open,
    }
}

/// A target without an annotation that has the template from before the run. If it was created after the verdict, its
/// predecessor may have been promoted, and the client that re-created it must not be overruled.
fn unmarked(step: &Step<'_>, live: &LiveTarget) -> Standing {
    let verdict = find(&step.kanary.status, SUCCEEDED).map(|succeeded| succeeded.last_transition_time.0);
    if verdict.is_some_and(|verdict| verdict < live.created) {
        return Standing::Replaced(format!(
            "{} was deleted and created again after the verdict, with another template than this run's; set \
             spec.retry to another number to run again",
            step.spec.target
        ));
    }
    Standing::Open
}

fn replaced(step: &Step<'_>) -> String {
    format!(
        "{} was updated, and somebody replaced its template before it had rolled out; set spec.retry to another \
         number to run again",
        step.spec.target
    )
}

/// The only write to the target, on condition that it is unchanged since it was read.
fn update(step: &Step<'_>, mut draft: Draft, target: &Workload) -> Decision {
    let Some(live) = &step.seen.live_target else {
        return Decision::needing(Need::LiveTarget);
    };
    if let Some(failure) = speaks_against(step, &draft) {
        return failure.end(step, draft);
    }
    if let Some(decision) = held(step, draft.clone(), Some(target)) {
        return decision;
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
    let started_with = step.kanary.status.target_hash.as_ref();
    let changed = started_with.is_some_and(|started_with| *started_with != live.template_hash);
    if changed && !step.spec.promote_over_change {
        return fail(step, draft, Reason::TargetChanged, &target_changed_message(step));
    }
    if let Some(problem) = activate::mismatch(step, target) {
        // A target that was re-created may have another selector.
        set_problem(&mut draft, Some(&problem));
        return step.write(draft);
    }
    Decision {
        actions: vec![Action::SetTemplate(SetTemplate {
            template: step.spec.template.pod_template(),
            ..live.written(
                &step.spec.target,
                step.kanary.marker(step.spec),
                format!("promoted by {}", step.kanary.key),
            )
        })],
        ..Decision::default()
    }
}
