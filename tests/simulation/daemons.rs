//! DaemonSets as targets. Each runs on its own nodes, and some of these nodes come and go.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    case::{Act, Case, End, Maker, merge},
    kinds::Kind,
    sets::{by_hand, strategy},
    target_kinds::TargetKind,
};

/// Label of the nodes of a target.
pub(crate) const POOL: &str = "pool";

/// Cases that only DaemonSets have.
pub(crate) const OWN: &[Kind] = &[
    gets_nodes,
    loses_nodes,
    on_selected_nodes,
    waits_for_a_node,
    without_nodes,
    replaced_by_hand,
];

/// A node of a target. Every second one is at the edge.
fn node(app: &str, index: usize) -> Value {
    let zone = if index.is_multiple_of(2) { "edge" } else { "core" };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("{app}-node-{index}"), "labels": {POOL: app, "zone": zone}},
    })
}

fn has_nodes(case: &mut Case, number: usize) {
    case.beside.retain(|object| object["kind"] != "Node");
    let nodes = (0..number).map(|index| node(&case.app, index));
    case.beside.extend(nodes);
}

/// Makes the target and the template those of a DaemonSet that runs on one to four nodes.
pub(crate) fn shape(rng: &mut fastrand::Rng, case: &mut Case) {
    has_nodes(case, rng.usize(1..=4));
    case.shape(&json!({"replicas": null, "template": {"spec": {"nodeSelector": {POOL: case.app}}}}));
    if rng.u8(..3) == 0 {
        let half = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}});
        strategy(case, &half);
    }
    // A DaemonSet has no number of replicas: it gets a node instead.
    let app = case.app.clone();
    for (_, act) in &mut case.acts {
        if matches!(act, Act::PatchTarget(patch) if patch["spec"]["replicas"].is_number()) {
            *act = Act::Create(node(&app, 9));
        }
    }
    let scale = &mut case.manifest["spec"]["scale"];
    if scale["hpa"].is_object() || scale["keda"].is_object() {
        *case = case.clone().bad();
        case.truth.ends = vec![End::Errored];
        case.truth.plain = false;
    } else if scale.is_null() {
        *scale = match rng.u8(..3) {
            0 => json!({"static": {"replicas": rng.u8(1..=3)}}),
            1 => json!({"percent": {"value": rng.u8(10..=100)}}),
            _ => Value::Null,
        };
    }
}

fn daemon(make: &mut Maker<'_>, what: &'static str, ends: &[End]) -> Case {
    TargetKind::named("DaemonSet").case(make, what, ends)
}

fn scale(case: &mut Case, scale: &Value) {
    case.manifest["spec"]["scale"] = scale.clone();
}

/// The canary gets a part of the nodes that its target gets.
pub(crate) fn gets_nodes(make: &mut Maker<'_>) -> Case {
    let mut case = daemon(make, "gets nodes", &[End::Updated]);
    has_nodes(&mut case, make.rng.usize(1..=3));
    scale(&mut case, &json!({"percent": {"value": make.rng.u8(40..=100)}}));
    let mut after = Duration::ZERO;
    for index in 10..make.rng.usize(12..15) {
        after += make.seconds(1, 15);
        case = case.clone().then(after, Act::Create(node(&case.app, index)));
    }
    case
}

/// A canary that loses a node gets another one, as long as there is one.
pub(crate) fn loses_nodes(make: &mut Maker<'_>) -> Case {
    let mut case = daemon(make, "loses nodes", &[End::Updated]);
    has_nodes(&mut case, 4);
    scale(&mut case, &json!({"static": {"replicas": make.rng.u8(1..=2)}}));
    let mut after = Duration::ZERO;
    for index in 0..make.rng.usize(1..=2) {
        after += make.seconds(5, 25);
        let name = format!("{}-node-{index}", case.app);
        case = case.then(after, Act::DeleteOther("Node", name));
    }
    case
}

/// The canary runs on all nodes with a label, also on one that comes later.
fn on_selected_nodes(make: &mut Maker<'_>) -> Case {
    let mut case = daemon(make, "runs on some kind of nodes", &[End::Updated]);
    has_nodes(&mut case, make.rng.usize(1..=4));
    scale(
        &mut case,
        &json!({"nodes": {"selector": {"matchLabels": {"zone": "edge"}}}}),
    );
    let late = node(&case.app, 10 + make.rng.usize(..2));
    case.then(make.seconds(5, 40), Act::Create(late))
}

fn waits_for_a_node(make: &mut Maker<'_>) -> Case {
    let mut case = daemon(make, "has a node later", &[End::Updated]);
    has_nodes(&mut case, 0);
    let late = node(&case.app, 0);
    case.then(make.seconds(5, 60), Act::Create(late))
}

fn without_nodes(make: &mut Maker<'_>) -> Case {
    let mut case = daemon(make, "has no node", &[End::Errored]).bad();
    has_nodes(&mut case, 0);
    case
}

fn replaced_by_hand(make: &mut Maker<'_>) -> Case {
    by_hand(make, TargetKind::named("DaemonSet"))
}

/// Names a target for which the Kanary has no field of its own: in a `KanaryDaemonset` by the template, elsewhere by reference.
pub(crate) fn name(spec: &mut Value, target: &str, is_default: bool) {
    let names = if is_default {
        json!({"template": {"metadata": {"name": target}}})
    } else {
        json!({"targetRef": {"kind": "DaemonSet", "name": target}})
    };
    merge(spec, &names);
}
