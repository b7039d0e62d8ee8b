//! DaemonSets as targets.

use serde_json::{Map, Value, json};

use super::{Adapter, HeldBack, since_last};
use crate::{
    api::{Reason, WorkloadRef},
    observation::{HostPort, Pod, Workload},
    scale::Scale,
    template::WorkloadTemplate,
};

/// The longest name of an object.
const LONGEST: usize = 253;

pub(super) struct DaemonSet;

impl Adapter for DaemonSet {
    fn refuses_name(&self, name: &str) -> Option<String> {
        (name.len() > LONGEST).then(|| {
            format!(
                "the canary's name {name} has {} characters and {LONGEST} are possible: give the Kanary a shorter name",
                name.len()
            )
        })
    }

    fn refuses(&self, template: &WorkloadTemplate, scale: &Scale) -> Option<String> {
        if scale.autoscaler().is_some() {
            return Some(format!(
                "spec.scale.{} is for targets with a number of replicas, and a DaemonSet has a pod on each of its nodes: use static, \
                 percent or nodes",
                scale.kind()
            ));
        }
        let pods = template.pod_template();
        pods.pointer("/spec/nodeName")
            .and_then(Value::as_str)
            .filter(|node| !node.is_empty())
            .map(|node| {
                format!(
                    "spec.template.spec.template.spec.nodeName binds all pods to node {node}: remove it, because a DaemonSet chooses \
                     the nodes of its pods"
                )
            })
    }

    fn isolate(&self, spec: &mut Map<String, Value>) {
        // A change of its nodes changes the template, too, and must not replace the pods on nodes that stay.
        spec.insert("updateStrategy".to_owned(), json!({"type": "OnDelete"}));
        spec.remove("replicas");
    }

    fn differs(&self, _: &WorkloadTemplate, _: &WorkloadRef, _: &Workload) -> Option<String> {
        None
    }

    fn clashes(&self, template: &WorkloadTemplate, name: &WorkloadRef, target: &Workload) -> Option<String> {
        let taken = &target.daemon.as_ref()?.host_ports;
        if taken.is_empty() {
            return None;
        }
        let pods = template.pod_template();
        let wanted = host_ports(pods.get("spec")?);
        let port = wanted
            .iter()
            .find(|port| taken.iter().any(|taken| taken.clashes(port)))?;
        Some(format!(
            "port {}/{} of a node belongs to the pod of {name}, beside which the canary's pod would run: give spec.template another \
             host port or none, and no hostNetwork with this port",
            port.port, port.protocol
        ))
    }

    fn needs_of_canary(&self, target: &Workload) -> Option<String> {
        let port = target.daemon.as_ref()?.host_ports.first()?;
        Some(format!(
            "its pods need port {}/{} of each node, which pods of the canary have",
            port.port, port.protocol
        ))
    }

    fn has_claims(&self, _: &WorkloadTemplate) -> bool {
        false
    }

    fn held_back(&self, target: &WorkloadRef, seen: &Workload) -> Option<HeldBack> {
        let view = seen.daemon.as_ref().filter(|_| !seen.rolled_out)?;
        view.on_delete.then(|| HeldBack {
            reason: Reason::TargetOnDelete,
            why: "does not replace its pods, because its updateStrategy is OnDelete".to_owned(),
            mend: format!("delete the pods of {target} one after the other"),
        })
    }

    fn about_undo(&self) -> &'static str {
        ""
    }

    fn after_rollback(&self, target: &Workload) -> &'static str {
        match &target.daemon {
            Some(view) if view.on_delete => super::ON_DELETE,
            _ => "",
        }
    }

    fn complete(&self, canary: &mut Workload, pods: &[Pod]) {
        let Some(view) = canary.daemon.as_ref().filter(|view| view.whole) else {
            return;
        };
        // The pod of a node that is gone stays for a while.
        let pods = pods
            .iter()
            .filter(|pod| pod.node.as_ref().is_some_and(|node| view.has(node)));
        canary.available_since = since_last(pods, view.nodes, view.min_ready);
    }
}

/// The ports of a node that a pod with this spec takes.
pub(super) fn host_ports(pod: &Value) -> Vec<HostPort> {
    let is_on_host = pod.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    let containers = |list: &str| pod.get(list).and_then(Value::as_array).into_iter().flatten();
    // Other init containers have ended when the pod serves.
    let sidecars = containers("initContainers").filter(|container| container.get("restartPolicy").is_some());
    let ports = containers("containers")
        .chain(sidecars)
        .flat_map(|container| container.get("ports").and_then(Value::as_array).into_iter().flatten());
    ports
        .filter_map(|port| {
            let number = |field: &str| port.get(field).and_then(Value::as_i64).filter(|port| *port > 0);
            let text = |field: &str| port.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
            let port = number("hostPort").or_else(|| number("containerPort").filter(|_| is_on_host))?;
            Some(HostPort {
                ip: text("hostIP")
                    .filter(|ip| !["0.0.0.0", "::"].contains(ip))
                    .map(Into::into),
                protocol: text("protocol").unwrap_or("TCP").into(),
                port: u16::try_from(port).ok()?,
            })
        })
        .collect()
}
