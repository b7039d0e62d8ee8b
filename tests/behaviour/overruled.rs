//! Concurrent changes by other clients are respected, and objects that the spec no longer asks for are removed.

use serde_json::json;

use crate::support::{DEPLOYMENT, HPA, SERVICE, World, reason, slow_deployment};

#[tokio::test]
async fn a_promotion_that_is_undone_while_the_target_rolls_out_is_not_made_again() {
    let world = World::new("overruled").await;
    let before = world.create(&DEPLOYMENT, &slow_deployment("app")).await;
    world
        .kanary("batman", "app", json!({"validation": {"validationPeriod": "1s"}}))
        .await;
    world
        .until(&DEPLOYMENT, "app", "has the new version", |target| {
            target["metadata"]["generation"] == 2 && target["status"]["observedGeneration"] == 2
        })
        .await;
    world.undo("app").await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(target["metadata"]["generation"], 3, "promoted once and undone once");
    assert_eq!(target["spec"]["template"], before["spec"]["template"]);
}

#[tokio::test]
async fn a_canary_of_which_nothing_starts_is_not_available_whatever_its_strategy_tolerates() {
    let world = World::new("overruled").await;
    world.target("app", 1).await;
    let never = json!({"spec": {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {"metadata": {"labels": {"kanary.test/behaviour": "never-ready"}}},
    }});
    let spec = json!({
        "template": never, "rollout": {"progressDeadline": "3s"},
        "validation": {"validationPeriod": "1s", "items": [{"manual": {"statusAfterDeadline": "valid"}}]},
    });
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
}

#[tokio::test]
async fn a_service_and_an_autoscaler_that_the_spec_no_longer_asks_for_go() {
    let world = World::new("overruled").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let spec = json!({
        "serviceName": "app", "traffic": {"source": "kanary-service"}, "scale": {"hpa": {"maxReplicas": 2}},
        "validation": {"validationPeriod": "1h"},
    });
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.get(&HPA, "app-kanary-batman").await;
    world.get(&SERVICE, "app-kanary-batman").await;
    world
        .edit(
            "batman",
            json!({"traffic": {"source": "none"}, "scale": {"hpa": null, "static": {"replicas": 1}}}),
        )
        .await;
    world.gone(&HPA, "app-kanary-batman").await;
    world.gone(&SERVICE, "app-kanary-batman").await;
    // A change of the traffic restarts the validation.
    let anew = world.phase("batman", "Running").await;
    assert_eq!(anew["status"]["run"], 2, "{anew:#}");
}

#[tokio::test]
async fn a_foreign_autoscaler_is_not_taken_over_and_is_an_obstacle_until_it_goes() {
    let world = World::new("overruled").await;
    world.target("app", 1).await;
    let theirs = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "app-kanary-batman"},
        "spec": {"maxReplicas": 7, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}},
    });
    world.create(&HPA, &theirs).await;
    let spec = json!({"scale": {"hpa": {"maxReplicas": 2}}, "validation": {"validationPeriod": "1s"}});
    world.kanary("batman", "app", spec).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "NameTaken");
    assert_eq!(world.get(&HPA, "app-kanary-batman").await["spec"]["maxReplicas"], 7);
    world.delete(&HPA, "app-kanary-batman").await;
    world.ends("batman", "DeploymentUpdated").await;
}
