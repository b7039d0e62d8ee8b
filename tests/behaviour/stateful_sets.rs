//! StatefulSets as targets: the canary is a StatefulSet beside the target, with volumes of its own.

use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, ENDPOINT_SLICE, KANARY, KANARY_STATEFULSET, PERSISTENT_VOLUME_CLAIM, POD, SERVICE, STATEFUL_SET, World,
    held, is_true, kanary_of_set, merge, message, phase, reason, stateful_set, version_of, with_volumes,
};

const CANARY: &str = "db-kanary-batman";
const OF_BATMAN: &str = "kanary.k8s-operators.dev/name=batman";

/// The headless Service that gives the pods of a StatefulSet their names.
fn headless(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": 80}]},
    })
}

fn template(fields: Value) -> Value {
    json!({"template": {"spec": {"template": fields}}})
}

async fn until_of_set(world: &World, what: &str, test: impl Fn(&Value) -> bool) -> Value {
    world.until(&KANARY_STATEFULSET, "batman", what, test).await
}

async fn verdict(world: &World, verdict: &str) {
    let patch = json!({"spec": {"verdict": verdict}});
    world.patch(&KANARY_STATEFULSET, "batman", patch).await;
}

#[tokio::test]
async fn a_good_canary_of_a_stateful_set_is_promoted_and_goes_with_its_volumes() {
    let world = World::of_stateful_sets("sets").await;
    world.volumes(3).await;
    let mut target = stateful_set("db", 2);
    with_volumes(&world, &mut target["spec"], "1Gi");
    world.create(&STATEFUL_SET, &target).await;
    world.create(&SERVICE, &headless("db")).await;
    let mut kanary = kanary_of_set("batman", "db", json!({"validation": held()}));
    with_volumes(&world, &mut kanary["spec"]["template"]["spec"], "1Gi");
    world.create(&KANARY_STATEFULSET, &kanary).await;
    let running = until_of_set(&world, "is Running", |kanary| phase(kanary) == "Running").await;
    assert_eq!(running["status"]["report"]["deployment"], "StatefulSet/db");
    assert_eq!(version_of(&world.get(&STATEFUL_SET, CANARY).await), "db:v2");
    let of_headless = "kubernetes.io/service-name=db";
    let slices = world
        .until_all(
            &ENDPOINT_SLICE,
            of_headless,
            "both pods of the target are members",
            |slices| {
                let members = |slice: &&Value| slice["endpoints"].as_array().map_or(0, Vec::len);
                slices.iter().map(members).sum::<usize>() == 2
            },
        )
        .await;
    assert!(!json!(slices).to_string().contains(CANARY), "the canary is no member");
    world.get(&PERSISTENT_VOLUME_CLAIM, "data-db-kanary-batman-0").await;

    verdict(&world, "valid").await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    let target = world.get(&STATEFUL_SET, "db").await;
    assert_eq!((version_of(&target), &target["spec"]["replicas"]), ("db:v2", &json!(2)));
    assert_eq!(target["status"]["updatedReplicas"], 2, "{target:#}");
    world.gone(&STATEFUL_SET, CANARY).await;
    world.none_left(&PERSISTENT_VOLUME_CLAIM, OF_BATMAN).await;
    let left = world.list(&PERSISTENT_VOLUME_CLAIM, "").await;
    assert_eq!(left.len(), 2, "the target keeps its volumes");
    let causes: Vec<_> = world.revisions("db").await;
    let by = format!("promoted by KanaryStatefulset/{}/batman", world.ns);
    assert_eq!(
        causes.last().map(|(number, cause)| (*number, cause)),
        Some((2, &by)),
        "{causes:?}"
    );
}

#[tokio::test]
async fn kubectl_shows_and_undoes_the_promotion_of_a_stateful_set() {
    let Some(world) = World::with_kubectl("sets").await else {
        return;
    };
    world.kill_controller();
    world.start_controller_of_all_targets();
    world.stateful_target("db", 1).await;
    world.kanary_of_set("batman", "db", json!({})).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    let history = world.kubectl(&["rollout", "history", "statefulset/db"]).await;
    assert!(history.contains("promoted by KanaryStatefulset"), "{history}");
    world.kubectl(&["rollout", "undo", "statefulset/db"]).await;
    let undone = world.get(&STATEFUL_SET, "db").await;
    assert_eq!(version_of(&undone), "db:v1");
}

#[tokio::test]
async fn a_stateful_set_that_its_user_rolls_out_is_told_and_not_reported_as_done() {
    for (strategy, told) in [
        (json!({"type": "OnDelete"}), "TargetOnDelete"),
        (
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}),
            "TargetPartitioned",
        ),
    ] {
        let world = World::of_stateful_sets("sets").await;
        let mut target = stateful_set("db", 2);
        target["spec"]["updateStrategy"] = strategy;
        world.create(&STATEFUL_SET, &target).await;
        world.kanary_of_set("batman", "db", json!({})).await;
        let waits = until_of_set(&world, "waits for its user", |kanary| reason(kanary, "Stalled") == told).await;
        assert!(
            message(&waits, "Stalled").contains("StatefulSet db was updated"),
            "{waits:#}"
        );
        assert_eq!(phase(&waits), "Succeeded");
        assert_eq!(version_of(&world.get(&STATEFUL_SET, "db").await), "db:v2");
        if told == "TargetOnDelete" {
            for pod in ["db-0", "db-1"] {
                world.delete(&POD, pod).await;
                let what = "it runs again, with the promoted template";
                world
                    .until(&POD, pod, what, |pod| {
                        pod["spec"]["containers"][0]["image"] == "db:v2" && is_true(pod, "Ready")
                    })
                    .await;
            }
        } else {
            let strategy = json!({"rollingUpdate": {"partition": 0}});
            world
                .patch(&STATEFUL_SET, "db", json!({"spec": {"updateStrategy": strategy}}))
                .await;
        }
        world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    }
}

#[tokio::test]
async fn a_bad_canary_of_a_stateful_set_goes_and_leaves_the_target_alone() {
    let world = World::of_stateful_sets("sets").await;
    world.stateful_target("db", 1).await;
    world.service("db", "db").await;
    let spec = json!({"serviceName": "db", "traffic": {"source": "service"}, "validation": held()});
    world.kanary_of_set("batman", "db", spec).await;
    until_of_set(&world, "is Running", |kanary| phase(kanary) == "Running").await;
    let of_service = "kubernetes.io/service-name=db";
    world
        .until_all(&ENDPOINT_SLICE, of_service, "the canary gets requests", |slices| {
            json!(slices).to_string().contains("db-kanary-batman-0")
        })
        .await;
    verdict(&world, "invalid").await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "VerdictInvalid");
    world.gone(&STATEFUL_SET, CANARY).await;
    world.none_left(&POD, OF_BATMAN).await;
    let target = world.get(&STATEFUL_SET, "db").await;
    assert_eq!(
        (version_of(&target), &target["metadata"]["generation"]),
        ("db:v1", &json!(1))
    );
}

#[tokio::test]
async fn volume_claims_that_cannot_be_promoted_are_refused_before_anything_is_created() {
    let world = World::of_stateful_sets("sets").await;
    world.volumes(1).await;
    let mut target = stateful_set("db", 1);
    with_volumes(&world, &mut target["spec"], "1Gi");
    world.create(&STATEFUL_SET, &target).await;
    let mut kanary = kanary_of_set("batman", "db", json!({}));
    with_volumes(&world, &mut kanary["spec"]["template"]["spec"], "2Gi");
    world.create(&KANARY_STATEFULSET, &kanary).await;
    let refused = until_of_set(&world, "is Errored", |kanary| is_true(kanary, "Errored")).await;
    assert_eq!(reason(&refused, "Errored"), "TemplateMismatch");
    let why = message(&refused, "Errored");
    assert!(
        why.contains("volumeClaimTemplates differs from that of StatefulSet db in data"),
        "{why}"
    );
    assert_eq!(world.find(&STATEFUL_SET, CANARY).await, None);
}

#[tokio::test]
async fn volumes_of_others_are_neither_given_to_a_canary_nor_deleted_with_it() {
    let world = World::of_stateful_sets("sets").await;
    // A volume whose claim was deleted is not given to another one.
    world.volumes(4).await;
    let mut target = stateful_set("db", 1);
    with_volumes(&world, &mut target["spec"], "1Gi");
    world.create(&STATEFUL_SET, &target).await;
    let mut kanary = kanary_of_set("batman", "db", json!({"validation": held()}));
    with_volumes(&world, &mut kanary["spec"]["template"]["spec"], "1Gi");
    let claim = |number: i32| {
        let name = format!("data-db-kanary-batman-{number}");
        let spec = &target["spec"]["volumeClaimTemplates"][0]["spec"];
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
    };
    let is_refused = |kanary: &Value| is_true(kanary, "Errored") && reason(kanary, "Errored") == "NameTaken";

    world.create(&PERSISTENT_VOLUME_CLAIM, &claim(3)).await;
    world.create(&KANARY_STATEFULSET, &kanary).await;
    let refused = until_of_set(&world, "is refused", is_refused).await;
    let why = message(&refused, "Errored");
    assert!(why.contains("PersistentVolumeClaim data-db-kanary-batman-3"), "{why}");
    assert_eq!(world.find(&STATEFUL_SET, CANARY).await, None);

    world.delete(&PERSISTENT_VOLUME_CLAIM, "data-db-kanary-batman-3").await;
    until_of_set(&world, "is Running", |kanary| phase(kanary) == "Running").await;
    world.create(&PERSISTENT_VOLUME_CLAIM, &claim(1)).await;
    let larger = json!({"spec": {"scale": {"static": {"replicas": 2}}}});
    world.patch(&KANARY_STATEFULSET, "batman", larger).await;
    until_of_set(&world, "is refused", is_refused).await;
    assert_eq!(world.get(&STATEFUL_SET, CANARY).await["spec"]["replicas"], 1);
    world.delete(&KANARY_STATEFULSET, "batman").await;
    world.none_left(&PERSISTENT_VOLUME_CLAIM, OF_BATMAN).await;
    let kept = world.get(&PERSISTENT_VOLUME_CLAIM, "data-db-kanary-batman-1").await;
    assert_eq!(kept["metadata"]["ownerReferences"], Value::Null, "{kept:#}");
}

#[tokio::test]
async fn stateful_sets_are_refused_where_the_operator_has_not_switched_them_on() {
    let world = World::new("sets").await;
    world.stateful_target("db", 1).await;
    world.kanary_of_set("batman", "db", json!({})).await;
    let refused = until_of_set(&world, "is Errored", |kanary| is_true(kanary, "Errored")).await;
    assert_eq!(reason(&refused, "Errored"), "TargetKindDisabled");
    assert!(
        message(&refused, "Errored").contains("--target-kinds=StatefulSet"),
        "{refused:#}"
    );
    let asked = world.requests().await;
    assert!(
        asked
            .iter()
            .any(|request| request.resource == "kanarystatefulsets/status")
    );
    assert!(
        asked.iter().all(|request| request.resource != "statefulsets"),
        "{asked:?}"
    );
    assert_eq!(world.find(&STATEFUL_SET, CANARY).await, None);
    world.kill_controller();
    world.start_controller_of_all_targets();
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_canary_of_a_stateful_set_whose_pod_never_starts_fails_with_the_cause() {
    let world = World::of_stateful_sets("sets").await;
    world.stateful_target("db", 1).await;
    let mut spec = template(json!({"metadata": {"labels": {"kanary.test/behaviour": "never-ready"}}}));
    merge(&mut spec, json!({"rollout": {"progressDeadline": "3s"}}));
    world.kanary_of_set("batman", "db", spec).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "ProgressDeadlineExceeded");
    let why = message(&ended, "Failed");
    assert!(
        why.contains("StatefulSet db-kanary-batman did not become available within 3s"),
        "{why}"
    );
    assert_eq!(version_of(&world.get(&STATEFUL_SET, "db").await), "db:v1");
}

#[tokio::test]
async fn a_canary_of_a_stateful_set_that_somebody_changed_is_not_promoted() {
    let world = World::of_stateful_sets("sets").await;
    world.stateful_target("db", 1).await;
    world.kanary_of_set("batman", "db", json!({"validation": held()})).await;
    until_of_set(&world, "is Running", |kanary| phase(kanary) == "Running").await;
    let containers = json!([{"name": "main", "image": "db:other"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.patch(&STATEFUL_SET, CANARY, patch).await;
    let ended = world.ends_as(&KANARY_STATEFULSET, "batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "CanaryChanged");
    assert_eq!(version_of(&world.get(&STATEFUL_SET, "db").await), "db:v1");
}

#[tokio::test]
async fn a_deployment_and_a_stateful_set_of_one_name_are_two_targets() {
    let world = World::of_stateful_sets("sets").await;
    world.target("db", 1).await;
    let mut set = stateful_set("db", 1);
    set["spec"]["selector"]["matchLabels"] = json!({"set": "db"});
    set["spec"]["template"]["metadata"]["labels"] = json!({"set": "db"});
    world.create(&STATEFUL_SET, &set).await;
    world.kanary("batman", "db", json!({"validation": held()})).await;
    let spec =
        json!({"statefulSetName": null, "targetRef": {"kind": "StatefulSet", "name": "db"}, "validation": held()});
    let mut kanary = kanary_of_set("batman", "db", spec);
    kanary["spec"]["template"]["spec"]["selector"]["matchLabels"] = json!({"set": "db"});
    kanary["spec"]["template"]["spec"]["template"]["metadata"]["labels"] = json!({"set": "db"});
    world.create(&KANARY_STATEFULSET, &kanary).await;
    world.phase("batman", "Running").await;
    until_of_set(&world, "is Running", |kanary| phase(kanary) == "Running").await;
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world.ends("batman", "Failed").await;
    world.gone(&DEPLOYMENT, CANARY).await;
    verdict(&world, "valid").await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    assert_eq!(version_of(&world.get(&DEPLOYMENT, "db").await), "db:v1");
    assert_eq!(version_of(&world.get(&STATEFUL_SET, "db").await), "db:v2");
}

#[tokio::test]
async fn a_stateful_set_that_does_not_become_available_gets_its_former_template_back() {
    let world = World::of_stateful_sets("sets").await;
    let mut target = stateful_set("db", 1);
    target["spec"]["minReadySeconds"] = json!(599);
    world.create(&STATEFUL_SET, &target).await;
    let rollout = json!({"progressDeadline": "5s", "rollbackOnFailure": true});
    world.kanary_of_set("batman", "db", json!({"rollout": rollout})).await;
    let over = until_of_set(&world, "the target was rolled back", |kanary| {
        is_true(kanary, "RolledBack")
    })
    .await;
    assert_eq!(reason(&over, "Failed"), "TargetNotAvailable");
    let said = message(&over, "RolledBack");
    assert!(said.contains("delete such pods"), "{said}");
    assert_eq!(version_of(&world.get(&STATEFUL_SET, "db").await), "db:v1");
}

#[tokio::test]
async fn a_missing_stateful_set_is_created_from_the_template() {
    let world = World::of_stateful_sets("sets").await;
    let spec = json!({"rollout": {"createTargetAfter": "0s"}});
    world.kanary_of_set("batman", "db", spec).await;
    world.ends_as(&KANARY_STATEFULSET, "batman", "DeploymentUpdated").await;
    assert_eq!(version_of(&world.get(&STATEFUL_SET, "db").await), "db:v2");
    assert_eq!(world.find(&STATEFUL_SET, CANARY).await, None);
}

#[tokio::test]
async fn a_target_is_named_once_and_for_ever() {
    let world = World::unserved("sets").await;
    let refused = async |spec: Value| {
        let mut kanary = kanary_of_set("batman", "db", spec);
        kanary["kind"] = json!("KanaryDeployment");
        world.try_create(&KANARY, &kanary).await.err().unwrap_or_default()
    };
    let why = refused(json!({"deploymentName": "db"})).await;
    assert!(
        why.contains("keep one of spec.targetRef, spec.deploymentName and spec.statefulSetName"),
        "{why}"
    );
    let other = json!({"targetRef": {"kind": "Deployment", "name": "db"}});
    let why = refused(other).await;
    assert!(
        why.contains("spec.statefulSetName and another field name two targets"),
        "{why}"
    );
    let why = refused(json!({"statefulSetName": null, "targetRef": {"kind": "Job", "name": "db"}})).await;
    assert!(
        why.contains("supported values: \"Deployment\", \"StatefulSet\""),
        "{why}"
    );
    let kanary = kanary_of_set(
        "batman",
        "db",
        json!({"targetRef": {"kind": "StatefulSet", "name": "db"}}),
    );
    world.create(&KANARY_STATEFULSET, &kanary).await;
    for change in [
        json!({"targetRef": {"kind": "StatefulSet", "name": "other"}, "statefulSetName": null}),
        json!({"targetRef": null, "statefulSetName": null, "deploymentName": "db"}),
        json!({"targetRef": {"kind": "Deployment", "name": "db"}, "statefulSetName": null}),
    ] {
        let edited = world
            .try_patch(&KANARY_STATEFULSET, "batman", &json!({"spec": change}))
            .await;
        let why = edited.expect_err("the target can't change");
        assert!(why.contains("create another Kanary for another target"), "{why}");
    }
}
