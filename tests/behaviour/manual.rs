//! Manual items and `spec.verdict`: decisions by a person.

use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Fake, KANARY, World, assert_not_before, is_true, message, phase, reason, since, time,
};

async fn world(validation: Value) -> World {
    let world = World::new("manual").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": validation})).await;
    world
}

/// A long period with one manual item.
fn long(manual: Value) -> Value {
    json!({"validationPeriod": "1h", "items": [{"manual": manual}]})
}

async fn image(world: &World) -> Value {
    world.get(&DEPLOYMENT, "app").await["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[tokio::test]
async fn valid_is_taken_at_once() {
    let world = world(long(json!({}))).await;
    world.phase("batman", "Running").await;
    world
        .edit("batman", json!({"validation": long(json!({"status": "valid"}))}))
        .await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "ManualValid");
    assert_eq!(image(&world).await, "app:v2");
}

#[tokio::test]
async fn invalid_is_taken_at_once() {
    let world = world(long(json!({}))).await;
    world.phase("batman", "Running").await;
    world
        .edit("batman", json!({"validation": long(json!({"status": "invalid"}))}))
        .await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ManualInvalid");
    assert!(message(&ended, "Failed").contains("manual[0]"), "{ended:#}");
    assert_eq!(image(&world).await, "app:v1");
}

#[tokio::test]
async fn no_run_waits_for_the_verdict_after_the_deadline() {
    let short = |manual: Value| json!({"validationPeriod": "1s", "items": [{"manual": manual}]});
    let world = world(short(json!({"statusAfterDeadline": "none"}))).await;
    let waiting = world
        .until(
            &KANARY,
            "batman",
            "the status says that it waits for a person",
            |kanary| reason(kanary, "Reconciling") == "WaitingForManual",
        )
        .await;
    assert_eq!(phase(&waiting), "Running");
    assert!(time(&waiting, "/status/deadline") <= jiff::Timestamp::now());
    assert_eq!(image(&world).await, "app:v1");
    world
        .edit("batman", json!({"validation": short(json!({"status": "valid"}))}))
        .await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_validation_without_items_is_one_manual_item_that_waits() {
    let world = World::new("manual").await;
    world.target("app", 1).await;
    let spec = json!({"validation": {"validationPeriod": "1s", "items": null}});
    world.kanary("batman", "app", spec).await;
    let waiting = world
        .until(
            &KANARY,
            "batman",
            "the status says that it waits for a person",
            |kanary| reason(kanary, "Reconciling") == "WaitingForManual",
        )
        .await;
    assert_eq!(waiting["status"]["report"]["validation"], "manual");
    assert_eq!(waiting["status"]["items"][0]["name"], "manual[0]");
}

#[tokio::test]
async fn valid_after_the_deadline_promotes_at_the_deadline_and_not_before() {
    let after = json!({"validationPeriod": "3s", "items": [{"manual": {"statusAfterDeadline": "valid"}}]});
    let world = world(after).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_not_before(&ended, "Succeeded", time(&ended, "/status/deadline"));
    assert_eq!(reason(&ended, "Succeeded"), "AllItemsGood");
}

#[tokio::test]
async fn invalid_after_the_deadline_fails_at_the_deadline_and_not_before() {
    let after = json!({"validationPeriod": "3s", "items": [{"manual": {"statusAfterDeadline": "invalid"}}]});
    let world = world(after).await;
    let ended = world.ends("batman", "Failed").await;
    assert_not_before(&ended, "Failed", time(&ended, "/status/deadline"));
    assert!(message(&ended, "Failed").contains("before the deadline"), "{ended:#}");
    assert_eq!(image(&world).await, "app:v1");
}

#[tokio::test]
async fn one_bad_item_fails_the_run_at_once_whatever_the_others_say() {
    let items = |second: Value| json!({"validationPeriod": "1h", "items": [{"manual": {}}, {"manual": second}, {"manual": {}}]});
    let world = world(items(json!({}))).await;
    world.phase("batman", "Running").await;
    world
        .edit("batman", json!({"validation": items(json!({"status": "invalid"}))}))
        .await;
    let ended = world.ends("batman", "Failed").await;
    assert!(message(&ended, "Failed").contains("manual[1]"), "{ended:#}");
}

#[tokio::test]
async fn all_items_must_be_good_at_the_deadline() {
    let items = |second: Value| {
        json!({
            "validationPeriod": "1s",
            "items": [{"manual": {"statusAfterDeadline": "valid"}}, {"manual": second}],
        })
    };
    let world = world(items(json!({}))).await;
    world
        .until(&KANARY, "batman", "waits for the second item", |kanary| {
            reason(kanary, "Reconciling") == "WaitingForManual"
        })
        .await;
    assert_eq!(image(&world).await, "app:v1");
    world
        .edit("batman", json!({"validation": items(json!({"status": "valid"}))}))
        .await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn valid_ends_the_run_early_only_if_every_other_item_agrees_so_far() {
    let nothing = Fake::start(crate::support::Says::Vector(vec![])).await;
    let query = |manual: Value| {
        json!({
            "validationPeriod": "1h", "maxIntervalPeriod": "300ms",
            "items": [
                {"manual": manual},
                {"promQL": {
                    "prometheusService": nothing.address, "query": "up", "allPodsQuery": true,
                    "valueInRange": {"min": 0, "max": 1},
                }},
            ],
        })
    };
    let world = world(query(json!({"status": "valid"}))).await;
    world.phase("batman", "Running").await;
    nothing.asked_times(3).await;
    let held = world.get(&KANARY, "batman").await;
    assert_eq!(phase(&held), "Running", "without data the run continues: {held:#}");
    nothing.now_says(crate::support::Says::one("0.5"));
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "ManualValid");
}

#[tokio::test]
async fn a_valid_verdict_promotes_whatever_the_items_say() {
    let world = world(long(json!({}))).await;
    world.phase("batman", "Running").await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "VerdictValid");
    assert_eq!(image(&world).await, "app:v2");
}

#[tokio::test]
async fn an_invalid_verdict_takes_the_canary_away() {
    let world = world(long(json!({}))).await;
    world.phase("batman", "Running").await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "VerdictInvalid");
    assert!(is_true(&ended, "Stalled"));
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(image(&world).await, "app:v1");
}

#[tokio::test]
async fn a_valid_verdict_waits_until_the_canary_is_available() {
    let world = World::new("manual").await;
    world.target("app", 1).await;
    let mut spec = json!({"verdict": "valid", "validation": {"validationPeriod": "1h"}});
    spec["template"] = json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": "slow"}}}}});
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let canary_started = time(&ended, "/status/startTime");
    let waited = since(&ended, "Succeeded").duration_since(canary_started);
    assert!(
        waited.as_secs() >= 4,
        "a slow pod takes five seconds, and this took {waited:?}"
    );
}
