//! DaemonSets on nodes that come and go.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::Node,
};

use super::*;

fn set(more: Value) -> DaemonSet {
    let mut object = serde_json::to_value(deployment("agent", json!({}))).unwrap();
    object["kind"] = json!("DaemonSet");
    merge(&mut object, json!({"spec": {"replicas": null}}));
    merge(&mut object, more);
    typed(object)
}

fn node(world: &World, name: &str, labels: Value) {
    world.made(typed::<Node>(json!({"metadata": {"name": name, "labels": labels}})));
}

/// Names of the nodes with the images that run there.
fn running(world: &World) -> Vec<String> {
    let of = |pod: &Pod| {
        let spec = pod.spec.as_ref().unwrap();
        let image = spec.containers[0].image.as_ref().unwrap();
        format!("{} {image}", spec.node_name.as_ref().unwrap())
    };
    let mut pods: Vec<_> = world.pods().iter().map(of).collect();
    pods.sort();
    pods
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_on_each_node_that_the_template_allows() {
    let world = world();
    for name in ["a", "b", "c"] {
        node(
            &world,
            name,
            json!({"pool": if name == "c" { "other" } else { "edge" }}),
        );
    }
    world.made(set(
        json!({"spec": {"template": {"spec": {"nodeSelector": {"pool": "edge"}}}}}),
    ));
    pass(5).await;
    assert_eq!(running(&world), ["a app:v1", "b app:v1"]);
    let shown = status(&world.read::<DaemonSet>("agent"));
    assert_eq!(
        (
            &shown["desiredNumberScheduled"],
            &shown["numberAvailable"],
            &shown["updatedNumberScheduled"]
        ),
        (&json!(2), &json!(2), &json!(2)),
        "{shown:#}"
    );
    node(&world, "d", json!({"pool": "edge"}));
    let gone = (String::new(), "a".to_owned());
    world.delete(USER, "nodes", &gone, &DeleteOptions::default()).unwrap();
    pass(5).await;
    assert_eq!(running(&world), ["b app:v1", "d app:v1"]);
    let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["d"]}]}]);
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    let pinned = json!({"spec": {"updateStrategy": {"type": "OnDelete"}, "template": {"spec": {"affinity": {"nodeAffinity": required}}}}});
    world.edit::<DaemonSet>("agent", pinned);
    pass(5).await;
    assert_eq!(running(&world), ["d app:v1"]);
    let shown = status(&world.read::<DaemonSet>("agent"));
    assert_eq!(
        shown["updatedNumberScheduled"],
        Value::Null,
        "the pod stays with its former template"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_replaces_one_pod_after_the_other_and_keeps_revisions() {
    let world = world();
    for name in ["a", "b"] {
        node(&world, name, json!({}));
    }
    world.made(set(json!({})));
    pass(5).await;
    world.edit::<DaemonSet>("agent", image("app:v2"));
    pass(20).await;
    assert_eq!(running(&world), ["a app:v2", "b app:v2"]);
    let mut revisions = world.list::<ControllerRevision>(None);
    revisions.sort_by_key(|revision| revision.revision);
    assert_eq!(
        revisions.iter().map(|revision| revision.revision).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test(start_paused = true)]
async fn with_on_delete_a_pod_stays_until_its_user_deletes_it() {
    let world = world();
    node(&world, "a", json!({}));
    world.made(set(json!({"spec": {"updateStrategy": {"type": "OnDelete"}}})));
    pass(5).await;
    world.edit::<DaemonSet>("agent", image("app:v2"));
    pass(5).await;
    assert_eq!(running(&world), ["a app:v1"]);
    let pod = world.pods().remove(0).metadata.name.clone().unwrap();
    world.remove("pods", &pod);
    pass(5).await;
    assert_eq!(running(&world), ["a app:v2"]);
}
