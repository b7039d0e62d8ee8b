//! The ReplicaSet controller.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::claim::{claim, controller_of, delete_pod, ready_since, second, unless_gone};
use crate::{cluster::Cluster, failure::Failure, store::Place};

const ACTOR: &str = "system:serviceaccount:kube-system:replicaset-controller";
const FAILURE: &str = "ReplicaFailure";

/// Reconciles a ReplicaSet and returns when to reconcile it again.
pub(super) fn sync(cluster: &Cluster, place: &Place) -> Result<Option<Duration>, Failure> {
    let Some(set) = cluster.get::<ReplicaSet>(&place.0, &place.1) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else { return Ok(None) };
    let mut pods: Vec<Arc<Pod>> = claim(cluster, ACTOR, &*set, &spec.selector)?;
    pods.retain(|pod| is_active(pod));
    let managed = if set.metadata.deletion_timestamp.is_none() {
        manage(cluster, &set, spec, &pods)
    } else {
        Ok(())
    };
    let (status, next) = status(cluster, &set, spec, &pods, managed.as_ref().err());
    if set.status.as_ref() != Some(&status) {
        let mut written = Arc::unwrap_or_clone(set);
        written.status = Some(status);
        unless_gone(cluster.update_status(ACTOR, written))?;
    }
    managed.map(|()| next)
}

fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// Creates missing pods or deletes surplus pods.
fn manage(cluster: &Cluster, set: &ReplicaSet, spec: &ReplicaSetSpec, pods: &[Arc<Pod>]) -> Result<(), Failure> {
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
    if wanted > pods.len() {
        let pod = draft(set, spec);
        return (pods.len()..wanted).try_for_each(|_| cluster.create(ACTOR, &pod).map(|_| ()));
    }
    let mut ranked: Vec<_> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| rank(pod));
    for pod in ranked.into_iter().take(pods.len() - wanted) {
        delete_pod(cluster, ACTOR, pod)?;
    }
    Ok(())
}

fn draft(set: &ReplicaSet, spec: &ReplicaSetSpec) -> Pod {
    let template = spec.template.clone().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_of(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// Order in which pods are deleted.
type Rank = (
    bool,
    u8,
    bool,
    i64,
    Reverse<Option<Timestamp>>,
    Reverse<i32>,
    Reverse<Option<Timestamp>>,
);

/// Ranks pods for deletion. The first to go are pods without a node, then pods that are not running, not ready, cheap to
/// delete, ready only recently, restarted often, or young.
fn rank(pod: &Pod) -> Rank {
    let status = pod.status.as_ref();
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        Some("Running") => 2,
        Some("Unknown") => 1,
        _ => 0,
    };
    let ready = ready_since(pod).map(|since| since.0);
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations.and_then(|annotations| annotations.get("controller.kubernetes.io/pod-deletion-cost"));
    let containers = status
        .and_then(|status| status.container_statuses.as_ref())
        .into_iter()
        .flatten();
    (
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()),
        phase,
        ready.is_some(),
        cost.and_then(|cost| cost.parse().ok()).unwrap_or_default(),
        Reverse(ready),
        Reverse(
            containers
                .map(|container| container.restart_count)
                .max()
                .unwrap_or_default(),
        ),
        Reverse(pod.metadata.creation_timestamp.as_ref().map(|time| time.0)),
    )
}

/// The status, and the time until it changes without an event.
fn status(
    cluster: &Cluster,
    set: &ReplicaSet,
    spec: &ReplicaSetSpec,
    pods: &[Arc<Pod>],
    failure: Option<&Failure>,
) -> (ReplicaSetStatus, Option<Duration>) {
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let is_labelled = |pod: &&Arc<Pod>| {
        let own = pod.metadata.labels.as_ref();
        labels
            .iter()
            .all(|(key, value)| own.and_then(|own| own.get(key)) == Some(value))
    };
    let (now, least) = (cluster.now(), i64::from(spec.min_ready_seconds.unwrap_or_default()));
    let ready = pods.iter().filter_map(|pod| ready_since(pod));
    let waits: Vec<_> = ready
        .map(|since| {
            let from = since.0.checked_add(SignedDuration::from_secs(least)).unwrap_or(since.0);
            Duration::try_from(from.duration_since(now)).unwrap_or_default()
        })
        .collect();
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let some = |number: usize| Some(count(number)).filter(|number| *number != 0);
    let status = ReplicaSetStatus {
        replicas: count(pods.len()),
        fully_labeled_replicas: some(pods.iter().filter(is_labelled).count()),
        ready_replicas: some(waits.len()),
        available_replicas: some(waits.iter().filter(|wait| wait.is_zero()).count()),
        observed_generation: set.metadata.generation,
        conditions: conditions(
            cluster,
            set,
            failure,
            pods.len() < usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default(),
        ),
        terminating_replicas: None,
    };
    (status, waits.into_iter().filter(|wait| !wait.is_zero()).min())
}

/// The conditions for pods that could not be created or deleted.
fn conditions(
    cluster: &Cluster,
    set: &ReplicaSet,
    failure: Option<&Failure>,
    creating: bool,
) -> Option<Vec<ReplicaSetCondition>> {
    let known = set.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions = known.clone().unwrap_or_default();
    match failure {
        None => conditions.retain(|condition| condition.type_ != FAILURE),
        Some(_) if conditions.iter().any(|condition| condition.type_ == FAILURE) => {}
        Some(failure) => conditions.push(ReplicaSetCondition {
            type_: FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(if creating { "FailedCreate" } else { "FailedDelete" }.to_owned()),
            message: Some(failure.to_string()),
            last_transition_time: Some(second(cluster)),
        }),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Options;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_reported_until_it_is_over() {
        let cluster = Cluster::new(Options::default());
        let refusal = Failure::new(403, "Forbidden", "exceeded quota");
        let mut set = ReplicaSet::default();
        assert_eq!(conditions(&cluster, &set, None, true), None);
        let shown = conditions(&cluster, &set, Some(&refusal), true);
        let condition = shown.clone().unwrap().remove(0);
        assert_eq!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("ReplicaFailure", "True")
        );
        assert_eq!(
            (condition.reason.as_deref(), condition.message.as_deref()),
            (Some("FailedCreate"), Some("exceeded quota"))
        );
        set.status.get_or_insert_default().conditions.clone_from(&shown);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(conditions(&cluster, &set, Some(&refusal), true), shown);
        assert_eq!(conditions(&cluster, &set, None, true), None);
    }
}
