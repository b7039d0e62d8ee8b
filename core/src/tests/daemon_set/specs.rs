//! What a spec for a DaemonSet means, and what is refused.

use super::*;
use crate::{api::WorkloadRef, observation::HostPort};

#[test]
fn ports_of_the_node_that_the_target_has_are_reported_before_anything_is_created() {
    let port = |ip: Option<&str>, port| HostPort {
        ip: ip.map(Into::into),
        protocol: "TCP".into(),
        port,
    };
    let ports = |ports: &[HostPort]| {
        Box::new(DaemonView {
            host_ports: ports.into(),
            ..view(5)
        })
    };
    let template = |pod: Value| {
        let mut input = of_nodes("seen: {target: {}}");
        let mut object = json!({"metadata": {"name": "batman", "namespace": "shop", "uid": input::UID}});
        object["spec"] = json!({"targetRef": {"kind": "DaemonSet", "name": "myapp"}, "template": {"spec": {
            "template": {"metadata": {"labels": {"app": "myapp"}}, "spec": pod},
        }}});
        let object = serde_json::from_value(object).unwrap();
        input.kanary = crate::ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap();
        input
    };
    let on_host = json!({"hostNetwork": true, "containers": [{"name": "x", "ports": [{"containerPort": 9100}]}]});
    let with = |fields: Value| json!({"containers": [{"name": "x", "ports": [fields]}]});
    for (pod, taken, clashes) in [
        (on_host.clone(), vec![port(None, 9100)], true),
        (on_host, vec![port(None, 9101)], false),
        (
            with(json!({"containerPort": 80, "hostPort": 9100})),
            vec![port(Some("10.0.0.1"), 9100)],
            true,
        ),
        (
            with(json!({"containerPort": 80, "hostPort": 9100, "hostIP": "10.0.0.2"})),
            vec![port(Some("10.0.0.1"), 9100)],
            false,
        ),
        (
            with(json!({"containerPort": 80, "hostPort": 9100, "protocol": "UDP"})),
            vec![port(None, 9100)],
            false,
        ),
        (with(json!({"containerPort": 9100})), vec![port(None, 9100)], false),
        (with(json!({"containerPort": 80, "hostPort": 9100})), vec![], false),
    ] {
        let mut input = template(pod.clone());
        input.seen.target.as_mut().unwrap().daemon = Some(ports(&taken));
        let decision = decided(&input);
        if clashes {
            assert_eq!(decision.actions, [], "{pod}");
            let (reason, message) = said(&decision, ERRORED);
            assert_eq!(reason, Reason::HostPortTaken.as_str());
            assert!(
                message.contains("port 9100/TCP of a node belongs to the pod of DaemonSet myapp"),
                "{message}"
            );
        } else {
            created(&decision);
        }
    }
}

#[test]
fn scales_and_fields_without_meaning_are_refused() {
    let why = |object: Value| {
        let mut object = json!({"metadata": {"name": "batman", "namespace": "shop", "uid": "u"}, "spec": object});
        let pods = json!({"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [{}]}});
        input::merge(
            &mut object,
            &json!({"spec": {"template": {"spec": {"template": pods}}}}),
        );
        let object = serde_json::from_value(object).unwrap();
        let spec = crate::ParsedKanary::parse(KanaryKind::Daemonset, &object).unwrap().spec;
        spec.problems
            .iter()
            .map(|problem| problem.message.clone())
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(why(json!({"scale": percent(10)})), "");
    assert!(
        why(json!({"scale": {"hpa": {"maxReplicas": 3}}}))
            .contains("spec.scale.hpa is for targets with a number of replicas")
    );
    let node = json!({"template": {"spec": {"template": {"spec": {"nodeName": "a"}}}}});
    assert!(why(node).contains("nodeName binds all pods to node a"));
    let nodes = json!({"nodes": {"selector": {"matchLabels": {"pool": "edge"}}}});
    assert_eq!(why(json!({"scale": nodes})), "");
    let other = why(json!({"scale": nodes, "deploymentName": "myapp"}));
    assert!(
        other.contains("spec.scale.nodes is for targets that are DaemonSets"),
        "{other}"
    );
    let all = why(json!({"scale": {"nodes": {"selector": {}}}}));
    assert!(all.contains("spec.scale.nodes.selector"), "{all}");
}

#[test]
fn the_target_of_a_kanary_daemonset_is_a_daemon_set_by_default() {
    let target = |kind: KanaryKind, spec: Value| {
        let mut object = json!({"metadata": {"name": "batman", "namespace": "shop", "uid": "u"}, "spec": spec});
        object["spec"]["template"] =
            json!({"metadata": {"name": "agent"}, "spec": {"template": {"spec": {"containers": [{}]}}}});
        let object = serde_json::from_value(object).unwrap();
        crate::ParsedKanary::parse(kind, &object).unwrap().spec.target.clone()
    };
    let of = |kind, name: &str| WorkloadRef::new(kind, name);
    assert_eq!(
        target(KanaryKind::Daemonset, json!({})),
        of(WorkloadKind::DaemonSet, "agent")
    );
    assert_eq!(
        target(KanaryKind::Deployment, json!({})),
        of(WorkloadKind::Deployment, "agent")
    );
    let named = json!({"deploymentName": "web"});
    assert_eq!(
        target(KanaryKind::Daemonset, named),
        of(WorkloadKind::Deployment, "web")
    );
}

#[test]
fn a_template_that_allows_no_node_is_not_run_on_one() {
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": []}]});
    let node = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
    let template = json!({
        "metadata": {"labels": {"app": "myapp"}},
        "spec": {"affinity": {"nodeAffinity": node}, "containers": [{"name": "myapp", "image": "myapp:v2"}]},
    });
    let object = json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": input::UID},
        "spec": {"targetRef": {"kind": "DaemonSet", "name": "myapp"}, "template": {"spec": {"template": template}}},
    });
    let mut input = of_nodes("seen: {target: {}}");
    let object = serde_json::from_value(object).unwrap();
    input.kanary = crate::ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap();
    let decision = decided(&input);
    assert_eq!((decision.actions.as_slice(), decision.needs), (&[][..], None));
    let (reason, message) = said(&decision, ERRORED);
    assert_eq!(reason, Reason::NoNodes.as_str());
    assert!(message.contains("empty nodeSelectorTerms"), "{message}");
}
