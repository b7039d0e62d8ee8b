//! How many measurements an item needs, how many may be bad, and when they are taken.

use serde_json::{Value, json};

use crate::{
    no_data::{item, validation},
    support::{Fake, KANARY, Says, World, message, time},
};

/// The same for an hour, unless a manual item decides earlier.
fn held(item: Value, manual: Value) -> Value {
    let items = json!([item, {"manual": manual}]);
    json!({"validation": {"validationPeriod": "1h", "maxIntervalPeriod": "300ms", "items": items}})
}

fn bad(kanary: &Value) -> u64 {
    kanary["status"]["items"][0]["bad"].as_u64().unwrap_or_default()
}

/// Waits until the status counts this many bad measurements.
async fn measured_bad(world: &World, times: u64) {
    let what = format!("the status counts {times} bad measurements");
    world
        .until(&KANARY, "batman", &what, |kanary| bad(kanary) >= times)
        .await;
}

#[tokio::test]
async fn less_tolerance_counts_what_was_measured_before() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let item = |limit: u32, interval: &str| item(&fake.address, json!({"failureLimit": limit, "interval": interval}));
    world
        .kanary("batman", "app", held(item(1000, "200ms"), json!({})))
        .await;
    measured_bad(&world, 2).await;
    fake.now_says(Says::one("0.5"));
    // Moving the item and changing its interval does not reset the result.
    let items = json!([{"manual": {}}, item(1000, "300ms")]);
    world.edit("batman", json!({"validation": {"items": items}})).await;
    let asked = fake.asked().len();
    fake.asked_times(asked + 2).await;
    let items = json!([{"manual": {}}, item(1, "300ms")]);
    world.edit("batman", json!({"validation": {"items": items}})).await;
    let ended = world.ends("batman", "Failed").await;
    assert!(
        message(&ended, "Failed").contains("bad measurements, 1 tolerated"),
        "{ended:#}"
    );
}

#[tokio::test]
async fn as_many_bad_measurements_as_the_failure_limit_are_tolerated() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let mut spec = validation(item(&fake.address, json!({"failureLimit": 2})));
    spec["validation"]["validationPeriod"] = json!("1h");
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "Failed").await;
    assert!(
        message(&ended, "Failed").contains("3 bad measurements, 2 tolerated"),
        "{ended:#}"
    );
    assert!(fake.asked().len() >= 3);
    assert_eq!(ended["status"]["items"][0]["bad"], 3);
}

#[tokio::test]
async fn tolerated_measurements_do_not_keep_a_good_canary_from_its_promotion() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let mut spec = validation(item(&fake.address, json!({"failureLimit": 49, "interval": "100ms"})));
    spec["validation"]["validationPeriod"] = json!("5s");
    world.kanary("batman", "app", spec).await;
    measured_bad(&world, 2).await;
    fake.now_says(Says::one("0.5"));
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!((2..50).contains(&bad(&ended)), "{ended:#}");
}

#[tokio::test]
async fn bad_measurements_are_remembered_over_a_restart() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let item = item(&fake.address, json!({"failureLimit": 1000}));
    world.kanary("batman", "app", held(item.clone(), json!({}))).await;
    measured_bad(&world, 1).await;
    world.kill_controller();
    fake.now_says(Says::one("0.5"));
    let before = bad(&world.get(&KANARY, "batman").await);
    world.start_controller();
    // A manual verdict takes effect after one good measurement, and no later one is bad.
    world.edit("batman", held(item, json!({"status": "valid"}))).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(bad(&ended) >= before, "{before} before: {ended:#}");
}

#[tokio::test]
async fn a_promotion_takes_min_samples_good_measurements() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let item = item(&fake.address, json!({"minSamples": 4, "interval": "200ms"}));
    world
        .kanary("batman", "app", held(item, json!({"status": "valid"})))
        .await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["items"][0]["good"], 4);
    assert!(fake.asked().len() >= 4);
}

#[tokio::test]
async fn a_query_is_put_when_it_is_due_and_never_before() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let mut spec = validation(item(&fake.address, json!({"interval": "1s"})));
    spec["validation"]["initialDelay"] = json!("2s");
    spec["validation"]["validationPeriod"] = json!("3500ms");
    spec["validation"]["maxIntervalPeriod"] = json!("20s");
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let start = time(&ended, "/status/validationStartTime");
    let offsets: Vec<_> = fake
        .asked()
        .iter()
        .map(|asked| asked.at.duration_since(start).as_millis())
        .collect();
    // Every second, and at the deadline. A slow machine skips some of them.
    let due = [1000, 2000, 3000, 3500]
        .into_iter()
        .chain((4..).map(|second| second * 1000));
    for (offset, due) in offsets.iter().zip(due) {
        assert!(*offset >= due, "{offsets:?}");
    }
    assert!(offsets.last().is_some_and(|last| *last >= 3500), "{offsets:?}");
}

#[tokio::test]
async fn a_metric_is_checked_at_least_every_max_interval_period() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let item = item(&fake.address, json!({"interval": "1h"}));
    world.kanary("batman", "app", held(item, json!({}))).await;
    fake.asked_times(5).await;
}
