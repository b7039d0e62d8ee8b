//! `kubectl kanary migrate`, with objects of this controller and of the operator of 2019.

use kanary_core::api::{Kanary, KanaryKind, names::MIGRATES};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};

use crate::support::World;

const OLD: KanaryKind = KanaryKind::OldDeployment;
const NEW: KanaryKind = KanaryKind::Deployment;

/// A Kanary of the old group, with the spec that the operator of 2019 stored.
async fn old(world: &World, name: &str, target: &str, items: Value) -> Kanary {
    let template = json!({
        "metadata": {"creationTimestamp": null, "labels": {"app": target}},
        "spec": {"containers": [{"name": "main", "image": format!("{target}:v2")}]},
    });
    let object = json!({
        "apiVersion": OLD.api_version(), "kind": OLD.as_str(), "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {
            "deploymentName": target, "scale": {"static": {"replicas": 1}}, "traffic": {"source": "none"},
            "template": {"spec": {"selector": {"matchLabels": {"app": target}}, "template": template}},
            "validations": {"initialDelay": "0s", "validationPeriod": "1s", "maxIntervalPeriod": "20s", "items": items},
        },
    });
    world.create(object).await;
    world.kanaries_of(OLD).get(name).await.unwrap()
}

/// The status that the operator of 2019 left behind.
async fn left_by_2019(world: &World, name: &str, conditions: &[&str]) {
    let at = "2019-09-01T16:42:00Z";
    let condition = |name: &&str| {
        json!({
            "type": name, "status": "True", "reason": "", "message": "said in 2019", "lastTransitionTime": at,
        })
    };
    let conditions: Vec<_> = conditions.iter().map(condition).collect();
    let status =
        json!({"currentHash": "9e107d9d372bb6826bd81d3542a419d6", "conditions": conditions, "report": {"status": "x"}});
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    let patch = Patch::<Value>::Json(serde_json::from_value(patch).unwrap());
    let api = world.kanaries_of(OLD);
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// Makes a Kanary of the old group the owner of a Deployment.
async fn owns(world: &World, kanary: &Kanary, deployment: &str) {
    own(&world.deployments(), kanary, deployment).await;
}

async fn own(api: &Api<DynamicObject>, kanary: &Kanary, workload: &str) {
    let owner = json!([{
        "apiVersion": OLD.api_version(), "kind": OLD.as_str(), "name": kanary.name_any(), "uid": kanary.uid(),
        "controller": true,
    }]);
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owner}}));
    api.patch(workload, &PatchParams::default(), &patch).await.unwrap();
}

async fn names(world: &World) -> Vec<String> {
    let all = world
        .deployments()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    all.items.iter().map(ResourceExt::name_any).collect()
}

async fn find(world: &World, kind: KanaryKind, name: &str) -> Option<Kanary> {
    world.kanaries_of(kind).get_opt(name).await.unwrap()
}

/// The default of the operator of 2019.
fn manual() -> Value {
    json!([{"manual": {"statusAfterDeadline": "none"}}])
}

fn valid() -> Value {
    json!([{"manual": {"statusAfterDeadline": "valid"}}])
}

#[tokio::test]
async fn a_run_that_has_ended_goes_over_and_is_not_run_again() {
    let world = World::serving(&KanaryKind::ALL).await;
    world.target("app").await;
    old(&world, "batman", "app", valid()).await;
    world.phase_of(OLD, "batman", "DeploymentUpdated").await;
    let before = world.deployments().get("app").await.unwrap();
    let former = find(&world, OLD, "batman").await.unwrap().status.unwrap();

    let tried = world.run(&["migrate"]).await;
    assert_eq!(tried.code, 0, "{tried:?}");
    for line in [
        "would be migrated: its run has ended (DeploymentUpdated)",
        "  spec.validations is spec.validation now",
    ] {
        assert!(tried.out.contains(line), "{tried:?}");
    }
    assert!(find(&world, NEW, "batman").await.is_none() && find(&world, OLD, "batman").await.is_some());

    let moved = world.run(&["migrate", "--apply"]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(find(&world, OLD, "batman").await.is_none());
    world.phase("batman", "DeploymentUpdated").await;
    let new = find(&world, NEW, "batman").await.unwrap();
    assert_eq!(new.labels().get("team").map(String::as_str), Some("shop"));
    assert!(!new.annotations().contains_key(MIGRATES), "{new:?}");
    assert_eq!(new.spec.get("paused"), None);
    let status = new.status.unwrap();
    for field in ["run", "startTime", "completedAt", "currentHash"] {
        assert_eq!(status[field], former[field], "{field}");
    }
    let after = world.deployments().get("app").await.unwrap();
    assert_eq!(after.metadata.generation, before.metadata.generation);
    assert_eq!(
        (after.annotations(), after.labels()),
        (before.annotations(), before.labels())
    );
    assert_eq!(names(&world).await, ["app"]);

    let again = world.run(&["migrate", "--apply"]).await;
    assert_eq!(
        (again.code, again.err.trim()),
        (0, "There is nothing to migrate."),
        "{again:?}"
    );
    world.image("batman", "app:v3").await;
    world.phase("batman", "DeploymentUpdated").await;
    let promoted = world.deployments().get("app").await.unwrap();
    let image = &promoted.data["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "app:v3");
}

#[tokio::test]
async fn a_run_that_goes_on_is_left_alone_and_one_that_has_not_begun_is_begun_by_the_new_kanary() {
    let world = World::serving(&KanaryKind::ALL).await;
    world.target("app").await;
    world.target("later").await;
    old(&world, "batman", "app", manual()).await;
    world.phase_of(OLD, "batman", "Running").await;
    world.stop_controller();
    old(&world, "robin", "later", valid()).await;
    let moved = world.run(&["migrate", "--apply"]).await;
    assert_eq!(moved.code, 4, "{moved:?}");
    assert!(
        moved.out.contains("batman: left alone until its run has ended"),
        "{moved:?}"
    );
    assert!(moved.out.contains("its run has not begun"), "{moved:?}");
    assert!(find(&world, OLD, "batman").await.is_some() && find(&world, NEW, "batman").await.is_none());
    assert!(names(&world).await.contains(&"app-kanary-batman".to_owned()));
    assert!(find(&world, OLD, "robin").await.is_none());
    assert_eq!(find(&world, NEW, "robin").await.unwrap().spec.get("paused"), None);
}

#[tokio::test]
async fn what_the_operator_of_2019_left_behind_is_taken_for_what_it_was() {
    let world = World::new().await;
    for deployment in ["app", "other", "owned", "app-kanary-batman"] {
        world.target(deployment).await;
    }
    let batman = old(&world, "batman", "app", manual()).await;
    owns(&world, &batman, "app-kanary-batman").await;
    left_by_2019(&world, "batman", &["Activated", "Failed"]).await;
    old(&world, "robin", "other", valid()).await;
    left_by_2019(&world, "robin", &["Activated", "Running"]).await;
    let joker = old(&world, "joker", "owned", valid()).await;
    owns(&world, &joker, "owned").await;

    let moved = world.run(&["migrate", "--apply"]).await;
    assert_eq!(moved.code, 3, "{moved:?}");
    for line in [
        "batman: is being migrated: its run has ended (Failed), and its template is not run again",
        "  Deployment app-kanary-batman of its canary is deleted with it",
        "robin: left alone until its run has ended",
        "joker: cannot be migrated: Deployment owned has an ownerReference to it, and would be deleted with it",
    ] {
        assert!(moved.out.contains(line), "{line}: {moved:?}");
    }
    for (name, is_moved) in [("batman", true), ("robin", false), ("joker", false)] {
        assert_eq!(find(&world, NEW, name).await.is_some(), is_moved, "{name}");
        assert_eq!(find(&world, OLD, name).await.is_none(), is_moved, "{name}");
    }
    world.phase("batman", "Failed").await;
    let uid = world.deployments().get_opt("app-kanary-batman").await.unwrap();
    if let Some(uid) = uid.and_then(|canary| canary.uid()) {
        let gone = await_condition(world.deployments(), "app-kanary-batman", conditions::is_deleted(&uid));
        gone.await.unwrap();
    }
    let status = find(&world, NEW, "batman").await.unwrap().status.unwrap();
    assert_eq!(status["failedTemplates"], json!([status["currentHash"]]));
    assert_eq!(status["conditions"][0]["reason"], "Migrated");
    let explained = world.run(&["status", "batman"]).await;
    assert_eq!(explained.code, 3, "{explained:?}");
    assert!(
        explained
            .out
            .contains("the operator of 2019 ended the run: said in 2019"),
        "{explained:?}"
    );
}

#[tokio::test]
async fn a_stateful_set_of_the_old_kanary_is_looked_for_where_the_target_is_one() {
    let world = World::new().await;
    let sets = world.objects("apps", "v1", "StatefulSet");
    let template =
        json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": "db:v1"}]}});
    let spec = json!({"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template});
    for (kanary, target, owned) in [("batman", "db", "db-kanary-batman"), ("joker", "cache", "cache")] {
        for name in [target, owned].into_iter().take(if target == owned { 1 } else { 2 }) {
            let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec.clone()});
            world.create(set).await;
        }
        let object = json!({
            "apiVersion": OLD.api_version(), "kind": OLD.as_str(), "metadata": {"name": kanary},
            "spec": {"targetRef": {"kind": "StatefulSet", "name": target}, "template": {"spec": {"template": template}}},
        });
        world.create(object).await;
        own(&sets, &world.kanaries_of(OLD).get(kanary).await.unwrap(), owned).await;
    }
    let moved = world.run(&["migrate", "--apply"]).await;
    assert_eq!(moved.code, 3, "{moved:?}");
    for line in [
        "batman: left alone until its run has ended",
        "joker: cannot be migrated: StatefulSet cache has an ownerReference to it, and would be deleted with it",
    ] {
        assert!(moved.out.contains(line), "{line}: {moved:?}");
    }
}

/// Puts the mark of a migration on a Kanary.
async fn mark(world: &World, name: &str, mark: &str) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {MIGRATES: mark}}, "spec": {"paused": true}}));
    let api = world.kanaries_of(NEW);
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_was_interrupted_goes_on_where_it_was() {
    let world = World::new().await;
    for target in ["app", "other"] {
        world.target(target).await;
    }
    world.stop_controller();
    // Before the old one was deleted.
    let batman = old(&world, "batman", "app", manual()).await;
    left_by_2019(&world, "batman", &["DeploymentUpdated"]).await;
    world.kanary("batman", json!({"items": [{"manual": {}}]})).await;
    let stranger = world.run(&["migrate", "--apply"]).await;
    assert_eq!(stranger.code, 3, "{stranger:?}");
    assert!(
        stranger.out.contains("to which this command has not migrated it"),
        "{stranger:?}"
    );
    mark(&world, "batman", &batman.uid().unwrap()).await;
    // After the old one was deleted; it was paused.
    world.kanary("robin", json!({"items": [{"manual": {}}]})).await;
    mark(&world, "robin", "gone paused").await;
    // A tool has created the old one again since.
    world.kanary("joker", json!({"items": [{"manual": {}}]})).await;
    mark(&world, "joker", "gone").await;
    old(&world, "joker", "other", manual()).await;

    let tried = world.run(&["migrate"]).await;
    assert!(tried.out.contains("robin: would be finished"), "{tried:?}");
    let moved = world.run(&["migrate", "--apply"]).await;
    assert_eq!(moved.code, 3, "{moved:?}");
    assert!(
        moved.out.contains("joker: cannot be migrated: it was created again"),
        "{moved:?}"
    );
    let held = find(&world, NEW, "joker").await.unwrap();
    assert!(held.annotations().contains_key(MIGRATES), "{held:?}");
    let deleted = world.kanaries_of(OLD).delete("joker", &DeleteParams::default()).await;
    deleted.unwrap();
    let moved = world.run(&["migrate", "--apply"]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    let freed = find(&world, NEW, "joker").await.unwrap();
    assert!(!freed.annotations().contains_key(MIGRATES), "{freed:?}");
    assert!(find(&world, OLD, "batman").await.is_none());
    for (name, paused) in [("batman", None), ("robin", Some(&json!(true)))] {
        let new = find(&world, NEW, name).await.unwrap();
        assert!(!new.annotations().contains_key(MIGRATES), "{new:?}");
        assert_eq!(new.spec.get("paused"), paused, "{name}");
    }
    let batman = find(&world, NEW, "batman").await.unwrap().status.unwrap();
    assert_eq!(batman["report"]["status"], "DeploymentUpdated");
}

#[tokio::test]
async fn files_are_rewritten_without_a_cluster() {
    let world = World::new().await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.yaml", world.namespace()));
    let text = "kind: Service # it stays as it is\napiVersion: v1\nmetadata: {name: app}\n---\n\
                apiVersion: kanary.k8s.io/v1alpha1\nkind: KanaryDeployment\nmetadata: {name: batman}\nspec:\n  \
                validations: {items: [{}]}\n  template:\n    spec:\n      template:\n        \
                metadata: {labels: {app: app}}\n        spec: {containers: [{name: main, image: app}]}\n";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let written = world.run(&["migrate", "-f", path, "--kubeconfig", "/nowhere"]).await;
    assert_eq!(written.code, 0, "{written:?}");
    assert!(
        written
            .out
            .starts_with("---\nkind: Service # it stays as it is\napiVersion: v1\nmetadata: {name: app}\n---\n"),
        "{written:?}"
    );
    assert!(
        written
            .out
            .contains("---\napiVersion: kanary.k8s-operators.dev/v1alpha1\n"),
        "{written:?}"
    );
    assert!(
        written.err.contains("spec.validations is spec.validation now"),
        "{written:?}"
    );
    std::fs::write(&file, &written.out).unwrap();
    let again = world.run(&["migrate", "-f", path, "--kubeconfig", "/nowhere"]).await;
    assert_eq!((again.out, again.err.as_str()), (written.out, ""));
    std::fs::remove_file(&file).unwrap();
}
