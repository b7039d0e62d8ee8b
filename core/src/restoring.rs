//! The end of a run in place that is not promoted: the target gets back what the run changed, before anything else happens.

use jiff::SignedDuration;

use super::{
    decision::{Action, Decision, Need, SetTemplate},
    in_place,
    observation::{LiveTarget, Workload},
    problem::{Problem, set_problem},
    revert::revert,
    status::{Draft, ERRORED, Phase, ROLLED_BACK, is_true_for},
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
    /// The write that puts back what the target had before the run.
    Write(Box<SetTemplate>),
    /// A live read was newer than the watch, or older.
    Waits,
    /// The former template is lost.
    Lost,
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
    let is_marked = live.promoted_by.as_ref() == Some(&record.begun());
    let is_begun = is_written || is_marked || lost_its_mark(record, target, live);
    if !is_begun && live.generation != Some(record.generation) {
        // The write that begins a run can no longer arrive: it applies only to the version that it read. Its place is another's now.
        return Undo::Done;
    }
    let template = match &seen.former_template {
        _ if !is_begun => live.template.clone(),
        Some(_) if !is_recorded(target, live, record) => return Undo::Waits,
        Some(former) if !asks(step) => match &seen.tried_template {
            Some(tried) => revert(former, tried, &live.template),
            None => former.clone(),
        },
        // All pods get what the template is now. Whoever sets this partition wants it so.
        _ if in_place::partition(target) == Some(record.former_partition) => live.template.clone(),
        _ => return Undo::Lost,
    };
    let cause = if template == live.template {
        String::new()
    } else {
        format!("rolled back by {}", step.kanary.key)
    };
    Undo::Write(Box::new(SetTemplate {
        template,
        partition: in_place::partition(target).and(is_begun.then_some(record.former_partition)),
        // The write that begins a run may still be under way. It applies only to the version that it read, so the target gets another.
        version: live.resource_version.clone().filter(|_| !is_begun),
        ..live.written(&step.spec.target, record.undone(), cause)
    }))
}

/// Whether a user was asked to put the target back. Whatever template they write first, their second step is still to come.
fn asks(step: &Step<'_>) -> bool {
    is_true_for(&step.kanary.status, ERRORED, Reason::NoFormerTemplate)
}

/// Whether the target has the partition of a run whose annotation is gone. The history cannot tell: if an earlier run tried the same
/// template, its revision has the annotation of that one.
fn lost_its_mark(record: &InPlace, target: &Workload, live: &LiveTarget) -> bool {
    let is_anothers = live.promoted_by.as_ref().is_some_and(|by| InPlace::is_mark(by));
    let has_partition = in_place::partition(target) == Some(record.partition);
    has_partition && record.partition != record.former_partition && !is_anothers
}

/// Whether Kubernetes has a revision of the present template, so that nothing of it is lost.
fn is_recorded(target: &Workload, live: &LiveTarget, record: &InPlace) -> bool {
    let is_known =
        record.template_hash.as_ref() == Some(&live.template_hash) || live.template_hash == record.former_hash;
    is_known || target.set.as_ref().is_none_or(|set| set.revision.is_some())
}

/// Gives the target back what it had before a run in place. `None` if there is nothing to give back.
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
                    "{} does not get its former template back: {}. Kanary tries again, and then takes back whatever its template is by then",
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
                "the rollout history of {} has no revision with its former template: write the template that all pods are to run, and \
                 then set spec.updateStrategy to {{type: RollingUpdate, rollingUpdate: {{partition: {}}}}}",
                step.spec.target, record.former_partition
            );
            draft.set(ROLLED_BACK, false, Reason::NoFormerTemplate, &why);
            set_problem(&mut draft, Some(&Problem::new(Reason::NoFormerTemplate, why)));
            step.write(draft)
        }
        Undo::Done => {
            draft.status.in_place = None;
            report(step, record, &mut draft);
            step.write(draft)
        }
    })
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
    if target.promoted_by.as_ref() != Some(&record.undone()) {
        let why = format!("somebody else has replaced the template of {name}: that stays");
        return draft.set(ROLLED_BACK, false, Reason::TargetChanged, why);
    }
    let additions = if target.template_hash == record.former_hash {
        ""
    } else {
        ", with the labels and annotations that somebody else has set in it since"
    };
    let note = if in_place::partition(target).is_some() {
        workload::of(name.kind).after_rollback(target).to_owned()
    } else {
        let first = record.partition;
        format!("; with its updateStrategy OnDelete, its pods from ordinal {first} on get it only when you delete them")
    };
    let why = format!("{name} has the template back that it had before the run{additions}{note}");
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
    let target = &step.spec.target;
    let set = step.seen.target.as_ref().and_then(|target| target.set.as_deref());
    let back = "it gets back the template and the partition that it had before the run";
    let then = match what {
        in_place::CREATED_AGAIN => "what it has of this run is taken back".to_owned(),
        in_place::ANOTHER_TEMPLATE if set.is_some_and(|set| set.forgets) => {
            format!("{back}. Its revisionHistoryLimit is 0, so nothing keeps what somebody else wrote")
        }
        in_place::ANOTHER_TEMPLATE => format!(
            "{back}. What somebody else wrote is in its rollout history (kubectl rollout history statefulset/{}): write it again once \
             the condition RolledBack is True",
            target.name
        ),
        _ => back.to_owned(),
    };
    format!(
        "{target} {what} while some of its pods ran the template: {then}; set spec.retry to another number to run again"
    )
}

/// Another Kanary runs in place on the target. When that ends, it puts back what it changed, whatever this run writes meanwhile.
pub(super) fn foreign_in_place(step: &Step<'_>, target: &Workload) -> Option<Problem> {
    let runs = target.set.as_ref().is_some_and(|set| !set.at_rest);
    let marker = target.promoted_by.as_ref().filter(|_| runs)?;
    let is_others = InPlace::is_mark(marker) && !marker.starts_with(&step.kanary.uid);
    is_others.then(|| {
        let message = format!(
            "some pods of {} run the template of another Kanary in place: this run goes on once that one has ended",
            step.spec.target
        );
        Problem::new(Reason::TargetRollingOut, message)
    })
}
