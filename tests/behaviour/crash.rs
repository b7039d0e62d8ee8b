//! A controller that is killed between any two of its API calls resumes the run and ends it with the same result.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::{
    CONTROLLER_REVISION, DEPLOYMENT, Faults, HPA, KANARY, OF_OLD_GROUP, OF_SET, PERSISTENT_VOLUME_CLAIM, POD, Process,
    REPLICA_SET, SERVICE, STATEFUL_SET, Strike, Subject, USUAL, World, deployment, held, kanary, labels, phase, poll,
    reason, with_volumes,
};

const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

/// A run whose controller is killed at each of its writes.
#[derive(Clone)]
struct Path {
    subject: Subject,
    spec: Value,
    has_target: bool,
    ends: &'static str,
    reason: &'static str,
    /// Number of revisions in the target's rollout history.
    versions: usize,
}

fn everything(more: Value) -> Value {
    let mut spec = json!({
        "serviceName": "app", "traffic": {"source": "both"}, "scale": {"hpa": {"maxReplicas": 2}},
        "validation": {"validationPeriod": "1s"},
    });
    crate::support::merge(&mut spec, more);
    spec
}

/// A run that is promoted.
fn success(subject: Subject) -> Path {
    Path {
        subject,
        spec: everything(json!({})),
        has_target: true,
        ends: "DeploymentUpdated",
        reason: "AllItemsGood",
        versions: 2,
    }
}

/// A run that fails at its deadline.
fn failure(subject: Subject) -> Path {
    let items = json!({"items": [{"manual": {"statusAfterDeadline": "invalid"}}]});
    Path {
        subject,
        spec: everything(json!({"validation": items})),
        has_target: true,
        ends: "Failed",
        reason: "ManualInvalid",
        versions: 1,
    }
}

/// Prepares the run in a world without a controller.
async fn prepare(world: &World, path: &Path) {
    world.service("app", "app").await;
    let (kinds, has_volumes) = (path.subject, path.subject.target == STATEFUL_SET);
    let mut target = kinds.of_target(deployment("app", 1));
    let mut kanary = kinds.of_kanary(kanary("batman", "app", path.spec.clone()));
    if has_volumes {
        world.volumes(2).await;
        with_volumes(world, &mut target["spec"], "1Gi");
        with_volumes(world, &mut kanary["spec"]["template"]["spec"], "1Gi");
    }
    if path.has_target {
        world.create(&kinds.target, &target).await;
    }
    world.create(&kinds.kanary, &kanary).await;
}

/// Asserts that nothing is left of the run and that each of its actions happened once.
async fn assert_ended_once(world: &World, path: &Path, case: &str) {
    let Subject {
        kanary,
        target: workload,
        ..
    } = path.subject;
    let ended = world.ends_as(&kanary, "batman", path.ends).await;
    let condition = if path.ends == "Failed" { "Failed" } else { "Succeeded" };
    assert_eq!(reason(&ended, condition), path.reason, "{case}");
    for kind in [workload, SERVICE, HPA, POD, PERSISTENT_VOLUME_CLAIM] {
        world.none_left(&kind, OF_BATMAN).await;
    }
    let target = world.get(&workload, "app").await;
    assert_eq!(
        target["metadata"]["generation"], path.versions,
        "{case}: promoted once, or not at all"
    );
    let what = format!("{case}: the rollout history has {} versions", path.versions);
    let revisions = if workload == STATEFUL_SET {
        CONTROLLER_REVISION
    } else {
        REPLICA_SET
    };
    world
        .until_all(&revisions, "app=app", &what, |history| history.len() == path.versions)
        .await;
    assert_eq!(target["metadata"]["ownerReferences"], Value::Null, "{case}");
    let requests = world.requests().await;
    let created = |resource: &str, name: &str| {
        let made = |request: &&crate::support::Request| {
            request.verb == "create" && request.resource == resource && request.name == name && request.is_done()
        };
        requests.iter().filter(made).count()
    };
    let canaries = created(workload.plural, "app-kanary-batman");
    assert_eq!(
        canaries,
        usize::from(path.has_target),
        "{case}: the canary was created once"
    );
    assert_eq!(created(workload.plural, "app"), usize::from(!path.has_target), "{case}");
    let service = world.get(&SERVICE, "app").await;
    let selected = labels(&service, "/spec/selector");
    let mut behind = world.list(&POD, "").await;
    behind.retain(|pod| {
        selected
            .iter()
            .all(|(name, value)| labels(pod, "/metadata/labels").get(name) == Some(value))
    });
    assert!(
        behind.iter().all(|pod| pod["metadata"]["name"]
            .as_str()
            .is_some_and(|name| !name.contains("kanary"))),
        "{case}: no canary pod in the Service"
    );
}

/// Kills the controller at every write of the run, before and after the write is processed, in parallel namespaces.
async fn crash_everywhere(path: Path) {
    let undisturbed = World::unserved("crash").await;
    prepare(&undisturbed, &path).await;
    let faults = Faults::none();
    undisturbed.start_faulty_controller_of_all_targets(&faults);
    assert_ended_once(&undisturbed, &path, "undisturbed").await;
    let writes = faults.writes();
    assert!(writes >= 4, "{writes} writes");
    let undisturbed = Arc::new(undisturbed);
    let strikes = (1..=writes).flat_map(|nth| [(nth, Strike::Before), (nth, Strike::After)]);
    futures::stream::iter(strikes)
        .for_each_concurrent(5, |(nth, strike)| {
            let (first, path) = (undisturbed.clone(), path.clone());
            async move {
                let world = first.sibling("crash").await;
                prepare(&world, &path).await;
                let faults = Faults::at(nth, strike);
                world.start_faulty_controller_of_all_targets(&faults);
                let case = format!("{strike:?} write {nth} of {writes}");
                // A run that is faster than the first one may need one write less.
                tokio::select! {
                    () = faults.struck() => {}
                    () = assert_ended_once(&world, &path, &case) => return,
                }
                world.kill_controller();
                world.start_controller_of_all_targets();
                assert_ended_once(&world, &path, &case).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_success_survives_a_crash_at_every_write() {
    crash_everywhere(success(USUAL)).await;
}

#[tokio::test]
async fn a_failure_survives_a_crash_at_every_write() {
    crash_everywhere(failure(USUAL)).await;
}

#[tokio::test]
async fn a_dry_run_survives_a_crash_at_every_write() {
    crash_everywhere(Path {
        subject: USUAL,
        spec: everything(json!({"rollout": {"mode": "dry-run"}})),
        has_target: true,
        ends: "Succeeded",
        reason: "DryRun",
        versions: 1,
    })
    .await;
}

#[tokio::test]
async fn a_missing_target_survives_a_crash_at_every_write() {
    crash_everywhere(Path {
        subject: USUAL,
        spec: everything(json!({"rollout": {"createTargetAfter": "0s"}})),
        has_target: false,
        ends: "DeploymentUpdated",
        reason: "TargetCreated",
        versions: 1,
    })
    .await;
}

#[tokio::test]
async fn a_success_of_a_stateful_set_survives_a_crash_at_every_write() {
    crash_everywhere(success(OF_SET)).await;
}

#[tokio::test]
async fn a_failure_of_a_stateful_set_survives_a_crash_at_every_write() {
    crash_everywhere(failure(OF_SET)).await;
}

#[tokio::test]
async fn a_success_of_the_old_group_survives_a_crash_at_every_write() {
    crash_everywhere(success(OF_OLD_GROUP)).await;
}

#[tokio::test]
async fn a_process_that_is_killed_in_mid_run_is_carried_on_by_the_next() {
    let world = World::unserved("crash").await;
    world.target("app", 1).await;
    let items = |manual: Value| json!({"validation": {"validationPeriod": "4s", "items": [{"manual": manual}]}});
    world.kanary("batman", "app", items(json!({}))).await;
    let mut first = Process::start(&world, &[]);
    let running = world.phase("batman", "Running").await;
    first.kill().await;
    let second = Process::start(&world, &[]);
    world
        .edit("batman", items(json!({"statusAfterDeadline": "valid"})))
        .await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    for field in ["availableAt", "validationStartTime", "deadline"] {
        assert_eq!(
            ended["status"][field],
            running["status"][field],
            "{field}: {:#?}",
            second.lines()
        );
    }
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 2);
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn a_process_that_is_asked_to_stop_ends_well_and_the_next_one_continues_its_run() {
    let world = World::unserved("crash").await;
    world.target("app", 1).await;
    let held = json!({"validation": {"validationPeriod": "1s", "items": [{"manual": {}}]}});
    world.kanary("batman", "app", held).await;
    let mut first = Process::start(&world, &[]);
    world.phase("batman", "Running").await;
    let status = first.terminate().await;
    assert!(status.success(), "{status}: {:#?}", first.lines());
    let still = world.get(&KANARY, "batman").await;
    assert_eq!(phase(&still), "Running");
    world.start_controller();
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn two_controllers_at_once_do_nothing_twice() {
    let world = World::unserved("crash").await;
    world.service("app", "app").await;
    world.target("app", 1).await;
    let processes = [Process::start(&world, &[]), Process::start(&world, &[])];
    let held = json!({"validation": held()});
    world.kanary("batman", "app", everything(held)).await;
    // Wait until both have created their objects: a delayed process could re-create what the other one has deleted.
    for process in &processes {
        poll("the process has observed the run", async || {
            let (_, text) = process.page("/metrics").await?;
            let knows = text.contains("kanary_kanaries{phase=\"Running\"} 1");
            if knows { Ok(()) } else { Err(text) }
        })
        .await;
    }
    world.requests().await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    let path = Path {
        subject: USUAL,
        spec: Value::Null,
        has_target: true,
        ends: "DeploymentUpdated",
        reason: "VerdictValid",
        versions: 2,
    };
    assert_ended_once(&world, &path, "two controllers").await;
}
