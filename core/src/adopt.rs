//! Adoption of released pods. A canary pod that its ReplicaSet released has no owner and would outlive its Kanary, which
//! is removed immediately when a user deletes it. The pod gets an ownerReference to the Kanary, so that the garbage
//! collector deletes it. If the pod is released during its validation, the status reports that.

use super::{
    decision::{Action, Decision},
    observation::Pod,
    step::Step,
};
use crate::api::names;

/// Adds the adoption of such pods to a decision without other actions. Nothing depends on it.
pub(super) fn add(step: &Step<'_>, decision: Decision) -> Decision {
    let is_idle = decision.actions.is_empty() && decision.status.is_none() && decision.needs.is_none();
    if !is_idle || step.kanary.deleting || step.refused().is_some() {
        return decision;
    }
    let pods = step.seen.pods.iter().chain(&step.seen.other_pods);
    let actions: Vec<_> = pods
        .filter(|pod| is_orphan(step, pod))
        .map(|pod| Action::Adopt {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
        })
        .collect();
    if actions.is_empty() {
        return decision;
    }
    if let Some(later) = step.seen.adopt_after.filter(|after| *after > step.now) {
        return Decision {
            wake: Some(decision.wake.map_or(later, |wake| wake.min(later))),
            ..decision
        };
    }
    Decision { actions, ..decision }
}

/// Whether no controller owns the pod and its labels name this Kanary.
fn is_orphan(step: &Step<'_>, pod: &Pod) -> bool {
    pod.is_set_aside() && !pod.kanaries.contains(&step.kanary.uid) && step.kanary.is_named_by(&pod.labels)
}

/// The warning for a run whose pods lost labels during validation: they are no longer measured. Those that lost the label of
/// the run leave their Services at once, and the others stay in production.
pub(super) fn warning(step: &Step<'_>) -> Option<String> {
    let run = step.kanary.run(step.spec);
    let lost = |is_without_run: bool| {
        let is_lost = |pod: &&Pod| {
            let label = pod.labels.get(names::RUN);
            pod.is_set_aside() && pod.created_for() == Some(&run) && (label != Some(&run)) == is_without_run
        };
        let mut lost = step.seen.other_pods.iter().filter(is_lost).map(|pod| &pod.name);
        let first = lost.next()?;
        Some(match lost.count() {
            0 => format!("Pod {first}"),
            more => format!("Pod {first} and {more} more"),
        })
    };
    let without_run = lost(true).map(|pods| {
        format!(
            "{pods} lost the label {}, so the canary released it: it is not measured any more, and leaves its \
             Services now; labelWatch items still apply to it: delete it",
            names::RUN
        )
    });
    let others = lost(false).map(|pods| {
        format!(
            "{pods} lost a label by which the canary selects, and was released: it is not measured any more, and \
             leaves its Services only when the run ends: delete it"
        )
    });
    let warnings: Vec<_> = without_run.into_iter().chain(others).collect();
    (!warnings.is_empty()).then(|| warnings.join("; "))
}
