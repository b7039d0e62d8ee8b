//! The periods of a run: schedule, initial delay, deadline, progress deadline and pause.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, KANARY, POD, World, assert_not_before, message, phase, reason, since, time, time_passes,
};

fn after(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// Lets batman, which waits for a manual verdict, pass at its deadline.
async fn pass_at_the_deadline(world: &World) {
    let items = json!([{"manual": {"statusAfterDeadline": "valid"}}]);
    world.edit("batman", json!({"validation": {"items": items}})).await;
}

fn slow() -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": "slow"}}}}})
}

fn never_ready() -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": "never-ready"}}}}})
}

#[tokio::test]
async fn a_schedule_holds_the_run_in_scheduled_and_nothing_is_created_before() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let spec = json!({
        "schedule": "2999-01-01T00:00:00Z", "serviceName": "app", "traffic": {"source": "both"},
    });
    world.kanary("batman", "app", spec).await;
    let waiting = world
        .until(
            &KANARY,
            "batman",
            "the status says that it waits for its schedule",
            |kanary| reason(kanary, "Scheduled") == "WaitingForSchedule",
        )
        .await;
    assert_eq!(phase(&waiting), "Scheduled");
    let schedule = after(2);
    world.edit("batman", json!({"schedule": schedule.to_string()})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let creates: Vec<_> = world
        .requests()
        .await
        .into_iter()
        .filter(|request| request.verb == "create")
        .collect();
    assert!(creates.len() >= 2, "canary and Service: {creates:?}");
    for create in creates {
        assert!(create.at >= schedule, "{create:?} before {schedule}");
    }
}

#[tokio::test]
async fn a_schedule_never_eats_into_the_validation_period() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let spec = json!({"schedule": after(3).to_string(), "validation": {"validationPeriod": "2s"}});
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let available = time(&ended, "/status/availableAt");
    assert_eq!(
        time(&ended, "/status/deadline").duration_since(available),
        SignedDuration::from_secs(2)
    );
    assert_not_before(&ended, "Succeeded", time(&ended, "/status/deadline"));
}

#[tokio::test]
async fn a_schedule_in_the_past_means_at_once() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let spec = json!({"schedule": "2020-04-12T20:42:00Z"});
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn the_initial_delay_holds_the_run_in_scheduled_from_when_the_canary_is_available() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let validation = json!({"initialDelay": "1h", "validationPeriod": "2s"});
    world
        .kanary("batman", "app", json!({"validation": validation, "template": slow()}))
        .await;
    let warm_up = world
        .until(
            &KANARY,
            "batman",
            "the status says that the canary warms up",
            |kanary| reason(kanary, "Scheduled") == "InitialDelay",
        )
        .await;
    assert_eq!(phase(&warm_up), "Scheduled");
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    let available = since(&canary, "Available");
    assert_eq!(
        time(&warm_up, "/status/availableAt"),
        available,
        "by the cluster's clock"
    );
    let created = time(&canary, "/metadata/creationTimestamp");
    assert!(
        available.duration_since(created).as_secs() >= 4,
        "the pods of this case are slow"
    );
    let start = time(&warm_up, "/status/validationStartTime");
    assert_eq!(start.duration_since(available), SignedDuration::from_hours(1));
    time_passes(&world).await;
    assert_eq!(phase(&world.get(&KANARY, "batman").await), "Scheduled");
}

#[tokio::test]
async fn the_canary_is_judged_once_its_initial_delay_is_over() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let states = world.record(KANARY).await;
    let validation = json!({"initialDelay": "3s", "validationPeriod": "2s"});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let start = time(&ended, "/status/validationStartTime");
    assert_eq!(
        start.duration_since(time(&ended, "/status/availableAt")),
        SignedDuration::from_secs(3)
    );
    assert_eq!(
        time(&ended, "/status/deadline").duration_since(start),
        SignedDuration::from_secs(2)
    );
    let running = states
        .first("it is Running", |seen| phase(&seen.object) == "Running")
        .await;
    assert_not_before(&running.object, "Running", start);
}

#[tokio::test]
async fn labels_do_not_fail_a_run_before_its_initial_delay_is_over() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"alert": "cold"}}});
    let validation = json!({"initialDelay": "4s", "validationPeriod": "1h", "items": [watch]});
    let template = json!({"spec": {"template": {"metadata": {"labels": {"alert": "cold"}}}}});
    world
        .kanary("batman", "app", json!({"validation": validation, "template": template}))
        .await;
    let ended = world.ends("batman", "Failed").await;
    assert_not_before(&ended, "Failed", time(&ended, "/status/validationStartTime"));
}

#[tokio::test]
async fn a_restart_neither_restarts_nor_shortens_the_times() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let validation = json!({"initialDelay": "1s", "validationPeriod": "4s", "items": [{"manual": {}}]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let before = world.phase("batman", "Running").await;
    world.kill_controller();
    world.start_controller();
    pass_at_the_deadline(&world).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    for field in ["startTime", "availableAt", "validationStartTime", "deadline"] {
        assert!(!ended["status"][field].is_null(), "{field}");
        assert_eq!(ended["status"][field], before["status"][field], "{field}");
    }
    assert_not_before(&ended, "Succeeded", time(&before, "/status/deadline"));
}

#[tokio::test]
async fn a_deadline_that_passed_while_no_controller_ran_is_acted_on_at_once() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let validation = json!({"validationPeriod": "2s", "items": [{"manual": {}}]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let running = world.phase("batman", "Running").await;
    world.kill_controller();
    pass_at_the_deadline(&world).await;
    let deadline = time(&running, "/status/deadline");
    crate::support::poll("the deadline has passed", async || {
        let now = Timestamp::now();
        (now > deadline).then_some(()).ok_or(now)
    })
    .await;
    world.start_controller();
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["deadline"], running["status"]["deadline"]);
}

#[tokio::test]
async fn duration_is_elapsed_of_initial_delay_and_validation_period() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let states = world.record(KANARY).await;
    let validation = json!({"initialDelay": "1s", "validationPeriod": "2s"});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    states.reached(&world.ends("batman", "DeploymentUpdated").await).await;
    let mut shown: Vec<f64> = Vec::new();
    for seen in states.of("batman") {
        let duration = seen.object["status"]["report"]["duration"].as_str().unwrap_or_default();
        if let Some((elapsed, total)) = duration.split_once('/') {
            assert_eq!(total, "3s", "{duration}");
            let elapsed: kanary_core::api::GoDuration = elapsed.parse().expect("it is a Go duration");
            shown.push(elapsed.0.as_secs_f64());
        }
    }
    assert!(shown.is_sorted(), "{shown:?}");
    assert!(shown.last().is_some_and(|last| *last >= 3.0), "{shown:?}");
}

#[tokio::test]
async fn a_canary_that_does_not_become_available_in_time_fails() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let spec = json!({"rollout": {"progressDeadline": "3s"}, "template": never_ready()});
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    assert!(message(&ended, "Failed").contains("app-kanary-batman"), "{ended:#}");
    assert!(ended["status"]["availableAt"].is_null(), "its validation never started");
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    let target = world.get(&DEPLOYMENT, "app").await;
    assert_eq!(target["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_canary_that_crashes_and_stays_down_fails_and_is_never_promoted() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let template = json!({"spec": {"template": {"metadata": {"labels": {"kanary.test/behaviour": "crash"}}}}});
    let spec = json!({
        "rollout": {"progressDeadline": "3s"}, "template": template, "validation": {"validationPeriod": "1h"},
    });
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_pause_before_the_start_creates_nothing() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"paused": true})).await;
    let paused = world
        .until(&KANARY, "batman", "the status says that it is paused", |kanary| {
            reason(kanary, "Reconciling") == "Paused"
        })
        .await;
    assert_eq!(phase(&paused), "Scheduled");
    time_passes(&world).await;
    assert_eq!(world.find(&DEPLOYMENT, "app-kanary-batman").await, None);
    world.edit("batman", json!({"paused": false})).await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_paused_run_is_not_judged_and_its_deadline_moves_by_the_pause() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let validation = json!({"validationPeriod": "6s", "items": [{"manual": {}}]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let running = world.phase("batman", "Running").await;
    world.edit("batman", json!({"paused": true})).await;
    let paused = world
        .until(&KANARY, "batman", "the status says that it is paused", |kanary| {
            !kanary["status"]["pausedAt"].is_null()
        })
        .await;
    pass_at_the_deadline(&world).await;
    let deadline = time(&running, "/status/deadline");
    crate::support::poll("the old deadline has passed", async || {
        let now = Timestamp::now();
        (now > deadline).then_some(()).ok_or(now)
    })
    .await;
    time_passes(&world).await;
    let held = world.get(&KANARY, "batman").await;
    assert_eq!(phase(&held), "Running", "{held:#}");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
    world.edit("batman", json!({"paused": false})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let pause = time(&ended, "/status/resumedAt").duration_since(time(&paused, "/status/pausedAt"));
    let moved = time(&ended, "/status/deadline").duration_since(deadline);
    assert_eq!(moved.as_millis(), pause.as_millis());
    assert_not_before(&ended, "Succeeded", time(&ended, "/status/deadline"));
    assert_eq!(ended["status"]["availableAt"], running["status"]["availableAt"]);
}

#[tokio::test]
async fn a_label_that_matches_during_a_pause_fails_the_run_at_once() {
    let world = World::new("clocks").await;
    world.target("app", 1).await;
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}});
    let validation = json!({"validationPeriod": "1h", "items": [watch]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    world.phase("batman", "Running").await;
    world.edit("batman", json!({"paused": true})).await;
    world
        .until(&KANARY, "batman", "the status says that it is paused", |kanary| {
            reason(kanary, "Reconciling") == "Paused"
        })
        .await;
    let pods = world.list(&POD, "kanary.k8s-operators.dev/name=batman").await;
    let pod = pods[0]["metadata"]["name"].as_str().expect("a pod has a name");
    world
        .patch(&POD, pod, json!({"metadata": {"labels": {"alert": "high-cpu"}}}))
        .await;
    let failed = world.ends("batman", "Failed").await;
    assert_eq!(reason(&failed, "Failed"), "LabelMatched");
    assert_eq!(failed["spec"]["paused"], true);
}
