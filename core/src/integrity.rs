//! Integrity of the canary: a promotion must match what was validated, so the canary must be unchanged since its
//! creation.

use serde_json::Value;

use super::{
    labels::Labels,
    observation::{Versions, Workload},
    step::Step,
};
use crate::api::{Reason, Written, names};

/// Whether a canary's pod template is unchanged since its creation. Nodes that Kanary chose itself do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is unchanged.
    Kept,
    /// Another client changed it.
    Changed,
    /// Unknown: this controller did not create it, and the Deployment controller has not observed it yet.
    Unknown,
}

/// The owner that manages an object.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().find(|owner| owner["controller"] == true)
}

/// Whether this Kanary manages an object.
pub(super) fn controls(step: &Step<'_>, object: &Value) -> bool {
    controller(object).is_some_and(|owner| owner["uid"] == step.kanary.uid.as_str())
}

/// The canary of this run.
pub(super) fn canary<'a>(step: &Step<'a>) -> Option<&'a Workload> {
    let canary = step.seen.canary.as_ref();
    canary.filter(|canary| is_of_run(step, canary))
}

/// Whether the pod template of this run's canary is unchanged since its creation.
///
/// The reference is the reply to the creation, which includes changes by webhooks and defaults. A controller without that
/// reply relies on the Deployment controller's revision, which counts templates.
///
/// A canary that exists between runs is put back if somebody changes it, and is unknown until then.
pub(super) fn origin(step: &Step<'_>, canary: &Workload) -> Origin {
    if is_moved(canary) {
        return Origin::Changed;
    }
    if step.spec.tracked.is_some() {
        let is_it = |written: &Written| written.uid == canary.uid && written.generation == canary.generation;
        return if step.has_written(&step.spec.canary, is_it) {
            Origin::Kept
        } else {
            Origin::Unknown
        };
    }
    let replied = step.seen.created.as_ref().filter(|created| created.uid == canary.uid);
    if let Some(created) = replied.filter(|_| canary.versions != Versions::Several) {
        let is_same = created.template_hash == canary.template_hash;
        return if is_same { Origin::Kept } else { Origin::Changed };
    }
    let status = &step.kanary.status;
    let stored = status.canary_hash.as_ref();
    let stored = stored.filter(|_| status.canary_uid.as_ref() == Some(&canary.uid));
    match (canary.versions, stored) {
        (Versions::Several, _) => Origin::Changed,
        (Versions::Unknown, Some(hash)) if *hash != canary.template_hash => Origin::Changed,
        // An older build may have calculated a stored hash differently, so the Deployment controller's count takes
        // precedence.
        (Versions::Untouched | Versions::One, _) | (Versions::Unknown, Some(_)) => Origin::Kept,
        (Versions::Unknown, None) => Origin::Unknown,
    }
}

/// Reason and message of the failure if another client changed the canary.
pub(super) fn changed(step: &Step<'_>) -> Option<(Reason, String)> {
    let canary = canary(step)?;
    let name = &step.spec.canary;
    let is_disowned = step.spec.tracked.is_none() && step.kanary.is_disowned(canary, step.seen.created.as_ref());
    if is_disowned {
        let message = format!(
            "the ownerReference by which this Kanary controls {name} was removed, so the canary would outlive this \
             Kanary: leave the canary alone, and set spec.retry to another number to run the template again"
        );
        return Some((Reason::CanaryChanged, message));
    }
    let what = if is_moved(canary) {
        format!("{name} has other nodes than Kanary chose")
    } else if origin(step, canary) == Origin::Changed {
        format!("the pod template of {name} was changed after its creation")
    } else {
        let pod = step.seen.pods.iter().find(|pod| pod.edited)?;
        format!("an image of pod {} of {name} was changed in place", pod.name)
    };
    let so = if is_moved(canary) {
        "so it is not the canary that spec.scale asks for"
    } else {
        "so it no longer runs spec.template"
    };
    let message = format!(
        "{what}, {so}: leave the canary alone, and set spec.retry to another number to run \
         the template again"
    );
    Some((Reason::CanaryChanged, message))
}

/// Whether another client gave a canary of a DaemonSet other nodes.
fn is_moved(canary: &Workload) -> bool {
    canary.daemon.as_ref().is_some_and(|daemon| daemon.moved)
}

/// Whether this Kanary is the object's owner.
#[must_use]
pub(super) fn is_ours(step: &Step<'_>, owner: Option<&String>) -> bool {
    owner == Some(&step.kanary.uid)
}

/// Whether a Deployment with the canary's name belongs to this Kanary, even if its ownerReference was removed.
#[must_use]
pub(super) fn is_own_canary(step: &Step<'_>, canary: &Workload) -> bool {
    step.kanary.owns(canary, step.seen.created.as_ref())
}

/// Whether a Deployment with the canary's name is this run's canary. Its traffic is compared as well: before the first
/// status write, an edit of the traffic does not start a new run.
#[must_use]
pub(super) fn is_of_run(step: &Step<'_>, canary: &Workload) -> bool {
    step.kanary.has(step.spec, canary, step.seen.created.as_ref())
}

/// Whether a canary, or a pod, with these labels belongs to a run that is not known here yet. Another controller has newer data
/// and will handle it.
#[must_use]
pub(super) fn is_of_later_run(step: &Step<'_>, labels: &Labels) -> bool {
    let run = labels.get(names::RUN).and_then(|run| run.rsplit('-').next());
    let run = run.and_then(|number| number.parse().ok());
    run.is_some_and(|run: i64| run > step.kanary.status.run_number())
}

/// The message for a target that another client changed.
#[must_use]
pub(super) fn target_changed_message(step: &Step<'_>) -> String {
    // A run in place cannot be promoted over another template.
    let or = match step.spec.scale.in_place() {
        Some(_) => "",
        None => ", or spec.rollout.onTargetChange to promote",
    };
    format!(
        "the pod template of {} changed since the run started: set spec.retry to another number to run against the new one{or}",
        step.spec.target
    )
}
