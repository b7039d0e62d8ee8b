//! Objects that belong to somebody else.

use serde_json::{Value, json};

use crate::{
    canary_app,
    support::{CANARY_APP, CANARY_DEPLOYMENT, DEPLOYMENT, VIRTUAL_SERVICE, World, emoji, held, message, reason},
};

#[tokio::test]
async fn a_primary_that_is_not_the_apps_any_more_is_reported_although_nothing_runs() {
    let world = canary_app::served().await;
    canary_app::running(&world).await;
    let disowned = json!({"metadata": {"ownerReferences": null}});
    let theirs = world.patch(&DEPLOYMENT, "hello-primary", disowned).await;
    let is_taken = |app: &Value| reason(app, "Errored") == "NameTaken";
    let app = world
        .until(&CANARY_APP, "hello", "it says whose the primary is", is_taken)
        .await;
    let why = message(&app, "Errored");
    assert!(
        why.contains("Deployment hello-primary exists and has no owner"),
        "{why}"
    );
    let still = world.get(&DEPLOYMENT, "hello-primary").await;
    assert_eq!(still["metadata"]["generation"], theirs["metadata"]["generation"]);
    world.delete(&DEPLOYMENT, "hello-primary").await;
    let is_over = |app: &Value| reason(app, "Errored") == "Resolved";
    let app = world
        .until(&CANARY_APP, "hello", "the primary is created again", is_over)
        .await;
    let primary = world.get(&DEPLOYMENT, "hello-primary").await;
    assert_eq!(primary["metadata"]["ownerReferences"][0]["uid"], app["metadata"]["uid"]);
}

#[tokio::test]
async fn what_a_canary_deployment_promotes_to_is_no_target_and_is_not_called_a_canary() {
    let world = World::with_canary_deployments("owners").await;
    world.create(&CANARY_DEPLOYMENT, &emoji(json!({}))).await;
    world.emoji_ends("1.0", "DeploymentUpdated").await;
    for (target, why) in [("emoji-stable", "TargetOwned"), ("emoji-canary", "TargetIsCanary")] {
        let name = format!("of-{target}");
        world.kanary(&name, target, json!({"validation": held()})).await;
        let errored = world.phase(&name, "Errored").await;
        assert_eq!(reason(&errored, "Errored"), why, "{errored:#}");
        let says_so = message(&errored, "Errored").contains("promotes to it");
        assert_eq!(says_so, target == "emoji-stable", "{errored:#}");
    }
}

#[tokio::test]
async fn the_route_and_the_service_of_an_app_are_not_those_of_another_kanary() {
    let world = canary_app::served().await;
    canary_app::running(&world).await;
    let route = world.get(&VIRTUAL_SERVICE, "hello").await;
    world.target("web", 1).await;
    world.service("web", "web").await;
    for (name, service, its) in [("by-service", "hello", "hello"), ("by-route", "web", "hello")] {
        let weighted = json!({
            "source": "weighted", "route": {"kind": "VirtualService", "name": its},
            "weighted": {"steps": [20], "interval": "1s"},
        });
        let spec = json!({"serviceName": service, "traffic": weighted, "validation": held()});
        world.kanary(name, "web", spec).await;
        let errored = world.phase(name, "Errored").await;
        assert_eq!(reason(&errored, "Errored"), "TrafficOwned", "{errored:#}");
        let why = message(&errored, "Errored");
        assert!(why.contains("belongs to CanaryApp.canary.atze.io/hello"), "{why}");
    }
    assert_eq!(world.get(&VIRTUAL_SERVICE, "hello").await["spec"], route["spec"]);
}
