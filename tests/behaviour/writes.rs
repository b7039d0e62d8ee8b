//! The number of API requests in a run, counted in the audit log.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Fake, HPA, KANARY, Request, SERVICE, World, held, once, phase, pods_are_known, reason, time_passes,
};

const SOURCES: [&str; 4] = ["none", "service", "kanary-service", "both"];

fn dry_run() -> Value {
    json!({"rollout": {"mode": "dry-run"}})
}

fn scales() -> [(&'static str, Value); 3] {
    [
        ("static", json!({"static": {"replicas": 1}})),
        ("percent", json!({"percent": {"value": 50}})),
        ("hpa", json!({"hpa": {"maxReplicas": 2}})),
    ]
}

/// Every combination of traffic and scale.
fn combinations(more: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for source in SOURCES {
        for (word, scale) in scales() {
            let name = format!("{source}-{word}");
            let service = format!("t-{name}");
            let mut spec = json!({"serviceName": service, "traffic": {"source": source}, "scale": scale});
            crate::support::merge(&mut spec, more.clone());
            all.push((name, spec));
        }
    }
    all
}

/// Objects that a combination creates.
fn objects(name: &str) -> usize {
    1 + usize::from(name.starts_with("kanary-service") || name.starts_with("both")) + usize::from(name.ends_with("hpa"))
}

/// Writes for one Kanary, except Events.
fn about<'a>(requests: &'a [Request], kanary: &'a str, target: &'a str) -> Vec<&'a Request> {
    let canary = format!("{target}-kanary-{kanary}");
    let mut writes = once(requests);
    writes.retain(|request| request.is_write() && !request.is_event());
    writes.retain(|request| {
        let is_pod = request.resource == "pods" && request.name.starts_with(&canary);
        is_pod || [kanary, canary.as_str(), target].contains(&request.name.as_str())
    });
    writes
}

/// The writes up to the status that ended the run, and the writes after it.
fn split<'a>(writes: &[&'a Request]) -> (Vec<&'a Request>, Vec<&'a Request>) {
    let last = writes.iter().rposition(|request| request.resource.ends_with("/status"));
    let (run, rest) = writes.split_at(last.expect("there is a status write") + 1);
    (run.to_vec(), rest.to_vec())
}

fn show(writes: &[&Request]) -> Vec<String> {
    writes
        .iter()
        .map(|request| {
            format!(
                "{} {} {} {}",
                request.verb, request.resource, request.name, request.code
            )
        })
        .collect()
}

/// Waits until a run's objects are deleted, which is its last write.
async fn cleaned_up(world: &World, name: &str) {
    let selector = format!("kanary.k8s-operators.dev/name={name}");
    for kind in [DEPLOYMENT, SERVICE, HPA] {
        world.none_left(&kind, &selector).await;
    }
}

/// Runs every combination to its end, each with its own target and Service, and counts the writes. With a `verdict`, each
/// run is held until the verdict is set, which happens after the controller has observed its pods.
async fn count(more: Value, verdict: Option<Value>, ends: &str, most: usize, after: impl Fn(&str) -> usize) {
    let world = World::new("writes").await;
    let all = combinations(&more);
    for (name, _) in &all {
        let target = format!("t-{name}");
        world.target(&target, 1).await;
        world.service(&target, &target).await;
    }
    for (name, spec) in &all {
        world.kanary(name, &format!("t-{name}"), spec.clone()).await;
    }
    if let Some(verdict) = &verdict {
        for (name, _) in &all {
            world.phase(name, "Running").await;
        }
        pods_are_known(&world).await;
        for (name, _) in &all {
            world.edit(name, verdict.clone()).await;
        }
    }
    for (name, _) in &all {
        world.ends(name, ends).await;
        cleaned_up(&world, name).await;
    }
    let requests = world.requests().await;
    let mut wrong = Vec::new();
    for (name, _) in &all {
        let target = format!("t-{name}");
        let writes = about(&requests, name, &target);
        let (run, rest) = split(&writes);
        println!("{name} {ends}: {} writes, then {}", run.len(), rest.len());
        if run.len() > most {
            wrong.push(format!("{name}: {} writes to {ends}: {:#?}", run.len(), show(&run)));
        }
        if rest.len() != after(name) {
            wrong.push(format!(
                "{name}: {} writes after {ends}: {:#?}",
                rest.len(),
                show(&rest)
            ));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let events = requests
        .iter()
        .filter(|request| request.is_event() && request.is_write())
        .count();
    // One more run shows that the controller has observed the pods.
    let runs = all.len() + usize::from(verdict.is_some());
    assert!(events <= 2 * runs, "{events} Events for {runs} runs");
    assert_eq!(refusals(&requests), Vec::<String>::new());
}

/// Requests that the API server refused. There must be none: the controller's RBAC rules suffice, and it sends no request
/// in vain.
fn refusals(requests: &[Request]) -> Vec<String> {
    let mut refused = once(requests);
    refused.retain(|request| (400..500).contains(&request.code) && request.code != 404);
    show(&refused)
}

#[tokio::test]
async fn a_success_takes_seven_writes_at_most_and_one_for_each_object_that_goes() {
    count(json!({}), None, "DeploymentUpdated", 7, objects).await;
}

#[tokio::test]
async fn a_success_after_an_initial_delay_takes_seven_writes_at_most() {
    let delay = json!({"validation": {"initialDelay": "2s", "validationPeriod": "1s"}});
    count(delay, None, "DeploymentUpdated", 7, objects).await;
}

#[tokio::test]
async fn a_scheduled_success_takes_seven_writes_at_most() {
    let schedule = Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let scheduled = json!({"schedule": schedule.to_string(), "validation": {"validationPeriod": "1s"}});
    count(scheduled, None, "DeploymentUpdated", 7, objects).await;
}

#[tokio::test]
async fn a_failure_takes_five_writes_at_most_and_one_for_each_pod_in_the_service_and_each_object_that_goes() {
    let bad = json!({"validation": {"items": [{"manual": {"status": "invalid"}}]}});
    let after = |name: &str| objects(name) + usize::from(name.starts_with("service") || name.starts_with("both"));
    count(json!({"validation": held()}), Some(bad), "Failed", 5, after).await;
}

#[tokio::test]
async fn a_dry_run_takes_five_writes_at_most() {
    count(dry_run(), None, "Succeeded", 5, objects).await;
}

/// Requests between two times, except Events.
fn between(requests: &[Request], from: Timestamp, to: Timestamp) -> Vec<String> {
    let mut inside = once(requests);
    inside.retain(|request| !request.is_event() && request.at > from && request.at < to);
    show(&inside)
}

/// Writes of batman's status.
fn statuses(requests: &[Request]) -> Vec<&Request> {
    let mut writes = about(requests, "batman", "app");
    writes.retain(|request| request.resource == "kanarydeployments/status");
    writes
}

/// The controller's requests, except those for [`time_passes`].
async fn requests(world: &World) -> Vec<Request> {
    let mut requests = world.requests().await;
    requests.retain(|request| !request.name.contains("clock"));
    requests
}

/// A waiting canary causes no requests during its validation. When it is about to pass it is read once, and not before.
async fn assert_waits_for_free(world: &World, good: Value) {
    let waited = requests(world).await;
    let running = statuses(&waited);
    assert_eq!(running.len(), 1, "{running:#?}");
    let running = running[0].at;
    assert_eq!(between(&waited, running, Timestamp::MAX), Vec::<String>::new());

    let told = Timestamp::now();
    world.edit("batman", json!({"validation": {"items": good}})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let all = requests(world).await;
    let writes = statuses(&all);
    assert_eq!(writes.len(), 3, "Running, Succeeded, DeploymentUpdated: {writes:#?}");
    let succeeded = writes[1].at;
    let reads = between(&all, running, succeeded);
    let read = "get deployments app-kanary-batman";
    assert_eq!(reads.last(), Some(&format!("{read} 200")));
    assert!(reads.iter().all(|request| request.starts_with(read)), "{reads:?}");
    // A read without an answer within 10 s is repeated.
    let again = usize::try_from(succeeded.duration_since(told).as_secs() / 9).unwrap_or_default();
    assert!(reads.len() <= 1 + again, "{reads:?}");
}

#[tokio::test]
async fn a_canary_that_waits_for_its_deadline_costs_nothing() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    time_passes(&world).await;
    assert_waits_for_free(&world, json!([{"manual": {"status": "valid"}}])).await;
}

#[tokio::test]
async fn a_canary_whose_metric_is_checked_costs_the_api_server_nothing() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let query = json!({
        "prometheusService": fake.address, "query": "up", "allPodsQuery": true, "valueInRange": {},
    });
    let items = |manual: Value| json!([{"promQL": query}, {"manual": manual}]);
    let mut spec = json!({"validation": held()});
    spec["validation"]["maxIntervalPeriod"] = json!("500ms");
    spec["validation"]["items"] = items(json!({}));
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    fake.asked_times(6).await;
    assert_waits_for_free(&world, items(json!({"status": "valid"}))).await;
}

#[tokio::test]
async fn a_canary_that_waits_for_a_person_after_its_deadline_costs_nothing() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    let waits = json!({"validation": {"validationPeriod": "1s", "items": [{"manual": {}}]}});
    world.kanary("batman", "app", waits).await;
    let waiting = world
        .until(&KANARY, "batman", "waits for a manual verdict", |kanary| {
            reason(kanary, "Reconciling") == "WaitingForManual"
        })
        .await;
    let from = Timestamp::now();
    let to = time_passes(&world).await;
    assert_eq!(between(&requests(&world).await, from, to), Vec::<String>::new());
    let still = world.get(&KANARY, "batman").await;
    assert_eq!(
        still["metadata"]["resourceVersion"],
        waiting["metadata"]["resourceVersion"]
    );
    assert_eq!(phase(&still), "Running");
}

#[tokio::test]
async fn a_finished_run_costs_nothing_even_after_a_restart() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"verdict": "invalid"})).await;
    world.ends("batman", "Failed").await;
    cleaned_up(&world, "batman").await;
    world.kill_controller();
    let before = world.requests().await.len();
    world.start_controller();
    time_passes(&world).await;
    let requests = world.requests().await;
    // Events of the last few minutes are repeated, because the previous controller may have died before it sent them.
    let news: Vec<_> = requests[before..]
        .iter()
        .filter(|request| request.name.contains("batman") && !request.is_event())
        .collect();
    assert_eq!(show(&news), Vec::<String>::new());
}
