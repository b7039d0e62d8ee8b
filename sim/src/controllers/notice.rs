//! Maps changes to the keys to process.

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::{Controllers, Key, garbage, index::place_of, pod};
use crate::{
    admission::QUOTAS,
    object::{Meta, Object},
    store::{Change, Place, ResourceName},
};

/// Location of an object's controller, if it is of this kind.
fn controller(meta: &Meta, kind: &str) -> Option<Place> {
    let owner = meta.controller().filter(|owner| owner.kind == kind)?;
    Some((meta.namespace.clone(), owner.name.clone()))
}

impl Controllers {
    /// Queues the objects that already exist.
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

    /// Queues the keys that a change affects.
    pub(super) fn notice(&mut self, resource: &ResourceName, change: &Change) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        let Some(meta) = new.or(old).map(|object| &object.meta) else {
            return;
        };
        let place = place_of(meta);
        self.notice_owners(resource, old, new);
        self.notice_namespace(resource, &place, new);
        self.notice_quotas(resource, &place, old, new);
        self.notice_gateway(resource, old, new);
        match &**resource {
            "deployments.apps" => {
                set(&mut self.deployments, old, new, &place);
                self.soon(Key::Deployment(place));
            }
            "replicasets.apps" => {
                set(&mut self.replica_sets, old, new, &place);
                self.soon(Key::ReplicaSet(place));
                self.notice_dependant(old, new, "Deployment");
            }
            "statefulsets.apps" => {
                set(&mut self.stateful_sets, old, new, &place);
                self.soon(Key::StatefulSet(place));
            }
            "daemonsets.apps" => {
                set(&mut self.daemon_sets, old, new, &place);
                self.soon(Key::DaemonSet(place));
            }
            "nodes" => {
                for set in self.daemon_sets.all() {
                    self.soon(Key::DaemonSet(set));
                }
            }
            "pods" => self.notice_pod(&place, old, new),
            "horizontalpodautoscalers.autoscaling" if new.is_none() => self.autoscalers.forget(&place),
            // The first reconciliation is due after one period, and later ones depend on time only.
            "horizontalpodautoscalers.autoscaling" if old.is_none() => {
                let first = Instant::now() + self.behaviour.autoscaler_period;
                self.queue.add(Key::Autoscaler(place), first);
            }
            "services" => {
                match new {
                    Some(new) => self.services.set_service(new),
                    None => self.services.remove(&place),
                }
                self.soon(Key::Endpoints(place));
            }
            "endpointslices.discovery.k8s.io" if new.is_none() => {
                let service = old.and_then(|old| controller(&old.meta, "Service"));
                if let Some(service) = service {
                    self.soon(Key::Endpoints(service));
                }
            }
            _ => {}
        }
    }

    /// Queues the former, current and possible controllers of an object.
    fn notice_dependant(&mut self, old: Option<&Object>, new: Option<&Object>, kind: &str) {
        let key = match kind {
            "Deployment" => Key::Deployment,
            "StatefulSet" => Key::StatefulSet,
            "DaemonSet" => Key::DaemonSet,
            _ => Key::ReplicaSet,
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
        let selectors = match kind {
            "Deployment" => &self.deployments,
            "StatefulSet" => &self.stateful_sets,
            "DaemonSet" => &self.daemon_sets,
            _ => &self.replica_sets,
        };
        for owner in selectors.selecting(&meta.namespace, &meta.labels) {
            self.soon(key(owner));
        }
    }

    /// Queues an object, its dependants and the owners that wait for it for the garbage collector.
    fn notice_owners(&mut self, resource: &ResourceName, old: Option<&Object>, new: Option<&Object>) {
        self.live.change(resource, old, new);
        if let Some(new) = new.filter(|new| garbage::concerns(&self.live, new)) {
            self.soon(Key::Garbage(resource.clone(), place_of(&new.meta)));
        }
        if let Some(gone) = old.filter(|old| new.is_none_or(|new| new.meta.uid != old.meta.uid)) {
            for (resource, child) in self.cluster.children(&gone.meta.uid) {
                self.soon(Key::Garbage(resource, place_of(&child.meta)));
            }
        }
        let owners = |object: Option<&Object>| object.map(|object| object.meta.owners.clone()).unwrap_or_default();
        let (former, present) = (owners(old), owners(new));
        if former == present {
            return;
        }
        for owner in former.iter().chain(&present) {
            let waiting = self.live.get(&owner.uid).cloned();
            let waits = |(resource, place): &(ResourceName, Place)| {
                self.cluster
                    .object(resource, place)
                    .is_some_and(|owner| garbage::waits(&owner))
            };
            if let Some((resource, place)) = waiting.filter(waits) {
                self.soon(Key::Garbage(resource, place));
            }
        }
    }

    /// Queues a namespace when it is deleted, and when an object in it is removed.
    fn notice_namespace(&mut self, resource: &ResourceName, place: &Place, new: Option<&Object>) {
        if &**resource == "namespaces" {
            match new {
                Some(new) if new.meta.deleting => {
                    self.terminating.insert(place.1.clone());
                    self.soon(Key::Namespace(place.1.clone()));
                }
                Some(_) => {}
                None => {
                    self.terminating.remove(&place.1);
                }
            }
        } else if new.is_none() && self.terminating.contains(&place.0) {
            self.soon(Key::Namespace(place.0.clone()));
        }
    }

    /// Queues the quotas of a namespace when its number of objects changes.
    fn notice_quotas(&mut self, resource: &ResourceName, place: &Place, old: Option<&Object>, new: Option<&Object>) {
        if &**resource == QUOTAS {
            if new.is_some() {
                self.quotas.insert(place.clone());
                self.soon(Key::Quota(place.clone()));
            } else {
                self.quotas.remove(place);
            }
        } else if old.is_none() || new.is_none() {
            let concerned = self.quotas.iter().filter(|quota| quota.0 == place.0);
            for quota in concerned.cloned().collect::<Vec<_>>() {
                self.soon(Key::Quota(quota));
            }
        }
    }

    fn notice_pod(&mut self, place: &Place, old: Option<&Object>, new: Option<&Object>) {
        self.notice_dependant(old, new, "ReplicaSet");
        self.notice_dependant(old, new, "StatefulSet");
        self.notice_dependant(old, new, "DaemonSet");
        self.pods.change(old.map(|old| &old.meta), new.map(|new| &new.meta));
        let labels = old
            .map(|old| &old.meta.labels)
            .filter(|labels| new.is_none_or(|new| new.meta.labels != **labels));
        for labels in labels.into_iter().chain(new.map(|new| &new.meta.labels)) {
            for service in self.services.selecting(&place.0, labels) {
                self.soon(Key::Endpoints(service));
            }
        }
        let Some(new) = new else {
            for step in pod::Step::ALL {
                self.queue.remove(&Key::Pod(place.clone(), step));
            }
            self.notice_end(old);
            return;
        };
        let pod = new.typed::<Pod>();
        if let Some((step, wait)) = pod.and_then(|pod| pod::next(&self.cluster, &self.behaviour, &pod)) {
            self.queue.add(Key::Pod(place.clone(), step), Instant::now() + wait);
        }
    }

    /// A Deployment with the `Recreate` strategy waits for its old pods to end.
    fn notice_end(&mut self, old: Option<&Object>) {
        let set = old.and_then(|old| controller(&old.meta, "ReplicaSet"));
        let set = set.and_then(|set| self.cluster.object("replicasets.apps", &set));
        if let Some(deployment) = set.and_then(|set| controller(&set.meta, "Deployment")) {
            self.soon(Key::Deployment(deployment));
        }
    }
}

/// Updates the index of selectors, which change only with the generation.
fn set(selectors: &mut super::Selectors, old: Option<&Object>, new: Option<&Object>, place: &Place) {
    match new {
        None => selectors.remove(place),
        Some(new)
            if old.is_some_and(|old| old.meta.generation == new.meta.generation && old.meta.uid == new.meta.uid) => {}
        Some(new) => selectors.set_workload(new),
    }
}
