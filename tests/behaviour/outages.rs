//! A promoted canary was available and matched the user's template throughout its validation.

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::GoDuration;
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, EVENT, Fake, KANARY, POD, Says, World, assert_not_before, held, message, phase, poll, reason, since,
    time,
};

const CANARY: &str = "app-kanary-batman";

/// Pods that need five seconds to become ready, or that fail two seconds later.
fn behaves(how: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": how}}}}})
}

#[tokio::test]
async fn a_canary_whose_image_a_user_sets_fails_and_neither_image_is_promoted() {
    let world = World::new("outages").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    world.set_image(CANARY, "app:v3").await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "CanaryChanged");
    assert!(message(&ended, "Failed").contains(CANARY), "{ended:#}");
    assert_eq!(
        ended["status"]["failedTemplates"],
        Value::Null,
        "the template is not recorded as failed"
    );
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_canary_that_was_changed_and_changed_back_while_no_controller_ran_fails() {
    let world = World::new("outages").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    world.phase("batman", "Running").await;
    world.kill_controller();
    for image in ["app:v3", "app:v2"] {
        world.set_image(CANARY, image).await;
        world
            .until(&DEPLOYMENT, CANARY, "its controller has seen the image", |canary| {
                canary["status"]["observedGeneration"] == canary["metadata"]["generation"]
            })
            .await;
    }
    world.start_controller();
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "CanaryChanged");
}

#[tokio::test]
async fn an_outage_moves_the_deadline_by_its_length() {
    let world = World::new("outages").await;
    world.target("app", 1).await;
    let spec = json!({"validation": held(), "template": behaves("slow")});
    world.kanary("batman", "app", spec).await;
    let before = world.phase("batman", "Running").await;
    let pods = world.list(&POD, "kanary.k8s-operators.dev/name=batman").await;
    let pod = pods[0]["metadata"]["name"].as_str().expect("a pod has a name");
    world.delete(&POD, pod).await;
    let down = world
        .until(&DEPLOYMENT, CANARY, "is not available", |canary| {
            let conditions = canary["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|c| c["type"] == "Available" && c["status"] == "False")
        })
        .await;
    let after = world
        .until(&KANARY, "batman", "has taken the outage into account", |kanary| {
            !kanary["status"]["unavailableFor"].is_null()
        })
        .await;
    let length = time(&after, "/status/availableSince").duration_since(since(&down, "Available"));
    assert!(
        length >= SignedDuration::from_secs(4),
        "the pods of this case are slow: {length}"
    );
    let reported: GoDuration =
        serde_json::from_value(after["status"]["unavailableFor"].clone()).expect("it is a duration");
    assert_eq!(SignedDuration::try_from(reported.0).unwrap(), length);
    let moved = time(&after, "/status/deadline").duration_since(time(&before, "/status/deadline"));
    assert_eq!(moved, length);
    assert_eq!(after["status"]["availableAt"], before["status"]["availableAt"]);
    assert_eq!(phase(&after), "Running");
}

#[tokio::test]
async fn a_canary_that_was_replaced_is_validated_anew() {
    let world = World::new("outages").await;
    world.target("app", 1).await;
    let validation = json!({"validationPeriod": "4s", "items": [{"manual": {}}]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let before = world.phase("batman", "Running").await;
    let deadline = time(&before, "/status/deadline");
    poll("the deadline has passed", async || {
        let now = Timestamp::now();
        (now > deadline).then_some(()).ok_or(now)
    })
    .await;
    world.delete(&DEPLOYMENT, CANARY).await;
    let items = json!([{"manual": {"statusAfterDeadline": "valid"}}]);
    let anew = world
        .until(&KANARY, "batman", "is validated again", |kanary| {
            kanary["status"]["canaryUid"] != before["status"]["canaryUid"]
        })
        .await;
    world.edit("batman", json!({"validation": {"items": items}})).await;
    let canary = world.get(&DEPLOYMENT, CANARY).await;
    assert_eq!(anew["status"]["canaryUid"], canary["metadata"]["uid"]);
    let available = time(&anew, "/status/availableAt");
    assert!(available >= deadline, "{anew:#}");
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(
        ended["status"]["run"], before["status"]["run"],
        "the run number is unchanged"
    );
    assert_not_before(&ended, "Succeeded", available + SignedDuration::from_secs(4));
}

#[tokio::test]
async fn the_cause_of_a_canary_that_does_not_come_up_is_reported_before_and_after_it_fails() {
    let world = World::new("outages").await;
    world.target("app", 1).await;
    let spec = json!({
        "validation": held(), "template": behaves("crash"), "rollout": {"progressDeadline": "5s"},
    });
    world.kanary("batman", "app", spec).await;
    let reported = world
        .until(&KANARY, "batman", "the status shows the reason", |kanary| {
            reason(kanary, "Stalled") == "CrashLoopBackOff"
        })
        .await;
    assert_eq!(phase(&reported), "Running");
    assert!(message(&reported, "Stalled").contains("exit code 1"), "{reported:#}");
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    assert!(
        message(&ended, "Failed").contains("CrashLoopBackOff: container main"),
        "{ended:#}"
    );
    world
        .until_all(&EVENT, "", "an Event reports the cause", |events| {
            events.iter().any(|event| event["reason"] == "CrashLoopBackOff")
        })
        .await;
}

#[tokio::test]
async fn a_bad_measurement_while_no_pod_is_ready_fails_the_run() {
    let world = World::new("outages").await;
    world.target("app", 1).await;
    let fake = Fake::value("0").await;
    let item = json!({
        "prometheusService": fake.address, "query": "max(latency{pod=~\"{{ canary.pods }}\"})", "allPodsQuery": true,
        "valueInRange": {"max": 1},
    });
    let validation = json!({"validationPeriod": "1h", "maxIntervalPeriod": "300ms", "items": [{"promQL": item}]});
    let spec = json!({"validation": validation, "template": behaves("crash")});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world
        .until_all(
            &POD,
            "kanary.k8s-operators.dev/name=batman",
            "no pod is ready",
            |pods| {
                let is_ready = |pod: &Value| {
                    let conditions = pod["status"]["conditions"].as_array();
                    let mut conditions = conditions.into_iter().flatten();
                    conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
                };
                !pods.is_empty() && !pods.iter().any(|pod| is_ready(pod))
            },
        )
        .await;
    fake.now_says(Says::one("99"));
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "PromQLFailed");
    let asked = fake.asked();
    let last = &asked.last().expect("it was asked").query;
    assert!(last.contains("app-kanary-batman-"), "{last}");
}
