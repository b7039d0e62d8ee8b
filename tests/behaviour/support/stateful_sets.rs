//! StatefulSets as targets.

use std::collections::BTreeSet;

use kanary::controller::Options;
use kanary_core::api::{KanaryKind, WorkloadKind};
use kube::{Api, api::DynamicObject};
use serde_json::{Value, json};

use super::{
    CONTROLLER_REVISION, Controller, Faults, KANARY_STATEFULSET, PERSISTENT_VOLUME, STATEFUL_SET, World, calls,
    manifests,
    plane::{Kind, Plane},
};

/// A StatefulSet at version `v1` whose pods each have a volume.
pub(crate) fn stateful_set(name: &str, replicas: i32) -> Value {
    let mut set = manifests::deployment(name, replicas);
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!(name);
    set
}

/// What makes the pods of a StatefulSet have a volume of this namespace's class.
pub(crate) fn with_volumes(world: &World, spec: &mut Value, size: &str) {
    spec["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": world.ns,
            "resources": {"requests": {"storage": size}},
        },
    }]);
    spec["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
}

impl World {
    /// A namespace with a controller for targets of all kinds.
    pub(crate) async fn of_stateful_sets(file: &str) -> Self {
        let world = Self::unserved(file).await;
        world.start_controller_of_all_targets();
        world
    }

    /// Starts a controller for targets of all kinds.
    pub(crate) fn start_controller_of_all_targets(&self) {
        self.put(Controller::start_for_all_targets(self.plane, &self.ns, None));
    }

    /// Starts one that dies at a write.
    pub(crate) fn start_faulty_controller_of_all_targets(&self, faults: &Faults) {
        self.put(Controller::start_for_all_targets(
            self.plane,
            &self.ns,
            Some(faults.clone()),
        ));
    }

    /// The same with a client that dies as configured by `faults`.
    pub(crate) fn start_controller_of_all_targets_with(&self, faults: &Faults) {
        let (plane, faults) = (self.plane, faults.clone());
        let options = Options {
            target_kinds: BTreeSet::from(WorkloadKind::ALL),
            ..Options::default()
        };
        self.put(Controller::with(&self.ns, options, move |clock| async move {
            plane.kanary(clock, Some(&faults)).await
        }));
    }

    /// A target of `replicas` pods at version `v1`.
    pub(crate) async fn stateful_target(&self, name: &str, replicas: i32) -> Value {
        self.create(&STATEFUL_SET, &stateful_set(name, replicas)).await
    }

    /// A `KanaryStatefulset` that validates version `v2` of the StatefulSet `target` as [`manifests::kanary`] does.
    pub(crate) async fn kanary_of_set(&self, name: &str, target: &str, spec: Value) -> Value {
        self.create(&KANARY_STATEFULSET, &kanary_of_set(name, target, spec))
            .await
    }

    /// Volumes for the claims of this namespace. The embedded cluster needs none.
    pub(crate) async fn volumes(&self, number: usize) {
        if let Kind::Embedded(_) = self.plane.kind() {
            return;
        }
        let api: Api<DynamicObject> = Api::all_with(self.plane.admin().await, &PERSISTENT_VOLUME.resource());
        for index in 0..number {
            let name = format!("{}-{index}", self.ns);
            let volume = json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": self.ns,
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nothing"},
                },
            });
            let volume = serde_json::from_value(volume).expect("a manifest is an object");
            calls::create(&api, &volume).await.expect("the volume can be created");
        }
    }

    /// Numbers of the revisions of a StatefulSet, and why each was made.
    pub(crate) async fn revisions(&self, set: &str) -> Vec<(i64, String)> {
        self.revisions_of(&STATEFUL_SET, set).await
    }

    /// The same for any kind that has them.
    pub(crate) async fn revisions_of(&self, kind: &super::Kind, name: &str) -> Vec<(i64, String)> {
        let uid = self.get(kind, name).await["metadata"]["uid"].clone();
        let mut revisions = self.list(&CONTROLLER_REVISION, "").await;
        revisions.retain(|revision| revision["metadata"]["ownerReferences"][0]["uid"] == uid);
        revisions.sort_by_key(|revision| revision["revision"].as_i64());
        let cause = |revision: &Value| {
            let cause = revision["metadata"]["annotations"]["kubernetes.io/change-cause"].as_str();
            (
                revision["revision"].as_i64().unwrap_or_default(),
                cause.unwrap_or_default().to_owned(),
            )
        };
        revisions.iter().map(cause).collect()
    }
}

/// A `KanaryStatefulset` for a StatefulSet.
pub(crate) fn kanary_of_set(name: &str, target: &str, spec: Value) -> Value {
    let mut manifest = manifests::kanary(name, target, json!({}));
    manifest["kind"] = json!("KanaryStatefulset");
    let fields = manifest["spec"].as_object_mut().expect("a spec has fields");
    fields.remove("deploymentName");
    fields.insert("statefulSetName".to_owned(), json!(target));
    manifest["spec"]["template"]["spec"]["serviceName"] = json!(target);
    manifests::merge(&mut manifest["spec"], spec);
    manifest
}

impl Controller {
    fn start_for_all_targets(plane: &'static Plane, namespace: &str, faults: Option<Faults>) -> Self {
        let options = Options {
            target_kinds: BTreeSet::from(WorkloadKind::ALL),
            kinds: KanaryKind::ALL.to_vec(),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, faults.as_ref()).await
        })
    }
}

/// The version that a workload runs: the image of its template.
pub(crate) fn version_of(workload: &Value) -> &str {
    let image = &workload["spec"]["template"]["spec"]["containers"][0]["image"];
    image.as_str().unwrap_or_default()
}
