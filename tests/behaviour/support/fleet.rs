//! Fleets of Kanaries.

use futures::StreamExt;
use serde_json::Value;

use super::{KANARY, World};

/// Creates the targets `app-0`, `app-1` and so on, and for each a KanaryDeployment `fleet-N` with the spec for its
/// number.
pub(crate) async fn create_fleet(world: &World, size: usize, spec: impl Fn(usize) -> Value) {
    let spec = &spec;
    futures::stream::iter(0..size)
        .for_each_concurrent(16, |number| async move {
            let target = format!("app-{number}");
            world.target(&target, 1).await;
            world.kanary(&format!("fleet-{number}"), &target, spec(number)).await;
        })
        .await;
}

/// Waits until every Kanary of a fleet has ended. There is no time limit while some make progress, because a slow machine
/// may need long for a large fleet.
pub(crate) async fn fleet_ends(world: &World, size: usize) -> Vec<Value> {
    let mut ended = Vec::new();
    for tenth in 1..=10 {
        let least = size * tenth / 10;
        let what = format!("{least} of {size} Kanaries have ended");
        let enough = |kanaries: &[&Value]| {
            let ended = kanaries
                .iter()
                .filter(|kanary| !kanary["status"]["completedAt"].is_null());
            ended.count() >= least
        };
        ended = world.until_all(&KANARY, "", &what, enough).await;
    }
    ended
}
