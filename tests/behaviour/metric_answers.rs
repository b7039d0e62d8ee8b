//! metric items without a usable value: nothing is promoted, and the reason is told.

use std::time::Duration;

use kanary_sim::metrics_apis::{Api, Mood, Reading};
use serde_json::{Value, json};

use crate::{
    metric::{CANARY, batman, cpu, of_object, passes, spec, utilization},
    support::{DEPLOYMENT, KANARY, POD, World, is_true, message, reason},
};

/// Waits until the run is held for this reason, and checks that nothing was promoted.
pub(crate) async fn is_held(world: &World, why: &str, says: &str) -> Value {
    let what = format!("is held because of {why}: {says}");
    let held = world
        .until(&KANARY, "batman", &what, |kanary| {
            let said = kanary["status"]["items"][0]["message"].as_str().unwrap_or_default();
            is_true(kanary, "Stalled") && reason(kanary, "Stalled") == why && said.contains(says)
        })
        .await;
    assert!(!is_true(&held, "Failed") && !is_true(&held, "Succeeded"), "{held:#}");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
    held
}

#[tokio::test]
async fn a_missing_api_is_named_until_it_is_there() {
    for (api, item) in [
        ("metrics.k8s.io/v1beta1: install metrics-server", cpu("1")),
        (
            "custom.metrics.k8s.io/v1beta2: install an adapter",
            of_object("v1", "Service", "1"),
        ),
        (
            "external.metrics.k8s.io/v1beta1: install an adapter",
            json!({"type": "External", "external": {
                "metric": {"name": "queue"}, "target": {"type": "Value", "value": 1},
            }}),
        ),
    ] {
        let Some(world) = World::with_metrics_apis("metric").await else {
            return;
        };
        batman(&world, item).await;
        is_held(&world, "Inconclusive", &format!("the API server does not serve {api}")).await;
        world.uses(CANARY, Reading::new("0"));
        world.has_custom("services", "app", "failures", Reading::new("0"));
        world.has_external("queue", Reading::new("0"));
        let ended = passes(&world).await;
        assert!(!is_true(&ended, "Stalled"), "{ended:#}");
    }
}

#[tokio::test]
async fn an_api_that_is_down_neither_fails_nor_promotes() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("100m"));
    world.mood(Api::Resource, Mood::Down);
    batman(&world, cpu("200m")).await;
    is_held(&world, "Inconclusive", "metrics.k8s.io is not available").await;
    world.mood(Api::Resource, Mood::Serves);
    passes(&world).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let Some(world) = World::without_right_to_metrics("metric").await else {
        return;
    };
    batman(&world, cpu("200m")).await;
    let says = "Kanary may not ask metrics.k8s.io: pods.metrics.k8s.io is forbidden";
    is_held(&world, "Inconclusive", says).await;
}

#[tokio::test]
async fn a_metric_that_the_adapter_does_not_have_is_no_data() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.has_custom("services", "app", "other", Reading::new("0"));
    batman(&world, of_object("v1", "Service", "1")).await;
    let says = "could not find the metric failures for services";
    is_held(&world, "NoData", says).await;
    world.has_custom("services", "app", "failures", Reading::new("1"));
    passes(&world).await;
}

#[tokio::test]
async fn pods_without_usage_are_no_data() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    let pods = world
        .until_all(&POD, "app=app", "the target's pod is there", |pods| pods.len() == 1)
        .await;
    let of_target = pods[0]["metadata"]["name"].as_str().unwrap();
    world.uses(of_target, Reading::new("0"));
    batman(&world, cpu("200m")).await;
    is_held(&world, "NoData", "cpu: no value of pod app-kanary-batman-").await;
}

#[tokio::test]
async fn one_pod_without_usage_is_no_data() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    let mut two = spec(&[cpu("200m")], json!({}));
    two["scale"] = json!({"static": {"replicas": 2}});
    world.mood(Api::Resource, Mood::Serves);
    world.kanary("batman", "app", two).await;
    let selector = "kanary.k8s-operators.dev/name=batman";
    let pods = world
        .until_all(&POD, selector, "both pods are there", |pods| pods.len() == 2)
        .await;
    let [first, second] = [0, 1].map(|pod| pods[pod]["metadata"]["name"].as_str().unwrap().to_owned());
    world.uses(&first, Reading::new("100m"));
    is_held(&world, "NoData", &format!("cpu: no value of pod {second}")).await;
    world.uses(&second, Reading::new("100m"));
    passes(&world).await;
}

#[tokio::test]
async fn stale_values_are_no_data_even_if_they_are_bad() {
    for value in ["100m", "9"] {
        let Some(world) = World::with_metrics_apis("metric").await else {
            return;
        };
        world.uses(CANARY, Reading::new(value).aged(Duration::from_secs(121)));
        batman(&world, cpu("200m")).await;
        is_held(&world, "NoData", "is stale").await;
        world.uses(CANARY, Reading::new("100m"));
        passes(&world).await;
    }
}

#[tokio::test]
async fn values_from_before_the_validation_are_no_data() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("9").aged(Duration::from_secs(100)));
    batman(&world, cpu("200m")).await;
    is_held(&world, "NoData", "before the canary's validation").await;
}

#[tokio::test]
async fn no_data_fails_the_run_if_its_author_wants_that() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.mood(Api::Resource, Mood::Serves);
    let item = spec(&[cpu("200m")], json!({"onNoData": "fail"}));
    world.kanary("batman", "app", item).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "NoData");
    assert!(message(&ended, "Failed").contains("cpu: no value of pod"), "{ended:#}");
}

/// The Kanary reports at once that its item cannot be answered.
async fn is_refused(world: &World, says: &str) {
    let errored = world
        .until(&KANARY, "batman", "the item cannot be answered", |kanary| {
            reason(kanary, "Errored") == "QueryInvalid"
        })
        .await;
    let said = message(&errored, "Errored");
    assert!(said.contains(says), "{said}");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn pods_without_requests_have_no_utilization() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("100m"));
    batman(&world, utilization(80)).await;
    is_refused(&world, "requests no cpu, so there is no utilization").await;
}

#[tokio::test]
async fn an_object_of_an_unknown_kind_or_without_a_namespace_is_refused() {
    for (version, kind, says) in [
        ("apps/v1", "Daemon", "knows no kind Daemon in apps/v1"),
        ("v1", "Namespace", "no kind of objects in a namespace"),
    ] {
        let Some(world) = World::with_metrics_apis("metric").await else {
            return;
        };
        world.has_custom("services", "app", "failures", Reading::new("0"));
        batman(&world, of_object(version, kind, "1")).await;
        is_refused(&world, says).await;
    }
}

#[tokio::test]
async fn an_installation_without_metrics_apis_says_so_and_asks_none() {
    let world = World::new("metric").await;
    world.target("app", 1).await;
    batman(&world, cpu("200m")).await;
    is_refused(&world, "the metrics APIs are off in this installation").await;
    let requests = world.requests().await;
    let asked = requests
        .iter()
        .filter(|request| request.resource.ends_with("metrics.k8s.io"));
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn an_api_that_hangs_holds_its_own_items_only() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses("app-kanary-", Reading::new("100m"));
    world.mood(Api::External, Mood::Hangs);
    let queue = json!({"type": "External", "external": {
        "metric": {"name": "queue"}, "target": {"type": "Value", "value": 1},
    }});
    let hanging = spec(&[queue], json!({"consecutiveErrorLimit": 1}));
    for number in 0..30 {
        world.kanary(&format!("hangs-{number}"), "app", hanging.clone()).await;
    }
    world.kanary("batman", "app", hanging).await;
    world.target("other", 1).await;
    world.uses("other-kanary-", Reading::new("100m"));
    world.kanary("robin", "other", spec(&[cpu("200m")], json!({}))).await;
    world.ends("robin", "DeploymentUpdated").await;
    let held = world.get(&KANARY, "batman").await;
    assert!(held["status"]["completedAt"].is_null(), "{held:#}");
    is_held(&world, "Inconclusive", "external.metrics.k8s.io").await;
}

#[tokio::test]
async fn items_that_ask_the_same_share_a_request() {
    let Some(world) = World::with_metrics_apis("metric").await else {
        return;
    };
    world.uses(CANARY, Reading::new("100m"));
    let memory = json!({"type": "Resource", "resource": {
        "name": "memory", "target": {"type": "AverageValue", "averageValue": "64Mi"},
    }});
    let items = [cpu("200m"), cpu("300m"), cpu("400m"), memory];
    world.kanary("batman", "app", spec(&items, json!({}))).await;
    let ended = passes(&world).await;
    let good = |item: usize| ended["status"]["items"][item]["good"].as_u64().unwrap_or_default();
    let measured: u64 = (0..items.len()).map(good).sum();
    let requests = world.requests().await;
    let asked = requests
        .iter()
        .filter(|request| request.resource == "metrics.k8s.io")
        .count();
    assert!(
        u64::try_from(asked).unwrap() * 2 <= measured,
        "{asked} requests for {measured} measurements"
    );
}
