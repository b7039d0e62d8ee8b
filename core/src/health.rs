//! Causes that keep a canary from becoming available, from its Deployment and its pods.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    api::Reason,
    integrity::canary,
    patience,
    status::{Draft, RECONCILING, STALLED, find},
    step::Step,
    workload,
};

/// Causes that last for less than this are not reported, because most resolve themselves.
const SHORT: Duration = Duration::from_secs(30);

/// Causes with the stage of a pod's life at which they stop it. Each is the reason of an Event.
pub(super) const CAUSES: [(Reason, u8); 13] = [
    (Reason::FailedCreate, 1),
    (Reason::StrategyChanged, 1),
    (Reason::Unschedulable, 2),
    (Reason::ImagePullBackOff, 3),
    (Reason::InvalidImageName, 3),
    (Reason::ErrImageNeverPull, 3),
    (Reason::ImageInspectError, 3),
    (Reason::RegistryUnavailable, 3),
    (Reason::CreateContainerConfigError, 3),
    (Reason::CreateContainerError, 3),
    (Reason::RunContainerError, 3),
    (Reason::PostStartHookError, 3),
    (Reason::CrashLoopBackOff, 4),
];

/// The stage of a pod's life at which the cause stops it, or 0 for an unknown cause. A report is replaced only by one
/// with a later stage, so alternating causes lead to a bounded number of reports.
fn stage(reason: Reason) -> u8 {
    let cause = CAUSES.iter().find(|(cause, _)| *cause == reason);
    cause.map_or(0, |(_, stage)| *stage)
}

/// Whether this reason is such a cause.
#[must_use]
pub fn is_cause(reason: &str) -> bool {
    Reason::parse(reason).is_some_and(|reason| stage(reason) > 0)
}

/// Reason and message of the current cause.
fn cause(step: &Step<'_>) -> Option<(Reason, String)> {
    let own = canary(step)?.cause.as_deref().map(|cause| ("", cause));
    let pods = &step.seen.pods;
    let pods = pods
        .iter()
        .filter_map(|pod| Some((pod.name.as_str(), pod.cause.as_deref()?)));
    let all = own.into_iter().chain(pods);
    let all = all.filter_map(|(pod, cause)| Some((pod, cause, Reason::parse(&cause.reason)?)));
    let Some((pod, cause, reason)) = all.max_by_key(|(_, _, reason)| stage(*reason)) else {
        return without_pods(step).map(|why| (Reason::FailedCreate, why));
    };
    let of_pod = if pod.is_empty() {
        String::new()
    } else {
        format!("pod {pod}: ")
    };
    Some((reason, format!("{of_pod}{reason}: {}", cause.message)))
}

/// Where to look for the reason that a canary has no pods, if its status does not have it.
fn without_pods(step: &Step<'_>) -> Option<String> {
    let is_bare = step.spec.scale.in_place().is_none() && step.seen.pods.is_empty();
    let canary = Some(&step.spec.canary).filter(|_| is_bare)?;
    workload::of(canary.kind).without_pods(canary)
}

/// For a canary that did not become available in time: the cause, or its progress.
pub(super) fn why(step: &Step<'_>) -> String {
    if let Some((_, message)) = cause(step) {
        return message;
    }
    let ready = step.seen.pods.iter().filter(|pod| pod.ready).count();
    match step.seen.pods.len() {
        0 => match step.kanary.status.in_place.as_deref() {
            Some(record) => format!(
                "it has no pod above ordinal {} any more: scale it up",
                record.partition - 1
            ),
            None => without_pods(step).unwrap_or_else(|| "it has no pods".to_owned()),
        },
        1 if ready == 0 => "its pod is not ready".to_owned(),
        1 => "its pod is ready and not available yet".to_owned(),
        pods => {
            let are = if ready == 1 { "is" } else { "are" };
            format!("{ready} of its {pods} pods {are} ready")
        }
    }
}

/// The result of reporting a cause.
#[derive(Default)]
pub(super) struct Report {
    /// Whether the draft contains the cause.
    pub(super) reported: bool,
    /// When the cause will be reported, unless it resolves itself.
    pub(super) wake: Option<Timestamp>,
}

/// Reports the cause after it has lasted for a while.
pub(super) fn report(step: &Step<'_>, draft: &mut Draft) -> Report {
    let Some(since) = patience::unavailable_since(step) else {
        return Report::default();
    };
    let stored =
        find(&step.kanary.status, STALLED).filter(|reported| reported.status == "True" && is_cause(&reported.reason));
    let stored = stored.and_then(|reported| Some((Reason::parse(&reported.reason)?, reported.message.clone())));
    let patience = SHORT.min(step.spec.progress_deadline / 2);
    let due = since.checked_add(patience).unwrap_or(since);
    let cause = cause(step);
    let (reason, message) = match (stored, cause) {
        (Some(reported), cause)
            if cause
                .as_ref()
                .is_none_or(|(reason, _)| stage(*reason) <= stage(reported.0)) =>
        {
            reported
        }
        (_, Some((reason, message))) if due <= step.now => (reason, full(step, &message)),
        (_, cause) => {
            return Report {
                reported: false,
                wake: cause.map(|_| due),
            };
        }
    };
    draft.set(STALLED, true, reason, &message);
    draft.clear(RECONCILING, reason, &message);
    Report {
        reported: true,
        wake: None,
    }
}

fn full(step: &Step<'_>, message: &str) -> String {
    let canary = &step.spec.canary;
    let end = patience::until(step).map_or(String::new(), |until| {
        format!("; the run fails at {until} if it stays so (spec.rollout.progressDeadline)")
    });
    format!("{canary} is not available: {message}{end}")
}
