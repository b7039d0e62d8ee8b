//! Whether the canary still is what was created: only then what is judged is what is promoted.

use super::{
    observation::{Deployment, Versions},
    step::Step,
};
use crate::api::{Reason, names};

/// Whether a canary's pod template is the one that it was created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is.
    Kept,
    /// Somebody wrote another one.
    Changed,
    /// Nobody knows yet: this controller did not create it, and the Deployment controller has not looked at it.
    Unknown,
}

/// The canary of this run.
pub(super) fn canary<'a>(step: &Step<'a>) -> Option<&'a Deployment> {
    let canary = step.seen.canary.as_ref();
    canary.filter(|canary| is_of_run(step, canary))
}

/// Whether the pod template of this run's canary is the one that it was created with.
///
/// The reply to the creation is the reference, with what webhooks and defaults made of the template. A controller that does
/// not know the reply relies on the Deployment controller: it counts the templates that it has seen.
pub(super) fn origin(step: &Step<'_>, canary: &Deployment) -> Origin {
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
        // A stored hash of an older build may be made in another way; the Deployment controller knows better.
        (Versions::Untouched | Versions::One, _) | (Versions::Unknown, Some(_)) => Origin::Kept,
        (Versions::Unknown, None) => Origin::Unknown,
    }
}

/// Reason and message of the failure of a run whose canary somebody changed.
pub(super) fn changed(step: &Step<'_>) -> Option<(Reason, String)> {
    let canary = canary(step)?;
    let name = &step.spec.canary;
    if step.kanary.is_disowned(canary, step.seen.created.as_ref()) {
        let message = format!(
            "the ownerReference by which this Kanary controls Deployment {name} was removed, so the canary would outlive this \
             Kanary: leave the canary alone, and set spec.retry to another number to run the template again"
        );
        return Some((Reason::CanaryChanged, message));
    }
    let what = if origin(step, canary) == Origin::Changed {
        format!("the pod template of Deployment {name} was changed after its creation")
    } else {
        let pod = step.seen.pods.iter().find(|pod| pod.edited)?;
        format!("an image of pod {} of Deployment {name} was changed in place", pod.name)
    };
    let message = format!(
        "{what}, so it no longer runs spec.template: leave the canary alone, and set spec.retry to another number to run \
         the template again"
    );
    Some((Reason::CanaryChanged, message))
}

/// Whether this Kanary owns an object that has this owner.
#[must_use]
pub(super) fn is_ours(step: &Step<'_>, owner: Option<&String>) -> bool {
    owner == Some(&step.kanary.uid)
}

/// Whether a Deployment with the canary's name is this Kanary's, also after somebody removed its ownerReference.
#[must_use]
pub(super) fn is_own_canary(step: &Step<'_>, canary: &Deployment) -> bool {
    step.kanary.owns(canary, step.seen.created.as_ref())
}

/// Whether a Deployment with the canary's name is this run's canary. Its traffic tells as well, because a run has no status
/// at first: an edit then changes what is asked for, and not the run.
#[must_use]
pub(super) fn is_of_run(step: &Step<'_>, canary: &Deployment) -> bool {
    step.kanary.has(step.spec, canary, step.seen.created.as_ref())
}

/// Whether a canary is of a run that is not known here yet: another controller is ahead, and knows what to do with it.
#[must_use]
pub(super) fn is_of_later_run(step: &Step<'_>, canary: &Deployment) -> bool {
    let run = canary.labels.get(names::RUN).and_then(|run| run.rsplit('-').next());
    let run = run.and_then(|number| number.parse().ok());
    run.is_some_and(|run: i64| run > step.kanary.status.run.unwrap_or(1))
}

/// What a user reads when somebody else changed the target.
#[must_use]
pub(super) fn target_changed_message(target: &str) -> String {
    format!(
        "the pod template of Deployment {target} changed since the run started: set spec.retry to another number to run \
         against the new one, or spec.rollout.onTargetChange to promote"
    )
}
