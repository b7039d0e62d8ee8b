//! Objects of this Kanary that its current run does not ask for. They are removed, whatever else the run waits for.

use super::{
    decision::{Action, Decision, Need, ObjectKind},
    integrity::{is_of_later_run, is_of_run, is_ours, is_own_canary},
    observation::{Owned, Stray, Workload},
    services,
    step::Step,
};

/// Whether a canary belongs to a template or a run that has ended.
fn is_stale(step: &Step<'_>, canary: &Workload) -> bool {
    step.spec.tracked.is_none()
        && is_own_canary(step, canary)
        && !canary.deleting
        && !is_of_later_run(step, &canary.labels)
        && !is_of_run(step, canary)
}

/// Removes an autoscaler of the canary that somebody made scale something else, such as production. The run creates it anew. `None` if
/// there is none, or a write was refused.
pub(super) fn astray(step: &Step<'_>) -> Option<Decision> {
    let is_astray = |(_, object): &(ObjectKind, &Owned)| {
        let scales = object.scales.as_deref();
        scales.is_some_and(|scales| scales != step.spec.canary.key())
            && is_ours(step, object.owner.as_ref())
            && !object.deleting
    };
    let astray = step.seen.autoscalers().filter(is_astray);
    let actions: Vec<_> = astray
        .map(|(kind, object)| delete((kind, &step.spec.canary.name), object))
        .collect();
    if actions.is_empty() || step.refused().is_some() {
        return None;
    }
    Some(if step.seen.confirmed {
        Decision {
            actions,
            ..Decision::default()
        }
    } else {
        Decision::needing(Need::LiveKanary)
    })
}

fn delete((object, name): (ObjectKind, &str), owned: &Owned) -> Action {
    Action::Delete {
        object,
        name: name.to_owned(),
        uid: owned.uid.clone(),
        unchanged: false,
    }
}

/// Objects to remove before the run continues: a canary of another run, which would stay in production without
/// validation, and objects of a former spec, which would add traffic or pods that the current spec does not ask for. If
/// the spec is unsound, its intent is unknown, so only a canary of another run is removed.
///
/// # Errors
///
/// The Kanary has to be read first: a controller that has not observed an edit would repeatedly remove what the new spec
/// asks for.
pub(super) fn remove(step: &Step<'_>) -> Result<Vec<Action>, Need> {
    let seen = step.seen;
    let canary = seen.canary.as_ref().filter(|canary| is_stale(step, canary));
    let mut actions: Vec<_> = canary
        .map(|canary| Action::Delete {
            object: ObjectKind::Workload(step.spec.canary.kind),
            name: step.spec.canary.name.clone(),
            uid: canary.uid.clone(),
            unchanged: false,
        })
        .into_iter()
        .collect();
    if step.spec.is_sound() {
        // Two autoscalers of one canary would conflict.
        let wanted = step.spec.scale.autoscaler();
        let is_former = |(kind, object): &(ObjectKind, &Owned)| {
            Some(*kind) != wanted && is_ours(step, object.owner.as_ref()) && !object.deleting
        };
        let former = seen.autoscalers().filter(is_former);
        actions.extend(former.map(|(kind, former)| delete((kind, &step.spec.canary.name), former)));
        actions.extend(seen.strays.iter().map(Stray::delete));
        let service = step.spec.kanary_service.as_ref().zip(seen.kanary_service.as_ref());
        let service = service.filter(|(_, service)| {
            is_ours(step, service.owner.as_ref()) && !service.deleting && services::is_of_former_run(step)
        });
        actions.extend(service.map(|(name, service)| delete((ObjectKind::Service, name), service)));
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
