//! HorizontalPodAutoscalers.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler as Autoscaler;

use super::*;

fn autoscaler(more: Value) -> Autoscaler {
    let mut object = json!({
        "metadata": {"namespace": "default", "name": "app"},
        "spec": {
            "minReplicas": 2, "maxReplicas": 10,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
            }}],
        },
    });
    merge(&mut object, more);
    typed(object)
}

/// A metric that the test sets.
#[derive(Clone, Default)]
struct Dial(Arc<Mutex<Option<f64>>>);

impl Dial {
    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = Some(value);
    }

    /// A Deployment of three replicas with an autoscaler.
    async fn world(&self, more: Value) -> World {
        let dial = self.clone();
        let world = behaving(Behaviour::default().metrics(move |namespace, deployment, _| {
            assert_eq!((namespace, deployment), ("default", "app"));
            *dial.0.lock().unwrap()
        }));
        world.made(deployment("app", json!({})));
        world.made(autoscaler(more));
        pass(16).await;
        world
    }
}

fn replicas(world: &World) -> i32 {
    world.read::<Deployment>("app").spec.unwrap().replicas.unwrap()
}

fn says(world: &World, kind: &str) -> String {
    condition(&world.read::<Autoscaler>("app"), kind)
}

#[tokio::test(start_paused = true)]
async fn without_metrics_the_size_stays_and_the_status_says_why() {
    let world = Dial::default().world(json!({})).await;
    pass(60).await;
    assert_eq!(replicas(&world), 3);
    assert_eq!(says(&world, "AbleToScale"), "True/SucceededGetScale");
    assert_eq!(says(&world, "ScalingActive"), "False/FailedGetResourceMetric");
    assert_eq!(status(&world.read::<Autoscaler>("app"))["currentReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn without_metrics_the_size_is_still_kept_within_its_limits() {
    let world = Dial::default().world(json!({"spec": {"minReplicas": 5}})).await;
    assert_eq!(replicas(&world), 5);
    assert_eq!(says(&world, "AbleToScale"), "True/SucceededRescale");
    world.edit::<Autoscaler>("app", json!({"spec": {"minReplicas": 1, "maxReplicas": 4}}));
    pass(16).await;
    assert_eq!(replicas(&world), 4);
}

#[tokio::test(start_paused = true)]
async fn a_high_utilization_brings_more_pods() {
    let dial = Dial::default();
    let world = dial.world(json!({})).await;
    dial.set(75.0);
    pass(16).await;
    assert_eq!(replicas(&world), 5);
    let autoscaler: Autoscaler = world.read("app");
    assert_eq!(says(&world, "ScalingActive"), "True/ValidMetricFound");
    assert_eq!(says(&world, "ScalingLimited"), "False/DesiredWithinRange");
    let status = status(&autoscaler);
    assert_eq!(
        (&status["currentReplicas"], &status["desiredReplicas"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(
        status["currentMetrics"][0]["resource"]["current"]["averageUtilization"],
        75
    );
    assert!(status["lastScaleTime"].is_string());
}

#[tokio::test(start_paused = true)]
async fn it_doubles_at_most_and_stops_at_its_maximum() {
    let dial = Dial::default();
    let world = dial.world(json!({})).await;
    dial.set(500.0);
    pass(15).await;
    assert_eq!(
        (replicas(&world), says(&world, "ScalingLimited")),
        (6, "True/ScaleUpLimit".to_owned())
    );
    pass(30).await;
    assert_eq!(
        (replicas(&world), says(&world, "ScalingLimited")),
        (10, "True/TooManyReplicas".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_small_difference_changes_nothing() {
    let dial = Dial::default();
    let world = dial.world(json!({})).await;
    dial.set(54.0);
    pass(60).await;
    assert_eq!(
        (replicas(&world), says(&world, "AbleToScale")),
        (3, "True/ReadyForNewScale".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn fewer_pods_come_after_five_minutes() {
    let dial = Dial::default();
    let world = dial.world(json!({})).await;
    dial.set(75.0);
    pass(15).await;
    dial.set(1.0);
    pass(120).await;
    assert_eq!(
        (replicas(&world), says(&world, "AbleToScale")),
        (5, "True/ScaleDownStabilized".to_owned())
    );
    pass(240).await;
    assert_eq!(
        (replicas(&world), says(&world, "ScalingLimited")),
        (2, "True/TooFewReplicas".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_behaviour_of_its_own_sets_the_pace() {
    let dial = Dial::default();
    let behaviour = json!({"spec": {"minReplicas": 1, "behavior": {
        "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 15}]},
    }}});
    let world = dial.world(behaviour).await;
    dial.set(500.0);
    pass(15).await;
    assert_eq!(
        (replicas(&world), says(&world, "ScalingLimited")),
        (4, "True/ScaleUpLimit".to_owned())
    );
    pass(45).await;
    assert_eq!(replicas(&world), 4, "one pod per minute");
    pass(30).await;
    assert_eq!(replicas(&world), 5);
    dial.set(1.0);
    pass(15).await;
    assert_eq!(
        (replicas(&world), says(&world, "ScalingLimited")),
        (2, "True/ScaleDownLimit".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_direction_can_be_switched_off() {
    let dial = Dial::default();
    let off = json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}});
    let world = dial.world(off).await;
    dial.set(1.0);
    pass(1000).await;
    assert_eq!(replicas(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn other_metrics_count_too_and_the_highest_wins() {
    let behaviour = Behaviour::default().metrics(|_, _, metric| match metric {
        "requests" => Some(150.0),
        "cpu" => Some(10.0),
        _ => Some(40.0),
    });
    let world = behaving(behaviour);
    world.made(deployment("app", json!({})));
    world.made(autoscaler(json!({"spec": {"metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Pods", "pods": {
            "metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "100"},
        }},
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "50"}}},
    ]}})));
    pass(16).await;
    assert_eq!(replicas(&world), 5);
    let metrics = status(&world.read::<Autoscaler>("app"))["currentMetrics"].take();
    assert_eq!(metrics[1]["pods"]["current"]["averageValue"], "150");
    assert_eq!(metrics[2]["external"]["current"]["value"], "40");
}

#[tokio::test(start_paused = true)]
async fn a_missing_target_is_reported() {
    let world = world();
    world.made(autoscaler(json!({})));
    pass(16).await;
    assert_eq!(says(&world, "AbleToScale"), "False/FailedGetScale");
    world.made(deployment("app", json!({})));
    pass(16).await;
    assert_eq!(says(&world, "AbleToScale"), "True/SucceededGetScale");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_scaled_to_nothing_is_left_alone() {
    let world = Dial::default().world(json!({})).await;
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 0}}));
    pass(60).await;
    assert_eq!(
        (replicas(&world), says(&world, "ScalingActive")),
        (0, "False/ScalingDisabled".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_period_can_be_another() {
    let world = behaving(Behaviour {
        autoscaler_period: Duration::from_secs(2),
        ..Behaviour::default()
    });
    world.made(deployment("app", json!({})));
    world.made(autoscaler(json!({"spec": {"minReplicas": 5}})));
    pass(3).await;
    assert_eq!(replicas(&world), 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_when_it_is_gone() {
    let world = Dial::default().world(json!({})).await;
    world.remove("horizontalpodautoscalers.autoscaling", "app");
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 20}}));
    pass(60).await;
    assert_eq!(replicas(&world), 20);
}
