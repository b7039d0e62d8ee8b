//! Status of a Deployment: whether it is available and rolled out, and why not.

use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::Deployment as KubeDeployment, apimachinery::pkg::util::intstr::IntOrString};
use kanary_core::{
    api::names,
    observation::{Cause, Versions},
};

use super::{annotation, cause, is_kanary};

/// How many pod templates a Deployment has had.
pub(super) fn versions(object: &KubeDeployment) -> Versions {
    if object.metadata.generation.is_some_and(|generation| generation <= 1) {
        return Versions::Untouched;
    }
    match annotation(&object.metadata, names::REVISION).and_then(|revision| revision.parse::<u64>().ok()) {
        Some(revision) if revision > 1 => Versions::Several,
        Some(_) if is_observed(object) => Versions::One,
        _ => Versions::Unknown,
    }
}

/// Why a Deployment has no pods, or why a canary cannot become fully available.
pub(super) fn failure(object: &KubeDeployment) -> Option<Cause> {
    if !is_whole(object) {
        return Some(Cause {
            reason: "StrategyChanged".to_owned(),
            message: "spec.strategy was changed, and a canary is available as a whole only with maxUnavailable 0"
                .to_owned(),
        });
    }
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    Some(cause("FailedCreate", failure.message.as_deref()))
}

/// Whether "available" means all replicas, as it does for every canary whose strategy was not edited.
fn is_whole(object: &KubeDeployment) -> bool {
    if !is_kanary(object.metadata.labels.as_ref()) {
        return true;
    }
    let strategy = object.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let Some(strategy) = strategy.filter(|strategy| strategy.type_.as_deref() != Some("Recreate")) else {
        return true;
    };
    let rolling = strategy.rolling_update.as_ref();
    match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(share)) => share.trim_end_matches('%') == "0",
        // The default is 25 %.
        None => false,
    }
}

/// When the current rollout last made progress.
pub(super) fn progressed(object: &KubeDeployment) -> Option<Timestamp> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let progressing = conditions.iter().find(|condition| condition.type_ == "Progressing")?;
    let at = progressing.last_update_time.as_ref().map(|time| time.0);
    at.filter(|_| is_observed(object) && !rolled_out(object))
}

/// Why pods of the current spec cannot be created.
pub(super) fn replica_failure(object: &KubeDeployment) -> Option<String> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure")?;
    let stands = failure.status == "True" && is_observed(object);
    stands.then(|| {
        failure
            .message
            .clone()
            .or_else(|| failure.reason.clone())
            .unwrap_or_default()
    })
}

pub(super) fn condition<'a>(object: &'a KubeDeployment, kind: &str) -> Option<(&'a str, &'a str, Option<Timestamp>)> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
    let since = condition.last_transition_time.as_ref().map(|time| time.0);
    Some((
        &condition.status,
        condition.reason.as_deref().unwrap_or_default(),
        since,
    ))
}

/// Since when a Deployment has been available, or unavailable, by its last reported condition. An available Deployment stays
/// available while its controller has not yet observed the newest spec, such as a new number of replicas.
///
/// A Deployment that gets new templates while it is available is available only once all its pods run the newest one.
pub(super) fn availability(object: &KubeDeployment) -> (Option<Timestamp>, Option<Timestamp>) {
    let (available, unavailable) = by_condition(object);
    let labels = object.metadata.labels.as_ref();
    if !labels.is_some_and(|labels| labels.contains_key(names::APPLIED)) {
        return (available, unavailable);
    }
    match updated(object) {
        Some(at) => {
            let later = |since: Option<Timestamp>| since.map(|since| since.max(at));
            (later(available), later(unavailable))
        }
        None => (None, progressed(object)),
    }
}

/// Since when all pods of a Deployment have been of its newest template.
fn updated(object: &KubeDeployment) -> Option<Timestamp> {
    let status = object.status.as_ref().filter(|_| is_observed(object))?;
    let mut conditions = status.conditions.iter().flatten();
    let complete = conditions.find(|condition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("NewReplicaSetAvailable")
    })?;
    let are_all = status.updated_replicas.unwrap_or_default() == status.replicas.unwrap_or_default();
    complete
        .last_update_time
        .as_ref()
        .filter(|_| are_all)
        .map(|time| time.0)
}

/// The same by the condition alone.
fn by_condition(object: &KubeDeployment) -> (Option<Timestamp>, Option<Timestamp>) {
    let available = object.status.as_ref().and_then(|status| status.available_replicas);
    match condition(object, "Available") {
        // A Deployment that is scaled to zero is reported as available, but proves nothing.
        Some(("True", _, since)) if available.unwrap_or_default() > 0 && is_whole(object) => (since, None),
        Some((_, _, since)) => (None, since),
        None => (None, None),
    }
}

pub(super) fn is_observed(object: &KubeDeployment) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed.unwrap_or_default() >= object.metadata.generation.unwrap_or_default()
}

/// As in `kubectl rollout status`: all replicas run the current template and are available, and no old replicas remain.
pub(super) fn rolled_out(object: &KubeDeployment) -> bool {
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = object.status.as_ref().filter(|_| is_observed(object)) else {
        return false;
    };
    let is_wanted = |count: Option<i32>| count.unwrap_or_default() == wanted;
    is_wanted(status.updated_replicas) && is_wanted(status.replicas) && is_wanted(status.available_replicas)
}
