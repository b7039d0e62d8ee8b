//! Runs in place: the highest ordinals of a StatefulSet run the template, and get the former one back if they fail.

mod interfered;

use std::sync::Arc;

use futures::StreamExt;
use kanary_sim::metrics_apis::Reading;
use serde_json::{Value, json};

use crate::metric::{cpu, spec};
use crate::support::{
    Faults, KANARY_STATEFULSET, POD, STATEFUL_SET, Strike, World, held, is_true, kanary_of_set, merge, message, phase,
    reason, stateful_set, version_of,
};

/// A Kanary that runs on `pods` pods of `db`.
fn in_place(pods: i32, more: Value) -> Value {
    let mut spec = json!({"scale": {"inPlace": {"replicas": pods}}});
    merge(&mut spec, more);
    kanary_of_set("batman", "db", spec)
}

async fn kanary_until(world: &World, what: &str, test: impl Fn(&Value) -> bool) -> Value {
    world.until(&KANARY_STATEFULSET, "batman", what, test).await
}

async fn running(world: &World) -> Value {
    kanary_until(world, "is Running", |kanary| phase(kanary) == "Running").await
}

/// A run on one of these pods of `db`, which waits for a verdict.
async fn held_run(pods: i32) -> World {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", pods).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"validation": held()})))
        .await;
    running(&world).await;
    world
}

async fn edit(world: &World, spec: Value) {
    world.patch(&KANARY_STATEFULSET, "batman", json!({"spec": spec})).await;
}

/// The images of the pods of `db`, once they are these and ready.
async fn pods_run(world: &World, versions: &[&str]) {
    for (ordinal, version) in versions.iter().enumerate() {
        let image = format!("db:{version}");
        let what = format!("runs {version}");
        world
            .until(&POD, &format!("db-{ordinal}"), &what, |pod| {
                pod["spec"]["containers"][0]["image"] == image.as_str() && is_true(pod, "Ready")
            })
            .await;
    }
}

fn partition(set: &Value) -> &Value {
    &set["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
}

/// Asserts that the target is as it was, and that nothing holds the Kanary.
async fn assert_restored(world: &World, pods: usize) {
    world
        .until(&STATEFUL_SET, "db", "has its former template and partition", |target| {
            (version_of(target), partition(target)) == ("db:v1", &json!(0))
        })
        .await;
    pods_run(world, &vec!["v1"; pods]).await;
    if world.find(&KANARY_STATEFULSET, "batman").await.is_some() {
        kanary_until(world, "is not held", |kanary| {
            kanary["metadata"]["finalizers"].is_null()
        })
        .await;
    }
}

#[tokio::test]
async fn the_highest_ordinals_run_the_template_and_the_others_follow_a_good_verdict() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 3).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"validation": held()})))
        .await;
    let running = running(&world).await;
    assert_eq!(running["status"]["report"]["scale"], "inPlace");
    assert_eq!(running["status"]["inPlace"]["formerPartition"], 0);
    pods_run(&world, &["v1", "v1", "v2"]).await;
    assert_eq!(partition(&world.get(&STATEFUL_SET, "db").await), 2);
    assert_eq!(
        world.list(&STATEFUL_SET, "").await.len(),
        1,
        "there is no canary beside it"
    );

    edit(&world, json!({"verdict": "valid"})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    let target = world.get(&STATEFUL_SET, "db").await;
    assert_eq!((version_of(&target), partition(&target)), ("db:v2", &json!(0)));
    assert_eq!(target["status"]["updatedReplicas"], 3);
    assert_eq!(target["metadata"]["generation"], 3, "begun and promoted");
    let ended = kanary_until(&world, "is not held", |kanary| {
        kanary["metadata"]["finalizers"].is_null()
    })
    .await;
    assert_eq!(ended["status"]["inPlace"], Value::Null);
    let revisions = world.revisions("db").await;
    assert_eq!(revisions.len(), 2, "{revisions:?}");
}

#[tokio::test]
async fn a_bad_verdict_puts_the_former_template_back_on_them() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 3).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(2, json!({"validation": held()})))
        .await;
    running(&world).await;
    pods_run(&world, &["v1", "v2", "v2"]).await;
    edit(&world, json!({"verdict": "invalid"})).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "VerdictInvalid");
    assert_restored(&world, 3).await;
    let ended = kanary_until(&world, "says so", |kanary| is_true(kanary, "RolledBack")).await;
    assert_eq!(reason(&ended, "RolledBack"), "TemplateRestored");
}

#[tokio::test]
async fn kubectl_shows_a_run_in_place_and_an_undo_ends_it() {
    let Some(world) = World::with_kubectl("in-place").await else {
        return;
    };
    world.kill_controller();
    world.start_controller_of_all_targets();
    world.stateful_target("db", 2).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"validation": held()})))
        .await;
    running(&world).await;
    let history = world.kubectl(&["rollout", "history", "statefulset/db"]).await;
    assert!(history.contains("tried in place by KanaryStatefulset"), "{history}");
    world.kubectl(&["rollout", "undo", "statefulset/db"]).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "TargetChanged");
    assert_restored(&world, 2).await;
}

#[tokio::test]
async fn a_deleted_kanary_gives_the_template_back_first() {
    let world = held_run(2).await;
    world.delete(&KANARY_STATEFULSET, "batman").await;
    world.gone(&KANARY_STATEFULSET, "batman").await;
    assert_restored(&world, 2).await;
}

#[tokio::test]
async fn a_run_in_place_that_the_spec_does_not_ask_for_any_more_is_taken_back() {
    let world = held_run(2).await;
    edit(&world, json!({"scale": null})).await;
    pods_run(&world, &["v1", "v1"]).await;
    let what = "a canary runs beside the target";
    world.until(&STATEFUL_SET, "db-kanary-batman", what, |_| true).await;
    edit(&world, json!({"verdict": "invalid"})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_restored(&world, 2).await;
}

#[tokio::test]
async fn the_partition_holds_while_the_target_is_scaled_and_parallel_pods_are_judged_alike() {
    let world = World::of_stateful_sets("in-place").await;
    let mut target = stateful_set("db", 3);
    target["spec"]["podManagementPolicy"] = json!("Parallel");
    world.create(&STATEFUL_SET, &target).await;
    world
        .create(&KANARY_STATEFULSET, &in_place(1, json!({"validation": held()})))
        .await;
    running(&world).await;
    world.patch(&STATEFUL_SET, "db", json!({"spec": {"replicas": 4}})).await;
    pods_run(&world, &["v1", "v1", "v2", "v2"]).await;
    assert_eq!(partition(&world.get(&STATEFUL_SET, "db").await), 2);
    edit(&world, json!({"verdict": "valid"})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    pods_run(&world, &["v2", "v2", "v2", "v2"]).await;
}

#[tokio::test]
async fn a_target_that_cannot_do_it_is_left_alone_and_told_why() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 2).await;
    world.create(&KANARY_STATEFULSET, &in_place(2, json!({}))).await;
    let errored = kanary_until(&world, "is Errored", |kanary| {
        reason(kanary, "Errored") == "TooFewReplicas"
    })
    .await;
    assert!(
        message(&errored, "Errored").contains("db has 2 replicas"),
        "{errored:#}"
    );
    let strategy = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    world.patch(&STATEFUL_SET, "db", strategy).await;
    kanary_until(&world, "is Errored for another reason", |kanary| {
        reason(kanary, "Errored") == "TargetOnDelete"
    })
    .await;
    let target = world.get(&STATEFUL_SET, "db").await;
    assert_eq!(
        (version_of(&target), &target["metadata"]["generation"]),
        ("db:v1", &json!(2))
    );
    let strategy = json!({"type": "RollingUpdate"});
    let forgetful = json!({"spec": {"updateStrategy": strategy, "replicas": 3, "revisionHistoryLimit": 0}});
    world.patch(&STATEFUL_SET, "db", forgetful).await;
    kanary_until(&world, "is Errored for the history", |kanary| {
        reason(kanary, "Errored") == "NoFormerTemplate"
    })
    .await;
    let history = json!({"spec": {"revisionHistoryLimit": 1}});
    world.patch(&STATEFUL_SET, "db", history).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn another_template_in_mid_run_begins_from_the_former_one() {
    let world = World::of_stateful_sets("in-place").await;
    world.stateful_target("db", 2).await;
    let manifest = in_place(1, json!({"validation": held()}));
    world.create(&KANARY_STATEFULSET, &manifest).await;
    running(&world).await;
    let mut template = manifest["spec"]["template"]["spec"]["template"].clone();
    template["spec"]["containers"][0]["image"] = json!("db:v3");
    edit(&world, json!({"template": {"spec": {"template": template}}})).await;
    pods_run(&world, &["v1", "v3"]).await;
    edit(&world, json!({"verdict": "invalid"})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_restored(&world, 2).await;
}

/// Kills the controller at every write of the run, before and after the write is processed, in parallel namespaces.
async fn crash_everywhere(verdict: &'static str) {
    let first = Arc::new(World::unserved("in-place").await);
    let faults = Faults::none();
    prepare(&first, verdict).await;
    first.start_controller_of_all_targets_with(&faults);
    assert_ended_once(&first, verdict, "undisturbed").await;
    let writes = faults.writes();
    assert!(writes >= 6, "{writes} writes");
    let strikes = (1..=writes).flat_map(|nth| [(nth, Strike::Before), (nth, Strike::After)]);
    futures::stream::iter(strikes)
        .for_each_concurrent(5, |(nth, strike)| {
            let first = first.clone();
            async move {
                let world = first.sibling("in-place").await;
                prepare(&world, verdict).await;
                let faults = Faults::at(nth, strike);
                world.start_controller_of_all_targets_with(&faults);
                let case = format!("{strike:?} write {nth} of {writes}");
                tokio::select! {
                    () = faults.struck() => {}
                    () = assert_ended_once(&world, verdict, &case) => return,
                }
                world.kill_controller();
                world.start_controller_of_all_targets();
                assert_ended_once(&world, verdict, &case).await;
            }
        })
        .await;
}

async fn prepare(world: &World, verdict: &str) {
    world.stateful_target("db", 2).await;
    let items = json!([{"manual": {"statusAfterDeadline": verdict}}]);
    let spec = json!({"validation": {"validationPeriod": "1s", "items": items}});
    world.create(&KANARY_STATEFULSET, &in_place(1, spec)).await;
}

/// Asserts that the target was changed twice, and that nothing holds the Kanary.
async fn assert_ended_once(world: &World, verdict: &str, case: &str) {
    let (end, image) = if verdict == "valid" {
        ("DeploymentUpdated", "v2")
    } else {
        ("Failed", "v1")
    };
    world.ends_as(&KANARY_STATEFULSET, "batman", end).await;
    kanary_until(world, "is not held", |kanary| {
        kanary["metadata"]["finalizers"].is_null()
    })
    .await;
    pods_run(world, &[image, image]).await;
    let target = world.get(&STATEFUL_SET, "db").await;
    assert_eq!(partition(&target), 0, "{case}");
    assert_eq!(
        target["metadata"]["generation"], 3,
        "{case}: begun, and promoted or taken back"
    );
}

#[tokio::test]
async fn a_good_run_in_place_survives_a_crash_at_every_write() {
    crash_everywhere("valid").await;
}

#[tokio::test]
async fn a_bad_run_in_place_survives_a_crash_at_every_write() {
    crash_everywhere("invalid").await;
}

#[tokio::test]
async fn metric_items_are_about_the_pods_that_run_the_template() {
    for (theirs, others, ends) in [("300m", "100m", "Failed"), ("100m", "300m", "DeploymentUpdated")] {
        let Some(world) = World::with_metrics_apis("in-place").await else {
            return;
        };
        world.stateful_target("db", 3).await;
        world.uses("db-2", Reading::new(theirs));
        world.uses("db-", Reading::new(others));
        let judged = in_place(1, spec(&[cpu("200m")], json!({})));
        world.create(&KANARY_STATEFULSET, &judged).await;
        let ended = world.ends_as(&KANARY_STATEFULSET, "batman", ends).await;
        if ends == "Failed" {
            let said = message(&ended, "Failed");
            assert!(said.contains("on pod db-2"), "{said}");
            assert_restored(&world, 3).await;
        } else {
            pods_run(&world, &["v2", "v2", "v2"]).await;
        }
    }
}
