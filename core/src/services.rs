//! Services and their pods: checks before a canary is created, during its validation, and before the target is promoted.

mod own;

use jiff::{SignedDuration, Timestamp};

pub(super) use self::own::{is_cut_off, is_of_former_run};
use super::{
    integrity::{self, is_ours},
    labels::{self, Labels},
    observation::{Pod, Service, Workload},
    problem::Problem,
    routing,
    status::{Draft, RUNNING, TRAFFIC, find, traffic_lost_since},
    step::Step,
    traffic,
};
use crate::api::{KanaryStatus, Reason, WorkloadRef, names};

/// Interval for checking a problem with a Service that the spec does not name, because its events do not reach the
/// Kanary.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// Problems with Services that prevent a canary or its promotion.
pub(super) fn obstacles(step: &Step<'_>, target: &Workload) -> Vec<Problem> {
    let unserved = if step.spec.traffic_needs_service() {
        production(step)
    } else {
        Vec::new()
    };
    // Problems of the Service with the template apply to the pods as well.
    let broken = if unserved.is_empty() { broken(step) } else { None };
    let named = step.seen.service.as_ref().filter(|_| !unserved.is_empty());
    let lost = would_be_lost(step, target, named.map(|service| service.name.as_str()));
    unserved.into_iter().chain(lost).chain(broken).collect()
}

/// When to check problems again that no watch event reports.
pub(super) fn look_again(step: &Step<'_>, target: &Workload) -> Option<Timestamp> {
    let unnamed = !would_be_lost(step, target, None).is_empty() || not_a_target(step, target).is_some();
    unnamed.then(|| step.now.checked_add(LOOK_AGAIN).ok())?
}

/// Problems that prevent the promotion of a good canary: a Service that serves the target would lose it, or the target is
/// a canary. Includes when to check again.
pub(super) fn before_promotion(step: &Step<'_>) -> Option<(Problem, Option<Timestamp>)> {
    let target = step.seen.target.as_ref().filter(|_| !step.spec.dry_run)?;
    let lost = would_be_lost(step, target, None);
    let problem = Problem::all(not_a_target(step, target).into_iter().chain(lost))?;
    Some((problem, look_again(step, target)))
}

/// A canary must not be a target: its template is not validated. Nor must the target of a front end. For every Service and every
/// watch of Kanary, pods with Kanary's labels belong to a canary.
pub(super) fn not_a_target(step: &Step<'_>, target: &Workload) -> Option<Problem> {
    let name = &step.spec.target;
    let is_own = step.spec.frame.is_some() && is_ours(step, target.owner.as_ref());
    let owner = target.owner_name.as_ref().filter(|_| !is_own);
    let canary_of = owner.or(step.seen.target_is_canary_of.as_ref());
    let is_labelled = target.labels.get(names::IS_KANARY).is_some_and(|value| value == "true");
    // What a front end owns and is no canary is its target.
    let is_target =
        |owner: &&String| routing::is_front_end(owner) && !is_labelled && step.seen.target_is_canary_of.is_none();
    if let Some(owner) = owner.filter(is_target) {
        let message = format!(
            "{name} belongs to {owner}, which promotes to it: put the new version there, or name another {}",
            name.kind
        );
        return Some(Problem::new(Reason::TargetOwned, message));
    }
    if canary_of.is_some() || is_labelled {
        return Some(Problem::new(Reason::TargetIsCanary, target_is_canary(name, canary_of)));
    }
    let (label, _) = target.pod_labels.iter().find(|(label, _)| names::is_reserved(label))?;
    let message = format!(
        "the pods of {name} carry the label {label}, which marks the pods of a canary: remove it from the pod \
         template of the {}",
        name.kind
    );
    Some(Problem::new(Reason::TargetIsCanary, message))
}

/// The message for a target that is a canary.
pub(super) fn target_is_canary(name: &WorkloadRef, owner: Option<&String>) -> String {
    let what = owner.map_or_else(|| "a canary".to_owned(), |owner| format!("the canary of {owner}"));
    format!(
        "{name} is {what}, and a canary is not promoted to: create another Kanary whose \
         spec.deploymentName is the {} that serves production",
        name.kind
    )
}

/// Problems with the production Service that the traffic source needs.
fn production(step: &Step<'_>) -> Vec<Problem> {
    let spec = step.spec;
    let Some(name) = &spec.service else {
        return Vec::new();
    };
    let one = |reason: Reason, message: String| vec![Problem::new(reason, message)];
    let Some(service) = step.seen.service.as_ref() else {
        let message = format!("Service {name} does not exist: create it, or change spec.serviceName");
        return one(Reason::ServiceNotFound, message);
    };
    if service.deleting {
        let message = format!("Service {name} is being deleted: create it again, or change spec.serviceName");
        return one(Reason::ServiceNotFound, message);
    }
    if let Some(problem) = routing::owned_service(step, service) {
        return vec![problem];
    }
    let portless = (spec.kanary_service.is_some() && service.ports.is_empty()).then(|| {
        let message = format!(
            "Service {name} has no ports, so the canary's own Service cannot have the same: add them, or use \
             spec.traffic.source service"
        );
        Problem::new(Reason::ServiceWithoutPorts, message)
    });
    portless.into_iter().chain(behind(step, service)).collect()
}

/// Why a canary, and later the target, would not be behind the production Service.
fn behind(step: &Step<'_>, service: &Service) -> Option<Problem> {
    let (spec, name) = (step.spec, &service.name);
    if !spec.in_production() {
        return None;
    }
    if service.external {
        let message = format!(
            "Service {name} is of type ExternalName, so no pod can be put behind it: name another in spec.serviceName"
        );
        return Some(Problem::new(Reason::ServiceWithoutSelector, message));
    }
    if service.selector.is_empty() {
        let message = format!("Service {name} has no selector, so no pod can be put behind it");
        return Some(Problem::new(Reason::ServiceWithoutSelector, message));
    }
    if is_about_canaries(service) {
        let message = format!(
            "Service {name} selects pods of canaries ({}), so it is not in front of {}: name the production \
             Service in spec.serviceName",
            labels::shown(&service.selector),
            spec.target
        );
        return Some(Problem::new(Reason::ServiceMismatch, message));
    }
    let template = spec.template.pod_labels();
    let missing = mismatch(&service.selector, &template)?;
    let message = format!(
        "Service {name} selects {}, and {}: set that label in the template, or remove it from the selector of the Service",
        missing.wanted,
        missing.found("the labels of spec.template.spec.template.metadata")
    );
    Some(Problem::new(Reason::ServiceMismatch, message))
}

/// A label in a selector that is missing in an object's labels.
struct Mismatch<'a> {
    name: &'a str,
    wanted: String,
    value: Option<&'a String>,
}

impl Mismatch<'_> {
    /// Describes that `whose` labels have another value or lack the label.
    fn found(&self, whose: &str) -> String {
        let Self { name, value, .. } = self;
        match value {
            Some(value) => format!("{whose} have {name}={value}"),
            None => format!("{whose} have no {name}"),
        }
    }
}

fn mismatch<'a>(selector: &'a Labels, labels: &'a Labels) -> Option<Mismatch<'a>> {
    let (name, wanted) = selector.iter().find(|(name, value)| labels.get(*name) != Some(value))?;
    Some(Mismatch {
        name,
        wanted: format!("{name}={wanted}"),
        value: labels.get(name),
    })
}

/// Services that select the target's pods now and would not select them with the template. Those in `reported` are not
/// repeated. A dry-run promotes nothing.
fn would_be_lost(step: &Step<'_>, target: &Workload, reported: Option<&str>) -> Vec<Problem> {
    if step.spec.dry_run {
        return Vec::new();
    }
    let (name, template) = (&step.spec.target, step.spec.template.pod_labels());
    let serving = services(step).filter(|service| {
        !service.deleting && Some(service.name.as_str()) != reported && service.selects(&target.pod_labels)
    });
    serving
        .filter_map(|service| {
            let missing = mismatch(&service.selector, &template)?;
            let message = format!(
                "Service {} selects {}, which the pods of {name} have now, and {}, so the promotion would take \
                 the target out of that Service: set that label in the template, or remove it from the selector of the \
                 Service",
                service.name,
                missing.wanted,
                missing.found("the labels of spec.template.spec.template.metadata")
            );
            Some(Problem::new(Reason::ServiceMismatch, message))
        })
        .collect()
}

/// The relevant Services of the namespace that no Kanary created.
pub(super) fn services<'a>(step: &Step<'a>) -> impl Iterator<Item = &'a Service> + use<'a> {
    // Pods of tracks are behind the Services that their user wants.
    let seen = Some(step.seen).filter(|_| step.spec.tracked.is_none());
    let named = seen.and_then(|seen| seen.service.as_ref());
    let others = seen.into_iter().flat_map(|seen| &seen.services);
    let others = others.filter(move |service| named.is_none_or(|named| named.name != service.name));
    named.into_iter().chain(others)
}

/// Whether a selector contains labels that only canaries have: such a Service is for canaries and not for
/// production.
pub(super) fn is_about_canaries(service: &Service) -> bool {
    service.selector.keys().any(|name| names::marks_canaries(name))
}

/// Why the canary's ready pods do not get exactly the requests that the spec asks for.
fn broken(step: &Step<'_>) -> Option<Problem> {
    own::changed(step).or_else(|| {
        let mut ready = step.seen.pods.iter().filter(|pod| pod.ready);
        ready.find_map(|pod| misplaced(step, pod))
    })
}

fn misplaced(step: &Step<'_>, pod: &Pod) -> Option<Problem> {
    let (spec, lost) = (step.spec, |message: String| {
        Some(Problem::new(Reason::TrafficLost, message))
    });
    if spec.in_production() {
        let service = step.seen.service.as_ref()?;
        let missing = mismatch(&service.selector, &pod.labels)?;
        return lost(format!(
            "Service {} selects {}, and {}, so the pod gets none of its requests: put the label back, or set spec.retry to \
             another number to run again with the labels that the Service selects now",
            service.name,
            missing.wanted,
            missing.found(&format!("the labels of Pod {} of the canary", pod.name))
        ));
    }
    if spec.scale.in_place().is_some() {
        // Pods of the target are in production by nature.
        return None;
    }
    let mut unwanted = services(step).filter(|service| {
        !is_about_canaries(service) && !spec.shares_service(&service.name) && service.selects(&pod.labels)
    });
    let service = unwanted.next()?;
    lost(format!(
        "Service {} selects Pod {} of the canary ({}), and spec.traffic.source {} asks for no such requests: narrow the \
         selector of the Service, or set spec.retry to another number to run again without these labels",
        service.name,
        pod.name,
        labels::shown(&service.selector),
        spec.traffic
    ))
}

/// Why the canary does not get the requests that the spec asks for.
fn lost(step: &Step<'_>, status: &KanaryStatus) -> Option<Problem> {
    let production = if step.spec.in_production() {
        production(step)
    } else {
        Vec::new()
    };
    production
        .into_iter()
        .next()
        .or_else(|| broken(step))
        .or_else(|| routing::lost(step, status))
}

/// The message for a canary behind the production Service without a target.
pub(super) fn serves_alone(step: &Step<'_>) -> String {
    let serves = integrity::canary(step).is_some_and(|canary| !canary.deleting) && step.spec.in_production();
    match &step.spec.service {
        Some(service) if serves => format!("; until then the canary alone gets the requests of Service {service}"),
        _ => String::new(),
    }
}

/// Since when the canary has not received the requests that the spec asks for, as far as `status` knows of its route. An unsound
/// spec does not say what it asks for and changes nothing.
pub(super) fn lost_since(step: &Step<'_>, status: &KanaryStatus) -> Option<Timestamp> {
    let stored = traffic_lost_since(&step.kanary.status);
    if step.spec.is_sound() {
        lost(step, status).map(|_| stored.unwrap_or(step.now))
    } else {
        stored
    }
}

/// Shows in the `Traffic` condition of a running run whether the traffic is as requested.
pub(super) fn show(step: &Step<'_>, draft: &mut Draft) {
    if let Some(problem) = lost(step, &draft.status).filter(|_| step.spec.is_sound()) {
        return draft.set(TRAFFIC, false, problem.reason, problem.message);
    }
    // An unsound spec does not show what was requested.
    let source = step
        .kanary
        .traffic_of_run(step.spec)
        .and_then(|key| key.split(' ').next());
    let (reason, what) = match source {
        None => (Reason::NoTrafficRequested, "the canary gets no traffic".to_owned()),
        Some("none") if step.spec.scale.in_place().is_some() => {
            let what = format!(
                "the pods keep the requests that they get as pods of {}",
                step.spec.target
            );
            (Reason::NoTrafficRequested, what)
        }
        Some("none") => {
            let what = "spec.traffic.source is none, so the canary gets no traffic";
            (Reason::NoTrafficRequested, what.to_owned())
        }
        Some(source) => {
            let what = routing::shown(step, &draft.status);
            let what = what.unwrap_or_else(|| format!("traffic from source {source}"));
            let what = format!("the canary gets {what}{}", restored(step));
            (Reason::TrafficSet, what)
        }
    };
    draft.set(TRAFFIC, reason == Reason::TrafficSet, reason, what + &shared(step));
}

/// Since when the canary gets its traffic again, if it did not for a part of the run.
fn restored(step: &Step<'_>) -> String {
    let status = &step.kanary.status;
    let (traffic, running) = (find(status, TRAFFIC), find(status, RUNNING));
    let since = match (traffic, running) {
        (Some(traffic), _) if traffic.status == "False" => Some(step.now),
        (Some(traffic), Some(running)) if traffic.last_transition_time > running.last_transition_time => {
            Some(traffic.last_transition_time.0)
        }
        _ => None,
    };
    since.map_or_else(String::new, |since| {
        format!(" again since {since:.0}, and a whole validation period counts from then")
    })
}

/// The same if the condition already exists.
pub(super) fn show_again(step: &Step<'_>, draft: &mut Draft) {
    if step.spec.is_sound() && find(&draft.status, TRAFFIC).is_some() {
        show(step, draft);
    }
}

/// A note that the target's selector also selects the canary's pods, because their labels do not differ.
fn shared(step: &Step<'_>) -> String {
    let spec = step.spec;
    let by_nature = spec.tracked.is_some() || spec.scale.in_place().is_some();
    let shared = step.seen.target.as_ref().filter(|_| !by_nature);
    let shared = shared.and_then(|target| traffic::shared_selector(spec, step.seen, target));
    let Some(selector) = shared else {
        return String::new();
    };
    let why = match (&spec.service, spec.in_production()) {
        (Some(service), true) => format!("Service {service} needs its labels"),
        _ => "it does not ask for any label".to_owned(),
    };
    format!(
        "; the selector of {} ({selector}) selects the canary's pods too, because {why}: autoscalers of the target \
         count them",
        spec.target
    )
}
