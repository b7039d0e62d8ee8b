//! promQL items: only evidence promotes a canary, missing data is no evidence, and a slow or failing Prometheus fails no
//! canary.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    prom_ql::pod_of,
    support::{EVENT, Exporter, Fake, KANARY, POD, Says, World, is_true, message, reason},
};

fn validation(period: &str, items: Value) -> Value {
    json!({"validation": {"validationPeriod": period, "maxIntervalPeriod": "300ms", "items": items}})
}

/// Waits until the Kanary is held with the reason `why` and a message that contains `words`.
async fn held_because(world: &World, why: &str, words: &str) -> Value {
    let what = format!("is held because of {why}: {words}");
    world
        .until(&KANARY, "batman", &what, |kanary| {
            is_true(kanary, "Stalled") && reason(kanary, "Stalled") == why && message(kanary, "Stalled").contains(words)
        })
        .await
}

/// A Kanary with a canary that is not measured before [`measured`] is called.
async fn unmeasured(world: &World, items: Value) -> String {
    let mut spec = validation("1s", items);
    spec["validation"]["initialDelay"] = json!("1h");
    world.kanary("batman", "app", spec).await;
    pod_of(world, "batman").await
}

/// Ends the initial delay once Prometheus answers `query`.
async fn measured(world: &World, exporter: &Exporter, query: &str) {
    exporter.answers(query).await;
    let now = json!({"spec": {"validation": {"initialDelay": "0s"}}});
    world.patch(&KANARY, "batman", now).await;
}

#[tokio::test]
async fn no_result_promotes_only_once_prometheus_knows_the_pods() {
    let world = World::new("proof").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let query = format!("errors{{ns=\"{}\"}} > 0", world.ns);
    let item = json!({"promQL": {"prometheusURL": world.plane.prometheus(), "query": query, "noResult": {}}});
    world.kanary("batman", "app", validation("1s", json!([item]))).await;
    let held = held_because(
        &world,
        "NoData",
        "no series, which proves nothing: Prometheus has no series of pod",
    )
    .await;
    assert_eq!(held["status"]["items"][0]["reason"], "NoData");
    let pod = pod_of(&world, "batman").await;
    exporter.set(&format!("memory{{ns=\"{}\",pod=\"{pod}\"}}", world.ns), 5.0);
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn no_result_does_not_take_a_quotient_without_traffic_for_good() {
    let world = World::new("proof").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let ns = &world.ns;
    let query = format!("sum by (pod) (failed{{ns=\"{ns}\"}}) / sum by (pod) (requests{{ns=\"{ns}\"}}) > 0.1");
    let item = json!({"promQL": {"prometheusURL": world.plane.prometheus(), "query": query, "noResult": {}}});
    let pod = unmeasured(&world, json!([item])).await;
    exporter.set(&format!("failed{{ns=\"{ns}\",pod=\"{pod}\"}}"), 0.0);
    exporter.set(&format!("requests{{ns=\"{ns}\",pod=\"{pod}\"}}"), 0.0);
    measured(&world, &exporter, &format!("requests{{ns=\"{ns}\"}}")).await;
    held_because(&world, "NoData", "` is 0, NaN or missing for pod").await;
    exporter.set(&format!("requests{{ns=\"{ns}\",pod=\"{pod}\"}}"), 9.0);
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn no_result_does_not_take_requests_that_were_never_counted_for_good() {
    let world = World::new("proof").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let ns = &world.ns;
    // A labelled counter does not exist before its first increment. Other scraped series still show that the pod exists.
    let query = format!("sum by (pod) (failed{{ns=\"{ns}\"}}) / sum by (pod) (requests{{ns=\"{ns}\"}}) > 0.1");
    let item = json!({"promQL": {"prometheusURL": world.plane.prometheus(), "query": query, "noResult": {}}});
    let pod = unmeasured(&world, json!([item])).await;
    exporter.set(&format!("memory{{ns=\"{ns}\",pod=\"{pod}\"}}"), 5.0);
    measured(&world, &exporter, &format!("memory{{ns=\"{ns}\"}}")).await;
    held_because(&world, "NoData", "` is 0, NaN or missing for pod").await;
    exporter.set(&format!("requests{{ns=\"{ns}\",pod=\"{pod}\"}}"), 9.0);
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn no_result_does_not_take_a_quotient_whose_labels_never_match_for_good() {
    let world = World::new("proof").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let ns = &world.ns;
    let query = format!("sum by (pod, code) (failed{{ns=\"{ns}\"}}) / sum by (pod) (requests{{ns=\"{ns}\"}}) > 0.1");
    let item = json!({"promQL": {
        "prometheusURL": world.plane.prometheus(), "query": query, "noResult": {}, "consecutiveErrorLimit": 1,
    }});
    world.kanary("batman", "app", validation("1s", json!([item]))).await;
    let pod = pod_of(&world, "batman").await;
    exporter.set(&format!("failed{{ns=\"{ns}\",pod=\"{pod}\",code=\"500\"}}"), 5.0);
    exporter.set(&format!("requests{{ns=\"{ns}\",pod=\"{pod}\"}}"), 9.0);
    held_because(&world, "Inconclusive", "aggregate both sides to the same labels").await;
    let query = query.replace("pod, code", "pod");
    let fixed = json!([{"promQL": {"prometheusURL": world.plane.prometheus(), "query": query, "noResult": {}}}]);
    world
        .patch(&KANARY, "batman", json!({"spec": {"validation": {"items": fixed}}}))
        .await;
    world.ends("batman", "Failed").await;
}

#[tokio::test]
async fn no_result_does_not_take_a_limit_that_is_missing_or_a_ratio_that_is_nan_for_good() {
    let world = World::new("proof").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let ns = &world.ns;
    let item =
        |query: String| json!({"promQL": {"prometheusURL": world.plane.prometheus(), "query": query, "noResult": {}}});
    let items = json!([
        item(format!("load{{ns=\"{ns}\"}} > on () group_left limit{{ns=\"{ns}\"}}")),
        item(format!("job:errors:ratio{{ns=\"{ns}\"}} > 0.1")),
    ]);
    let pod = unmeasured(&world, items).await;
    exporter.set(&format!("load{{ns=\"{ns}\",pod=\"{pod}\"}}"), 5.0);
    let ratio = format!("job:errors:ratio{{ns=\"{ns}\",pod=\"{pod}\"}}");
    exporter.set(&ratio, f64::NAN);
    measured(&world, &exporter, &format!("load{{ns=\"{ns}\"}}")).await;
    held_because(&world, "NoData", "is NaN or missing for pod").await;
    held_because(&world, "NoData", "is NaN for pod").await;
    exporter.set(&format!("limit{{ns=\"{ns}\"}}"), 9.0);
    exporter.set(&ratio, 0.0);
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn series_of_other_pods_are_no_good_result() {
    let world = World::new("proof").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::Vector(vec![])).await;
    let item = json!({"promQL": {
        "prometheusService": fake.address, "query": "up", "noResult": {}, "consecutiveErrorLimit": 1,
    }});
    world.kanary("batman", "app", validation("1h", json!([item]))).await;
    let pod = pod_of(&world, "batman").await;
    let labels = json!({"pod": "kube-state-metrics", "exported_pod": pod});
    fake.now_says(Says::Vector(vec![(labels, "1".to_owned())]));
    held_because(&world, "Inconclusive", "set podNamekey to exported_pod").await;
}

#[tokio::test]
async fn every_ready_pod_has_to_be_measured() {
    let world = World::new("proof").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::Vector(vec![])).await;
    let item = json!({"promQL": {"prometheusService": fake.address, "query": "up", "valueInRange": {}}});
    let mut spec = validation("1s", json!([item]));
    spec["scale"] = json!({"static": {"replicas": 2}});
    world.kanary("batman", "app", spec).await;
    let of_batman = "kanary.k8s-operators.dev/name=batman";
    let pods = world
        .until_all(&POD, of_batman, "both pods are there", |pods| pods.len() == 2)
        .await;
    let series = |index: usize, value: &str| (json!({"pod": pods[index]["metadata"]["name"]}), value.to_owned());
    fake.now_says(Says::Vector(vec![series(0, "0.5"), series(1, "NaN")]));
    held_because(&world, "NoData", "no data at the deadline").await;
    fake.now_says(Says::Vector(vec![series(0, "0.5"), series(1, "0.5")]));
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_suffix_behind_the_pods_is_about_each_of_them() {
    let world = World::new("proof").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let query = format!("max(load{{ns=\"{}\",instance=~`{{{{ pods }}}}:8080`}})", world.ns);
    let item = json!({"promQL": {
        "prometheusURL": world.plane.prometheus(), "query": query, "allPodsQuery": true, "valueInRange": {},
    }});
    let mut spec = validation("1h", json!([item]));
    spec["scale"] = json!({"static": {"replicas": 2}});
    world.kanary("batman", "app", spec).await;
    let of_batman = "kanary.k8s-operators.dev/name=batman";
    let pods = world
        .until_all(&POD, of_batman, "both pods are there", |pods| pods.len() == 2)
        .await;
    for (pod, load) in pods.iter().zip([7.0, 9.0]) {
        let pod = pod["metadata"]["name"].as_str().expect("a pod has a name");
        exporter.set(&format!("load{{ns=\"{}\",instance=\"{pod}:8080\"}}", world.ns), load);
    }
    let ended = world.ends("batman", "Failed").await;
    assert!(message(&ended, "Failed").contains("outside [0, 1]"), "{ended:#}");
}

#[tokio::test]
async fn a_slow_prometheus_fails_no_canary() {
    let world = World::new("proof").await;
    world.target("app", 1).await;
    let says = Says::Late(Duration::from_millis(600), Box::new(Says::one("0.5")));
    let fake = Fake::start(says).await;
    let item = json!({"promQL": {
        "prometheusService": fake.address, "query": "up", "allPodsQuery": true, "valueInRange": {}, "interval": "200ms",
        "minSamples": 5, "onNoData": "fail",
    }});
    world.kanary("batman", "app", validation("1s", json!([item]))).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["items"][0]["good"], 5);
}

#[tokio::test]
async fn one_error_does_not_keep_lasting_silence_from_failing_as_asked() {
    let world = World::new("proof").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::Body(500, String::new())).await;
    let item = json!({"promQL": {
        "prometheusService": fake.address, "query": "up", "allPodsQuery": true, "valueInRange": {}, "onNoData": "fail",
    }});
    world.kanary("batman", "app", validation("1s", json!([item]))).await;
    fake.asked_times(1).await;
    fake.now_says(Says::Vector(vec![]));
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "NoData");
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let world = World::new("proof").await;
    world.target("app", 1).await;
    // At the deadline there is no data, and every second query fails.
    let fake = Fake::start(Says::InTurn(vec![Says::Vector(vec![]), Says::Body(500, String::new())])).await;
    let item = json!({"promQL": {
        "prometheusService": fake.address, "query": "up", "allPodsQuery": true, "valueInRange": {},
        "consecutiveErrorLimit": 1,
    }});
    let items = json!([item, {"manual": {}}]);
    world.kanary("batman", "app", validation("1s", items)).await;
    let held = held_because(&world, "Inconclusive", "answers 500 Internal Server Error").await;
    // The item is reported at the deadline, along with any other pending items.
    let held = if message(&held, "Stalled").contains("manual[1]") {
        held
    } else {
        held_because(&world, "Inconclusive", "manual[1]: waits for a person").await
    };
    let asked = fake.asked().len();
    fake.asked_times(asked + 6).await;
    let later = world.get(&KANARY, "batman").await;
    assert_eq!(
        later["metadata"]["resourceVersion"], held["metadata"]["resourceVersion"],
        "{later:#}"
    );
    let events = world.list(&EVENT, "").await;
    let reported = events.iter().filter(|event| event["reason"] == "Inconclusive");
    assert!(reported.count() <= 1, "{events:#?}");
}
