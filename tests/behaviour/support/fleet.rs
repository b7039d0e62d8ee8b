//! Fleets of Kanaries.

use futures::StreamExt;
use serde_json::Value;

use super::{KANARY, Kind, Subject, USUAL, World, deployment, kanary};

/// Creates the targets `app-0`, `app-1` and so on, and for each a KanaryDeployment `fleet-N` with the spec for its
/// number.
pub(crate) async fn create_fleet(world: &World, size: usize, spec: impl Fn(usize) -> Value) {
    create_mixed_fleet(world, size, |_| USUAL, spec).await;
}

/// The same with targets and Kanaries of the kinds for each number.
pub(crate) async fn create_mixed_fleet(
    world: &World,
    size: usize,
    subject: impl Fn(usize) -> Subject,
    spec: impl Fn(usize) -> Value,
) {
    let (subject, spec) = (&subject, &spec);
    futures::stream::iter(0..size)
        .for_each_concurrent(16, |number| async move {
            let target = format!("app-{number}");
            let (name, subject) = (format!("fleet-{number}"), subject(number));
            let made = subject.of_target(deployment(&target, 1));
            world.create(&subject.target, &made).await;
            let made = subject.of_kanary(kanary(&name, &target, spec(number)));
            world.create(&subject.kanary, &made).await;
        })
        .await;
}

/// Waits until every Kanary of a fleet has ended. There is no time limit while some make progress, because a slow machine
/// may need long for a large fleet.
pub(crate) async fn fleet_ends(world: &World, size: usize) -> Vec<Value> {
    fleet_of_kind_ends(world, &KANARY, size).await
}

/// The same for those of one kind.
pub(crate) async fn fleet_of_kind_ends(world: &World, kind: &Kind, size: usize) -> Vec<Value> {
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
        ended = world.until_all(kind, "", &what, enough).await;
    }
    ended
}
