//! metric items: every type of metric and of target, for canaries that pass and that fail.

use kanary_sim::metrics_apis::Reading;
use serde_json::{Value, json};

use crate::support::{KANARY_STATEFULSET, World, kanary, merge, message, reason};

/// Names of the canary pods of `batman` begin like this.
pub(crate) const CANARY: &str = "app-kanary-batman-";

/// At most so much CPU for each pod.
pub(crate) fn cpu(most: &str) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": most}}})
}

pub(crate) fn utilization(percent: i32) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

/// A spec with these items, each with `more`.
pub(crate) fn spec(items: &[Value], more: Value) -> Value {
    let items: Vec<_> = items
        .iter()
        .map(|item| {
            let mut item = item.clone();
            merge(&mut item, more.clone());
            json!({"metric": item})
        })
        .collect();
    json!({"validation": {"validationPeriod": "2s", "maxIntervalPeriod": "300ms", "items": items}})
}

/// The Kanary `batman` with one item.
pub(crate) async fn batman(world: &World, item: Value) {
    world.kanary("batman", "app", spec(&[item], json!({}))).await;
}

/// The run is promoted.
pub(crate) async fn passes(world: &World) -> Value {
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "AllItemsGood");
    assert_eq!(ended["status"]["items"][0]["state"], "Good");
    ended
}

/// The run fails, for the canary's fault.
pub(crate) async fn fails(world: &World, says: &str) {
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "MetricFailed");
    let said = message(&ended, "Failed");
    assert!(said.starts_with("metric[0]: ") && said.contains(says), "{said}");
}

#[tokio::test]
async fn usage_within_the_target_promotes_at_the_deadline() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("150m"));
    batman(&world, cpu("150m")).await;
    let ended = passes(&world).await;
    assert_eq!(ended["status"]["items"][0]["lastValue"], 0.15);
    assert_eq!(ended["status"]["report"]["validation"], "metric");
}

#[tokio::test]
async fn usage_above_the_target_fails_and_names_the_pod() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("151m"));
    batman(&world, cpu("150m")).await;
    fails(&world, "cpu 0.151, above 150m on pod app-kanary-batman-").await;
}

#[tokio::test]
async fn usage_of_the_target_is_neither_proof_nor_failure() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    // The names of the target's pods begin with this, too, so the canary's come first.
    world.uses(CANARY, Reading::new("0"));
    world.uses("app-", Reading::new("64"));
    batman(&world, cpu("150m")).await;
    passes(&world).await;
}

#[tokio::test]
async fn utilization_is_relative_to_the_requests_of_the_canary() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses("app-kanary-", Reading::new("81m"));
    for (name, percent, ends) in [("batman", 80, "Failed"), ("robin", 81, "DeploymentUpdated")] {
        let mut spec = spec(&[utilization(percent)], json!({}));
        let container = json!({"name": "main", "image": "app:v2", "resources": {"requests": {"cpu": "100m"}}});
        spec["template"]["spec"]["template"] = json!({
            "metadata": {"labels": {"app": "app"}}, "spec": {"containers": [container]},
        });
        spec["rollout"] = json!({"mode": "dry-run"});
        world.kanary(name, "app", spec).await;
        let ends = if ends == "Failed" { ends } else { "Succeeded" };
        let ended = world.ends(name, ends).await;
        let value = ended["status"]["items"][0]["lastValue"].as_f64().unwrap_or_default();
        assert!((value - 81.0).abs() < 1e-6, "{ended:#}");
    }
    fails(&world, "cpu 81 % of the request, above 80 % on pod").await;
}

#[tokio::test]
async fn a_container_is_judged_without_the_others() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("10m"));
    world.container_uses(CANARY, "proxy", "9");
    let mut item = cpu("100m");
    item["type"] = json!("ContainerResource");
    item["containerResource"] = item["resource"].take();
    item["containerResource"]["container"] = json!("main");
    item.as_object_mut().unwrap().remove("resource");
    let mut spec = spec(&[item], json!({}));
    let containers = json!([{"name": "main", "image": "app:v2"}, {"name": "proxy", "image": "proxy:v1"}]);
    spec["template"]["spec"]["template"] =
        json!({"metadata": {"labels": {"app": "app"}}, "spec": {"containers": containers}});
    world.kanary("batman", "app", spec).await;
    passes(&world).await;
}

fn of_pods(most: &str) -> Value {
    json!({"type": "Pods", "pods": {
        "metric": {"name": "errors:1m", "selector": {"matchLabels": {"code": "500"}}},
        "target": {"type": "AverageValue", "averageValue": most},
    }})
}

#[tokio::test]
async fn a_custom_metric_of_each_pod_has_a_selector() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.has_custom("pods", CANARY, "errors:1m", Reading::new("1").labelled("code", "500"));
    world.has_custom("pods", CANARY, "errors:1m", Reading::new("99").labelled("code", "404"));
    world.has_custom("pods", "app-", "errors:1m", Reading::new("99").labelled("code", "503"));
    batman(&world, of_pods("1")).await;
    passes(&world).await;
}

#[tokio::test]
async fn a_custom_metric_of_a_pod_above_the_target_fails() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.has_custom(
        "pods",
        CANARY,
        "errors:1m",
        Reading::new("1500m").labelled("code", "500"),
    );
    batman(&world, of_pods("1")).await;
    fails(&world, "errors:1m 1.5, above 1 on pod app-kanary-batman-").await;
}

/// The rate of failures of an object with the name `app`.
pub(crate) fn of_object(version: &str, kind: &str, most: &str) -> Value {
    json!({"type": "Object", "object": {
        "describedObject": {"apiVersion": version, "kind": kind, "name": "app"},
        "metric": {"name": "failures"}, "target": {"type": "Value", "value": most},
    }})
}

#[tokio::test]
async fn a_metric_of_another_object_is_found_by_the_kind_of_the_object() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.has_custom("services", "app", "failures", Reading::new("9"));
    world.has_custom("deployments.apps", "app", "failures", Reading::new("0"));
    batman(&world, of_object("apps/v1", "Deployment", "0")).await;
    passes(&world).await;
    world
        .kanary("robin", "app", spec(&[of_object("v1", "Service", "8")], json!({})))
        .await;
    let ended = world.ends("robin", "Failed").await;
    assert!(message(&ended, "Failed").contains("failures 9, above 8"), "{ended:#}");
}

#[tokio::test]
async fn external_values_with_the_labels_of_the_selector_are_added_up() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    for (queue, length) in [("a", "30"), ("b", "40"), ("c", "999")] {
        world.has_external("queue_length", Reading::new(length).labelled("queue", queue));
    }
    let selector = json!({"matchExpressions": [{"key": "queue", "operator": "In", "values": ["a", "b"]}]});
    let item = |target: Value| {
        json!({"type": "External", "external": {
            "metric": {"name": "queue_length", "selector": selector}, "target": target,
        }})
    };
    batman(&world, item(json!({"type": "Value", "value": 70}))).await;
    passes(&world).await;
    let mut of_two = spec(&[item(json!({"type": "AverageValue", "averageValue": 34}))], json!({}));
    of_two["scale"] = json!({"static": {"replicas": 2}});
    world.kanary("robin", "app", of_two).await;
    let ended = world.ends("robin", "Failed").await;
    let said = message(&ended, "Failed");
    assert!(said.contains("queue_length 35 per pod, above 34"), "{said}");
}

#[tokio::test]
async fn a_kanary_of_the_other_kind_is_judged_alike() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses("app-kanary-good-", Reading::new("100m"));
    world.uses("app-kanary-bad-", Reading::new("300m"));
    for (name, ends) in [("good", "Succeeded"), ("bad", "Failed")] {
        let mut dry_run = spec(&[cpu("200m")], json!({}));
        dry_run["rollout"] = json!({"mode": "dry-run"});
        let mut manifest = kanary(name, "app", dry_run);
        manifest["kind"] = json!("KanaryStatefulset");
        world.create(&KANARY_STATEFULSET, &manifest).await;
        let ended = world.ends_as(&KANARY_STATEFULSET, name, ends).await;
        assert_eq!(ended["status"]["items"][0]["name"], "metric[0]");
    }
}

#[tokio::test]
async fn bad_measurements_up_to_the_limit_are_tolerated() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("300m"));
    let mut tolerant = spec(&[cpu("200m")], json!({"failureLimit": 300, "interval": "100ms"}));
    tolerant["validation"]["validationPeriod"] = json!("1m");
    world.kanary("batman", "app", tolerant).await;
    let what = "a bad measurement is tolerated";
    world
        .until(&crate::support::KANARY, "batman", what, |kanary| {
            kanary["status"]["items"][0]["bad"].as_u64().is_some_and(|bad| bad > 0)
        })
        .await;
    world.uses(CANARY, Reading::new("100m"));
    world
        .edit("batman", json!({"validation": {"validationPeriod": "40s"}}))
        .await;
    let ended = passes(&world).await;
    assert!(ended["status"]["items"][0]["bad"].as_u64() > Some(0), "{ended:#}");
}
