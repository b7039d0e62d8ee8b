//! Ownership of dependants: a controller adopts the objects that match its selector, and releases those that no longer
//! match.

use std::{sync::Arc, time::Duration};

use crate::{
    cluster::{Cluster, Typed, name_of},
    failure::Failure,
    object::Object,
    selector::LabelSelector,
    write::{DeleteOptions, Parts},
};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{LabelSelector as KubeSelector, ObjectMeta, OwnerReference, Time},
};

/// A controller owner reference to `owner`.
pub(super) fn controller_of<K: Typed>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Treats `NotFound` as success: another client deleted the object.
pub(super) fn unless_gone<T>(done: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(failure) if failure.code == 404 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The objects of kind `K` that belong to `owner`, sorted by name.
pub(super) fn claim<K: Parts>(
    cluster: &Cluster,
    actor: &str,
    owner: &impl Typed,
    selector: &KubeSelector,
) -> Result<Vec<Arc<K>>, Failure> {
    let reference = controller_of(owner);
    let selector = parsed(selector)?;
    let deleting = owner.meta().deletion_timestamp.is_some();
    let resource = name_of::<K>();
    let mut claimed = Vec::new();
    for object in &cluster.children_of_kind(&reference.uid, &resource) {
        let controlled = object
            .meta
            .controller()
            .is_some_and(|controller| controller.uid == reference.uid);
        if controlled && selector.matches(&object.meta.labels) {
            claimed.extend(object.typed::<K>());
        } else if controlled && !deleting {
            release::<K>(cluster, actor, object, &reference.uid)?;
        }
    }
    if deleting {
        return Ok(claimed);
    }
    let namespace = owner.meta().namespace.clone().unwrap_or_default();
    for object in cluster.uncontrolled(&resource, &namespace) {
        if !object.meta.deleting && selector.matches(&object.meta.labels) {
            claimed.extend(adopt::<K>(cluster, actor, &object, &reference)?);
        }
    }
    Ok(claimed)
}

fn adopt<K: Parts>(
    cluster: &Cluster,
    actor: &str,
    object: &Object,
    owner: &OwnerReference,
) -> Result<Option<Arc<K>>, Failure> {
    let Some(adopted) = object.typed::<K>() else {
        return Ok(None);
    };
    let mut adopted = Arc::unwrap_or_clone(adopted);
    let owners = adopted.meta_mut().owner_references.get_or_insert_default();
    owners.retain(|known| known.uid != owner.uid);
    owners.push(owner.clone());
    unless_gone(cluster.update(actor, adopted))
}

fn release<K: Parts>(cluster: &Cluster, actor: &str, object: &Object, owner_uid: &str) -> Result<(), Failure> {
    let Some(released) = object.typed::<K>() else {
        return Ok(());
    };
    let mut released = Arc::unwrap_or_clone(released);
    drop_owner(released.meta_mut(), owner_uid);
    unless_gone(cluster.update(actor, released)).map(|_| ())
}

fn drop_owner(meta: &mut ObjectMeta, uid: &str) {
    if let Some(owners) = &mut meta.owner_references {
        owners.retain(|owner| owner.uid != uid);
        if owners.is_empty() {
            meta.owner_references = None;
        }
    }
}

fn parsed(selector: &KubeSelector) -> Result<LabelSelector, Failure> {
    if let (Some(labels), None) = (&selector.match_labels, &selector.match_expressions) {
        return Ok(LabelSelector::all(labels));
    }
    let selector = serde_json::to_value(selector).unwrap_or_default();
    LabelSelector::from_object(&selector).map_err(Failure::bad_request)
}

/// How long a pod still has to be ready until it counts as available. `None` if it is not ready, or is being deleted.
pub(super) fn available_in(cluster: &Cluster, pod: &Pod, min_ready_seconds: Option<i32>) -> Option<Duration> {
    let least = i64::from(min_ready_seconds.unwrap_or_default());
    let since = ready_since(pod).filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let from = since
        .0
        .checked_add(jiff::SignedDuration::from_secs(least))
        .unwrap_or(since.0);
    Some(Duration::try_from(from.duration_since(cluster.now())).unwrap_or_default())
}

/// Whether the containers of a pod have ended for good.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && matches!(phase, Some("Failed" | "Succeeded"))
}

/// Deletes a pod.
pub(super) fn delete_pod(cluster: &Cluster, actor: &str, pod: &Pod) -> Result<(), Failure> {
    let meta = &pod.metadata;
    let place = (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    );
    let options = DeleteOptions {
        uid: meta.uid.clone(),
        ..DeleteOptions::default()
    };
    unless_gone(cluster.delete(actor, "pods", &place, &options)).map(drop)
}

/// Since when a pod has been ready.
pub(super) fn ready_since(pod: &Pod) -> Option<Time> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    ready.last_transition_time.clone()
}

/// The current time in the format of conditions.
pub(super) fn second(cluster: &Cluster) -> Time {
    let now = cluster.now();
    Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
