//! ReplicaSets and their pods.

use super::*;

async fn running() -> World {
    let world = world();
    world.made(deployment("app", json!({})));
    pass(5).await;
    world
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_is_replaced() {
    let world = running().await;
    let gone = name(&world.pods()[0]);
    world.remove("pods", &gone);
    pass(5).await;
    let pods = world.pods();
    assert_eq!(pods.len(), 3);
    assert!(pods.iter().all(|pod| name(pod) != gone));
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_labels_no_longer_match_is_released_and_replaced() {
    let world = running().await;
    let released = name(&world.pods()[0]);
    world.edit::<Pod>(&released, json!({"metadata": {"labels": {"app": "other"}}}));
    pass(5).await;
    assert_eq!(world.pods().len(), 4);
    assert_eq!(world.read::<Pod>(&released).metadata.owner_references, None);
    assert_eq!(status(&world.read::<Deployment>("app"))["readyReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_matches_again_is_adopted_and_one_too_many_goes() {
    let world = running().await;
    let released = name(&world.pods()[0]);
    world.edit::<Pod>(&released, json!({"metadata": {"labels": {"app": "other"}}}));
    pass(5).await;
    world.edit::<Pod>(&released, json!({"metadata": {"labels": {"app": "app"}}}));
    pass(5).await;
    let pods = world.pods();
    assert_eq!(pods.len(), 3);
    assert!(pods.iter().all(|pod| pod.metadata.owner_references.is_some()));
}

#[tokio::test(start_paused = true)]
async fn labels_that_are_not_selected_by_may_change() {
    let world = running().await;
    let kept = name(&world.pods()[0]);
    world.edit::<Pod>(&kept, json!({"metadata": {"labels": {"validation": "failed"}}}));
    pass(5).await;
    assert_eq!(world.pods().len(), 3);
    assert!(world.read::<Pod>(&kept).metadata.owner_references.is_some());
    let set = world.sets().remove(0);
    assert_eq!(status(&set)["fullyLabeledReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_not_ready_go_before_those_that_are() {
    let behaviour = Behaviour::default();
    let world = behaving(behaviour);
    world.made(deployment("app", json!({})));
    pass(5).await;
    let sick = name(&world.pods()[1]);
    world.edit::<Pod>(&sick, json!({"metadata": {"labels": {super::super::LABEL: "crash"}}}));
    pass(5).await;
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 2}}));
    pass(1).await;
    let pods = world.pods();
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| name(pod) != sick));
}

#[tokio::test(start_paused = true)]
async fn the_youngest_pods_go_first() {
    let world = running().await;
    let old: Vec<_> = world.pods().iter().map(name).collect();
    pass(60).await;
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 6}}));
    pass(5).await;
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 3}}));
    pass(5).await;
    assert_eq!(world.pods().iter().map(name).collect::<Vec<_>>(), old);
}

#[tokio::test(start_paused = true)]
async fn a_cheap_pod_goes_first() {
    let world = running().await;
    let cheap = name(&world.pods()[1]);
    world.edit::<Pod>(
        &cheap,
        json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
    );
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 2}}));
    pass(5).await;
    assert!(world.pods().iter().all(|pod| name(pod) != cheap));
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_needs_no_deployment() {
    let world = world();
    let mut set = serde_json::to_value(deployment("solo", json!({}))).unwrap();
    set["kind"] = json!("ReplicaSet");
    world.made(typed::<ReplicaSet>(set));
    pass(5).await;
    let set: ReplicaSet = world.read("solo");
    let status = status(&set);
    for count in ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[count], 3, "{count} in {status:#}");
    }
    assert_eq!(status["observedGeneration"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ended_is_replaced() {
    let world = running().await;
    let mut pod = world.pods().remove(0);
    pod.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    world.write(Part::Status, &pod);
    pass(5).await;
    assert_eq!(world.pods().len(), 4);
    assert_eq!(status(&world.sets()[0])["replicas"], 3);
}
