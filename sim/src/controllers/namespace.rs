//! The namespace controller: empties a deleted namespace and then removes it.

use super::{claim::unless_gone, index::place_of};
use crate::{
    cluster::Cluster,
    failure::Failure,
    store::{Place, ResourceName},
    write::DeleteOptions,
};

const ACTOR: &str = "system:serviceaccount:kube-system:namespace-controller";

/// Reconciles a namespace that is being deleted.
pub(super) fn sync(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let place = (String::new(), name.to_owned());
    if !cluster
        .object("namespaces", &place)
        .is_some_and(|namespace| namespace.meta.deleting)
    {
        return Ok(());
    }
    let mut empty = true;
    for (resource, place, deleting) in content(cluster, name) {
        empty = false;
        if !deleting {
            unless_gone(cluster.delete(ACTOR, &resource, &place, &DeleteOptions::default()))?;
        }
    }
    // The deletions trigger the next reconciliation.
    if !empty {
        return Ok(());
    }
    unless_gone(cluster.delete(ACTOR, "namespaces", &place, &DeleteOptions::default())).map(|_| ())
}

/// The objects in a namespace, and whether each is being deleted.
fn content(cluster: &Cluster, name: &str) -> Vec<(ResourceName, Place, bool)> {
    let state = cluster.lock();
    let mut content = Vec::new();
    for resource in state.store.resources() {
        let objects = state.store.list(resource, Some(name));
        content.extend(objects.map(|object| (resource.clone(), place_of(&object.meta), object.meta.deleting)));
    }
    content
}
