//! Many Kanaries at once.

use futures::StreamExt;
use serde_json::Value;

use super::World;

/// Creates the targets `app-0`, `app-1` and so on, and for each a KanaryDeployment `fleet-N` with `spec` of its number.
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
