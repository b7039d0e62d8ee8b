//! Admission webhooks that fail or change the controller's writes.

use http::Method;
use serde_json::json;

use crate::support::{Answer, DEPLOYMENT, KANARY, Webhook, World, held, is_true, message, reason, time_passes};

#[tokio::test]
async fn a_webhook_that_fails_is_reported_and_ends_the_run_when_progress_is_due() {
    let world = World::unserved("webhooks").await;
    world.target("app", 1).await;
    let webhook = Webhook::new(|method, path, body| {
        if *method == Method::POST && path.ends_with("/deployments") {
            return Answer::Refuse(500, "failed calling webhook \"policy.example.com\"");
        }
        Answer::Send(body)
    });
    world.start_controller_behind(&webhook);
    let spec = json!({"validation": held(), "rollout": {"progressDeadline": "10s"}});
    world.kanary("batman", "app", spec).await;
    let told = world
        .until(&KANARY, "batman", "the status says that the creation fails", |kanary| {
            reason(kanary, "Errored") == "WriteFailed"
        })
        .await;
    assert!(message(&told, "Errored").contains("policy.example.com"), "{told:#}");
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    assert!(message(&ended, "Failed").contains("policy.example.com"), "{ended:#}");
    webhook.remove();
    world.edit("batman", json!({"retry": 1})).await;
    world.phase("batman", "Running").await;
}

#[tokio::test]
async fn a_webhook_that_caps_the_replicas_is_reported_and_not_asked_again_at_once() {
    let world = World::unserved("webhooks").await;
    world.target("app", 2).await;
    let webhook = Webhook::new(|method, path, mut body| {
        let replicas = body
            .pointer_mut("/spec/replicas")
            .filter(|_| path.contains("/deployments"));
        if let (Some(replicas), true) = (replicas, *method == Method::PATCH) {
            *replicas = json!(1);
        }
        Answer::Send(body)
    });
    world.start_controller_behind(&webhook);
    let spec = json!({"validation": held(), "scale": {"percent": {"value": 50}}});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.patch(&DEPLOYMENT, "app", json!({"spec": {"replicas": 6}})).await;
    let told = world
        .until(
            &KANARY,
            "batman",
            "the status says that the scale has no effect",
            |kanary| is_true(kanary, "Errored"),
        )
        .await;
    assert!(
        message(&told, "Errored").contains("requested 3 replicas, but it has 1"),
        "{told:#}"
    );
    time_passes(&world).await;
    let requests = world.requests().await;
    let asked = requests
        .iter()
        .filter(|r| r.verb == "patch" && r.resource == "deployments");
    // With backoff, the eighth attempt is due after two minutes.
    assert!(asked.count() < 8, "{requests:#?}");
    webhook.remove();
    world
        .until(&DEPLOYMENT, "app-kanary-batman", "has its replicas", |canary| {
            canary["spec"]["replicas"] == 3
        })
        .await;
    world
        .until(&KANARY, "batman", "the problem is no longer reported", |kanary| {
            !is_true(kanary, "Errored")
        })
        .await;
}
