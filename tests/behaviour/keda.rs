//! `spec.scale.keda`, on a cluster with KEDA's API. KEDA itself does not run: a case that needs it scales the canary as KEDA would.

use futures::StreamExt;
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Faults, HPA, KANARY, SCALED_OBJECT, STATEFUL_SET, Strike, World, held, is_true, kanary_of_set, labels,
    message, reason, version,
};

const CANARY: &str = "app-kanary-batman";
const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

fn triggers() -> Value {
    json!([{"type": "kafka", "metadata": {"topic": "orders", "lagThreshold": "50"}, "authenticationRef": {"name": "kafka"}}])
}

/// A spec with a ScaledObject.
fn keda(validation: Value) -> Value {
    json!({"scale": {"keda": {"minReplicaCount": 2, "maxReplicaCount": 5, "triggers": triggers()}}, "validation": validation})
}

#[tokio::test]
async fn a_scaled_object_is_owned_by_the_kanary_and_bound_to_the_canary() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    let advanced =
        json!({"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 7}}}});
    let mut spec = keda(held());
    spec["scale"]["keda"]["pollingInterval"] = json!(10);
    spec["scale"]["keda"]["advanced"] = advanced.clone();
    let kanary = world.kanary("batman", "app", spec).await;
    let running = world.phase("batman", "Running").await;
    assert_eq!(running["status"]["report"]["scale"], "keda");

    let scaled = world.get(&SCALED_OBJECT, CANARY).await;
    assert_eq!(
        scaled["spec"],
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": CANARY},
            "minReplicaCount": 2, "maxReplicaCount": 5, "pollingInterval": 10, "advanced": advanced, "triggers": triggers(),
        })
    );
    assert_eq!(
        scaled["metadata"]["ownerReferences"][0]["uid"],
        kanary["metadata"]["uid"]
    );
    assert_eq!(
        labels(&scaled, "/metadata/labels")["kanary.k8s-operators.dev/name"],
        "batman"
    );
    let canary = world.get(&DEPLOYMENT, CANARY).await;
    assert_eq!(canary["spec"]["replicas"], 2, "it starts with minReplicaCount");
    assert_eq!(world.find(&HPA, CANARY).await, None);
}

#[tokio::test]
async fn the_replicas_that_keda_sets_are_left_alone_and_the_scaled_object_goes_at_the_end() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", keda(held())).await;
    world.phase("batman", "Running").await;
    let canaries = world.record(DEPLOYMENT).await;
    let scaled = world.patch(&DEPLOYMENT, CANARY, json!({"spec": {"replicas": 3}})).await;
    world
        .until(&DEPLOYMENT, CANARY, "has three pods", |canary| {
            canary["status"]["availableReplicas"] == 3
        })
        .await;
    world.edit("batman", json!({"verdict": "valid"})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(is_true(&ended, "DeploymentUpdated"));
    world.gone(&SCALED_OBJECT, CANARY).await;
    canaries
        .first("the canary is deleted", |seen| {
            seen.deleted && seen.object["metadata"]["name"] == CANARY
        })
        .await;
    let mut states = canaries.of(CANARY);
    states.retain(|state| state.version >= version(&scaled));
    assert!(!states.is_empty());
    for state in states {
        assert_eq!(state.object["spec"]["replicas"], 3);
    }
    assert_eq!(
        world.get(&DEPLOYMENT, "app").await["spec"]["replicas"],
        1,
        "the target's are not KEDA's"
    );
}

#[tokio::test]
async fn a_canary_that_is_scaled_to_nothing_does_not_pass() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    let mut spec = keda(json!({"validationPeriod": "1h"}));
    spec["rollout"] = json!({"progressDeadline": "3s"});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.patch(&DEPLOYMENT, CANARY, json!({"spec": {"replicas": 0}})).await;
    world
        .until(&DEPLOYMENT, CANARY, "has no pods", |canary| {
            canary["status"]["replicas"].as_i64().unwrap_or_default() == 0
        })
        .await;
    world
        .edit("batman", json!({"validation": {"validationPeriod": "1s"}}))
        .await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_failed_canary_loses_its_scaled_object_also_if_it_is_kept() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    let mut spec = keda(held());
    spec["rollout"] = json!({"onFailure": "retain"});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world.ends("batman", "Failed").await;
    world.gone(&SCALED_OBJECT, CANARY).await;
    world.get(&DEPLOYMENT, CANARY).await;
    world.delete(&KANARY, "batman").await;
    world.gone(&DEPLOYMENT, CANARY).await;
}

#[tokio::test]
async fn an_edit_changes_the_kind_of_the_autoscaler() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    let spec = json!({"scale": {"hpa": {"maxReplicas": 2}}, "validation": {"validationPeriod": "1h"}});
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    world.get(&HPA, CANARY).await;
    world
        .edit(
            "batman",
            json!({"scale": {"hpa": null, "keda": {"triggers": triggers()}}}),
        )
        .await;
    world.gone(&HPA, CANARY).await;
    world.until(&SCALED_OBJECT, CANARY, "exists", |_| true).await;
    world.edit("batman", json!({"scale": {"keda": null}})).await;
    world.gone(&SCALED_OBJECT, CANARY).await;
    let canary = world
        .until(&DEPLOYMENT, CANARY, "has one pod", |canary| {
            canary["spec"]["replicas"] == 1
        })
        .await;
    assert_eq!(canary["metadata"]["deletionTimestamp"], Value::Null);
}

#[tokio::test]
async fn a_foreign_scaled_object_is_not_taken_over_and_is_an_obstacle_until_it_goes() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    let theirs = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": CANARY},
        "spec": {"scaleTargetRef": {"name": "app"}, "maxReplicaCount": 7, "triggers": triggers()},
    });
    world.create(&SCALED_OBJECT, &theirs).await;
    world
        .kanary("batman", "app", keda(json!({"validationPeriod": "1s"})))
        .await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "NameTaken");
    assert_eq!(world.get(&SCALED_OBJECT, CANARY).await["spec"]["maxReplicaCount"], 7);
    world.delete(&SCALED_OBJECT, CANARY).await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_scaled_object_that_keda_still_finishes_belongs_to_the_former_kanary() {
    let world = World::with_keda("keda").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", keda(held())).await;
    world.phase("batman", "Running").await;
    let finalizer = json!({"metadata": {"finalizers": ["finalizer.keda.sh/test"]}});
    let former = world.patch(&SCALED_OBJECT, CANARY, finalizer).await;
    world.delete(&KANARY, "batman").await;
    world.gone(&KANARY, "batman").await;
    world.gone(&DEPLOYMENT, CANARY).await;
    world
        .kanary("batman", "app", keda(json!({"validationPeriod": "1h"})))
        .await;
    world.phase("batman", "Running").await;
    let kept = world.get(&SCALED_OBJECT, CANARY).await;
    assert_eq!(
        kept["metadata"]["uid"], former["metadata"]["uid"],
        "it is still being deleted"
    );
    world
        .patch(&SCALED_OBJECT, CANARY, json!({"metadata": {"finalizers": null}}))
        .await;
    world
        .until(&SCALED_OBJECT, CANARY, "is another one", |scaled| {
            scaled["metadata"]["uid"] != former["metadata"]["uid"]
        })
        .await;
}

#[tokio::test]
async fn the_canary_of_a_stateful_set_has_a_scaled_object_too() {
    let world = World::unserved("keda").await;
    world.start_controller_for_everything();
    world.stateful_target("db", 2).await;
    world
        .create(
            &crate::support::KANARY_STATEFULSET,
            &kanary_of_set("batman", "db", keda(held())),
        )
        .await;
    let scaled = world
        .until(&SCALED_OBJECT, "db-kanary-batman", "exists", |_| true)
        .await;
    assert_eq!(
        scaled["spec"]["scaleTargetRef"],
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db-kanary-batman"})
    );
    assert_eq!(
        world.get(&STATEFUL_SET, "db-kanary-batman").await["spec"]["replicas"],
        2
    );
}

#[tokio::test]
async fn where_keda_is_off_nothing_asks_for_scaled_objects() {
    let world = World::new("keda").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", keda(held())).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "KedaDisabled");
    assert!(message(&errored, "Errored").contains("--keda"), "{errored:#}");
    assert_eq!(world.find(&DEPLOYMENT, CANARY).await, None);
    let requests = world.requests().await;
    assert!(
        requests.iter().all(|request| request.resource != "scaledobjects"),
        "{requests:#?}"
    );
    world
        .edit("batman", json!({"scale": {"keda": null}, "verdict": "valid"}))
        .await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn where_keda_is_not_installed_the_error_names_what_is_missing() {
    let world = World::unserved("keda").await;
    let faults = Faults::none();
    faults.answer(
        Method::GET,
        "/scaledobjects",
        404,
        "the server could not find the requested resource",
    );
    world.start_controller_with_keda(&faults);
    world.target("app", 1).await;
    world.kanary("batman", "app", keda(held())).await;
    world
        .kanary("robin", "app", json!({"validation": {"validationPeriod": "1s"}}))
        .await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "KedaMissing");
    assert!(
        message(&errored, "Errored").contains("scaledobjects.keda.sh"),
        "{errored:#}"
    );
    assert_eq!(world.find(&DEPLOYMENT, CANARY).await, None);
    // Others do not depend on it.
    world.ends("robin", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_run_with_a_scaled_object_survives_a_crash_at_every_write() {
    let first = World::unserved("keda").await;
    let faults = Faults::none();
    prepare(&first).await;
    first.start_controller_with_keda(&faults);
    assert_ended_once(&first, "undisturbed").await;
    let writes = faults.writes();
    assert!(writes >= 5, "{writes} writes");
    let strikes = (1..=writes).flat_map(|nth| [(nth, Strike::Before), (nth, Strike::After)]);
    futures::stream::iter(strikes)
        .for_each_concurrent(5, |(nth, strike)| {
            let first = &first;
            async move {
                let world = first.sibling("keda").await;
                prepare(&world).await;
                let faults = Faults::at(nth, strike);
                world.start_controller_with_keda(&faults);
                let case = format!("{strike:?} write {nth} of {writes}");
                tokio::select! {
                    () = faults.struck() => {}
                    () = assert_ended_once(&world, &case) => return,
                }
                world.kill_controller();
                world.start_controller_with_keda(&Faults::none());
                assert_ended_once(&world, &case).await;
            }
        })
        .await;
}

async fn prepare(world: &World) {
    world.target("app", 1).await;
    world
        .kanary("batman", "app", keda(json!({"validationPeriod": "1s"})))
        .await;
}

/// Asserts that nothing is left of the run, and that its ScaledObject was created once.
async fn assert_ended_once(world: &World, case: &str) {
    world.ends("batman", "DeploymentUpdated").await;
    for kind in [DEPLOYMENT, SCALED_OBJECT] {
        world.none_left(&kind, OF_BATMAN).await;
    }
    let made = world.requests().await;
    let made = made
        .iter()
        .filter(|request| request.verb == "create" && request.resource == "scaledobjects" && request.is_done());
    assert_eq!(made.count(), 1, "{case}");
    assert_eq!(
        world.get(&DEPLOYMENT, "app").await["metadata"]["generation"],
        2,
        "{case}"
    );
}
