//! StatefulSets, their pods, revisions and claims.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::PersistentVolumeClaim,
};

use super::*;

fn set(more: Value) -> StatefulSet {
    let mut object = serde_json::to_value(deployment("db", json!({}))).unwrap();
    object["kind"] = json!("StatefulSet");
    object["spec"]["serviceName"] = json!("db");
    merge(&mut object, more);
    typed(object)
}

fn claims() -> Value {
    json!({"volumeClaimTemplates": [{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]})
}

fn images(world: &World) -> Vec<String> {
    let of = |pod: &Pod| {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        format!(
            "{} {}",
            pod.metadata.name.as_ref().unwrap(),
            container.image.as_ref().unwrap()
        )
    };
    world.pods().iter().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_have_stable_names_and_go_from_the_highest() {
    let world = world();
    world.made(set(json!({})));
    pass(5).await;
    assert_eq!(images(&world), ["db-0 app:v1", "db-1 app:v1", "db-2 app:v1"]);
    world.edit::<StatefulSet>("db", json!({"spec": {"replicas": 1}}));
    pass(5).await;
    assert_eq!(images(&world), ["db-0 app:v1"]);
    world.remove("pods", "db-0");
    pass(5).await;
    assert_eq!(status(&world.read::<StatefulSet>("db"))["availableReplicas"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_replaces_pods_one_by_one_and_keeps_the_former_revision() {
    let world = world();
    world.made(set(json!({})));
    pass(5).await;
    world.edit::<StatefulSet>("db", image("app:v2"));
    pass(10).await;
    assert_eq!(images(&world), ["db-0 app:v2", "db-1 app:v2", "db-2 app:v2"]);
    let shown = status(&world.read::<StatefulSet>("db"));
    assert_eq!(shown["currentRevision"], shown["updateRevision"], "{shown:#}");
    let mut revisions = world.list::<ControllerRevision>(None);
    revisions.sort_by_key(|revision| revision.revision);
    assert_eq!(
        revisions.iter().map(|revision| revision.revision).collect::<Vec<_>>(),
        [1, 2]
    );
    world.edit::<StatefulSet>("db", image("app:v1"));
    pass(10).await;
    let mut again = world.list::<ControllerRevision>(None);
    again.sort_by_key(|revision| revision.revision);
    assert_eq!(
        again.iter().map(|revision| revision.revision).collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(
        again[1].metadata.name, revisions[0].metadata.name,
        "it is the first one again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_or_on_delete_holds_back_a_rollout() {
    for (strategy, expected) in [
        (
            json!({"type": "OnDelete"}),
            ["db-0 app:v1", "db-1 app:v1", "db-2 app:v1"],
        ),
        (
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
            ["db-0 app:v1", "db-1 app:v1", "db-2 app:v2"],
        ),
    ] {
        let world = world();
        world.made(set(json!({"spec": {"updateStrategy": strategy}})));
        pass(5).await;
        world.edit::<StatefulSet>("db", image("app:v2"));
        pass(10).await;
        assert_eq!(images(&world), expected);
        let shown = status(&world.read::<StatefulSet>("db"));
        assert_ne!(shown["currentRevision"], shown["updateRevision"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_ready_stops_the_rollout_also_after_it_was_undone() {
    let world = world();
    world.made(set(json!({})));
    pass(5).await;
    world.edit::<StatefulSet>("db", pods_that_are("never-ready"));
    pass(10).await;
    world.edit::<StatefulSet>(
        "db",
        json!({"spec": {"template": {"metadata": {"labels": {super::super::LABEL: null}}}}}),
    );
    pass(60).await;
    let shown = status(&world.read::<StatefulSet>("db"));
    assert_eq!(shown["availableReplicas"], 2, "{shown:#}");
    world.remove("pods", "db-2");
    pass(10).await;
    assert_eq!(status(&world.read::<StatefulSet>("db"))["availableReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn claims_stay_unless_the_policy_deletes_them() {
    for (policy, left) in [("Retain", 3), ("Delete", 0)] {
        let world = world();
        let mut spec = claims();
        merge(
            &mut spec,
            json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy, "whenScaled": policy}}),
        );
        world.made(set(json!({"spec": spec})));
        pass(5).await;
        let names: Vec<_> = world.list::<PersistentVolumeClaim>(None);
        assert_eq!(names.len(), 3);
        world.remove("statefulsets.apps", "db");
        pass(10).await;
        assert_eq!(world.pods().len(), 0);
        assert_eq!(world.list::<PersistentVolumeClaim>(None).len(), left, "{policy}");
    }
}
