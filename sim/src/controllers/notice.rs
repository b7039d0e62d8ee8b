//! What a change gives whom to look at.

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::{Controllers, Key, index::place_of, pod};
use crate::{
    object::{Meta, Object},
    store::{Change, Place, ResourceName},
};

/// Where the controller of an object is, if it is of this kind.
fn controller(meta: &Meta, kind: &str) -> Option<Place> {
    let owner = meta.controller().filter(|owner| owner.kind == kind)?;
    Some((meta.namespace.clone(), owner.name.clone()))
}

impl Controllers {
    /// Notices what is there already.
    pub(super) fn notice_present(&mut self) {
        let present: Vec<_> = {
            let state = self.cluster.lock();
            let objects = |resource: &ResourceName| {
                let objects: Vec<_> = state.store.list(resource, None).cloned().collect();
                let resource = resource.clone();
                objects.into_iter().map(move |object| (resource.clone(), object))
            };
            state.store.resources().flat_map(objects).collect()
        };
        for (resource, object) in present {
            let change = Change {
                version: object.meta.resource_version,
                old: None,
                new: Some(object),
                last: None,
            };
            self.notice(&resource, &change);
        }
    }

    /// Notices a change.
    pub(super) fn notice(&mut self, resource: &str, change: &Change) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        let Some(meta) = new.or(old).map(|object| &object.meta) else {
            return;
        };
        let place = place_of(meta);
        match resource {
            "deployments.apps" => {
                set(&mut self.deployments, old, new, &place);
                self.soon(Key::Deployment(place));
            }
            "replicasets.apps" => {
                set(&mut self.replica_sets, old, new, &place);
                self.soon(Key::ReplicaSet(place));
                self.notice_dependant(old, new, "Deployment");
            }
            "pods" => self.notice_pod(&place, old, new),
            _ => {}
        }
    }

    /// Has the controllers of an object look: the one that it has, had, or may get.
    fn notice_dependant(&mut self, old: Option<&Object>, new: Option<&Object>, kind: &str) {
        let key = if kind == "Deployment" {
            Key::Deployment
        } else {
            Key::ReplicaSet
        };
        let of = |object: Option<&Object>| object.and_then(|object| controller(&object.meta, kind));
        let (former, present) = (of(old), of(new));
        let former = former.filter(|former| present.as_ref() != Some(former));
        for owner in former.into_iter().chain(present) {
            self.soon(key(owner));
        }
        let Some(meta) = new
            .map(|object| &object.meta)
            .filter(|meta| meta.controller().is_none())
        else {
            return;
        };
        let selectors = if kind == "Deployment" {
            &self.deployments
        } else {
            &self.replica_sets
        };
        for owner in selectors.selecting(&meta.namespace, &meta.labels) {
            self.soon(key(owner));
        }
    }

    fn notice_pod(&mut self, place: &Place, old: Option<&Object>, new: Option<&Object>) {
        self.notice_dependant(old, new, "ReplicaSet");
        let Some(new) = new else {
            for step in pod::Step::ALL {
                self.queue.remove(&Key::Pod(place.clone(), step));
            }
            self.notice_end(old);
            return;
        };
        let pod = new.parse::<Pod>();
        if let Some((step, wait)) = pod.and_then(|pod| pod::next(&self.cluster, &self.behaviour, &pod)) {
            self.queue.add(Key::Pod(place.clone(), step), Instant::now() + wait);
        }
    }

    /// A Deployment that replaces its pods waits for the end of the old ones.
    fn notice_end(&mut self, old: Option<&Object>) {
        let set = old.and_then(|old| controller(&old.meta, "ReplicaSet"));
        let set = set.and_then(|set| self.cluster.object("replicasets.apps", &set));
        if let Some(deployment) = set.and_then(|set| controller(&set.meta, "Deployment")) {
            self.soon(Key::Deployment(deployment));
        }
    }
}

/// Keeps the index of selectors, which cannot change but with the generation.
fn set(selectors: &mut super::Selectors, old: Option<&Object>, new: Option<&Object>, place: &Place) {
    match new {
        None => selectors.remove(place),
        Some(new)
            if old.is_some_and(|old| old.meta.generation == new.meta.generation && old.meta.uid == new.meta.uid) => {}
        Some(new) => selectors.set_workload(new),
    }
}
