//! `KanaryDeployment` of the group `kanary.k8s.io`: the same engine, beside the kinds that are always served.

use serde_json::{Value, json};

use crate::{
    shards::grant,
    support::{
        DEPLOYMENT, EVENT, KANARY, OLD_KANARY, POD, Process, SERVICE, World, held, is_true, kanary, labels, merge,
        phase, reason,
    },
};

const ID: &str = "KanaryDeployment.kanary.k8s.io";

/// A manifest of the old group, as [`kanary`] makes it.
fn old(name: &str, target: &str, spec: Value) -> Value {
    let mut manifest = kanary(name, target, spec);
    manifest["apiVersion"] = json!(OLD_KANARY.api_version());
    manifest
}

async fn served() -> World {
    let world = World::unserved("old-group").await;
    world.start_controller_of_all_kinds();
    world
}

async fn runs(world: &World, name: &str) {
    let is_running = |kanary: &Value| phase(kanary) == "Running";
    world.until(&OLD_KANARY, name, "runs", is_running).await;
}

#[tokio::test]
async fn the_objects_of_a_run_belong_to_the_kanary_of_the_old_group_and_have_the_labels_of_its_operator() {
    let world = served().await;
    world.target("app", 1).await;
    world.service("app-svc", "app").await;
    let spec = json!({"serviceName": "app-svc", "traffic": {"source": "kanary-service"}, "validation": held()});
    let created = world.create(&OLD_KANARY, &old("batman", "app", spec)).await;
    runs(&world, "batman").await;
    let owner = json!([{
        "apiVersion": "kanary.k8s.io/v1alpha1", "kind": "KanaryDeployment", "name": "batman",
        "uid": created["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    for (kind, name) in [(DEPLOYMENT, "app-kanary-batman"), (SERVICE, "app-svc-kanary-batman")] {
        let object = world.get(&kind, name).await;
        assert_eq!(object["metadata"]["ownerReferences"], owner);
        let labels = labels(&object, "/metadata/labels");
        assert_eq!(labels["kanary.k8s-operators.dev/kind"], ID);
        assert_eq!(labels["kanary.k8s.io/iskanary"], "true");
        assert_eq!(labels["kanary.k8s.io/name"], "batman");
    }
    let pods = world
        .list(&POD, "kanary.k8s.io/canary-pod=true,kanary.k8s.io/name=batman")
        .await;
    assert_eq!(pods.len(), 1);
    let is_about_it = |event: &Value| event["regarding"]["uid"] == created["metadata"]["uid"];
    let events = world
        .until_all(&EVENT, "", "an Event is about the Kanary", |events| {
            events.iter().any(|event| is_about_it(event))
        })
        .await;
    for event in events.iter().filter(|event| is_about_it(event)) {
        assert_eq!(event["regarding"]["apiVersion"], "kanary.k8s.io/v1alpha1");
        assert_eq!(event["regarding"]["kind"], "KanaryDeployment");
    }

    world.delete(&OLD_KANARY, "batman").await;
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
    world.gone(&SERVICE, "app-svc-kanary-batman").await;
    world.get(&DEPLOYMENT, "app").await;
}

#[tokio::test]
async fn namesakes_of_both_groups_run_beside_each_other_on_targets_of_their_own() {
    let world = served().await;
    for target in ["old-app", "new-app"] {
        world.target(target, 1).await;
    }
    let item =
        json!({"validation": {"validationPeriod": "1s", "items": [{"manual": {"statusAfterDeadline": "valid"}}]}});
    world.create(&OLD_KANARY, &old("batman", "old-app", item.clone())).await;
    let mut bad = item;
    bad["validation"]["items"][0]["manual"]["statusAfterDeadline"] = json!("invalid");
    world.kanary("batman", "new-app", bad).await;
    world.ends_as(&OLD_KANARY, "batman", "DeploymentUpdated").await;
    world.ends("batman", "Failed").await;
    let image = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image(&world.get(&DEPLOYMENT, "old-app").await), "old-app:v2");
    assert_eq!(image(&world.get(&DEPLOYMENT, "new-app").await), "new-app:v1");
}

#[tokio::test]
async fn of_namesakes_on_one_target_the_second_waits_and_says_for_which() {
    let world = served().await;
    world.target("app", 1).await;
    world
        .create(&OLD_KANARY, &old("batman", "app", json!({"validation": held()})))
        .await;
    runs(&world, "batman").await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    let taken = world
        .until(&KANARY, "batman", "waits", |kanary| {
            reason(kanary, "Errored") == "NameTaken"
        })
        .await;
    let said = taken["status"].to_string();
    assert!(said.contains(&format!("belongs to {ID}/batman")), "{said}");
    let first = world.get(&OLD_KANARY, "batman").await;
    assert_eq!(phase(&first), "Running", "{first:#}");
    world.delete(&OLD_KANARY, "batman").await;
    world.phase("batman", "Running").await;
    let canary = world.get(&DEPLOYMENT, "app-kanary-batman").await;
    assert_eq!(
        canary["metadata"]["ownerReferences"][0]["apiVersion"],
        "kanary.k8s-operators.dev/v1alpha1"
    );
}

#[tokio::test]
async fn without_the_flag_the_old_group_is_not_served() {
    let world = World::new("old-group").await;
    world.target("app", 1).await;
    world.create(&OLD_KANARY, &old("batman", "app", json!({}))).await;
    world.target("other", 1).await;
    world.kanary("batman", "other", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let unserved = world.get(&OLD_KANARY, "batman").await;
    assert_eq!(unserved["status"]["observedGeneration"], -1, "{unserved:#}");
    assert!(world.find(&DEPLOYMENT, "app-kanary-batman").await.is_none());
}

#[tokio::test]
async fn the_program_serves_the_old_group_with_the_flag_and_shards_it_by_its_slot() {
    let world = World::unserved("old-group").await;
    grant(&world).await;
    let arguments = ["--shards", "8", "--kinds", ID];
    let replicas = ["first", "second"].map(|identity| Process::start_replica(&world, identity, "30s", &arguments));
    for replica in &replicas {
        replica.ready().await;
    }
    for number in 0..4 {
        let (name, target) = (format!("fleet-{number}"), format!("app-{number}"));
        world.target(&target, 1).await;
        let mut manifest = old(&name, &target, json!({"validation": {"validationPeriod": "1s"}}));
        let items = json!([{"manual": {"statusAfterDeadline": "valid"}}]);
        merge(&mut manifest, json!({"spec": {"validation": {"items": items}}}));
        world.create(&OLD_KANARY, &manifest).await;
    }
    for number in 0..4 {
        let ended = world
            .ends_as(&OLD_KANARY, &format!("fleet-{number}"), "DeploymentUpdated")
            .await;
        assert!(labels(&ended, "/metadata/labels").contains_key("kanary.k8s-operators.dev/slot"));
        assert!(ended["status"]["epoch"].is_i64(), "{ended:#}");
    }
}

#[tokio::test]
async fn kubectl_tells_the_groups_apart() {
    let Some(world) = World::with_kubectl("old-group").await else {
        return;
    };
    world.kill_controller();
    world.start_controller_of_all_kinds();
    for name in ["old-app", "new-app"] {
        world.target(name, 1).await;
    }
    world
        .create(&OLD_KANARY, &old("robin", "old-app", json!({"validation": held()})))
        .await;
    world.kanary("batman", "new-app", json!({"validation": held()})).await;
    runs(&world, "robin").await;
    world.phase("batman", "Running").await;
    let table = world.kubectl(&["get", "kanarydeployments.kanary.k8s.io"]).await;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let columns = "NAME STATUS DEPLOYMENT SERVICE SCALE TRAFFIC VALIDATION DURATION AGE";
    assert_eq!(rows[0].join(" "), columns);
    assert_eq!(rows[1][..3], ["robin", "Running", "old-app"]);
    for name in ["kanarydeployments", "kanary", "kd"] {
        let table = world.kubectl(&["get", name]).await;
        assert!(table.contains("batman") && !table.contains("robin"), "{name}: {table}");
    }
    let table = world.kubectl(&["get", "kanaries"]).await;
    assert!(table.contains("batman") && table.contains("robin"), "{table}");
    let live = world.get(&OLD_KANARY, "robin").await;
    assert!(is_true(&live, "Running"), "{live:#}");
}
