//! The start of a run in place: what prevents it, and the writes that begin it.

use super::{obstacles, target_changed};
use crate::{
    activation::Activation,
    api::{InPlace, Reason, WorkloadRef},
    decision::{Action, Need, SetTemplate},
    in_place,
    integrity::canary,
    observation::{LiveTarget, Workload},
    overdue, patience,
    problem::Problem,
    restoring, services,
    step::Step,
};

/// Decides what is missing before some pods of the target run the template. What is changed is stored first, then the finalizer is
/// added, and then the target is written.
pub(super) fn decide(step: &Step<'_>, target: &Workload, pods: i32) -> Activation {
    let is_begun = canary(step).is_some();
    if !is_begun && let Some(changed) = target_changed(step, target) {
        return changed;
    }
    let own = (!is_begun).then(|| obstacle(&step.spec.target, target, pods)).flatten();
    if let Some(problem) = Problem::all(obstacles(step, target).into_iter().chain(own)) {
        let until = patience::until(step).filter(|until| *until > step.now);
        return Activation {
            wake: [until, services::look_again(step, target)].into_iter().flatten().min(),
            problem: Some(problem),
            ..Activation::default()
        };
    }
    if let Some(late) = overdue::late(step) {
        return late;
    }
    if let Some(refusal) = step.refused() {
        return Activation {
            wake: patience::next(step, refusal.retry_at),
            ..Activation::problem(refusal.reason, refusal.message.clone())
        };
    }
    if is_begun {
        return Activation {
            wake: patience::until(step),
            ..Activation::default()
        };
    }
    begin(step, &wanted(step, target, pods))
}

/// Why the target cannot run the template on some of its pods.
fn obstacle(name: &WorkloadRef, target: &Workload, pods: i32) -> Option<Problem> {
    let problem = |reason, message: String| Some(Problem::new(reason, message));
    let set = target.set.as_ref()?;
    if set.on_delete {
        return problem(
            Reason::TargetOnDelete,
            format!(
                "{name} has the updateStrategy OnDelete, which has no partition: set it to RollingUpdate, or use another spec.scale"
            ),
        );
    }
    if set.forgets {
        return problem(
            Reason::NoFormerTemplate,
            format!(
                "{name} has revisionHistoryLimit 0, so Kubernetes may delete the template that has to come back after a bad verdict: set \
                 it to 1 or more"
            ),
        );
    }
    let others = target.replicas.saturating_sub(pods);
    if others < 1 {
        return problem(
            Reason::TooFewReplicas,
            format!(
                "spec.scale.inPlace.replicas is {pods}, and {name} has {} replicas, so no pod would keep the former template: scale it \
                 up, or use another spec.scale",
                target.replicas
            ),
        );
    }
    if others < set.partition {
        return problem(
            Reason::TargetPartitioned,
            format!(
                "{name} keeps its template below ordinal {}, the partition of its updateStrategy, so {pods} pods cannot run another: \
                 lower the partition or spec.scale.inPlace.replicas",
                set.partition
            ),
        );
    }
    (!set.at_rest || !target.rolled_out).then(|| {
        let pods = match set.partition {
            0 => String::new(),
            partition => format!(
                "; its pods below ordinal {partition}, the partition of its updateStrategy, get its template only if you lower that"
            ),
        };
        let message = format!(
            "{name} rolls out, or not all its pods are available, so it could not be told which template does that: the run starts once \
             all run its template and are available{pods}"
        );
        Problem::new(Reason::TargetRollingOut, message)
    })
}

/// What has to be stored before the target is written.
fn wanted(step: &Step<'_>, target: &Workload, pods: i32) -> InPlace {
    InPlace {
        run: step.kanary.marker(step.spec),
        since: step.now,
        target_uid: target.uid.clone(),
        generation: target.generation,
        former_hash: target.template_hash.clone(),
        former_partition: in_place::partition(target).unwrap_or_default(),
        partition: target.replicas.saturating_sub(pods),
        template_hash: None,
    }
}

/// The writes that begin the run.
fn begin(step: &Step<'_>, wanted: &InPlace) -> Activation {
    let is_stored = |stored: &InPlace| {
        let stored = InPlace {
            since: wanted.since,
            template_hash: None,
            ..stored.clone()
        };
        stored == *wanted
    };
    if !in_place::of_present_run(step.kanary).is_some_and(is_stored) {
        return Activation {
            ahead: Some(Box::new(wanted.clone())),
            ..Activation::default()
        };
    }
    if !restoring::is_kept(step) {
        return Activation {
            actions: vec![Action::HoldInPlace],
            ..Activation::default()
        };
    }
    match &step.seen.live_target {
        None => overdue::unconfirmed(Need::LiveTarget),
        // The watch is about to bring what somebody changed.
        Some(live) if live.generation != Some(wanted.generation) || live.uid != wanted.target_uid => Activation {
            wake: step.now.checked_add(restoring::LOOK_SOON).ok(),
            ..Activation::default()
        },
        Some(live) => Activation {
            actions: vec![first_write(step, live, wanted)],
            ..Activation::default()
        },
    }
}

/// Gives some pods of the target the template, on condition that nobody has changed anything in the target since it was read.
fn first_write(step: &Step<'_>, live: &LiveTarget, record: &InPlace) -> Action {
    Action::SetTemplate(SetTemplate {
        template: step.spec.template.pod_template(),
        partition: Some(record.partition),
        strategy_is_bare: live.strategy_is_bare,
        version: live.resource_version.clone(),
        ..live.written(
            &step.spec.target,
            record.begun(),
            format!("tried in place by {}", step.kanary.key),
        )
    })
}
