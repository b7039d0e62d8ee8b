//! The controllers, observed through the cluster.
#![allow(clippy::needless_pass_by_value, reason = "helpers take a `json!` literal")]

mod autoscaler;
mod daemon_set;
mod deployment;
mod endpoints;
mod garbage;
mod pods;
mod replica_set;
mod running;
mod stateful_set;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use serde_json::{Value, json};

use super::{Behaviour, index::place_of, run};
use crate::{
    cluster::{Cluster, Options, Typed, name_of},
    gateway::Gateway,
    object::Meta,
    store::Place,
    write::{DeleteOptions, Part, WriteOptions},
};

const USER: &str = "user";

/// A cluster with controllers.
struct World {
    cluster: Cluster,
}

impl std::ops::Deref for World {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

fn world() -> World {
    behaving(Behaviour::default())
}

fn behaving(behaviour: Behaviour) -> World {
    let cluster = Cluster::new(Options::default());
    tokio::spawn(run(cluster.clone(), Gateway::new(&cluster), behaviour));
    World { cluster }
}

/// Lets time pass.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn merge(into: &mut Value, from: Value) {
    crate::patch::merge(into, &from);
}

fn typed<K: Typed>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn at(name: &str) -> Place {
    ("default".to_owned(), name.to_owned())
}

/// A Deployment of three replicas, changed by a merge patch.
fn deployment(name: &str, more: Value) -> Deployment {
    let mut object = json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "app:v1", "ports": [
                    {"name": "http", "containerPort": 8080},
                ]}]},
            },
        },
    });
    merge(&mut object, more);
    typed(object)
}

/// A patch that sets another image.
fn image(image: &str) -> Value {
    let ports = json!([{"name": "http", "containerPort": 8080}]);
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image, "ports": ports}]}}}})
}

/// A patch that sets the pods' behaviour label.
fn pods_that_are(how: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {super::LABEL: how}}}}})
}

impl World {
    fn made<K: Typed + Clone>(&self, object: K) -> K {
        Arc::unwrap_or_clone(self.create(USER, &object).unwrap())
    }

    /// Writes an object as a user.
    fn write<K: Typed + Clone>(&self, part: Part, object: &K) -> K {
        let place = place_of(&Meta::of(object.meta()));
        let resource = self.lock().registry.named(&name_of::<K>()).cloned().unwrap();
        let value = serde_json::to_value(object).unwrap();
        let written = self.transact(USER, |txn| {
            txn.update(&resource, &place, part, value, WriteOptions::default())
        });
        Arc::unwrap_or_clone(written.unwrap().typed().unwrap())
    }

    /// Changes an object with a merge patch.
    fn edit<K: Typed + Clone>(&self, name: &str, more: Value) -> K {
        let mut object = serde_json::to_value(self.read::<K>(name)).unwrap();
        merge(&mut object, more);
        self.write(Part::Whole, &typed::<K>(object))
    }

    fn read<K: Typed + Clone>(&self, name: &str) -> K {
        let found = self.get("default", name).unwrap_or_else(|| panic!("no {name}"));
        Arc::unwrap_or_clone(found)
    }

    fn all<K: Typed + Clone>(&self) -> Vec<K> {
        let found = self.list(Some("default")).into_iter();
        found.map(Arc::unwrap_or_clone).collect()
    }

    fn pods(&self) -> Vec<Pod> {
        self.all()
    }

    /// All ReplicaSets, the oldest revision first.
    fn sets(&self) -> Vec<ReplicaSet> {
        let mut sets: Vec<ReplicaSet> = self.all();
        sets.sort_by_key(|set| revision(set).parse::<i32>().unwrap());
        sets
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets()
            .iter()
            .map(|set| set.spec.as_ref().unwrap().replicas.unwrap())
            .collect()
    }

    fn remove(&self, resource: &str, name: &str) {
        self.delete(USER, resource, &at(name), &DeleteOptions::default())
            .unwrap();
    }
}

fn revision<K: Typed>(object: &K) -> String {
    annotation(object, "deployment.kubernetes.io/revision")
}

fn annotation<K: Typed>(object: &K, name: &str) -> String {
    object
        .meta()
        .annotations
        .iter()
        .flatten()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

/// A status as JSON.
fn status<K: Typed>(object: &K) -> Value {
    serde_json::to_value(object).unwrap()["status"].take()
}

/// `status/reason` of a condition, or an empty string if it is not set.
fn condition<K: Typed>(object: &K, kind: &str) -> String {
    let status = status(object);
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == kind);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found
        .map(|found| format!("{}/{}", text(&found["status"]), text(&found["reason"])))
        .unwrap_or_default()
}
