//! DaemonSets as targets: the canary is a DaemonSet on a sample of the target's nodes.

mod crash;
mod edited;

use serde_json::{Value, json};

use crate::support::{
    CONTROLLER_REVISION, DAEMON_SET, KANARY_DAEMONSET, POD, World, daemon_set, held, is_true, kanary_of_nodes, merge,
    message, nodes_of, phase, reason, version_of,
};

const CANARY: &str = "agent-kanary-batman";
const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

fn number(replicas: i32) -> Value {
    json!({"static": {"replicas": replicas}})
}

fn pods(fields: Value) -> Value {
    json!({"template": {"spec": {"template": fields}}})
}

async fn until(world: &World, what: &str, test: impl Fn(&Value) -> bool) -> Value {
    world.until(&KANARY_DAEMONSET, "batman", what, test).await
}

async fn runs(world: &World) -> Value {
    until(world, "is Running", |kanary| phase(kanary) == "Running").await
}

async fn refused(world: &World, why: &str) -> String {
    let refused = until(world, "is Errored", |kanary| is_true(kanary, "Errored")).await;
    assert_eq!(reason(&refused, "Errored"), why, "{refused:#}");
    assert_eq!(world.find(&DAEMON_SET, CANARY).await, None);
    message(&refused, "Errored").to_owned()
}

async fn verdict(world: &World, verdict: &str) {
    let patch = json!({"spec": {"verdict": verdict}});
    world.patch(&KANARY_DAEMONSET, "batman", patch).await;
}

async fn ends(world: &World, wanted: &str) -> Value {
    world.ends_as(&KANARY_DAEMONSET, "batman", wanted).await
}

/// Nodes of the canary, once it has a pod that is ready on each of this many.
async fn canary_on(world: &World, number: usize) -> Vec<String> {
    let are_ready = move |pods: &[&Value]| {
        pods.len() == number && pods.iter().filter(|pod| is_true(pod, "Ready")).count() == number
    };
    let what = format!("the canary has {number} ready pods");
    nodes_of(&world.until_all(&POD, OF_BATMAN, &what, are_ready).await)
}

#[tokio::test]
async fn a_good_canary_on_a_sample_of_the_nodes_is_promoted() {
    let world = World::of_nodes("daemons", 5).await;
    world.target_on("agent", 5).await;
    let spec = json!({"scale": {"percent": {"value": 30}}, "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
    let running = runs(&world).await;
    assert_eq!(running["status"]["report"]["deployment"], "DaemonSet/agent");
    assert_eq!(canary_on(&world, 2).await.len(), 2, "30 % of 5, rounded up");
    assert_eq!(version_of(&world.get(&DAEMON_SET, CANARY).await), "agent:v2");
    let target = world.get(&DAEMON_SET, "agent").await;
    assert_eq!(
        (version_of(&target), &target["metadata"]["generation"]),
        ("agent:v1", &json!(1))
    );

    verdict(&world, "valid").await;
    ends(&world, "DeploymentUpdated").await;
    let target = world.get(&DAEMON_SET, "agent").await;
    assert_eq!(
        (version_of(&target), &target["metadata"]["generation"]),
        ("agent:v2", &json!(2))
    );
    assert_eq!(target["status"]["updatedNumberScheduled"], 5, "{target:#}");
    assert_eq!(
        target["spec"]["template"]["spec"]["affinity"],
        Value::Null,
        "{target:#}"
    );
    world.gone(&DAEMON_SET, CANARY).await;
    let causes = world.revisions_of(&DAEMON_SET, "agent").await;
    let by = format!("promoted by KanaryDaemonset/{}/batman", world.ns);
    assert_eq!(
        causes.last().map(|(number, cause)| (*number, cause)),
        Some((2, &by)),
        "{causes:?}"
    );
}

#[tokio::test]
async fn kubectl_shows_and_undoes_the_promotion_of_a_daemon_set() {
    let Some(world) = World::with_kubectl("daemons").await else {
        return;
    };
    world.kill_controller();
    world.start_controller_of_all_targets();
    world.add_node(0, "edge").await;
    world.target_on("agent", 1).await;
    world.kanary_of_nodes("batman", "agent", json!({})).await;
    ends(&world, "DeploymentUpdated").await;
    let history = world.kubectl(&["rollout", "history", "daemonset/agent"]).await;
    assert!(history.contains("promoted by KanaryDaemonset"), "{history}");
    world.kubectl(&["rollout", "undo", "daemonset/agent"]).await;
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v1");
    let listed = world.kubectl(&["get", "kds"]).await;
    assert!(listed.contains("DaemonSet/agent"), "{listed}");
}

#[tokio::test]
async fn a_bad_canary_of_a_daemon_set_goes_and_leaves_the_target_alone() {
    let world = World::of_nodes("daemons", 2).await;
    world.target_on("agent", 2).await;
    world.service("agent", "agent").await;
    let spec = json!({"serviceName": "agent", "traffic": {"source": "service"}, "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
    runs(&world).await;
    verdict(&world, "invalid").await;
    let ended = ends(&world, "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "VerdictInvalid");
    world.gone(&DAEMON_SET, CANARY).await;
    world.none_left(&POD, OF_BATMAN).await;
    let target = world.get(&DAEMON_SET, "agent").await;
    assert_eq!(
        (version_of(&target), &target["metadata"]["generation"]),
        ("agent:v1", &json!(1))
    );
}

#[tokio::test]
async fn nodes_are_chosen_by_their_labels_among_those_of_the_target() {
    let world = World::of_nodes("daemons", 2).await;
    world.add_node(2, "core").await;
    world.add_node(3, "core").await;
    world.target_on("agent", 4).await;
    let scale = json!({"nodes": {"selector": {"matchLabels": {"pool": "core"}}}});
    let spec = json!({"scale": scale, "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
    runs(&world).await;
    assert_eq!(canary_on(&world, 2).await, [world.node(2), world.node(3)]);
    world.add_node(4, "core").await;
    assert_eq!(
        canary_on(&world, 3).await,
        [world.node(2), world.node(3), world.node(4)]
    );
    verdict(&world, "valid").await;
    ends(&world, "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_label_that_no_node_of_the_target_has_proves_nothing() {
    let world = World::of_nodes("daemons", 1).await;
    world.target_on("agent", 1).await;
    let scale = json!({"nodes": {"selector": {"matchLabels": {"pool": "nowhere"}}}});
    world.kanary_of_nodes("batman", "agent", json!({"scale": scale})).await;
    let why = refused(&world, "NoNodes").await;
    assert!(
        why.contains("DaemonSet agent has no node that spec.scale asks for"),
        "{why}"
    );
}

#[tokio::test]
async fn a_node_that_disappears_is_replaced_and_the_other_pods_stay() {
    let world = World::of_nodes("daemons", 4).await;
    world.target_on("agent", 4).await;
    let spec = json!({"scale": number(2), "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
    runs(&world).await;
    let first = canary_on(&world, 2).await;
    let uids = async || {
        let pods = world.list(&POD, OF_BATMAN).await;
        pods.iter()
            .map(|pod| pod["metadata"]["uid"].clone())
            .collect::<Vec<_>>()
    };
    let before = uids().await;
    world.remove_node(&first[0]).await;
    let gone = first[0].clone();
    let replaced = move |pods: &[&Value]| {
        let is_there = |pod: &&&Value| is_true(pod, "Ready") && pod["spec"]["nodeName"] != gone;
        pods.len() == 2 && pods.iter().filter(is_there).count() == 2
    };
    let pods = world
        .until_all(&POD, OF_BATMAN, "another node has a pod", replaced)
        .await;
    assert!(nodes_of(&pods).contains(&first[1]), "{pods:#?}");
    let kept = uids().await.iter().filter(|uid| before.contains(uid)).count();
    assert_eq!(kept, 1, "the pod of the node that stays is the same");
    verdict(&world, "valid").await;
    ends(&world, "DeploymentUpdated").await;
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v2");
}

#[tokio::test]
async fn the_sample_grows_with_the_target_and_outlives_its_controller() {
    let world = World::of_nodes("daemons", 4).await;
    world.target_on("agent", 4).await;
    let spec = json!({"scale": {"percent": {"value": 50}}, "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
    runs(&world).await;
    let first = canary_on(&world, 2).await;
    world.kill_controller();
    world.start_controller_of_all_targets();
    world.add_node(4, "edge").await;
    let second = canary_on(&world, 3).await;
    assert!(first.iter().all(|node| second.contains(node)), "{first:?} {second:?}");
    let canary = world.get(&DAEMON_SET, CANARY).await;
    let recorded = canary["metadata"]["annotations"]["kanary.k8s-operators.dev/nodes"].as_str();
    assert!(
        recorded.is_some_and(|recorded| recorded.starts_with("2/5/")),
        "{canary:#}"
    );
    world.kill_controller();
    world.start_controller_of_all_targets();
    verdict(&world, "valid").await;
    ends(&world, "DeploymentUpdated").await;
    world.none_left(&CONTROLLER_REVISION, OF_BATMAN).await;
}

#[tokio::test]
async fn a_port_of_the_node_that_the_target_takes_is_reported_before_anything_is_created() {
    let world = World::of_nodes("daemons", 1).await;
    let mut target = daemon_set(&world, "agent");
    let port = json!({"ports": [{"containerPort": 9100, "hostPort": 9100}]});
    merge(&mut target["spec"]["template"]["spec"]["containers"][0], port.clone());
    world.create(&DAEMON_SET, &target).await;
    let mut kanary = kanary_of_nodes(&world, "batman", "agent", json!({}));
    merge(
        &mut kanary["spec"]["template"]["spec"]["template"]["spec"]["containers"][0],
        port,
    );
    world.create(&KANARY_DAEMONSET, &kanary).await;
    let why = refused(&world, "HostPortTaken").await;
    assert!(
        why.contains("port 9100/TCP of a node belongs to the pod of DaemonSet agent"),
        "{why}"
    );
    let containers = json!([{"name": "main", "image": "agent:v2"}]);
    let free = json!({"spec": pods(json!({"spec": {"containers": containers}}))});
    world.patch(&KANARY_DAEMONSET, "batman", free).await;
    ends(&world, "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_port_of_the_node_that_the_target_does_not_have_yet_does_not_stop_its_promotion() {
    let world = World::of_nodes("daemons", 2).await;
    world.target_on("agent", 2).await;
    let mut kanary = kanary_of_nodes(&world, "batman", "agent", json!({"validation": held()}));
    merge(
        &mut kanary["spec"]["template"]["spec"]["template"]["spec"]["containers"][0],
        json!({"ports": [{"containerPort": 9100, "hostPort": 9100}]}),
    );
    world.create(&KANARY_DAEMONSET, &kanary).await;
    runs(&world).await;
    verdict(&world, "valid").await;
    // A pod of the canary keeps the target's pod from this node until it is gone.
    ends(&world, "DeploymentUpdated").await;
    assert_eq!(world.find(&DAEMON_SET, CANARY).await, None);
}

#[tokio::test]
async fn an_autoscaler_for_a_daemon_set_is_refused() {
    let world = World::of_nodes("daemons", 1).await;
    world.target_on("agent", 1).await;
    let scale = json!({"hpa": {"maxReplicas": 3}});
    world.kanary_of_nodes("batman", "agent", json!({"scale": scale})).await;
    let why = refused(&world, "InvalidSpec").await;
    assert!(
        why.contains("spec.scale.hpa is for targets with a number of replicas"),
        "{why}"
    );
}

#[tokio::test]
async fn a_daemon_set_that_its_user_rolls_out_is_told_and_not_reported_as_done() {
    let world = World::of_nodes("daemons", 2).await;
    let mut target = daemon_set(&world, "agent");
    target["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    world.create(&DAEMON_SET, &target).await;
    world.kanary_of_nodes("batman", "agent", json!({})).await;
    let waits = until(&world, "waits for its user", |kanary| {
        reason(kanary, "Stalled") == "TargetOnDelete"
    })
    .await;
    assert!(
        message(&waits, "Stalled").contains("delete the pods of DaemonSet agent"),
        "{waits:#}"
    );
    assert_eq!(phase(&waits), "Succeeded");
    for pod in world.list(&POD, "app=agent").await {
        world
            .delete(&POD, pod["metadata"]["name"].as_str().unwrap_or_default())
            .await;
    }
    ends(&world, "DeploymentUpdated").await;
}

#[tokio::test]
async fn daemon_sets_are_refused_where_the_operator_has_not_switched_them_on() {
    let world = World::unserved("daemons").await;
    world.start_controller_of_all_kinds();
    world.add_node(0, "edge").await;
    world.target_on("agent", 1).await;
    world.kanary_of_nodes("batman", "agent", json!({})).await;
    let why = refused(&world, "TargetKindDisabled").await;
    assert!(why.contains("--target-kinds=DaemonSet"), "{why}");
    let asked = world.requests().await;
    let of_daemon_sets = |resource: &str| resource == "daemonsets" || resource == "nodes";
    assert!(
        asked.iter().all(|request| !of_daemon_sets(&request.resource)),
        "{asked:?}"
    );
    world.kill_controller();
    world.start_controller_of_all_targets();
    ends(&world, "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_canary_of_a_daemon_set_whose_pod_never_starts_fails_with_the_cause() {
    let world = World::of_nodes("daemons", 2).await;
    world.target_on("agent", 2).await;
    let mut spec = pods(json!({"metadata": {"labels": {"kanary.test/behaviour": "never-ready"}}}));
    merge(&mut spec, json!({"rollout": {"progressDeadline": "3s"}}));
    world.kanary_of_nodes("batman", "agent", spec).await;
    let ended = ends(&world, "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    let why = message(&ended, "Failed");
    assert!(
        why.contains("DaemonSet agent-kanary-batman did not become available within 3s"),
        "{why}"
    );
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v1");
}

#[tokio::test]
async fn a_daemon_set_that_does_not_become_available_gets_its_former_template_back() {
    let world = World::of_nodes("daemons", 1).await;
    let mut target = daemon_set(&world, "agent");
    target["spec"]["minReadySeconds"] = json!(599);
    world.create(&DAEMON_SET, &target).await;
    let rollout = json!({"progressDeadline": "5s", "rollbackOnFailure": true});
    world
        .kanary_of_nodes("batman", "agent", json!({"rollout": rollout}))
        .await;
    let over = until(&world, "the target was rolled back", |kanary| {
        is_true(kanary, "RolledBack")
    })
    .await;
    assert_eq!(reason(&over, "Failed"), "TargetNotAvailable");
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v1");
}

#[tokio::test]
async fn a_missing_daemon_set_is_created_from_the_template() {
    let world = World::of_nodes("daemons", 1).await;
    let spec = json!({"rollout": {"createTargetAfter": "0s"}});
    world.kanary_of_nodes("batman", "agent", spec).await;
    ends(&world, "DeploymentUpdated").await;
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v2");
    assert_eq!(world.find(&DAEMON_SET, CANARY).await, None);
}
