//! Canaries of DaemonSets that somebody edits.

use serde_json::json;

use super::{CANARY, OF_BATMAN, canary_on, ends, number, runs};
use crate::support::{DAEMON_SET, POD, World, held, message, reason, version_of};

#[tokio::test]
async fn a_canary_of_a_daemon_set_that_somebody_changed_is_not_promoted() {
    let world = World::of_nodes("daemons", 2).await;
    world.target_on("agent", 2).await;
    world
        .kanary_of_nodes("batman", "agent", json!({"validation": held()}))
        .await;
    runs(&world).await;
    let containers = json!([{"name": "main", "image": "agent:other"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.patch(&DAEMON_SET, CANARY, patch).await;
    let ended = ends(&world, "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "CanaryChanged");
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v1");
}

#[tokio::test]
async fn a_canary_of_a_daemon_set_that_somebody_gave_more_nodes_fails_and_leaves_them() {
    let world = World::of_nodes("daemons", 4).await;
    world.target_on("agent", 4).await;
    let spec = json!({"scale": number(1), "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
    runs(&world).await;
    canary_on(&world, 1).await;
    let name = |index: usize| json!({"key": "metadata.name", "operator": "In", "values": [world.node(index)]});
    let terms: Vec<_> = (0..4).map(|index| json!({"matchFields": [name(index)]})).collect();
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    let patch = json!({"spec": {"template": {"spec": {"affinity": {"nodeAffinity": required}}}}});
    world.patch(&DAEMON_SET, CANARY, patch).await;
    let ended = ends(&world, "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "CanaryChanged");
    let why = message(&ended, "Failed");
    assert!(
        why.contains("DaemonSet agent-kanary-batman has other nodes than Kanary chose"),
        "{why}"
    );
    world.none_left(&POD, OF_BATMAN).await;
    assert_eq!(version_of(&world.get(&DAEMON_SET, "agent").await), "agent:v1");
}
