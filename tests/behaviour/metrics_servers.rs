//! metric items with real servers behind the aggregation layer of a real API server: metrics-server, prometheus-adapter, and an adapter
//! of external metrics. `just metrics-apis` runs these cases; without these servers they are skipped.

use serde_json::{Value, json};

use crate::{
    metric::{batman, cpu, fails, of_object, passes, spec, utilization},
    metric_answers::is_held,
    support::{
        CANARY_DEPLOYMENT, Exporter, KANARY, MetricsServers, POD, World, emoji, failure_rate, is_true, merge, message,
        reason,
    },
};

/// The name of an API among those of the API server.
const API: &str = "v1beta1.external.metrics.k8s.io";

/// A namespace with the target `app` and a controller that may ask the metrics APIs. `None` without the servers.
async fn beside_servers(alone: bool) -> Option<(World, MetricsServers)> {
    let Some(servers) = MetricsServers::of_environment() else {
        eprintln!("there are no servers of metrics APIs: this case is skipped");
        return None;
    };
    let file = "metrics-servers";
    let world = if alone {
        World::alone(file).await
    } else {
        World::unserved(file).await
    };
    world.target("app", 1).await;
    world.start_controller_with_metrics_apis();
    Some((world, servers))
}

/// A spec with an item about pods whose containers use so much CPU and memory. metrics-server measures every ten seconds.
fn using(cpu: &str, memory: &str, item: Value) -> Value {
    let mut spec = spec(&[item], json!({}));
    let container = json!({"name": "main", "image": "app:v2", "resources": {"requests": {"cpu": "100m"}}});
    let usage = json!({"kanary.test/cpu": cpu, "kanary.test/memory": memory});
    merge(
        &mut spec,
        json!({
            "rollout": {"mode": "dry-run"},
            "scale": {"static": {"replicas": 2}},
            "template": {"spec": {"template": {
                "metadata": {"annotations": usage}, "spec": {"containers": [container]},
            }}},
            "validation": {"validationPeriod": "30s", "maxIntervalPeriod": "2s"},
        }),
    );
    spec
}

fn memory(most: &str) -> Value {
    json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": most}}})
}

fn of_container(most: &str) -> Value {
    json!({"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": "main", "target": {"type": "AverageValue", "averageValue": most},
    }})
}

#[tokio::test]
async fn what_metrics_server_measures_decides() {
    let Some((world, _)) = beside_servers(false).await else {
        return;
    };
    let cases = [
        ("good", using("100m", "64Mi", cpu("120m")), None),
        (
            "bad",
            using("200m", "64Mi", cpu("150m")),
            Some(("cpu 0.", "above 150m on pod app-kanary-bad-")),
        ),
        ("idle", using("60m", "64Mi", utilization(80)), None),
        (
            "busy",
            using("95m", "64Mi", utilization(80)),
            Some(("cpu 9", "above 80 % on pod app-kanary-busy-")),
        ),
        ("small", using("1m", "64Mi", memory("64Mi")), None),
        (
            "large",
            using("1m", "65Mi", memory("64Mi")),
            Some(("memory 6.81574e7", "above 64Mi on pod app-kanary-large-")),
        ),
        ("container", using("100m", "1Mi", of_container("120m")), None),
    ];
    for (name, spec, _) in &cases {
        world.kanary(name, "app", spec.clone()).await;
    }
    for (name, _, bad) in cases {
        let Some(says) = bad else {
            let ended = world.ends(name, "Succeeded").await;
            let good = ended["status"]["items"][0]["good"].as_u64();
            assert!(good >= Some(1), "{ended:#}");
            continue;
        };
        let ended = world.ends(name, "Failed").await;
        assert_eq!(reason(&ended, "Failed"), "MetricFailed");
        let said = message(&ended, "Failed");
        assert!(said.contains(says.0) && said.contains(says.1), "{said}");
    }
}

#[tokio::test]
async fn what_metrics_server_measured_before_the_canary_is_no_data() {
    let Some((world, _)) = beside_servers(false).await else {
        return;
    };
    // The target is measured, and the canary is not yet.
    let mut hasty = using("1m", "1Mi", cpu("1"));
    merge(&mut hasty, json!({"validation": {"validationPeriod": "1s"}}));
    world.kanary("batman", "app", hasty).await;
    let waits = "has no data at first";
    let held = world
        .until(&KANARY, "batman", waits, |kanary| {
            kanary["status"]["items"][0]["state"] == "NoData"
        })
        .await;
    assert!(!is_true(&held, "Succeeded"), "{held:#}");
    world.ends("batman", "Succeeded").await;
}

fn of_pods(name: &str, most: &str) -> Value {
    json!({"type": "Pods", "pods": {
        "metric": {"name": name, "selector": {"matchLabels": {"code": "500"}}},
        "target": {"type": "AverageValue", "averageValue": most},
    }})
}

/// The name of the canary pod of a Kanary.
async fn pod_of(world: &World, kanary: &str) -> String {
    let selector = format!("kanary.k8s-operators.dev/name={kanary}");
    let pods = world
        .until_all(&POD, &selector, "the canary pod is there", |pods| pods.len() == 1)
        .await;
    pods[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_prometheus_adapter_serves_of_each_pod_decides() {
    let Some((world, _)) = beside_servers(false).await else {
        return;
    };
    let exporter = Exporter::start(&world).await;
    let series = |pod: &str, code: u16| {
        format!(
            "custom_errors{{namespace=\"{}\",pod=\"{pod}\",code=\"{code}\"}}",
            world.ns
        )
    };
    for (name, most) in [("good", "2"), ("bad", "1")] {
        let mut spec = spec(&[of_pods("errors", most)], json!({}));
        merge(&mut spec, json!({"rollout": {"mode": "dry-run"}}));
        world.kanary(name, "app", spec).await;
    }
    // A series of the target proves nothing.
    exporter.set(&series("app-other", 500), 99.0);
    let [good, bad] = [pod_of(&world, "good").await, pod_of(&world, "bad").await];
    is_held_as(&world, "good", "NoData", "errors").await;
    for pod in [&good, &bad] {
        exporter.set(&series(pod, 500), 1.5);
        exporter.set(&series(pod, 404), 99.0);
    }
    let ended = world.ends("good", "Succeeded").await;
    assert_eq!(ended["status"]["items"][0]["lastValue"], 1.5, "{ended:#}");
    let ended = world.ends("bad", "Failed").await;
    let said = message(&ended, "Failed");
    assert!(said.contains(&format!("errors 1.5, above 1 on pod {bad}")), "{said}");
}

/// Waits until the run is held without data or without an answer.
async fn is_held_as(world: &World, name: &str, why: &str, says: &str) {
    let what = format!("is held because of {why}: {says}");
    let held = world
        .until(&KANARY, name, &what, |kanary| {
            let said = kanary["status"]["items"][0]["message"].as_str().unwrap_or_default();
            is_true(kanary, "Stalled") && reason(kanary, "Stalled") == why && said.contains(says)
        })
        .await;
    assert!(!is_true(&held, "Failed") && !is_true(&held, "Succeeded"), "{held:#}");
}

#[tokio::test]
async fn what_prometheus_adapter_serves_of_an_object_decides() {
    let Some((world, _)) = beside_servers(false).await else {
        return;
    };
    let exporter = Exporter::start(&world).await;
    batman(&world, of_object("apps/v1", "Deployment", "0.5")).await;
    is_held(
        &world,
        "NoData",
        "could not find the metric failures for deployments.apps",
    )
    .await;
    let series = format!("custom_failures{{namespace=\"{}\",deployment=\"app\"}}", world.ns);
    exporter.set(&series, 0.25);
    passes(&world).await;
    exporter.set(&series, 0.75);
    exporter.answers(&format!("{series} == 0.75")).await;
    let again = spec(&[of_object("apps/v1", "Deployment", "0.5")], json!({}));
    world.kanary("robin", "app", again).await;
    let ended = world.ends("robin", "Failed").await;
    let said = message(&ended, "Failed");
    assert!(said.contains("failures 0.75, above 0.5"), "{said}");
}

/// The metric of the talk, about the Service of the canary.
#[tokio::test]
async fn what_prometheus_adapter_serves_decides_about_a_canary_deployment() {
    if MetricsServers::of_environment().is_none() {
        eprintln!("there are no servers of metrics APIs: this case is skipped");
        return;
    }
    let world = World::with_canary_deployments("metrics-servers").await;
    let exporter = Exporter::start(&world).await;
    world.create(&CANARY_DEPLOYMENT, &emoji(failure_rate(json!(0.1)))).await;
    let is_missing = |object: &Value| object["status"].to_string().contains("could not find the metric");
    world
        .until(&CANARY_DEPLOYMENT, "emoji", "has no metric at first", is_missing)
        .await;
    world.emoji_runs("1.0", None).await;
    let series = format!(
        "custom_request_failure_rate:1m{{namespace=\"{}\",service=\"emoji-canary\"}}",
        world.ns
    );
    exporter.set(&series, 0.05);
    world.emoji_ends("1.0", "DeploymentUpdated").await;
    world.emoji_runs("1.0", Some("1.0")).await;
    exporter.set(&series, 0.5);
    exporter.answers(&format!("{series} == 0.5")).await;
    world.emoji_version("2.0").await;
    let failed = world.emoji_ends("2.0", "Failed").await;
    assert_eq!(reason(&failed, "Failed"), "MetricFailed");
    world.emoji_runs("1.0", Some("1.0")).await;
}

fn queue(target: Value) -> Value {
    let selector = json!({"matchExpressions": [{"key": "queue", "operator": "In", "values": ["a", "b"]}]});
    json!({"type": "External", "external": {"metric": {"name": "queue", "selector": selector}, "target": target}})
}

fn at_most(value: u32) -> Value {
    json!({"type": "Value", "value": value})
}

/// Three queues with values of this age.
fn queues(age: &str) -> Value {
    let of = |queue: &str, value: &str| json!({"value": value, "labels": {"queue": queue}, "age": age});
    json!({"metrics": {"queue": [of("a", "30"), of("b", "40"), of("c", "999")]}})
}

#[tokio::test]
async fn external_values_of_an_adapter_are_added_up() {
    let Some((world, servers)) = beside_servers(false).await else {
        return;
    };
    servers.external(&world, &queues("0s"));
    batman(&world, queue(at_most(70))).await;
    passes(&world).await;
    let mut of_two = spec(&[queue(json!({"type": "AverageValue", "averageValue": 34}))], json!({}));
    merge(&mut of_two, json!({"scale": {"static": {"replicas": 2}}}));
    world.kanary("robin", "app", of_two).await;
    let ended = world.ends("robin", "Failed").await;
    let said = message(&ended, "Failed");
    assert!(said.contains("queue 35 per pod, above 34"), "{said}");
}

/// While the adapter answers like this, the run is held for this reason. It passes as soon as there are good values.
async fn is_held_while(script: Value, why: &str, says: &str) {
    let Some((world, servers)) = beside_servers(false).await else {
        return;
    };
    servers.external(&world, &script);
    batman(&world, queue(at_most(70))).await;
    is_held(&world, why, says).await;
    servers.external(&world, &queues("0s"));
    passes(&world).await;
}

#[tokio::test]
async fn external_values_that_are_stale_prove_nothing() {
    is_held_while(queues("3m"), "NoData", "is stale").await;
}

#[tokio::test]
async fn external_values_of_a_window_that_began_before_the_canary_prove_nothing() {
    let wide = json!({"value": "1", "labels": {"queue": "a"}, "window": 3600});
    let script = json!({"metrics": {"queue": [wide]}});
    is_held_while(script, "NoData", "before the canary's validation").await;
}

#[tokio::test]
async fn an_adapter_that_fails_is_an_error() {
    let script = json!({"error": "the queues are away"});
    is_held_while(script, "Inconclusive", "the queues are away").await;
}

#[tokio::test]
async fn a_slow_adapter_is_an_error() {
    let Some((world, servers)) = beside_servers(false).await else {
        return;
    };
    let mut slow = queues("0s");
    slow["delay"] = json!("11s");
    servers.external(&world, &slow);
    let mut item = queue(at_most(1));
    item["consecutiveErrorLimit"] = json!(1);
    batman(&world, item).await;
    is_held(
        &world,
        "Inconclusive",
        "no answer from external.metrics.k8s.io within 10s",
    )
    .await;
    servers.external(&world, &queues("0s"));
    fails(&world, "queue 70, above 1").await;
}

#[tokio::test]
async fn an_api_whose_server_ends_or_that_is_removed_holds_the_run() {
    let Some((world, servers)) = beside_servers(true).await else {
        return;
    };
    servers.external(&world, &queues("0s"));
    servers.stop("external-metrics").await;
    batman(&world, queue(at_most(70))).await;
    is_held(
        &world,
        "Inconclusive",
        "external.metrics.k8s.io is not available, the API server answers 503",
    )
    .await;
    let api = world.kubectl(&["get", "apiservice", API, "-o", "json"]).await;
    let mut api: Value = serde_json::from_str(&api).unwrap();
    let metadata = api["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| field == "name");
    world.kubectl(&["delete", "apiservice", API]).await;
    is_held(
        &world,
        "Inconclusive",
        "the API server does not serve external.metrics.k8s.io/v1beta1: install an adapter",
    )
    .await;
    servers.start("external-metrics").await;
    let created = world.try_kubectl(&["create", "-f", "-"], &api.to_string()).await;
    assert!(created.ok, "{created:?}");
    passes(&world).await;
}
