//! A controller that is killed at each of its writes, also while the nodes of its canary change.

use std::{pin::pin, sync::Arc};

use futures::StreamExt;

use super::*;
use crate::support::{Faults, Strike};

async fn prepare(world: &World) {
    for index in 0..3 {
        world.add_node(index, "edge").await;
    }
    world.target_on("agent", 3).await;
    let spec = json!({"scale": {"percent": {"value": 50}}, "validation": held()});
    world.kanary_of_nodes("batman", "agent", spec).await;
}

/// The target gets two nodes while the canary runs, and the canary passes.
async fn passes_on_more_nodes(world: &World, case: &str) {
    canary_on(world, 2).await;
    for index in 3..5 {
        world.add_node(index, "edge").await;
    }
    canary_on(world, 3).await;
    verdict(world, "valid").await;
    ends(world, "DeploymentUpdated").await;
    world.gone(&DAEMON_SET, CANARY).await;
    world.none_left(&POD, OF_BATMAN).await;
    let target = world.get(&DAEMON_SET, "agent").await;
    assert_eq!(
        (version_of(&target), &target["metadata"]["generation"]),
        ("agent:v2", &json!(2)),
        "{case}: promoted once"
    );
    let requests = world.requests().await;
    let created = requests
        .iter()
        .filter(|request| request.verb == "create" && request.name == CANARY && request.is_done());
    assert_eq!(created.count(), 1, "{case}: the canary was created once");
}

#[tokio::test]
async fn a_canary_of_a_daemon_set_survives_a_crash_at_every_write() {
    let undisturbed = World::unserved("daemons").await;
    prepare(&undisturbed).await;
    let faults = Faults::none();
    undisturbed.start_faulty_controller_of_all_targets(&faults);
    passes_on_more_nodes(&undisturbed, "undisturbed").await;
    let writes = faults.writes();
    assert!(writes >= 5, "{writes} writes");
    let undisturbed = Arc::new(undisturbed);
    let strikes = (1..=writes).flat_map(|nth| [(nth, Strike::Before), (nth, Strike::After)]);
    futures::stream::iter(strikes)
        .for_each_concurrent(5, |(nth, strike)| {
            let first = undisturbed.clone();
            async move {
                let world = first.sibling("daemons").await;
                prepare(&world).await;
                let faults = Faults::at(nth, strike);
                world.start_faulty_controller_of_all_targets(&faults);
                let case = format!("{strike:?} write {nth} of {writes}");
                let mut run = pin!(passes_on_more_nodes(&world, &case));
                // A run that is faster than the first one may need one write less.
                tokio::select! {
                    () = faults.struck() => {}
                    () = &mut run => return,
                }
                world.kill_controller();
                world.start_controller_of_all_targets();
                run.await;
            }
        })
        .await;
}
