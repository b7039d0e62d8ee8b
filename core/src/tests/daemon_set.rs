//! What differs if the target is a DaemonSet.

mod edited;
mod specs;

use serde_json::{Value, json};

use super::input::{self, Input};
use crate::{
    api::{KanaryKind, Reason, WorkloadKind},
    decide,
    decision::{Action, Decision, Need, ObjectKind},
    nodes::Recorded,
    observation::{Candidate, Created, DaemonView, NodesFound, Pod, Versions, Workload},
    status::{ERRORED, RECONCILING, STALLED, find},
    workload,
};

/// A case about the DaemonSet `myapp` on five nodes.
fn of_nodes(yaml: &str) -> Input {
    let yaml = yaml.replace("\n        ", "\n");
    let mut input = input::read(&format!(
        "spec: {{deploymentName: null, targetRef: {{kind: DaemonSet, name: myapp}}}}\n{yaml}"
    ));
    input.seen.nodes = Some(found(&["a", "b", "c", "d", "e"]));
    if let Some(target) = &mut input.seen.target {
        target.daemon = Some(Box::new(view(5)));
    }
    input
}

fn view(nodes: i32) -> DaemonView {
    DaemonView {
        nodes,
        observed: true,
        ..DaemonView::default()
    }
}

fn found(names: &[&str]) -> NodesFound {
    let ready = |name: &&str| Candidate {
        name: (*name).to_owned(),
        ready: true,
    };
    NodesFound::Found(names.iter().map(ready).collect())
}

fn scaled(mut input: Input, scale: &Value) -> Input {
    let mut object = json!({"metadata": {"name": "batman", "namespace": "shop", "uid": input::UID}});
    object["spec"] = json!({"targetRef": {"kind": "DaemonSet", "name": "myapp"}, "scale": scale, "template": {"spec": {
        "template": {"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [{"name": "myapp", "image": "myapp:v2"}]}},
    }}});
    let mut kanary =
        crate::ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(object).unwrap()).unwrap();
    kanary.status = input.kanary.status;
    input.kanary = kanary;
    input
}

fn percent(value: i32) -> Value {
    json!({"percent": {"value": value}})
}

fn decided(input: &Input) -> Decision {
    decide(&input.kanary, &input.seen, input.now)
}

/// Reason and message of a condition in the status that is to be written.
fn said(decision: &Decision, condition: &str) -> (String, String) {
    let status = decision.status.as_ref().unwrap_or_else(|| panic!("{decision:#?}"));
    let condition = find(status, condition).unwrap();
    (condition.reason.clone(), condition.message.clone())
}

fn created(decision: &Decision) -> &Value {
    let canary = decision.actions.iter().find_map(|action| match action {
        Action::Create {
            object: ObjectKind::Workload(WorkloadKind::DaemonSet),
            manifest,
            ..
        } => Some(manifest),
        _ => None,
    });
    canary.unwrap_or_else(|| panic!("{decision:#?}"))
}

/// The nodes that an affinity names.
fn nodes_in(affinity: &Value) -> Vec<&str> {
    let terms = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let name = |term: &'_ Value| {
        term.pointer("/matchFields/0/values/0")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let terms = terms.as_array().unwrap();
    assert!(terms.iter().all(|term| name(term).is_some()), "{terms:?}");
    terms
        .iter()
        .filter_map(|term| term.pointer("/matchFields/0/values/0")?.as_str())
        .collect()
}

/// The canary of this run, on these nodes of `of`, with a pod on each that `up` names.
fn running(mut input: Input, chosen: &[&str], of: i32, up: &[&str]) -> Input {
    let spec = &input.kanary.spec;
    let run = input.kanary.run(spec);
    let hash = spec.template_hash.clone();
    let canary = Workload {
        uid: "uid-canary".to_owned(),
        owner: Some(input::UID.to_owned()),
        created: input.now,
        labels: [(crate::api::names::RUN.to_owned(), run)].into(),
        template_hash: hash.clone(),
        versions: Versions::Untouched,
        generation: 1,
        daemon: Some(Box::new(DaemonView {
            chosen: chosen.iter().map(|node| (*node).into()).collect(),
            chosen_of: of,
            whole: chosen.len() == up.len(),
            ..view(i32::try_from(up.len()).unwrap())
        })),
        ..Workload::default()
    };
    input.seen.created = Some(Created {
        uid: canary.uid.clone(),
        template_hash: hash,
        generation: 1,
    });
    input.seen.canary = Some(canary);
    input.seen.pods = up.iter().map(|node| pod(node, Some(10))).collect();
    input
}

fn pod(node: &str, ready: Option<u32>) -> Pod {
    Pod {
        name: format!("pod-{node}"),
        node: Some(node.into()),
        ready: ready.is_some(),
        ready_second: ready.and_then(|second| second.try_into().ok()),
        ..Pod::default()
    }
}

/// The nodes that a canary gets, and the generation and the number of nodes that are recorded with them.
fn placed(decision: &Decision) -> Option<(Vec<&str>, (i64, i32))> {
    decision.actions.iter().find_map(|action| match action {
        Action::PlaceCanary {
            nodes,
            affinity,
            chosen,
            ..
        } => {
            let names: Vec<_> = nodes.iter().map(String::as_str).collect();
            assert_eq!(nodes_in(affinity), names);
            let recorded = Recorded::parse(chosen).unwrap();
            assert!(!recorded.differs(nodes));
            Some((names, (recorded.generation, recorded.of)))
        }
        _ => None,
    })
}

#[test]
fn the_canary_is_a_daemon_set_on_a_sample_of_the_targets_nodes() {
    for (scale, number) in [
        (json!(null), 1),
        (json!({"static": {"replicas": 2}}), 2),
        (json!({"static": {"replicas": 9}}), 5),
        (percent(20), 1),
        (percent(21), 2),
        (json!({"nodes": {"selector": {"matchLabels": {"pool": "edge"}}}}), 5),
    ] {
        let decision = decided(&scaled(of_nodes("seen: {target: {}}"), &scale));
        let canary = created(&decision);
        assert_eq!(canary["kind"], "DaemonSet");
        assert_eq!(canary["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
        assert_eq!(canary["spec"]["replicas"], Value::Null);
        let affinity = &canary["spec"]["template"]["spec"]["affinity"];
        assert_eq!(nodes_in(affinity).len(), number, "{scale}");
        let recorded = canary["metadata"]["annotations"][crate::api::names::NODES].as_str();
        let recorded = Recorded::parse(recorded.unwrap()).unwrap();
        assert_eq!((recorded.generation, recorded.of), (1, 5));
        let mut nodes = nodes_in(affinity);
        nodes.sort_unstable();
        assert!(!recorded.differs(&nodes), "{nodes:?}");
    }
}

#[test]
fn nodes_are_read_only_when_they_are_chosen() {
    let mut input = scaled(of_nodes("seen: {target: {}}"), &percent(40));
    input.seen.nodes = None;
    assert_eq!(decided(&input).needs, Some(Need::Nodes));
    let mut input = running(input, &["a", "b"], 5, &["a", "b"]);
    assert_eq!(decided(&input).needs, None);
    input.seen.target.as_mut().unwrap().daemon = Some(Box::new(view(6)));
    assert_eq!(decided(&input).needs, Some(Need::Nodes), "40 % of 6 are 3");
    input.seen.target.as_mut().unwrap().daemon = Some(Box::new(view(4)));
    assert_eq!(decided(&input).needs, None, "a canary does not shrink");
}

#[test]
fn a_node_that_is_gone_is_replaced_and_the_others_stay() {
    let input = scaled(of_nodes("seen: {target: {}}"), &json!({"static": {"replicas": 2}}));
    let mut input = running(input, &["a", "gone"], 6, &["a"]);
    let decision = decided(&input);
    let (nodes, chosen) = placed(&decision).unwrap();
    assert_eq!((nodes.len(), chosen), (2, (2, 5)));
    assert!(nodes.contains(&"a") && !nodes.contains(&"gone"), "{nodes:?}");
    // The pod of a node that is gone stays for a while.
    input.seen.pods.push(pod("gone", Some(10)));
    assert_eq!(placed(&decided(&input)), None);
    // Nothing is known before the controller of DaemonSets has seen the canary.
    input.seen.pods.pop();
    input.seen.canary.as_mut().unwrap().daemon.as_mut().unwrap().observed = false;
    assert_eq!(placed(&decided(&input)), None);
}

#[test]
fn a_canary_with_fewer_nodes_than_asked_for_waits_for_more_without_reads() {
    let mut input = scaled(of_nodes("seen: {target: {}}"), &json!({"static": {"replicas": 3}}));
    input.seen.nodes = Some(found(&["a", "bad"]));
    let mut input = running(input, &["a", "bad"], 2, &["a"]);
    input.seen.target.as_mut().unwrap().daemon = Some(Box::new(view(2)));
    let decision = decided(&input);
    assert_eq!(
        placed(&decision),
        Some((vec!["a"], (2, 2))),
        "the canary cannot run on the other one"
    );
    let mut input = running(input, &["a"], 2, &["a"]);
    input.seen.nodes = None;
    assert_eq!((decided(&input).needs, decided(&input).actions), (None, Vec::new()));
    input.seen.target.as_mut().unwrap().daemon = Some(Box::new(view(3)));
    input.seen.nodes = Some(found(&["a", "bad", "new"]));
    let decision = decided(&input);
    let (nodes, _) = placed(&decision).unwrap();
    assert_eq!(nodes, ["a", "bad", "new"]);
}

#[test]
fn nodes_on_which_the_canary_may_not_run_are_tried_once_each() {
    for good in [&["a"][..], &["e"], &["b", "d"], &[]] {
        let input = || scaled(of_nodes("seen: {target: {}}"), &json!({"static": {"replicas": 1}}));
        let manifest = created(&decided(&input())).clone();
        let first = nodes_in(&manifest["spec"]["template"]["spec"]["affinity"]);
        let mut tried: Vec<_> = first.iter().map(|node| (*node).to_owned()).collect();
        while !good.contains(&tried.last().unwrap().as_str()) {
            let decision = decided(&running(input(), &[tried.last().unwrap()], 5, &[]));
            let Some((nodes, _)) = placed(&decision) else { break };
            assert_eq!(nodes.len(), 1);
            assert!(!tried.contains(&nodes[0].to_owned()), "{tried:?} and then {nodes:?}");
            tried.push(nodes[0].to_owned());
        }
        let found = good.contains(&tried.last().unwrap().as_str());
        assert_eq!(
            (found, tried.len() == 5),
            (!good.is_empty(), good.is_empty() || tried.len() == 5),
            "{tried:?}"
        );
    }
}

#[test]
fn no_node_proves_nothing() {
    let mut input = of_nodes("seen: {target: {}}");
    input.seen.target.as_mut().unwrap().daemon = Some(Box::new(view(0)));
    let decision = decided(&input);
    assert_eq!((decision.actions.as_slice(), decision.needs), (&[][..], None));
    assert_eq!(said(&decision, ERRORED).0, Reason::NoNodes.as_str());
    let mut input = scaled(
        of_nodes("seen: {target: {}}"),
        &json!({"nodes": {"selector": {"matchLabels": {"x": "y"}}}}),
    );
    input.seen.nodes = Some(found(&[]));
    let decision = decided(&input);
    assert_eq!(said(&decision, ERRORED).0, Reason::NoNodes.as_str());
    assert!(decision.wake.is_some(), "labels of nodes are not watched");
    input.seen.nodes = Some(NodesFound::Forbidden("nodes is forbidden".to_owned()));
    let (reason, message) = said(&decided(&input), ERRORED);
    assert_eq!(reason, Reason::NodesForbidden.as_str());
    assert!(message.contains("nodes is forbidden"), "{message}");
    // The status of a target that was just created says nothing yet.
    input.seen.target.as_mut().unwrap().daemon = Some(Box::default());
    assert_eq!(decided(&input).actions, []);
}

#[test]
fn a_canary_is_available_since_the_last_pod_on_one_of_its_nodes_is() {
    let canary = |chosen: &[&str], up: &[&str]| {
        running(of_nodes("seen: {target: {}}"), chosen, 5, up)
            .seen
            .canary
            .unwrap()
    };
    let since = |mut canary: Workload, pods: &[Pod]| {
        workload::complete(WorkloadKind::DaemonSet, &mut canary, pods);
        canary.available_since.map(jiff::Timestamp::as_second)
    };
    let pods = [pod("a", Some(10)), pod("b", Some(20)), pod("gone", Some(99))];
    assert_eq!(since(canary(&["a", "b"], &["a", "b"]), &pods), Some(20));
    assert_eq!(
        since(canary(&["a", "b"], &["a"]), &pods),
        None,
        "its status says that one is missing"
    );
    assert_eq!(
        since(canary(&["a", "b"], &["a", "b"]), &pods[..1]),
        None,
        "a pod is not known yet"
    );
    assert_eq!(
        since(canary(&["a", "b"], &["a", "b"]), &[pod("a", Some(10)), pod("b", None)]),
        None
    );
}

#[test]
fn a_target_whose_user_deletes_its_pods_is_waited_for() {
    let yaml = "
        status: {phase: Succeeded}
        seen: {target: {promotedBy: this, rolledOut: false}, canary: {available: +0s}}";
    let mut input = of_nodes(yaml);
    let target = input.seen.target.as_mut().unwrap();
    target.daemon = Some(Box::new(DaemonView {
        on_delete: true,
        ..view(5)
    }));
    input.seen.promotion = crate::observation::Promotion::Done {
        at: Some(input.now),
        template_hash: target.template_hash.clone(),
    };
    let decision = decided(&input);
    let (reason, message) = said(&decision, STALLED);
    assert_eq!(reason, Reason::TargetOnDelete.as_str());
    assert!(
        message.starts_with("DaemonSet myapp was updated and does not replace its pods"),
        "{message}"
    );
}

#[test]
fn a_canary_with_ports_of_its_nodes_gives_way_to_the_promoted_target() {
    let port = crate::observation::HostPort {
        ip: None,
        protocol: "TCP".into(),
        port: 9100,
    };
    let yaml = "
        status: {phase: Succeeded}
        seen: {target: {promotedBy: this, rolledOut: false}, canary: {available: +0s}}";
    for (ports, on_delete, is_deleted) in [
        (vec![], false, false),
        (vec![port.clone()], false, true),
        (vec![port], true, true),
    ] {
        let mut input = of_nodes(yaml);
        let target = input.seen.target.as_mut().unwrap();
        target.daemon = Some(Box::new(DaemonView {
            on_delete,
            host_ports: ports.into(),
            ..view(5)
        }));
        input.seen.promotion = crate::observation::Promotion::Done {
            at: Some(input.now),
            template_hash: target.template_hash.clone(),
        };
        let decision = decided(&input);
        let object = ObjectKind::Workload(WorkloadKind::DaemonSet);
        let deletes = |action: &Action| matches!(action, Action::Delete { object: deleted, .. } if *deleted == object);
        assert_eq!(decision.actions.iter().any(deletes), is_deleted, "{decision:#?}");
        if is_deleted && !on_delete {
            let (reason, message) = said(&decision, RECONCILING);
            assert_eq!(reason, Reason::CanaryGaveWay.as_str());
            assert!(message.contains("need port 9100/TCP of each node"), "{message}");
        }
    }
}

#[test]
fn a_retained_canary_whose_labels_cannot_be_taken_off_is_deleted() {
    let mut input = input::read(
        "
spec: {deploymentName: null, targetRef: {kind: DaemonSet, name: myapp}, serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
status: {phase: Failed}
seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s}}}
",
    );
    input.now += jiff::SignedDuration::from_secs(1);
    let decision = decided(&input);
    let object = ObjectKind::Workload(WorkloadKind::DaemonSet);
    let deletes = |action: &Action| matches!(action, Action::Delete { object: deleted, .. } if *deleted == object);
    assert!(
        decision.leaves && decision.actions.iter().all(deletes) && !decision.actions.is_empty(),
        "{decision:#?}"
    );
}
