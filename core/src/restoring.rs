//! The end of a run in place that is not promoted: the target gets back what the run changed, before anything else happens.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    decision::{Action, Decision, Need, SetTemplate},
    hash,
    in_place::{self, Ours},
    observation::{LiveTarget, Observation},
    problem::{Problem, set_problem},
    revert::revert,
    status::{Draft, Phase, ROLLED_BACK},
    step::Step,
    workload,
};
use crate::api::{InPlace, Reason, names::IN_PLACE_FINALIZER};

/// How soon the target is looked at again that a watch has not reported yet.
pub(super) const LOOK_SOON: SignedDuration = SignedDuration::from_secs(1);

/// The next step.
enum Undo {
    /// Nothing of the run is left in the target.
    Done,
    /// A read is needed first.
    Needs(Need),
    /// The write that puts back what is still as the run left it.
    Write(Box<SetTemplate>),
    /// A live read was newer than the watch, or older.
    Waits,
    /// The former template is lost.
    Lost,
    /// Somebody changed the template, and nothing tells what in it comes from the run.
    Mixed,
}

fn undo(step: &Step<'_>, record: &InPlace) -> Undo {
    let Some(target) = in_place::target(record, step.seen) else {
        return Undo::Done;
    };
    let is_over = |by: Option<&String>| by == Some(&record.undone()) || by == Some(&record.run);
    if is_over(target.promoted_by.as_ref()) {
        return Undo::Done;
    }
    let seen = step.seen;
    let Some(live) = seen
        .live_target
        .as_ref()
        .filter(|_| seen.former_template.is_some() || seen.no_former_template)
    else {
        return Undo::Needs(Need::FormerTemplate);
    };
    if live.uid != target.uid || live.generation != Some(target.generation) || is_over(live.promoted_by.as_ref()) {
        return Undo::Waits;
    }
    let is_written = record.template_hash.is_some() || seen.tried_template.is_some();
    let is_begun = is_written || live.promoted_by.as_ref() == Some(&record.begun());
    if !is_begun && live.generation != Some(record.generation) {
        // The write that begins a run can no longer arrive: it applies only to the version that it read. Its place is another's now.
        return Undo::Done;
    }
    let is_ours = in_place::partition(target) == Some(record.partition);
    let template = if is_begun {
        match in_place::ours(step.kanary, seen, (record, target)) {
            Ours::Unclear(need) => return Undo::Needs(need),
            // With its own partition, all pods would get the template of the run.
            Ours::Yes => match &seen.former_template {
                Some(former) => former.clone(),
                None => return Undo::Lost,
            },
            Ours::No => match without_run(seen, live) {
                Some(template) => template,
                // With its own partition, all pods would get it. Whoever sets that wants it so.
                None if in_place::partition(target) != Some(record.former_partition) => return Undo::Mixed,
                None => live.template.clone(),
            },
        }
    } else {
        live.template.clone()
    };
    let cause = if template == live.template {
        String::new()
    } else {
        format!("rolled back by {}", step.kanary.key)
    };
    Undo::Write(Box::new(SetTemplate {
        template,
        partition: (is_begun && is_ours).then_some(record.former_partition),
        // The write that begins a run may still be under way. It applies only to the version that it read, so the target gets another.
        version: live.resource_version.clone().filter(|_| !is_begun),
        ..live.written(&step.spec.target, record.undone(), cause)
    }))
}

/// The template that somebody else wrote, without what the run had changed. `None` if nothing tells that apart.
fn without_run(seen: &Observation, live: &LiveTarget) -> Option<Value> {
    let former = seen.former_template.as_ref()?;
    if live.template_hash == hash::of(former) {
        return Some(live.template.clone());
    }
    revert(former, seen.tried_template.as_ref()?, &live.template)
}

/// Gives the target back what a run in place changed and somebody else has not changed since. `None` if there is nothing to give back.
pub(super) fn take_back(step: &Step<'_>) -> Option<Decision> {
    let record = step.kanary.status.in_place.as_deref()?;
    let mut draft = step.draft();
    if step.seen.kind_is_off {
        // Nothing is known of the target.
        return Some(Decision::default());
    }
    Some(match undo(step, record) {
        Undo::Needs(need) => Decision::needing(need),
        Undo::Waits => Decision {
            wake: step.now.checked_add(LOOK_SOON).ok(),
            ..Decision::default()
        },
        Undo::Write(write) => match step.refused() {
            Some(refusal) => {
                let message = format!(
                    "{} does not get its former template back: {}",
                    step.spec.target, refusal.message
                );
                set_problem(&mut draft, Some(&Problem::new(refusal.reason, message)));
                Decision {
                    wake: Some(refusal.retry_at),
                    ..step.write(draft)
                }
            }
            None => Decision {
                actions: vec![Action::SetTemplate(*write)],
                ..Decision::default()
            },
        },
        Undo::Lost => {
            let why = format!(
                "the rollout history of {} has no revision with its former template: write that template, and then set \
                 spec.updateStrategy.rollingUpdate.partition to {}",
                step.spec.target, record.former_partition
            );
            stuck(step, draft, Reason::NoFormerTemplate, why)
        }
        Undo::Mixed => {
            let why = format!(
                "somebody changed the template of {} while its pods from ordinal {} on ran that of this run, so it may have parts of \
                 that one, and no other pod gets it: write the template that all pods are to run, and then set \
                 spec.updateStrategy.rollingUpdate.partition to {}",
                step.spec.target, record.partition, record.former_partition
            );
            stuck(step, draft, Reason::TargetChanged, why)
        }
        Undo::Done => {
            draft.status.in_place = None;
            report(step, record, &mut draft);
            step.write(draft)
        }
    })
}

/// Only a user can put the target back.
fn stuck(step: &Step<'_>, mut draft: Draft, reason: Reason, why: String) -> Decision {
    draft.set(ROLLED_BACK, false, reason, &why);
    set_problem(&mut draft, Some(&Problem::new(reason, why)));
    step.write(draft)
}

/// Shows in a failed run what the target has now.
fn report(step: &Step<'_>, record: &InPlace, draft: &mut Draft) {
    if record.template_hash.is_none() || Phase::of(&step.kanary.status) != Phase::Failed {
        return;
    }
    let name = &step.spec.target;
    let Some(target) = in_place::target(record, step.seen) else {
        let why = if step.seen.target.is_some() {
            format!("{name} was deleted and created again without what this run changed: there is nothing to put back")
        } else {
            format!("{name} is gone: there is nothing to put back")
        };
        return draft.set(ROLLED_BACK, false, Reason::TargetNotFound, why);
    };
    if target.template_hash != record.former_hash {
        let why = format!(
            "somebody has changed the template of {name}: that stays, and what this run changed beside it is put back"
        );
        return draft.set(ROLLED_BACK, false, Reason::TargetChanged, why);
    }
    let note = if in_place::partition(target).is_some() {
        workload::of(name.kind).after_rollback().to_owned()
    } else {
        let first = record.partition;
        format!("; with its updateStrategy OnDelete, its pods from ordinal {first} on get it only when you delete them")
    };
    let why = format!("{name} has the template back that it had before the run{note}");
    draft.set(ROLLED_BACK, true, Reason::TemplateRestored, why);
}

/// The run in place of another run, or of a spec that asks for none any more, is taken back first.
pub(super) fn take_back_former(step: &Step<'_>) -> Option<Decision> {
    let is_present = in_place::of_present_run(step.kanary).is_some();
    let is_wanted = step.spec.scale.in_place().is_some() || !step.spec.is_sound();
    if is_present && is_wanted {
        return None;
    }
    take_back(step)
}

/// Whether the finalizer is there that keeps the Kanary until the target has back what it had.
pub(super) fn is_kept(step: &Step<'_>) -> bool {
    step.kanary
        .finalizers
        .iter()
        .any(|finalizer| finalizer == IN_PLACE_FINALIZER)
}

/// Removes that finalizer, once nothing of the run is left in the target.
pub(super) fn release(step: &Step<'_>) -> Option<Action> {
    (is_kept(step) && step.kanary.status.in_place.is_none()).then_some(Action::ReleaseInPlace)
}

/// The message for a target that somebody else changed during a run in place.
pub(super) fn changed_message(step: &Step<'_>, what: &str) -> String {
    format!(
        "{} {what} while some of its pods ran the template: what this run changed in it and nobody else has changed since is put back; \
         set spec.retry to another number to run again",
        step.spec.target
    )
}
