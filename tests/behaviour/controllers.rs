//! Behaviour of the Kubernetes controllers that Kanary and its users rely on.

use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::support::{CONFIG_MAP, DEPLOYMENT, KANARY, POD, REPLICA_SET, World, config_map, labels};

#[tokio::test]
async fn what_an_object_owns_goes_with_it_unless_it_is_orphaned() {
    let world = World::unserved("api").await;
    for (name, policy) in [
        ("background", PropagationPolicy::Background),
        ("foreground", PropagationPolicy::Foreground),
        ("orphan", PropagationPolicy::Orphan),
    ] {
        let owner = world.create(&CONFIG_MAP, &config_map(name, json!({}))).await;
        let mut child = config_map(&format!("{name}-owned"), json!({}));
        child["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": true,
        }]);
        world.create(&CONFIG_MAP, &child).await;
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        world.delete_with(&CONFIG_MAP, name, &params).await;
    }
    for name in ["background", "foreground", "orphan"] {
        world.gone(&CONFIG_MAP, name).await;
    }
    for name in ["background-owned", "foreground-owned"] {
        world.gone(&CONFIG_MAP, name).await;
    }
    let orphan = world.get(&CONFIG_MAP, "orphan-owned").await;
    assert_eq!(orphan["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test]
async fn a_deployment_makes_a_replica_set_with_the_hash_of_its_template() {
    let world = World::unserved("api").await;
    world.target("app", 2).await;
    world
        .until(&DEPLOYMENT, "app", "is available", |app| {
            app["status"]["availableReplicas"] == 2
        })
        .await;
    let sets = world.list(&REPLICA_SET, "app=app").await;
    let hash = labels(&sets[0], "/metadata/labels")["pod-template-hash"].clone();
    assert_eq!(sets[0]["metadata"]["name"], format!("app-{hash}"));
    assert_eq!(
        sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let pods = world.list(&POD, &format!("pod-template-hash={hash}")).await;
    assert_eq!(pods.len(), 2);
    // A pod that loses the label is released, and a new pod replaces it.
    let name = pods[0]["metadata"]["name"].as_str().expect("a pod has a name");
    world
        .patch(&POD, name, json!({"metadata": {"labels": {"app": null}}}))
        .await;
    let freed = world
        .until(&POD, name, "has no controller", |pod| {
            pod["metadata"]["ownerReferences"].is_null()
        })
        .await;
    assert_eq!(freed["metadata"]["deletionTimestamp"], Value::Null);
    world
        .until_all(&POD, "app=app", "a new pod replaces it", |pods| pods.len() == 2)
        .await;
}

#[tokio::test]
async fn a_namespace_takes_everything_with_it() {
    let world = World::unserved("api").await;
    let other = world.sibling("api").await;
    other.target("app", 1).await;
    other.kanary("batman", "app", json!({})).await;
    other.delete_namespace().await;
    for kind in [KANARY, DEPLOYMENT, REPLICA_SET, POD] {
        other.none_left(&kind, "").await;
    }
}
