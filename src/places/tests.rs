use kanary_core::api::{Kanary, KanaryKind};
use serde_json::{Value, json};

use super::*;

fn places() -> (Places, Arc<Queue>) {
    let queue = Arc::new(Queue::default());
    let limits = CanaryLimits {
        total: Some(10),
        per_namespace: None,
    };
    let options = PlaceOptions::new(limits, "kanary-system".to_owned());
    let places = Places::new(options, Clock::default(), queue.clone(), Arc::default());
    (places, queue)
}

fn kanary(name: &str, place: &Value) -> ParsedKanary {
    let object = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": {"template": {"spec": {}}}, "status": {"place": place},
    });
    let object: Kanary = serde_json::from_value(object).unwrap();
    ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap()
}

fn waiting(name: &str) -> ParsedKanary {
    kanary(
        name,
        &json!({"requestedAt": "1970-01-01T00:00:05Z", "state": "Waiting"}),
    )
}

fn map(version: &str, data: &Value) -> ConfigMap {
    let object = json!({"metadata": {"name": NAME, "resourceVersion": version}, "data": data});
    serde_json::from_value(object).unwrap()
}

fn book(granted: &str, waiting: &str, newest: &str, line: &str) -> Value {
    json!({"granted": granted, "waiting": waiting, "newestRequest": newest, "line": line})
}

/// What is due in the queue.
async fn queued(queue: &Queue) -> Vec<String> {
    let mut keys = Vec::new();
    while !queue.is_empty() {
        for key in queue.ready().await {
            keys.push(key.name.clone());
            queue.done(&key, None);
        }
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn a_granted_place_wakes_the_kanary_that_waits_for_it() {
    let (places, queue) = places();
    let batman = waiting("batman");
    assert_eq!(places.look(&batman).granted, None);
    places.look(&waiting("robin"));
    places.put(&map("7", &book("uid-batman 5000 shop\n", "1", "0", "")));
    assert_eq!(queued(&queue).await, ["batman"]);
    assert_eq!(places.look(&batman).granted, view::time(5000));
    places.put(&map("8", &book("uid-batman 5000 shop\n", "2", "0", "")));
    assert!(queued(&queue).await.is_empty(), "it is not news any more");
}

#[tokio::test(start_paused = true)]
async fn the_place_in_the_line_wakes_a_kanary_once() {
    let (places, queue) = places();
    places.look(&waiting("batman"));
    places.put(&map("7", &book("", "1", "4999", "uid-robin shop/robin\n")));
    assert!(queued(&queue).await.is_empty(), "the leader has not seen the request");
    places.put(&map(
        "8",
        &book("", "2", "5000", "uid-robin shop/robin\nuid-batman shop/batman\n"),
    ));
    assert_eq!(queued(&queue).await, ["batman"]);
    let line = places.look(&waiting("batman")).line.unwrap();
    assert_eq!((line.position, line.waiting), (Some(2), 2));
    // It wrote that down.
    let told = json!({
        "requestedAt": "1970-01-01T00:00:05Z", "state": "Waiting",
        "line": {"position": 2, "waiting": 2, "at": "1970-01-01T00:00:06Z"},
    });
    places.look(&kanary("batman", &told));
    places.put(&map(
        "9",
        &book("", "2", "5001", "uid-batman shop/batman\nuid-robin shop/robin\n"),
    ));
    assert!(queued(&queue).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn behind_the_listed_ones_the_number_is_known() {
    let (places, _) = places();
    places.put(&map("7", &book("", "340", "5000", "uid-robin shop/robin\n")));
    let line = places.look(&waiting("batman")).line.unwrap();
    assert_eq!((line.position, line.waiting), (None, 340));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_known_version_changes_nothing() {
    let (places, _) = places();
    let granted = || places.look(&waiting("batman")).granted.is_some();
    places.put(&map("9", &book("uid-batman 5000 shop\n", "0", "0", "")));
    places.put(&map("10", &book("", "0", "0", "")));
    places.put(&map("9", &book("uid-batman 5000 shop\n", "0", "0", "")));
    assert!(!granted());
    places.removed(9);
    assert!(places.stored().is_some());
    places.removed(11);
    assert!(places.stored().is_none() && !granted());
    places.put(&map("12", &book("uid-batman 5000 shop\n", "0", "0", "")));
    assert!(granted());
}

#[tokio::test(start_paused = true)]
async fn a_broken_config_map_grants_nothing() {
    let (places, _) = places();
    places.put(&map("9", &book("uid-batman 5000 shop\n", "0", "0", "")));
    places.put(&map("10", &json!({"granted": "everything"})));
    assert_eq!(places.look(&waiting("batman")).granted, None);
}

#[tokio::test(start_paused = true)]
async fn a_kanary_that_is_gone_is_not_woken() {
    let (places, queue) = places();
    let batman = waiting("batman");
    places.look(&batman);
    places.forget(&batman.key);
    places.put(&map("7", &book("uid-batman 5000 shop\n", "0", "9999", "")));
    assert!(queued(&queue).await.is_empty());
    assert!(places.lock().by_uid.is_empty() && places.lock().unplaced.is_empty());
}
