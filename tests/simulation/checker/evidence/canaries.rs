//! The history of canaries and their pods in the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod as KubePod};
use kanary_core::api::names::RUN;
use kanary_sim::{
    cluster::Event,
    object::{Object, string_map},
};
use serde_json::Value;

use super::{
    Evidence, Labels,
    spans::{Spans, Timeline},
};
use crate::{
    checker::nodes::{chosen, without_nodes},
    target_kinds::TargetKind,
};

/// A canary.
pub(super) struct Canary {
    /// UID of its Kanary.
    pub(super) owner: String,
    pub(super) name: String,
    /// The run that it belongs to, from its label.
    pub(super) run: String,
    pub(super) created: Timestamp,
    /// Its pod template, as created and as changed later.
    pub(super) templates: Timeline<Value>,
    pub(super) labels: Timeline<Labels>,
    /// When the desired number of replicas was available.
    pub(super) whole: Spans,
    /// When it was deleted, or its deletion started.
    pub(super) gone: Option<Timestamp>,
    /// UIDs of its pods.
    pub(super) pods: Vec<String>,
    /// Whether its pods are some of the target's.
    pub(super) in_place: bool,
}

/// A pod of a canary.
#[derive(Default)]
pub(super) struct Pod {
    pub(super) name: String,
    /// UID of its canary.
    pub(super) canary: String,
    pub(super) ready: Spans,
    pub(super) containers: Timeline<Vec<Container>>,
    pub(super) labels: Timeline<Labels>,
    /// When it was a ready endpoint of each Service.
    pub(super) behind: BTreeMap<String, Spans>,
    /// When it existed.
    pub(super) there: Spans,
}

/// The UID of the Kanary that an object belongs to.
pub(super) fn kanary_of(object: &Object) -> Option<&str> {
    let owner = object.meta.controller()?;
    owner.kind.starts_with("Kanary").then_some(&*owner.uid)
}

/// Whether the desired number of replicas is available, or a pod on each node that it has.
pub(in crate::checker) fn is_whole(workload: &Value) -> bool {
    if workload["kind"] == "DaemonSet" {
        let status = &workload["status"];
        let nodes = Some(chosen(workload).len()).filter(|nodes| *nodes > 0);
        let is_newest = status["observedGeneration"] == workload["metadata"]["generation"];
        let counts = ["desiredNumberScheduled", "numberAvailable"];
        let counts = counts.map(|count| status[count].as_u64().and_then(|number| usize::try_from(number).ok()));
        return is_newest && counts == [nodes; 2] && nodes.is_some();
    }
    let wanted = workload["spec"]["replicas"].as_i64().unwrap_or(1);
    let available = workload["status"]["availableReplicas"].as_i64().unwrap_or(0);
    wanted > 0 && available >= wanted
}

impl Evidence {
    /// Records a workload if it is a canary.
    pub(super) fn look_at_workload(&mut self, event: &Event) {
        let (change, at) = (&event.change, event.at);
        let Some(new) = &change.new else {
            let gone = change
                .last
                .as_ref()
                .and_then(|last| self.canaries.get_mut(&last.meta.uid));
            if let Some(canary) = gone {
                canary.gone.get_or_insert(at);
                canary.whole.set(at, false);
            }
            if let Some(last) = &change.last {
                self.end_in_place(&last.meta.uid, at);
            }
            return;
        };
        self.look_at_placed(event, new);
        if change.old.is_none()
            && let Some(owner) = kanary_of(new)
        {
            let canary = Canary {
                owner: owner.to_owned(),
                name: new.meta.name.clone(),
                run: new.meta.labels.get(RUN).cloned().unwrap_or_default(),
                created: at,
                templates: Timeline::from(at, without_nodes(&new.json()["spec"]["template"])),
                labels: Timeline::default(),
                whole: Spans::default(),
                gone: None,
                pods: Vec::new(),
                in_place: false,
            };
            self.canaries.insert(new.meta.uid.clone(), canary);
        }
        let since = self.available_since(event, &new.meta.uid);
        let Some(canary) = self.canaries.get_mut(&new.meta.uid) else {
            return;
        };
        if new.meta.deleting {
            canary.gone.get_or_insert(at);
        }
        let value = new.json();
        canary.templates.push(at, without_nodes(&value["spec"]["template"]));
        canary.labels.push(at, new.meta.labels.clone());
        canary.whole.set(since, canary.gone.is_none() && is_whole(&value));
    }

    /// Since when a canary is available that now shows it. Where the status has no times, that is since its last pod is ready.
    fn available_since(&self, event: &Event, uid: &str) -> Timestamp {
        let by_pods = TargetKind::of_resource(&event.resource).is_some_and(|kind| !kind.has_times);
        let canary = self.canaries.get(uid).filter(|_| by_pods);
        let ready = canary.into_iter().flat_map(|canary| self.pods_of(canary));
        ready
            .filter_map(|pod| pod.ready.since(event.at))
            .max()
            .unwrap_or(event.at)
    }

    /// Since when a canary has been available at a time.
    pub(in crate::checker) fn whole_since(&self, uid: &str, at: Timestamp) -> Option<Timestamp> {
        self.canaries.get(uid)?.whole.since(at)
    }

    /// Records the owner of a ReplicaSet.
    pub(super) fn look_at_replica_set(&mut self, event: &Event) {
        let Some(new) = event.change.new.as_ref().filter(|_| event.change.old.is_none()) else {
            return;
        };
        let owner = new.meta.controller().map(|owner| &owner.uid);
        if let Some(owner) = owner.filter(|owner| self.canaries.contains_key(*owner)) {
            self.sets.insert(new.meta.uid.clone(), owner.clone());
        }
    }

    /// Records a pod if it belongs to a canary, or to a StatefulSet, whose pods may become a canary in place.
    pub(super) fn look_at_pod(&mut self, event: &Event) {
        let (change, at) = (&event.change, event.at);
        let Some(object) = change.new.as_ref().or(change.last.as_ref()) else {
            return;
        };
        let Some(owner) = object.meta.controller() else {
            return self.note_pod(object, None, change.new.is_some(), at);
        };
        let is_canary = |uid: &&String| self.canaries.contains_key(*uid);
        // Only Deployments have ReplicaSets in between.
        let own = Some(&owner.uid).filter(is_canary);
        let canary = self.sets.get(&owner.uid).or(own);
        let canary = canary.or_else(|| self.placed(object, &owner.uid)).cloned();
        if owner.kind == "StatefulSet" {
            let there = change.new.as_ref().map(|new| (new.meta.uid.clone(), new.clone()));
            self.set_pods.remove(&object.meta.uid);
            self.set_pods.extend(there);
            self.pods.entry(object.meta.uid.clone()).or_default();
        }
        let set = owner.uid.clone();
        self.note_pod(object, canary, change.new.is_some(), at);
        self.count_placed(&set, at);
    }

    /// Records a pod if it belongs to a canary, or belonged to one.
    pub(super) fn note_pod(&mut self, object: &Object, canary: Option<String>, exists: bool, at: Timestamp) {
        let known = self.pods.contains_key(&object.meta.uid);
        if canary.is_none() && !known {
            return;
        }
        if let Some(of) = canary.as_ref().and_then(|canary| self.canaries.get_mut(canary))
            && !of.pods.contains(&object.meta.uid)
        {
            of.pods.push(object.meta.uid.clone());
        }
        let pod = self.pods.entry(object.meta.uid.clone()).or_default();
        // A pod that its ReplicaSet released no longer belongs to the canary.
        let belongs = canary.is_some() && exists && !object.meta.deleting;
        pod.there.set(at, belongs);
        let Some(typed) = object.typed::<KubePod>().filter(|_| exists) else {
            pod.ready.set(at, false);
            return;
        };
        if let Some(canary) = canary {
            (pod.name, pod.canary) = (object.meta.name.clone(), canary);
        }
        pod.ready.set(at, belongs && is_ready(&typed));
        let containers = typed.spec.as_ref().map(|spec| &spec.containers);
        if containers != pod.containers.last() {
            pod.containers.push(at, containers.cloned().unwrap_or_default());
        }
        if pod.labels.last() != Some(&object.meta.labels) {
            pod.labels.push(at, object.meta.labels.clone());
        }
    }

    /// The pods of a canary.
    pub(super) fn pods_of<'a>(&'a self, canary: &'a Canary) -> impl Iterator<Item = &'a Pod> {
        canary.pods.iter().filter_map(|uid| self.pods.get(uid))
    }
}

fn is_ready(pod: &KubePod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The labels of a pod template.
pub(super) fn labels_of(template: &Value) -> Labels {
    string_map(&template["metadata"]["labels"])
}
