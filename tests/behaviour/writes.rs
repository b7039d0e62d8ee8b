//! What a run costs the API server: counted in its audit log.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, Fake, HPA, KANARY, Request, SERVICE, World, phase, reason, time};

const SOURCES: [&str; 4] = ["none", "service", "kanary-service", "both"];

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
            let mut spec = json!({"serviceName": "app", "traffic": {"source": source}, "scale": scale});
            crate::support::merge(&mut spec, more.clone());
            all.push((format!("{source}-{word}"), spec));
        }
    }
    all
}

/// Objects that a combination creates.
fn objects(name: &str) -> usize {
    1 + usize::from(name.starts_with("kanary-service") || name.starts_with("both")) + usize::from(name.ends_with("hpa"))
}

/// Writes about one Kanary, Events left out. One that an overloaded API server did not answer in time and its repetition are
/// one write.
fn about<'a>(requests: &'a [Request], kanary: &'a str, target: &'a str) -> Vec<&'a Request> {
    let canary = format!("{target}-kanary-{kanary}");
    requests
        .iter()
        .filter(|request| request.is_write() && !request.is_event())
        .filter(|request| !request.is_lost() || !requests.iter().any(|next| next.repeats(request)))
        .filter(|request| {
            let is_pod = request.resource == "pods" && request.name.starts_with(&canary);
            is_pod
                || [kanary, canary.as_str(), target].contains(&request.name.as_str())
                || request.name == format!("app-kanary-{kanary}")
        })
        .collect()
}

/// The writes up to the status that ended the run, and those after it.
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

/// Waits until a run's objects are gone, and with them its last write.
async fn cleaned_up(world: &World, name: &str) {
    let selector = format!("kanary.k8s-operators.dev/name={name}");
    for kind in [DEPLOYMENT, SERVICE, HPA] {
        world.none_left(&kind, &selector).await;
    }
}

/// Runs every combination to its end, each with a target of its own, and counts.
async fn count(more: Value, ends: &str, most: usize, after: impl Fn(&str) -> usize) {
    let world = World::new("writes").await;
    world.service("app", "app").await;
    let all = combinations(&more);
    for (name, _) in &all {
        world.target(&format!("t-{name}"), 1).await;
    }
    for (name, spec) in &all {
        world.kanary(name, &format!("t-{name}"), spec.clone()).await;
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
    assert!(events <= 2 * all.len(), "{events} Events for {} runs", all.len());
    assert_eq!(refusals(&requests), Vec::<String>::new());
}

/// Requests that the API server refused: nothing is asked in vain, and the rights are enough.
fn refusals(requests: &[Request]) -> Vec<String> {
    let refused: Vec<_> = requests
        .iter()
        .filter(|request| (400..500).contains(&request.code) && request.code != 404)
        .filter(|request| !requests.iter().any(|first| first.is_lost() && request.repeats(first)))
        .collect();
    show(&refused)
}

#[tokio::test]
async fn a_success_takes_seven_writes_at_most_and_one_for_each_object_that_goes() {
    count(json!({}), "DeploymentUpdated", 7, objects).await;
}

#[tokio::test]
async fn a_success_after_an_initial_delay_takes_seven_writes_at_most() {
    let delay = json!({"validation": {"initialDelay": "2s", "validationPeriod": "1s"}});
    count(delay, "DeploymentUpdated", 7, objects).await;
}

#[tokio::test]
async fn a_scheduled_success_takes_seven_writes_at_most() {
    let schedule = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let scheduled = json!({"schedule": schedule.to_string(), "validation": {"validationPeriod": "1s"}});
    count(scheduled, "DeploymentUpdated", 7, objects).await;
}

#[tokio::test]
async fn a_failure_takes_five_writes_at_most_and_one_for_each_pod_in_the_service_and_each_object_that_goes() {
    let bad =
        json!({"validation": {"validationPeriod": "1s", "items": [{"manual": {"statusAfterDeadline": "invalid"}}]}});
    let after = |name: &str| objects(name) + usize::from(name.starts_with("service") || name.starts_with("both"));
    count(bad, "Failed", 5, after).await;
}

#[tokio::test]
async fn a_dry_run_takes_five_writes_at_most() {
    count(json!({"rollout": {"mode": "dry-run"}}), "Succeeded", 5, objects).await;
}

/// Requests between two moments, Events left out.
fn between(requests: Vec<Request>, from: jiff::Timestamp, to: jiff::Timestamp) -> Vec<String> {
    let inside: Vec<_> = requests
        .iter()
        .filter(|request| !request.is_event() && request.at > from && request.at < to)
        .collect();
    show(&inside)
}

/// While it is judged a canary costs nothing; at its deadline it is read once, and not before.
fn assert_waits_for_free(requests: Vec<Request>, ended: &Value) {
    let name = ended["metadata"]["name"].as_str().unwrap();
    let writes: Vec<_> = requests
        .iter()
        .filter(|request| request.resource == "kanarydeployments/status" && request.name == name)
        .collect();
    assert_eq!(writes.len(), 3, "Running, Succeeded, DeploymentUpdated: {writes:?}");
    let (running, succeeded) = (writes[0].at, writes[1].at);
    let deadline = time(ended, "/status/deadline");
    assert!(
        deadline.duration_since(running).as_secs() >= 2,
        "{running} to {deadline}"
    );
    assert_eq!(between(requests.clone(), running, deadline), Vec::<String>::new());
    let proof = format!("get deployments app-kanary-{name} 200");
    assert_eq!(between(requests, deadline, succeeded), [proof]);
}

#[tokio::test]
async fn a_canary_that_waits_for_its_deadline_costs_nothing() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    world
        .kanary("batman", "app", json!({"validation": {"validationPeriod": "6s"}}))
        .await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_waits_for_free(world.requests().await, &ended);
}

#[tokio::test]
async fn a_canary_whose_metric_is_checked_costs_the_api_server_nothing() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let item = json!({"promQL": {
        "prometheusService": fake.address, "query": "up", "allPodsQuery": true, "valueInRange": {},
    }});
    let validation = json!({"validationPeriod": "6s", "maxIntervalPeriod": "500ms", "items": [item]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_waits_for_free(world.requests().await, &ended);
    assert!(fake.asked().len() >= 6, "it was checked");
}

#[tokio::test]
async fn a_canary_that_waits_for_a_person_after_its_deadline_costs_nothing() {
    let world = World::new("writes").await;
    world.target("app", 1).await;
    let waits = json!({"validation": {"validationPeriod": "1s", "items": [{"manual": {}}]}});
    world.kanary("batman", "app", waits).await;
    let waiting = world
        .until(&KANARY, "batman", "waits for a person", |kanary| {
            reason(kanary, "Reconciling") == "WaitingForManual"
        })
        .await;
    let from = jiff::Timestamp::now();
    // Another Kanary's whole run.
    world.target("other", 1).await;
    world.kanary("clock", "other", json!({})).await;
    let other = world.ends("clock", "DeploymentUpdated").await;
    let mut requests = world.requests().await;
    requests.retain(|request| !request.name.contains("clock") && request.name != "other");
    assert_eq!(
        between(requests, from, time(&other, "/status/completedAt")),
        Vec::<String>::new()
    );
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
    world.target("other", 1).await;
    world.kanary("clock", "other", json!({})).await;
    world.ends("clock", "DeploymentUpdated").await;
    let requests = world.requests().await;
    let news = requests[before..]
        .iter()
        .filter(|request| request.name.contains("batman"));
    // An Event of the last minutes may be said again, to no effect.
    let news: Vec<_> = news
        .filter(|request| !(request.is_event() && request.code == 409))
        .collect();
    assert_eq!(show(&news), Vec::<String>::new());
}
