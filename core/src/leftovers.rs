//! What this Kanary owns and its present run does not ask for: it goes, whatever else the run waits for.

use super::{
    decision::{Action, Need, ObjectKind},
    integrity::{is_of_later_run, is_of_run, is_ours, is_own_canary},
    observation::{Deployment, Stray},
    scale::Scale,
    step::Step,
};

/// Whether a canary is of a template, or a run, that is over.
fn is_stale(step: &Step<'_>, canary: &Deployment) -> bool {
    is_own_canary(step, canary) && !canary.deleting && !is_of_later_run(step, canary) && !is_of_run(step, canary)
}

/// What has to go before the run goes on: a canary of another run, which would stay in production and be judged by nobody,
/// and objects of a former spec, which would bring traffic or pods that the present one does not ask for. A spec that is not
/// sound does not say what it asks for, so under it only the canary of another run goes.
///
/// # Errors
///
/// The Kanary has to be read first: who does not know yet that it was edited would take away what the new spec asks for,
/// again and again.
pub(super) fn remove(step: &Step<'_>) -> Result<Vec<Action>, Need> {
    let seen = step.seen;
    let canary = seen.canary.as_ref().filter(|canary| is_stale(step, canary));
    let mut actions: Vec<_> = canary
        .map(|canary| Action::Delete {
            object: ObjectKind::Deployment,
            name: step.spec.canary.clone(),
            uid: canary.uid.clone(),
        })
        .into_iter()
        .collect();
    if step.spec.is_sound() {
        // Two that scale one canary would never agree.
        let scales = matches!(step.spec.scale, Scale::Hpa { .. });
        let former = seen
            .hpa
            .as_ref()
            .filter(|hpa| !scales && is_ours(step, hpa.owner.as_ref()) && !hpa.deleting);
        actions.extend(former.map(|hpa| Action::Delete {
            object: ObjectKind::HorizontalPodAutoscaler,
            name: step.spec.canary.clone(),
            uid: hpa.uid.clone(),
        }));
        actions.extend(seen.strays.iter().map(Stray::delete));
    }
    if actions.is_empty() || step.refused().is_some() {
        return Ok(Vec::new());
    }
    if seen.confirmed {
        Ok(actions)
    } else {
        Err(Need::LiveKanary)
    }
}
