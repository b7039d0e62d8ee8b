//! Removal of a failed canary from production: by removing labels from its pods, or, if that fails, by deletion.
//!
//! Every failed way is remembered with its time ([`Ways`]), so that the next decision immediately tries another one. The
//! attempts do not depend on other writes that the API server refuses.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};

use super::{
    decision::{Action, Decision, Need, ObjectKind},
    integrity::{is_of_later_run, is_of_run, is_ours, is_own_canary},
    observation::{Attempt, Pod, Versions, Ways, Workload},
    problem::{Problem, set_problem, with_late_verdict},
    routing, services,
    status::{ACTIVATED, Draft, FAILED, TRAFFIC, find, is_true},
    step::Step,
};
use crate::api::{
    Reason,
    names::{self, POD_TEMPLATE_HASH, RUN},
};

/// A retained canary is not scaled down because of one failed call: removing its labels is tried this many times,
const TRIES: u32 = 3;
/// over this period,
const PATIENCE: SignedDuration = SignedDuration::from_secs(3);
/// with this pause between attempts.
const PAUSE: SignedDuration = SignedDuration::from_millis(500);
/// Delay before a failed way is tried again, after all others have failed.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// Delay before labels are tried again while the pods are being removed.
const AGAIN_MEANWHILE: SignedDuration = SignedDuration::from_secs(30);

/// A canary that is being removed from production.
struct Leaver<'a> {
    /// Pods that a Service selects, with the labels to remove.
    pods: Vec<(&'a Pod, Vec<String>)>,
    /// Its Deployment, if that is ours and not being deleted.
    deployment: Option<&'a Workload>,
    /// Whether to keep the Deployment.
    retain: bool,
    /// Whether the status refers to it.
    is_present: bool,
}

/// A way out of production.
enum Way {
    Labels,
    Deletion,
    Scale,
}

/// What remains to be watched of a canary that leaves production, while the rest of the clean-up continues.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// When to decide again.
    pub wake: Option<Timestamp>,
    /// Pods that still receive requests although every possible action is done.
    pub problem: Option<Problem>,
}

/// Removes the canary of this run and pods of former runs from production. Returns a decision, or what remains to be
/// watched. `retain` keeps the canary of this run.
pub(super) fn all(step: &Step<'_>, draft: &Draft, retain: bool) -> ControlFlow<Decision, Rest> {
    let deployment = present(step).filter(|canary| !is_of_later_run(step, &canary.labels));
    let leaver = Leaver {
        pods: behind(step, |_| true),
        deployment,
        retain: retain && deployment.is_some_and(|canary| is_of_run(step, canary)),
        is_present: true,
    };
    if leaver.pods.is_empty() && leaver.retain && !step.seen.pods_confirmed {
        // A watch may be behind unnoticed, and nothing else would remove these pods.
        return ControlFlow::Break(Decision::needing(Need::LivePods));
    }
    leave(step, draft, &leaver)
}

/// Removes leftovers of former runs from production, whatever else this run waits for: canaries that failed or were
/// changed by another client and could not leave before this run started, and pods that their ReplicaSet released, which
/// are not validated and would stay after their canary is deleted.
pub(super) fn left_before(step: &Step<'_>) -> Option<Decision> {
    if routing::leads_to_former_pods(step) {
        // The route goes first.
        return None;
    }
    let present_run = step.kanary.run(step.spec);
    // `status.failedTemplates` does not contain the template of a changed canary, because it did not fail.
    let changed = present(step).filter(|canary| canary.versions == Versions::Several);
    let changed = changed.and_then(|canary| canary.labels.get(RUN));
    let failed = |run: &String| {
        let (template, _) = run.rsplit_once('-').unwrap_or((run, ""));
        let failed = &step.kanary.status.failed_templates;
        // Nor does it contain the template of a run that failed for another reason, or did not end. Its canary is deleted before
        // the present one is created. If that is refused, it must not stay in production.
        let is_refused = step.refused().is_some();
        let is_bad = is_refused || changed == Some(run) || failed.iter().any(|hash| hash == template);
        *run != present_run && is_bad
    };
    let is_left_behind = |pod: &Pod| pod.is_set_aside() && pod.labels.get(RUN) != Some(&present_run);
    let leaver = Leaver {
        pods: behind(step, |pod| {
            is_left_behind(pod) || pod.labels.get(RUN).is_some_and(failed)
        }),
        deployment: present(step).filter(|canary| canary.labels.get(RUN).is_some_and(failed)),
        retain: false,
        is_present: false,
    };
    let draft = step.draft();
    match leave(step, &draft, &leaver) {
        ControlFlow::Break(decision) => Some(decision),
        ControlFlow::Continue(rest) => rest.problem.map(|problem| hold(step, draft, &problem, rest.wake)),
    }
}

/// Removes pods that the canary's ReplicaSet released from production, after a successful run. A client changed a label
/// in the selector, so deleting the canary does not delete them. Pods with a controller stay until that deletes them, and
/// terminating pods need no action.
pub(super) fn set_aside(step: &Step<'_>, draft: &Draft) -> ControlFlow<Decision, Rest> {
    let leaver = Leaver {
        pods: behind(step, Pod::is_set_aside),
        deployment: None,
        retain: false,
        is_present: false,
    };
    leave(step, draft, &leaver)
}

/// Reports in the status of a failed run why removing labels was not enough, unless it is already reported.
pub(super) fn explain(step: &Step<'_>, draft: &mut Draft) {
    let is_reported = find(&draft.status, TRAFFIC)
        .is_some_and(|c| c.reason == Reason::LeftByDeletion || c.reason == Reason::LeftByScale);
    if is_reported || step.seen.ways.labels.is_none() || !is_true(&draft.status, FAILED) {
        return;
    }
    match present(step) {
        None => say(step, draft, Reason::LeftByDeletion),
        Some(canary) if canary.replicas == 0 => say(step, draft, Reason::LeftByScale),
        Some(_) => {}
    }
}

/// Reports in the status of a failing run that its canary is retained, and how to remove it.
pub(super) fn announce_retained(step: &Step<'_>, draft: &mut Draft) {
    if is_retained(step) {
        draft.set(ACTIVATED, false, Reason::CanaryRetained, retained(step));
    }
}

/// Updates that report when Services change, and clears it once the canary is deleted or about to be.
pub(super) fn follow_retained(step: &Step<'_>, draft: &mut Draft) {
    let is_reported =
        find(&draft.status, ACTIVATED).is_some_and(|condition| condition.reason == Reason::CanaryRetained);
    if is_reported && is_retained(step) {
        draft.set(ACTIVATED, false, Reason::CanaryRetained, retained(step));
    } else if is_reported {
        draft.set(ACTIVATED, false, Reason::RunFailed, "the run has ended");
    }
}

/// The message about a retained canary. It stays behind Services for canaries.
fn retained(step: &Step<'_>) -> String {
    let pods = &step.seen.pods;
    let mut meant: Vec<_> = services::services(step)
        .filter(|service| services::is_about_canaries(service) && pods.iter().any(|pod| service.selects(&pod.labels)))
        .map(|service| service.name.as_str())
        .collect();
    meant.sort_unstable();
    let requests = match meant.as_slice() {
        [] => "gets no requests".to_owned(),
        these => format!(
            "gets the requests of Service {}, which selects canaries by labels of {}",
            these.join(", "),
            names::GROUP
        ),
    };
    format!(
        "{} is kept and {requests}, because spec.rollout.onFailure is retain: to remove it, set onFailure to delete, or \
         delete this Kanary",
        step.spec.canary
    )
}

fn is_retained(step: &Step<'_>) -> bool {
    step.spec.retain_failed && present(step).is_some_and(|canary| is_of_run(step, canary))
}

fn present<'a>(step: &Step<'a>) -> Option<&'a Workload> {
    // In place, pods of the target are shown as the canary. They stay in production, and get their former template back.
    let canary = step
        .seen
        .canary
        .as_ref()
        .filter(|_| step.spec.scale.in_place().is_none())?;
    (is_own_canary(step, canary) && !canary.deleting).then_some(canary)
}

/// Pods behind a Service that no Kanary created, with the labels that the Service selects.
fn behind<'a>(step: &Step<'a>, which: impl Fn(&Pod) -> bool) -> Vec<(&'a Pod, Vec<String>)> {
    let services: Vec<_> = services::services(step)
        .filter(|service| !services::is_about_canaries(service))
        .collect();
    let pods = step.seen.pods.iter().filter(|_| step.spec.scale.in_place().is_none());
    let pods = pods.chain(&step.seen.other_pods);
    pods.filter(|pod| which(pod) && !is_of_later_run(step, &pod.labels))
        .filter_map(|pod| {
            let selecting = services.iter().filter(|service| service.selects(&pod.labels));
            let mut labels: Vec<_> = selecting.flat_map(|service| service.selector.keys().cloned()).collect();
            labels.sort();
            labels.dedup();
            (!labels.is_empty()).then_some((pod, labels))
        })
        .collect()
}

/// The next step for a canary that leaves production.
fn leave(step: &Step<'_>, draft: &Draft, leaver: &Leaver<'_>) -> ControlFlow<Decision, Rest> {
    if leaver.pods.is_empty() {
        return ControlFlow::Continue(Rest::default());
    }
    let tried_ways = &step.seen.ways;
    let going = leaver.deployment.is_none_or(|canary| canary.replicas == 0);
    let patient = leaver.retain && tried_ways.labels.as_ref().is_some_and(|tried| !is_given_up(tried));
    let mut ways = vec![(Way::Labels, tried_ways.labels.as_ref())];
    if !going && !patient {
        ways.push((Way::Deletion, tried_ways.deletion.as_ref()));
        if step.spec.canary.kind.has_replicas() {
            let place = if leaver.retain { 1 } else { 2 };
            ways.insert(place, (Way::Scale, tried_ways.scale.as_ref()));
        }
    }
    let pause = match (going, patient) {
        (_, true) => PAUSE,
        (true, _) => AGAIN_MEANWHILE,
        _ => AGAIN,
    };
    let mut next: Option<Timestamp> = None;
    for (way, tried) in ways {
        let open_at = tried.and_then(|tried| tried.last.checked_add(pause).ok());
        if let Some(at) = open_at.filter(|at| *at > step.now) {
            next = Some(next.map_or(at, |next| next.min(at)));
            continue;
        }
        let actions = actions(step, leaver, &way);
        if !actions.is_empty() {
            return ControlFlow::Break(act(step, draft.clone(), leaver, &way, actions));
        }
    }
    if going {
        return ControlFlow::Continue(going_away(step, leaver, next));
    }
    ControlFlow::Break(if patient {
        Decision {
            wake: next,
            ..Decision::default()
        }
    } else {
        hold(step, draft.clone(), &still_serving(step, leaver), next)
    })
}

/// Pods whose Deployment is deleted or has no replicas receive requests until they terminate, which other controllers
/// ensure.
fn going_away(step: &Step<'_>, leaver: &Leaver<'_>, next: Option<Timestamp>) -> Rest {
    let tried = step.seen.ways.labels.as_ref();
    let grace = tried.and_then(|tried| tried.last.checked_add(AGAIN).ok());
    let serves = leaver.pods.iter().any(|(pod, _)| pod.ready);
    let Some(grace) = grace.filter(|_| serves) else {
        return Rest::default();
    };
    let waits = grace > step.now;
    Rest {
        wake: if waits { Some(grace) } else { next },
        problem: (!waits).then(|| still_serving(step, leaver)),
    }
}

fn is_given_up(tried: &Attempt) -> bool {
    tried.refused || tried.times >= TRIES || tried.last.duration_since(tried.first) >= PATIENCE
}

fn actions(step: &Step<'_>, leaver: &Leaver<'_>, way: &Way) -> Vec<Action> {
    let name = &step.spec.canary;
    match (way, leaver.deployment) {
        (Way::Labels, _) => leaver
            .pods
            .iter()
            .filter_map(|(pod, labels)| unlabel(pod, labels))
            .collect(),
        (Way::Deletion, Some(canary)) => vec![Action::Delete {
            object: ObjectKind::Workload(name.kind),
            name: name.name.clone(),
            uid: canary.uid.clone(),
            unchanged: false,
        }],
        (Way::Scale, Some(canary)) => {
            let scale = Action::ScaleCanary {
                canary: name.clone(),
                uid: canary.uid.clone(),
                replicas: 0,
            };
            scaled_up_by(step).into_iter().chain([scale]).collect()
        }
        _ => Vec::new(),
    }
}

/// The removal of the canary's ScaledObject: KEDA scales up what has fewer pods than its minimum, also 0. A HorizontalPodAutoscaler
/// leaves it at 0.
fn scaled_up_by(step: &Step<'_>) -> Option<Action> {
    let object = step.seen.scaled_object.as_ref();
    let object = object.filter(|object| is_ours(step, object.owner.as_ref()) && !object.deleting)?;
    Some(Action::Delete {
        object: ObjectKind::ScaledObject,
        name: step.spec.canary.name.clone(),
        uid: object.uid.clone(),
        unchanged: false,
    })
}

/// Labels that identify the pod's owner stay: without them its ReplicaSet would create another pod, unless it already
/// released this one.
fn unlabel(pod: &Pod, labels: &[String]) -> Option<Action> {
    let removable = labels
        .iter()
        .filter(|name| !names::is_reserved(name) && (pod.released || *name != POD_TEMPLATE_HASH));
    let labels: Vec<_> = removable.cloned().collect();
    (!labels.is_empty()).then(|| Action::Unlabel {
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        labels,
    })
}

fn act(step: &Step<'_>, mut draft: Draft, leaver: &Leaver<'_>, way: &Way, actions: Vec<Action>) -> Decision {
    match way {
        Way::Deletion if leaver.is_present => say(step, &mut draft, Reason::LeftByDeletion),
        Way::Scale if leaver.is_present => say(step, &mut draft, Reason::LeftByScale),
        _ => {}
    }
    Decision {
        actions,
        leaves: true,
        ..step.write(draft)
    }
}

/// Why removing labels was not enough. This is stored only after the canary has left in another way.
fn say(step: &Step<'_>, draft: &mut Draft, reason: Reason) {
    let canary = &step.spec.canary;
    let done = match reason {
        Reason::LeftByDeletion => format!("{canary} was deleted"),
        _ => format!("{canary} was scaled to 0"),
    };
    let why = step.seen.ways.labels.as_ref();
    let why = why.map_or("its pods have no label that can be taken off", |tried| {
        tried.message.as_str()
    });
    let message = format!("{done}, because its pods could not leave production by their labels: {why}");
    draft.set(TRAFFIC, false, reason, message);
}

/// No action is possible for now, and pods of a failed canary still receive requests.
fn hold(step: &Step<'_>, mut draft: Draft, problem: &Problem, wake: Option<Timestamp>) -> Decision {
    let all = with_late_verdict(&draft.status, problem);
    set_problem(&mut draft, all.as_ref());
    Decision {
        wake,
        ..step.write(draft)
    }
}

fn still_serving(step: &Step<'_>, leaver: &Leaver<'_>) -> Problem {
    let pods: Vec<_> = leaver.pods.iter().map(|(pod, _)| pod.name.as_str()).collect();
    let (shown, they) = match pods.as_slice() {
        [first, _, ..] => {
            let more = pods.len().saturating_sub(1);
            (format!("Pod {first} and {more} more still get"), "they")
        }
        [pod] => (format!("Pod {pod} still gets"), "it"),
        [] => (String::new(), "it"),
    };
    let Ways {
        labels,
        deletion,
        scale,
    } = &step.seen.ways;
    let tried = [labels, deletion, scale].into_iter().flatten();
    let tried: Vec<_> = tried.map(|tried| tried.message.as_str()).collect();
    let message = format!(
        "{shown} production requests though {they} should get none, and this is tried again every few seconds: {}",
        tried.join("; ")
    );
    Problem::new(Reason::CanaryStillServing, message)
}
