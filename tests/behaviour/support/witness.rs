//! Ways to infer from the controller's actions what it has observed.

use jiff::Timestamp;
use serde_json::json;

use super::{World, reason, time};

/// Runs another Kanary to its end, so that the controller had enough time for any action. Returns the end time.
pub(crate) async fn time_passes(world: &World) -> Timestamp {
    world.target("clock", 1).await;
    let dry_run = json!({"rollout": {"mode": "dry-run"}});
    world.kanary("clock", "clock", dry_run).await;
    time(&world.ends("clock", "Succeeded").await, "/status/completedAt")
}

/// Waits until the controller has observed every current pod of a canary. It fails a Kanary by the label of a pod that is
/// created later, so its watch has passed the earlier pods.
pub(crate) async fn pods_are_known(world: &World) {
    let label = json!({"witness": "true"});
    let spec = json!({
        "template": {"spec": {"template": {"metadata": {"labels": label}}}},
        "validation": {"validationPeriod": "1h", "items": [{"labelWatch": {"podInvalidationLabels": label}}]},
    });
    world.target("witness", 1).await;
    world.kanary("witness", "witness", spec).await;
    let ended = world.ends("witness", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "LabelMatched");
}
