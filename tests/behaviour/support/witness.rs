//! What a controller knows, told by what it does.

use jiff::Timestamp;
use serde_json::json;

use super::{World, reason, time};

/// Another Kanary's whole run: proof that time has passed for the controller. When it ended.
pub(crate) async fn time_passes(world: &World) -> Timestamp {
    world.target("clock", 1).await;
    let dry_run = json!({"rollout": {"mode": "dry-run"}});
    world.kanary("clock", "clock", dry_run).await;
    time(&world.ends("clock", "Succeeded").await, "/status/completedAt")
}

/// Waits until the controller knows every pod of a canary that is there now. It fails a Kanary by a label of a pod that is
/// made later, so its watch has come that far.
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
