//! `CanaryDeployment`s: a canary that exists between runs, and a stable Deployment that gets what passed.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kanary_sim::metrics_apis::{Api, Mood, Reading};
use serde_json::{Value, json};

use crate::support::{
    CANARY_DEPLOYMENT, DEPLOYMENT, Faults, POD, Strike, World, emoji, failure_rate, from_yaml, image_of, is_true,
    labels, message, phase, reason, since, time,
};

#[tokio::test]
async fn the_first_template_runs_in_the_canary_and_then_in_both_tracks() {
    let world = World::with_canary_deployments("tracks").await;
    let created = world.create(&CANARY_DEPLOYMENT, &emoji(json!({}))).await;
    let ended = world.emoji_ends("1.0", "DeploymentUpdated").await;
    world.emoji_runs("1.0", Some("1.0")).await;
    let (canary, stable) = (
        world.get(&DEPLOYMENT, "emoji-canary").await,
        world.get(&DEPLOYMENT, "emoji-stable").await,
    );
    for (track, deployment, replicas) in [("canary", &canary, 1), ("stable", &stable, 2)] {
        assert_eq!(deployment["spec"]["replicas"], replicas);
        for pointer in [
            "/metadata/labels",
            "/spec/template/metadata/labels",
            "/spec/selector/matchLabels",
        ] {
            let found = labels(deployment, pointer);
            let is_own = found.get("track").is_none_or(|value| value == track);
            assert!(is_own && !found.is_empty(), "{pointer}: {found:?}");
        }
        let owner = &deployment["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], created["metadata"]["uid"]);
        assert_eq!(owner["apiVersion"], "kanarini.nilebox.github.com/v1alpha1");
    }
    let of_stable = labels(&stable, "/spec/template/metadata/labels");
    let known = ["app", "track", "kanarini.nilebox.github.com/track"];
    assert!(
        of_stable.keys().all(|name| known.contains(&name.as_str())),
        "{of_stable:?}"
    );
    let status = &ended["status"];
    assert_eq!(
        status["observedTemplateHash"],
        status["latestSuccessfulDeploymentSnapshot"]["templateHash"]
    );
    let checkpoint = &status["deploymentReadyStatusCheckpoint"];
    assert_eq!(checkpoint["metricCheckResult"], "Success");
    assert!(is_true(&ended, "Ready") && !is_true(&ended, "Progressing") && !is_true(&ended, "Failure"));
    assert_eq!(reason(&ended, "Progressing"), "DoneProcessing");
    // The stable Deployment did not exist before the canary had been ready for the delay.
    let ready = time(&ended, "/status/deploymentReadyStatusCheckpoint/latestReadyTimestamp");
    assert!(
        time(&stable, "/metadata/creationTimestamp") >= ready + Duration::from_secs(1),
        "{ready}"
    );
    world.announces(&["CreatedDeployment", "DoneProcessing"]).await;

    world.delete(&CANARY_DEPLOYMENT, "emoji").await;
    world.gone(&DEPLOYMENT, "emoji-canary").await;
    world.gone(&DEPLOYMENT, "emoji-stable").await;
}

#[tokio::test]
async fn a_new_template_goes_through_the_same_canary() {
    let world = World::with_canary_deployments("tracks").await;
    world.create(&CANARY_DEPLOYMENT, &emoji(json!({}))).await;
    world.emoji_ends("1.0", "DeploymentUpdated").await;
    let first = world.get(&DEPLOYMENT, "emoji-canary").await;
    let (stable, objects) = (world.record(DEPLOYMENT).await, world.record(CANARY_DEPLOYMENT).await);
    world.emoji_version("2.0").await;
    world.emoji_ends("2.0", "DeploymentUpdated").await;
    world.emoji_runs("2.0", Some("2.0")).await;
    let second = world.get(&DEPLOYMENT, "emoji-canary").await;
    assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
    // The verdict is written ahead.
    let verdict = objects
        .first("the verdict of the second run", |seen| {
            seen.object["status"]["run"] == 2 && is_true(&seen.object, "Succeeded")
        })
        .await;
    let updated = stable
        .first("the stable Deployment gets the template", |seen| {
            seen.object["metadata"]["name"] == "emoji-stable" && image_of(&seen.object) == "emoji:2.0"
        })
        .await;
    assert!(verdict.version < updated.version);
}

/// The same canary is judged by the failure rate, on a cluster with scripted metrics.
async fn with_failure_rate(limit: Value, rate: &str) -> Option<World> {
    let world = World::with_canary_deployments("tracks").await;
    if !world.has_scripted_metrics() {
        eprintln!("this control plane has no scripted metrics APIs: this case is skipped");
        return None;
    }
    rated(&world, rate);
    world.create(&CANARY_DEPLOYMENT, &emoji(failure_rate(limit))).await;
    Some(world)
}

fn rated(world: &World, rate: &str) {
    world.has_custom(
        "services",
        "emoji-canary",
        "request_failure_rate:1m",
        Reading::new(rate),
    );
}

#[tokio::test]
async fn a_failure_rate_below_the_target_passes_and_one_that_reaches_it_fails() {
    let Some(world) = with_failure_rate(json!(0.1), "99m").await else {
        return;
    };
    let ended = world.emoji_ends("1.0", "DeploymentUpdated").await;
    let metrics = &ended["status"]["latestMetrics"];
    assert_eq!(metrics[0]["object"]["current"]["value"], "0.099", "{metrics}");
    world.emoji_runs("1.0", Some("1.0")).await;
    let stable = world.get(&DEPLOYMENT, "emoji-stable").await;

    rated(&world, "100m");
    world.emoji_version("2.0").await;
    let failed = world.emoji_ends("2.0", "Failed").await;
    assert_eq!(reason(&failed, "Failed"), "MetricFailed");
    assert!(
        message(&failed, "Failed").contains("not below"),
        "{}",
        message(&failed, "Failed")
    );
    assert_eq!(
        failed["status"]["deploymentReadyStatusCheckpoint"]["metricCheckResult"],
        "Failure"
    );
    let hash = &failed["status"]["observedTemplateHash"];
    assert_eq!(
        failed["status"]["latestFailedDeploymentSnapshot"]["templateHash"],
        *hash
    );
    assert!(is_true(&failed, "Failure") && !is_true(&failed, "Ready"));
    world.emoji_runs("1.0", Some("1.0")).await;
    let after = world.get(&DEPLOYMENT, "emoji-stable").await;
    assert_eq!(after["metadata"]["generation"], stable["metadata"]["generation"]);
    world
        .announces(&[
            "DelayMetricsCheck",
            "MetricsCheckResult",
            "MetricsCheckUnsuccessful",
            "UpdatedDeployment",
        ])
        .await;

    rated(&world, "0");
    world.emoji_version("3.0").await;
    world.emoji_ends("3.0", "DeploymentUpdated").await;
    world.emoji_runs("3.0", Some("3.0")).await;
    // What failed is not tried again.
    world.emoji_version("2.0").await;
    let again = world.emoji_ends("2.0", "Failed").await;
    assert_eq!(reason(&again, "Failed"), "TemplateFailedBefore");
    world.emoji_runs("3.0", Some("3.0")).await;
}

#[tokio::test]
async fn without_a_template_that_passed_nothing_goes_further() {
    let Some(world) = with_failure_rate(json!("100m"), "7").await else {
        return;
    };
    world.emoji_ends("1.0", "Failed").await;
    world.emoji_runs("1.0", None).await;
    rated(&world, "0.05");
    world.emoji_version("2.0").await;
    world.emoji_ends("2.0", "DeploymentUpdated").await;
    world.emoji_runs("2.0", Some("2.0")).await;
}

#[tokio::test]
async fn a_value_that_is_missing_or_not_answered_is_reported_and_asked_for_again() {
    let Some(world) = with_failure_rate(json!(0.1), "-1").await else {
        return;
    };
    world.emoji_ends("1.0", "Running").await;
    let says = |what: &'static str| move |object: &Value| object["status"].to_string().contains(what);
    world
        .until(
            &CANARY_DEPLOYMENT,
            "emoji",
            "reports a negative value",
            says("negative"),
        )
        .await;
    world.mood(Api::Custom, Mood::Down);
    world
        .until(
            &CANARY_DEPLOYMENT,
            "emoji",
            "reports an error",
            says("custom.metrics.k8s.io"),
        )
        .await;
    world.emoji_runs("1.0", None).await;
    rated(&world, "0.05");
    world.emoji_ends("1.0", "DeploymentUpdated").await;
}

#[tokio::test]
async fn the_delay_goes_on_while_the_controller_is_restarted() {
    let world = World::with_canary_deployments("tracks").await;
    world
        .create(&CANARY_DEPLOYMENT, &emoji(json!({"metricsCheckDelaySeconds": 4})))
        .await;
    let running = world
        .until(&CANARY_DEPLOYMENT, "emoji", "is ready", |object| {
            !object["status"]["deploymentReadyStatusCheckpoint"].is_null()
        })
        .await;
    world.kill_controller();
    world.start_controller_of_tracks(None);
    let ended = world.emoji_ends("1.0", "DeploymentUpdated").await;
    let at = "/status/deploymentReadyStatusCheckpoint/latestReadyTimestamp";
    assert_eq!(time(&running, at), time(&ended, at));
    let waited = since(&ended, "Succeeded").duration_since(time(&ended, at));
    assert!((4..8).contains(&waited.as_secs()), "{waited}");
}

#[tokio::test]
async fn replicas_and_labels_of_a_track_are_followed_and_edits_of_a_deployment_are_put_back() {
    let world = World::with_canary_deployments("tracks").await;
    world.create(&CANARY_DEPLOYMENT, &emoji(json!({}))).await;
    let ended = world.emoji_ends("1.0", "DeploymentUpdated").await;
    let tracks = json!({"stable": {"replicas": 3, "labels": {"zone": "a"}}, "canary": {"replicas": 2}});
    world
        .patch(&CANARY_DEPLOYMENT, "emoji", json!({"spec": {"tracks": tracks}}))
        .await;
    world
        .until(&DEPLOYMENT, "emoji-stable", "is scaled and labelled", |stable| {
            let zone = &stable["spec"]["template"]["metadata"]["labels"]["zone"];
            stable["spec"]["replicas"] == 3 && *zone == "a" && stable["status"]["availableReplicas"] == 3
        })
        .await;
    world
        .until(&DEPLOYMENT, "emoji-canary", "is scaled", |canary| {
            canary["spec"]["replicas"] == 2
        })
        .await;
    for name in ["emoji-canary", "emoji-stable"] {
        world.set_image(name, "emoji:9.9").await;
        world
            .until(&DEPLOYMENT, name, "is put back", |found| image_of(found) == "emoji:1.0")
            .await;
        world
            .patch(&DEPLOYMENT, name, json!({"spec": {"replicas": 0, "paused": true}}))
            .await;
        world
            .until(&DEPLOYMENT, name, "has its replicas again", |found| {
                found["spec"]["replicas"] != 0 && found["spec"]["paused"] != true
            })
            .await;
    }
    world.delete(&DEPLOYMENT, "emoji-stable").await;
    world.emoji_runs("1.0", Some("1.0")).await;
    let after = world.get(&CANARY_DEPLOYMENT, "emoji").await;
    assert_eq!(after["status"]["run"], ended["status"]["run"]);
    assert_eq!(phase(&after), "DeploymentUpdated");
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_left_alone() {
    let world = World::with_canary_deployments("tracks").await;
    let theirs = world.target("emoji-stable", 1).await;
    world.create(&CANARY_DEPLOYMENT, &emoji(json!({}))).await;
    let waits = world
        .until(&CANARY_DEPLOYMENT, "emoji", "waits", |object| {
            reason(object, "Errored") == "NameTaken"
        })
        .await;
    assert!(message(&waits, "Errored").contains("emoji-stable"), "{waits:#}");
    let still = world.get(&DEPLOYMENT, "emoji-stable").await;
    assert_eq!(still["metadata"]["generation"], theirs["metadata"]["generation"]);
    assert!(world.find(&DEPLOYMENT, "emoji-canary").await.is_none());
    world.delete(&DEPLOYMENT, "emoji-stable").await;
    world.emoji_ends("1.0", "DeploymentUpdated").await;
}

#[tokio::test]
async fn the_manifest_of_the_talk_runs_as_it_is() {
    let world = World::with_canary_deployments("tracks").await;
    let text = include_str!("../../examples/canary-deployment.yaml");
    for mut object in from_yaml(text) {
        object["metadata"]
            .as_object_mut()
            .expect("it has metadata")
            .remove("namespace");
        let kind = if object["kind"] == "CanaryDeployment" {
            CANARY_DEPLOYMENT
        } else {
            crate::support::SERVICE
        };
        world.create(&kind, &object).await;
    }
    world
        .until(
            &CANARY_DEPLOYMENT,
            "emoji",
            "waits for its delay of a minute",
            |object| {
                let ready = object["status"]["deploymentReadyStatusCheckpoint"].is_object();
                ready && object["status"]["deadline"].is_string()
            },
        )
        .await;
    let waits = world.get(&CANARY_DEPLOYMENT, "emoji").await;
    let delay = time(&waits, "/status/deadline").duration_since(time(&waits, "/status/availableAt"));
    assert_eq!(delay.as_secs(), 60);
    assert_eq!(world.list(&POD, "track=canary").await.len(), 1);
    assert!(world.find(&DEPLOYMENT, "emoji-stable").await.is_none());
}

/// Ends a run of version 2.0 after a controller was killed at each of its writes. It is the first run unless version 1.0 has passed.
async fn survives_crashes(canary: Value, rates: Option<[&'static str; 2]>, (is_first, ends): (bool, &'static str)) {
    let runs = if ends == "Failed" { "1.0" } else { "2.0" };
    let prepare = async |world: &World| {
        for rate in rates.iter().flatten().take(1) {
            rated(world, rate);
        }
        if is_first {
            world.kill_controller();
        }
        world.create(&CANARY_DEPLOYMENT, &emoji(canary.clone())).await;
        if !is_first {
            world.emoji_ends("1.0", "DeploymentUpdated").await;
            world.emoji_runs("1.0", Some("1.0")).await;
            world.kill_controller();
        }
        rates.iter().flatten().for_each(|rate| rated(world, rate));
        world.emoji_version("2.0").await;
    };
    let is_over = async |world: &World, case: &str| {
        let ended = world.emoji_ends("2.0", ends).await;
        world.emoji_runs(runs, Some(runs)).await;
        let stable = world.get(&DEPLOYMENT, "emoji-stable").await;
        let generation = if is_first || ends == "Failed" { 1 } else { 2 };
        assert_eq!(stable["metadata"]["generation"], generation, "{case}: {ended:#}");
    };
    let first = World::with_canary_deployments("tracks").await;
    if rates.is_some() && !first.has_scripted_metrics() {
        eprintln!("this control plane has no scripted metrics APIs: this case is skipped");
        return;
    }
    prepare(&first).await;
    let faults = Faults::none();
    first.start_controller_of_tracks(Some(&faults));
    is_over(&first, "undisturbed").await;
    let writes = faults.writes();
    assert!(writes >= 4, "{writes} writes");
    let first = Arc::new(first);
    let strikes = (1..=writes).flat_map(|nth| [(nth, Strike::Before), (nth, Strike::After)]);
    futures::stream::iter(strikes)
        .for_each_concurrent(5, |(nth, strike)| {
            let (first, prepare, is_over) = (first.clone(), &prepare, &is_over);
            async move {
                let world = first.sibling("tracks").await;
                world.start_controller_of_tracks(None);
                prepare(&world).await;
                let faults = Faults::at(nth, strike);
                world.start_controller_of_tracks(Some(&faults));
                let case = format!("{strike:?} write {nth} of {writes}");
                tokio::select! {
                    () = faults.struck() => {}
                    () = is_over(&world, &case) => return,
                }
                world.kill_controller();
                world.start_controller_of_tracks(None);
                is_over(&world, &case).await;
            }
        })
        .await;
}

#[tokio::test]
async fn the_first_template_survives_a_crash_at_every_write() {
    survives_crashes(json!({}), None, (true, "DeploymentUpdated")).await;
}

#[tokio::test]
async fn a_good_template_survives_a_crash_at_every_write() {
    survives_crashes(json!({}), None, (false, "DeploymentUpdated")).await;
}

#[tokio::test]
async fn a_bad_template_survives_a_crash_at_every_write() {
    survives_crashes(failure_rate(json!(0.1)), Some(["0", "0.5"]), (false, "Failed")).await;
}
