//! Activation: creates the canary, its Service and its autoscaler, or reports what prevents that.

mod in_place;
mod tracked;

pub(super) use tracked::foreign as foreign_tracks;

use jiff::{SignedDuration, Timestamp};

use super::{
    activation::Activation,
    bootstrap,
    decision::{Action, Need, ObjectKind},
    integrity::{canary, is_of_run, is_ours, is_own_canary, target_changed_message},
    nodes::Choice,
    observation::{Keda, Owned, Workload},
    overdue, patience, placement,
    problem::Problem,
    restoring, routing, services,
    spec::Spec,
    step::Step,
    traffic, workload,
};
use crate::api::Reason;

/// Number of objects that a run creates.
#[must_use]
pub(crate) fn objects(spec: &Spec) -> usize {
    1 + usize::from(spec.kanary_service.is_some()) + usize::from(spec.scale.autoscaler().is_some())
}

/// Whether a canary belonged to a deleted Kanary with the same name. The garbage collector deletes it, and the watch
/// reports that.
fn is_leftover(step: &Step<'_>, canary: &Workload) -> bool {
    belonged_to_a_former_kanary(step, canary.owner_name.as_ref())
}

/// Whether an object that is not ours has an owner with our kind and name, which has been deleted.
pub(super) fn belonged_to_a_former_kanary(step: &Step<'_>, owner_name: Option<&String>) -> bool {
    let key = &step.kanary.key;
    owner_name.is_some_and(|owner| *owner == format!("{}/{}", key.kind, key.name))
}

/// Decides what is missing before the validation of the canary can start.
pub(super) fn decide(step: &Step<'_>) -> Activation {
    if let Some(problem) = step.unsound() {
        return Activation::blocked(problem);
    }
    if step.spec.tracked.is_some() {
        return tracked::decide(step);
    }
    let Some(target) = step.seen.target.as_ref().filter(|target| !target.deleting) else {
        return bootstrap::without_target(step);
    };
    let is_in_place = step.kanary.status.in_place.is_some();
    if !is_in_place && let Some(activation) = bootstrap::of_created(step, target) {
        return activation;
    }
    if let Some(pods) = step.spec.scale.in_place() {
        return in_place::decide(step, target, pods);
    }
    target_changed(step, target).unwrap_or_else(|| beside(step, target))
}

/// Decides what is missing of a canary beside the target.
fn beside(step: &Step<'_>, target: &Workload) -> Activation {
    if let Some(blocked) = step.blocked() {
        return Activation {
            wake: patience::next(step, blocked.retry_at),
            ..Activation::problem(blocked.reason, blocked.message.clone())
        };
    }
    let route = match routing::obstacle(step) {
        Ok(route) => route,
        Err(need) => {
            return Activation {
                needs: Some(need),
                ..Activation::default()
            };
        }
    };
    let (route, look) = route.map_or((None, None), |(problem, look)| (Some(problem), look));
    // A canary that starts now would be compared with a template that nothing has proven.
    let foreign = canary(step)
        .is_none()
        .then(|| restoring::foreign_in_place(step, target))
        .flatten();
    if let Some(problem) = Problem::all(obstacles(step, target).into_iter().chain(foreign).chain(route)) {
        return Activation {
            // An elapsed deadline needs no wake-up: it takes effect once the problem is fixed.
            wake: [
                patience::until(step).filter(|until| *until > step.now),
                services::look_again(step, target),
                look,
            ]
            .into_iter()
            .flatten()
            .min(),
            problem: Some(problem),
            ..Activation::default()
        };
    }
    let choice = match prepared(step, target) {
        Ok(choice) => choice,
        Err(waits) => return *waits,
    };
    let actions = missing(step, target, choice.as_ref());
    unless_late(step, actions, patience::until(step))
}

/// The writes, unless it is too late for the canary, or a write was refused.
fn unless_late(step: &Step<'_>, actions: Vec<Action>, wake: Option<Timestamp>) -> Activation {
    // A creation that failed may have been executed all the same.
    let is_uncreated = actions.iter().any(|action| matches!(action, Action::Create { .. }));
    let uncreated = is_uncreated
        .then(|| overdue::uncreated(step, Need::LiveCanary))
        .flatten();
    if let Some(late) = uncreated.or_else(|| overdue::late(step)) {
        return late;
    }
    if let Some(refusal) = step.refused() {
        return Activation {
            wake: patience::next(step, refusal.retry_at),
            ..Activation::problem(refusal.reason, refusal.message.clone())
        };
    }
    Activation {
        actions,
        wake,
        ..Activation::default()
    }
}

/// What is needed before the canary is created or changed: the nodes that it gets, if they are to be chosen now.
fn prepared(step: &Step<'_>, target: &Workload) -> Result<Option<Choice>, Box<Activation>> {
    match volumes_remain(step, target) {
        Some(waits) => Err(Box::new(waits)),
        None => placement::settle(step, target),
    }
}

/// How soon the claims of earlier canaries are looked for again.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// Volumes of an earlier canary have its data, and the names of the next one's. Volumes of others that have such a name would be
/// deleted with the canary.
fn volumes_remain(step: &Step<'_>, target: &Workload) -> Option<Activation> {
    let (spec, is_new) = (step.spec, step.seen.canary.is_none());
    let grows = resized(step, target).is_some_and(|(canary, replicas)| replicas > canary.replicas);
    if !(is_new || grows) || !workload::of(spec.canary.kind).has_claims(&spec.template) {
        return None;
    }
    let Some(claims) = &step.seen.claims else {
        return Some(overdue::unconfirmed(Need::Claims));
    };
    let (reason, message) = if let Some(first) = claims.others.first() {
        let message = format!(
            "PersistentVolumeClaim {first} is not this Kanary's, and a pod of {} would get it, and it would be deleted with the canary: \
             rename the Kanary, or keep the data under another name and delete the claim",
            spec.canary
        );
        (Reason::NameTaken, message)
    } else {
        let first = claims.earlier.first().filter(|_| is_new)?;
        let message = format!(
            "{} volume claims of an earlier canary exist ({first}), and the canary would get their data: delete them if Kubernetes does not",
            claims.earlier.len()
        );
        (Reason::VolumesRemain, message)
    };
    Some(patience::look_again(step, LOOK_AGAIN, reason, message))
}

/// The canary of the run, if it should have another number of pods, with that number.
fn resized<'a>(step: &Step<'a>, target: &Workload) -> Option<(&'a Workload, i32)> {
    let canary = step.seen.canary.as_ref().filter(|canary| is_of_run(step, canary))?;
    if !step.spec.canary.kind.has_replicas() {
        return None;
    }
    let wanted = step.spec.scale.replicas(target.replicas)?;
    (wanted != canary.replicas).then_some((canary, wanted))
}

fn target_changed(step: &Step<'_>, target: &Workload) -> Option<Activation> {
    let of_canary = step.seen.canary.as_ref().filter(|canary| is_of_run(step, canary));
    let started_with = step
        .kanary
        .status
        .target_hash
        .as_ref()
        .or_else(|| of_canary.and_then(|canary| canary.target_hash.as_ref()))?;
    if step.spec.promote_over_change || *started_with == target.template_hash {
        return None;
    }
    if !step.seen.target_confirmed {
        // A replica that takes over the run may know an older target than the one at the start of the run.
        return Some(Activation {
            needs: Some(Need::Target),
            ..Activation::default()
        });
    }
    Some(Activation::failed(Reason::TargetChanged, target_changed_message(step)))
}

/// All problems that prevent the start and that the controller must not fix itself.
fn obstacles(step: &Step<'_>, target: &Workload) -> Vec<Problem> {
    let spec = step.spec;
    let mut obstacles = Vec::new();
    if spec.canary == spec.target && spec.scale.in_place().is_none() {
        obstacles.push(Problem::new(
            Reason::NameTaken,
            "the canary would have the target's name",
        ));
    }
    if let Some(problem) = services::not_a_target(step, target) {
        return vec![problem];
    }
    obstacles.extend(mismatch(step, target));
    obstacles.extend(services::obstacles(step, target));
    let clashes = workload::of(spec.canary.kind).clashes(&spec.template, &spec.target, target);
    obstacles.extend(clashes.map(|message| Problem::new(Reason::HostPortTaken, message)));
    obstacles.extend(without_keda(step));
    obstacles.extend(names_taken(step));
    obstacles
}

/// Why the canary cannot have its ScaledObject.
fn without_keda(step: &Step<'_>) -> Option<Problem> {
    let (reason, message) = match step.seen.keda {
        Keda::Served => return None,
        Keda::Missing => (
            Reason::KedaMissing,
            "spec.scale.keda needs ScaledObjects of keda.sh/v1alpha1, and this cluster does not have the CustomResourceDefinition \
             scaledobjects.keda.sh: install KEDA, or use another scale",
        ),
        Keda::Off => (
            Reason::KedaDisabled,
            "spec.scale.keda is off in this installation: start the controller with --keda (keda.enabled in the values of the chart), or \
             use another scale",
        ),
    };
    let wants = step.spec.scale.autoscaler() == Some(ObjectKind::ScaledObject);
    wants.then(|| Problem::new(reason, message))
}

/// Why the API server would refuse the template for this target.
pub(super) fn mismatch(step: &Step<'_>, target: &Workload) -> Option<Problem> {
    let labels = step.spec.template.pod_labels();
    let selector = target.selector.as_ref();
    let Some(selector) = selector.filter(|selector| !selector.selector.matches(&labels)) else {
        let spec = step.spec;
        let differs = workload::of(spec.target.kind).differs(&spec.template, &spec.target, target);
        return differs.map(|message| Problem::new(Reason::TemplateMismatch, message));
    };
    Some(Problem::new(
        Reason::TemplateMismatch,
        format!(
            "the labels of spec.template.spec.template.metadata do not match the selector of {} ({}), so it could \
             not be promoted: add them",
            step.spec.target, selector.shown
        ),
    ))
}

fn names_taken(step: &Step<'_>) -> Vec<Problem> {
    let seen = step.seen;
    let is_foreign = |object: &&Owned| {
        !is_ours(step, object.owner.as_ref()) && !belonged_to_a_former_kanary(step, object.owner_name.as_ref())
    };
    let foreign_canary = seen.canary.as_ref().filter(|canary| !is_own_canary(step, canary));
    let canary = foreign_canary
        .filter(|canary| !is_leftover(step, canary))
        .map(|canary| {
            let named = [&canary.owner_name, &canary.other_controller, &canary.owner];
            name_taken(step.spec.canary.kind.as_str(), &step.spec.canary.name, named)
        });
    let of_owned = |kind: &str, name: &String, object: Option<&Owned>| {
        let object = object.filter(is_foreign)?;
        let named = [&object.owner_name, &object.other_controller, &object.owner];
        Some(name_taken(kind, name, named))
    };
    let service = step.spec.kanary_service.as_ref();
    let service = service.and_then(|name| of_owned("Service", name, seen.kanary_service.as_ref()));
    let mut autoscalers = seen.autoscalers();
    let autoscaler = autoscalers.find(|(kind, _)| step.spec.scale.autoscaler() == Some(*kind));
    let autoscaler =
        autoscaler.and_then(|(kind, object)| of_owned(kind.as_str(), &step.spec.canary.name, Some(object)));
    [canary, service, autoscaler].into_iter().flatten().collect()
}

/// Another object has the name of one of ours. `named` are descriptions of its owner, the most specific first.
fn name_taken(kind: &str, name: &str, named: [&Option<String>; 3]) -> Problem {
    let whose = named.into_iter().flatten().next().map_or_else(
        || "has no owner, so it is not this Kanary's".to_owned(),
        |owner| format!("belongs to {owner}, not to this Kanary"),
    );
    Problem::new(
        Reason::NameTaken,
        format!("{kind} {name} exists and {whose}: rename one of the two, or delete it"),
    )
}

/// The objects that do not exist yet. The Service comes first, so that it exists when the first pod becomes ready.
fn missing(step: &Step<'_>, target: &Workload, choice: Option<&Choice>) -> Vec<Action> {
    let (canary, spec, seen) = (step.kanary, step.spec, step.seen);
    let mut actions = Vec::new();
    if let (Some(name), None, Some(production)) = (&spec.kanary_service, &seen.kanary_service, &seen.service) {
        actions.push(Action::Create {
            object: ObjectKind::Service,
            name: name.clone(),
            manifest: traffic::kanary_service(canary, spec, name, production),
        });
    }
    if seen.canary.is_none() {
        actions.push(Action::Create {
            object: ObjectKind::Workload(spec.canary.kind),
            name: spec.canary.name.clone(),
            manifest: traffic::canary_workload(canary, spec, seen, target, choice),
        });
    }
    let placed = seen.canary.as_ref().zip(choice);
    actions.extend(placed.map(|(existing, choice)| placement::place(step, existing, choice)));
    if let Some((existing, replicas)) = resized(step, target) {
        actions.push(Action::ScaleCanary {
            canary: spec.canary.clone(),
            uid: existing.uid.clone(),
            replicas,
        });
    }
    // A canary never has two autoscalers, also while that of a former spec is being deleted.
    let mut autoscalers = seen.autoscalers();
    let blocks = |(kind, object): (ObjectKind, &Owned)| {
        Some(kind) == spec.scale.autoscaler() || is_ours(step, object.owner.as_ref())
    };
    if let Some((object, manifest)) = traffic::autoscaler(canary, spec, target)
        && !autoscalers.any(blocks)
    {
        actions.push(Action::Create {
            object,
            name: spec.canary.name.clone(),
            manifest,
        });
    }
    actions
}
