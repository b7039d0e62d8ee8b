//! DaemonSets as targets, on nodes that only one test uses.

use kube::{
    Api,
    api::{DeleteParams, DynamicObject},
};
use serde_json::{Value, json};

use super::{DAEMON_SET, KANARY_DAEMONSET, NODE, POD, World, calls, manifests, template};

/// Label of the nodes of a test.
const OF_TEST: &str = "kanary.test/nodes-of";

impl World {
    fn nodes_api(&self) -> Api<DynamicObject> {
        Api::all_with(self.api(&NODE).into_client(), &NODE.resource())
    }

    /// Name of a node of this test.
    pub(crate) fn node(&self, index: usize) -> String {
        format!("{}-{index}", self.ns)
    }

    /// Adds a node on which only pods of this test run.
    pub(crate) async fn add_node(&self, index: usize, pool: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": self.node(index),
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {OF_TEST: self.ns, "pool": pool, "kubernetes.io/os": "linux"},
            },
            "spec": {"taints": [{"key": OF_TEST, "value": self.ns, "effect": "NoSchedule"}]},
        });
        let node = serde_json::from_value(node).expect("a manifest is an object");
        calls::create(&self.nodes_api(), &node)
            .await
            .expect("the node can be created");
    }

    /// Removes a node, and its pods as the garbage collector of pods does after about a minute.
    pub(crate) async fn remove_node(&self, name: &str) {
        let removed = self.nodes_api().delete(name, &DeleteParams::default()).await;
        removed.expect("the node can be deleted");
        let force = DeleteParams::default().grace_period(0);
        for pod in self.list(&POD, "").await {
            if pod["spec"]["nodeName"] == name {
                let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
                // It may be gone by now.
                let _gone = self.api(&POD).delete(pod, &force).await;
            }
        }
    }

    /// A namespace with a controller of all kinds, and this many nodes.
    pub(crate) async fn of_nodes(file: &str, nodes: usize) -> Self {
        let world = Self::of_stateful_sets(file).await;
        for index in 0..nodes {
            world.add_node(index, "edge").await;
        }
        world
    }

    /// A target at version `v1` on all nodes of this test, once it runs there.
    pub(crate) async fn target_on(&self, name: &str, nodes: usize) -> Value {
        self.create(&DAEMON_SET, &daemon_set(self, name)).await;
        let runs = |set: &Value| set["status"]["numberAvailable"] == nodes;
        self.until(&DAEMON_SET, name, "it runs on all nodes", runs).await
    }

    /// A `KanaryDaemonset` that validates version `v2` of the DaemonSet `target` as [`manifests::kanary`] does.
    pub(crate) async fn kanary_of_nodes(&self, name: &str, target: &str, spec: Value) -> Value {
        self.create(&KANARY_DAEMONSET, &kanary_of_nodes(self, name, target, spec))
            .await
    }
}

/// Makes a pod template run on the nodes of this test.
pub(crate) fn on_nodes(world: &World, template: &mut Value) {
    template["spec"]["nodeSelector"] = json!({OF_TEST: world.ns});
    template["spec"]["tolerations"] = json!([{"key": OF_TEST, "operator": "Exists"}]);
}

/// A DaemonSet at version `v1` on the nodes of this test.
pub(crate) fn daemon_set(world: &World, name: &str) -> Value {
    let mut template = template(name, "v1");
    on_nodes(world, &mut template);
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    })
}

/// A `KanaryDaemonset`, whose target is a DaemonSet by default.
pub(crate) fn kanary_of_nodes(world: &World, name: &str, target: &str, spec: Value) -> Value {
    let mut manifest = manifests::kanary(name, target, json!({}));
    manifest["kind"] = json!("KanaryDaemonset");
    let fields = manifest["spec"].as_object_mut().expect("a spec has fields");
    fields.remove("deploymentName");
    manifest["spec"]["template"]["metadata"] = json!({"name": target});
    on_nodes(world, &mut manifest["spec"]["template"]["spec"]["template"]);
    manifests::merge(&mut manifest["spec"], spec);
    manifest
}

/// The nodes of pods, in order.
pub(crate) fn nodes_of(pods: &[Value]) -> Vec<String> {
    let node = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let mut nodes: Vec<_> = pods.iter().map(node).collect();
    nodes.sort();
    nodes
}
