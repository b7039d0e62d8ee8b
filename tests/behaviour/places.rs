//! `--max-concurrent-canaries`: runs wait for a place.

use serde_json::{Value, json};

use crate::{
    shards::grant,
    support::{CONFIG_MAP, DEPLOYMENT, KANARY, World, held, message, reason},
};

const PLACES: &str = "kanary-places";

/// A Kanary with a target of its own that waits for a manual verdict.
async fn kanary(world: &World, name: &str, priority: i32) {
    let target = format!("app-{name}");
    world.target(&target, 1).await;
    let spec = json!({"priority": priority, "validation": held()});
    world.kanary(name, &target, spec).await;
}

/// A world in which the Kanary `first` runs and has the only place.
async fn full() -> World {
    let world = World::unserved("places").await;
    grant(&world).await;
    world.start_limited_controller();
    kanary(&world, "first", 0).await;
    world.phase("first", "Running").await;
    world
}

/// Waits until a Kanary reports its place in the line.
async fn waits_at(world: &World, name: &str, place: &str) -> Value {
    let says = |kanary: &Value| message(kanary, "Scheduled").contains(place);
    let waiting = world.until(&KANARY, name, &format!("it waits at {place}"), says).await;
    assert_eq!(reason(&waiting, "Scheduled"), "WaitingForPlace", "{waiting:#}");
    assert_eq!(reason(&waiting, "Reconciling"), "WaitingForPlace", "{waiting:#}");
    waiting
}

async fn has_no_canary(world: &World, name: &str) {
    let canary = format!("app-{name}-kanary-{name}");
    assert!(world.find(&DEPLOYMENT, &canary).await.is_none(), "{canary} exists");
}

/// Writes about a Kanary and what belongs to it.
async fn writes(world: &World, name: &str) -> usize {
    let requests = world.requests().await.into_iter();
    let about = requests.filter(|request| request.is_write() && request.name.contains(name));
    about.count()
}

async fn passes(world: &World, name: &str) {
    world.edit(name, json!({"verdict": "valid"})).await;
    world.ends(name, "DeploymentUpdated").await;
}

#[tokio::test]
async fn canaries_run_one_after_the_other_by_their_priority() {
    let world = full().await;
    kanary(&world, "humble", 0).await;
    let asked = waits_at(&world, "humble", "place 1 of 1").await;
    kanary(&world, "urgent", 5).await;
    waits_at(&world, "urgent", "place 1 of 2").await;
    let before = writes(&world, "humble").await;
    // A restart changes neither what runs nor who is next.
    world.kill_controller();
    world.start_limited_controller();
    passes(&world, "first").await;
    world.phase("urgent", "Running").await;
    has_no_canary(&world, "humble").await;
    passes(&world, "urgent").await;
    let started = world.phase("humble", "Running").await;
    assert_eq!(
        started["status"]["place"]["requestedAt"],
        asked["status"]["place"]["requestedAt"]
    );
    passes(&world, "humble").await;
    // The place, the canary, the start, the verdict, the promotion, the end and the clean-up: nothing while it waited.
    let after = writes(&world, "humble").await - before;
    assert!(after <= 10, "{after} writes since it waits");
}

#[tokio::test]
async fn a_waiting_kanary_writes_nothing_and_moves_up_when_its_priority_is_raised() {
    let world = full().await;
    kanary(&world, "second", 0).await;
    waits_at(&world, "second", "place 1 of 1").await;
    kanary(&world, "third", 0).await;
    waits_at(&world, "third", "place 2 of 2").await;
    let before = writes(&world, "second").await;
    world.edit("third", json!({"priority": 1})).await;
    let third_is_first = |map: &Value| {
        let line = map["data"]["line"].as_str().unwrap_or_default();
        line.lines().next().is_some_and(|next| next.ends_with("/third"))
    };
    world.until(&CONFIG_MAP, PLACES, "third is next", third_is_first).await;
    passes(&world, "first").await;
    world.phase("third", "Running").await;
    has_no_canary(&world, "second").await;
    assert_eq!(writes(&world, "second").await, before);
}

#[tokio::test]
async fn a_config_map_that_is_deleted_lets_nobody_start() {
    let world = full().await;
    kanary(&world, "second", 0).await;
    waits_at(&world, "second", "place 1 of 1").await;
    let former = world.get(&CONFIG_MAP, PLACES).await;
    world.delete(&CONFIG_MAP, PLACES).await;
    let again = |map: &Value| {
        map["metadata"]["uid"] != former["metadata"]["uid"]
            && map["data"]["waiting"] == "1"
            && map["data"]["granted"] == ""
    };
    world.until(&CONFIG_MAP, PLACES, "it is there again", again).await;
    has_no_canary(&world, "second").await;
    passes(&world, "first").await;
    world.phase("second", "Running").await;
}

#[tokio::test]
async fn a_kanary_that_waits_and_cannot_start_lets_others_pass() {
    let world = full().await;
    kanary(&world, "second", 9).await;
    waits_at(&world, "second", "place 1 of 1").await;
    kanary(&world, "third", 0).await;
    waits_at(&world, "third", "place 2 of 2").await;
    world.edit("second", json!({"paused": true})).await;
    let is_paused = |kanary: &Value| reason(kanary, "Scheduled") == "Paused";
    world.until(&KANARY, "second", "it is paused", is_paused).await;
    passes(&world, "first").await;
    world.phase("third", "Running").await;
    has_no_canary(&world, "second").await;
}
