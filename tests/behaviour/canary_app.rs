//! `CanaryApp`: an application by its image, whose objects and runs are the engine's.

mod disowned;
mod gateway_api;
mod moves;

use serde_json::{Value, json};

use crate::support::{
    CANARY_APP, DEPLOYMENT, DESTINATION_RULE, EVENT, Exporter, Fake, ISTIO_GATEWAY, KANARY, Kind, POD, SERVICE,
    VIRTUAL_SERVICE, World, is_true, labels, message, reason,
};

const PRIMARY: &str = "hello-primary";
const SECONDARY: &str = "hello-secondary";

/// A namespace with a controller that serves applications.
pub(crate) async fn served() -> World {
    let world = World::unserved("canary-app").await;
    world.install_istio().await;
    world.start_controller_of_apps();
    world
}

/// The manifest of an application, with one second for each share.
fn app(world: &World, image: &str) -> Value {
    let query = format!("errors{{ns=\"{}\"}} > 0", world.ns);
    json!({
        "apiVersion": "canary.atze.io/v1", "kind": "CanaryApp", "metadata": {"name": "hello"},
        "spec": {
            "image": image, "imageListenPort": 8088, "replicas": 2, "testReplicas": 1, "trafficShiftUpdateInterval": 1,
            "prometheusQuery": query, "prometheusURL": world.plane.prometheus(),
        },
    })
}

/// An application whose first image runs.
pub(crate) async fn running(world: &World) -> Value {
    world.create(&CANARY_APP, &app(world, "hello:v1")).await;
    world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await
}

async fn set(world: &World, spec: Value) {
    world.patch(&CANARY_APP, "hello", json!({"spec": spec})).await;
}

fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap()
}

/// The secondary's pods are scraped.
async fn is_scraped(world: &World, exporter: &Exporter) {
    let pods = world
        .until_all(&POD, "service=secondary", "the secondary has a pod", |pods| {
            !pods.is_empty()
        })
        .await;
    for pod in pods {
        let pod = pod["metadata"]["name"].as_str().unwrap();
        exporter.set(&format!("memory{{ns=\"{}\",pod=\"{pod}\"}}", world.ns), 5.0);
    }
}

/// The share of the secondary in a route, in percent.
fn share(route: &Value) -> u64 {
    let backends = route["spec"]["http"][0]["route"].as_array().unwrap();
    let mut secondary = backends
        .iter()
        .filter(|backend| backend["destination"]["subset"] == "secondary");
    secondary
        .next()
        .map_or(0, |backend| backend["weight"].as_u64().unwrap())
}

async fn owned(world: &World, app: &Value, kind: &Kind, name: &str) -> Value {
    let object = world.get(kind, name).await;
    let owner = json!([{
        "apiVersion": "canary.atze.io/v1", "kind": "CanaryApp", "name": "hello", "uid": app["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }]);
    assert_eq!(object["metadata"]["ownerReferences"], owner, "{object:#}");
    object
}

#[tokio::test]
async fn the_first_image_creates_the_primary_and_all_that_leads_to_it() {
    let world = served().await;
    let app = running(&world).await;
    let primary = owned(&world, &app, &DEPLOYMENT, PRIMARY).await;
    assert_eq!((image(&primary), &primary["spec"]["replicas"]), ("hello:v1", &json!(2)));
    let container = &primary["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["name"], &container["ports"][0]["name"]),
        (&json!("hello"), &json!("http"))
    );
    let labels = labels(&primary, "/spec/template/metadata/labels");
    let expected = [("app", "hello"), ("owner", "canaryop"), ("service", "primary")];
    assert_eq!(
        labels,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    let service = owned(&world, &app, &SERVICE, "hello").await;
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "hello", "owner": "canaryop"})
    );
    assert_eq!(service["spec"]["ports"][0]["port"], 8088);
    owned(&world, &app, &DESTINATION_RULE, "hello").await;
    owned(&world, &app, &ISTIO_GATEWAY, "hello").await;
    let route = owned(&world, &app, &VIRTUAL_SERVICE, "hello").await;
    assert_eq!((&route["spec"]["hosts"], share(&route)), (&json!(["*"]), 0));
    let status = &app["status"];
    assert_eq!(status["lastSuccessfulTag"], "hello:v1");
    let told = [
        &status["successfulRelease"],
        &status["testRunning"],
        &status["trafficShift"],
    ];
    assert_eq!(told, [&json!(true), &json!(false), &json!(0)]);
    let is_about_it =
        |event: &Value| event["regarding"]["uid"] == app["metadata"]["uid"] && event["reason"] == "Promoted";
    world
        .until_all(&EVENT, "", "an Event tells of it", |events| {
            events.iter().any(|event| is_about_it(event))
        })
        .await;

    set(&world, json!({"replicas": 3})).await;
    let scaled = |primary: &Value| primary["spec"]["replicas"] == 3;
    world.until(&DEPLOYMENT, PRIMARY, "the primary is scaled", scaled).await;
    assert!(world.find(&DEPLOYMENT, SECONDARY).await.is_none());
    world.delete(&CANARY_APP, "hello").await;
    for (kind, name) in [(DEPLOYMENT, PRIMARY), (SERVICE, "hello"), (VIRTUAL_SERVICE, "hello")] {
        world.gone(&kind, name).await;
    }
}

#[tokio::test]
async fn another_image_gets_ten_percent_more_at_each_step_and_replaces_the_former_one_after_sixty() {
    let world = served().await;
    let exporter = Exporter::start(&world).await;
    running(&world).await;
    let routes = world.record(VIRTUAL_SERVICE).await;
    set(&world, json!({"image": "hello:v2"})).await;
    is_scraped(&world, &exporter).await;
    let secondary = world.get(&DEPLOYMENT, SECONDARY).await;
    assert_eq!(image(&secondary), "hello:v2");
    assert_eq!(
        labels(&secondary, "/spec/template/metadata/labels")["service"],
        "secondary"
    );
    let tested = |app: &Value| app["status"]["testRunning"] == true && app["status"]["trafficShift"] == 10;
    world
        .until(&CANARY_APP, "hello", "the secondary gets 10 %", tested)
        .await;
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v1");
    let is_v2 = |app: &Value| app["status"]["lastSuccessfulTag"] == "hello:v2";
    let app = world.until(&CANARY_APP, "hello", "v2 is promoted", is_v2).await;
    world.gone(&DEPLOYMENT, SECONDARY).await;
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v2");
    let route = world.get(&VIRTUAL_SERVICE, "hello").await;
    routes.reached(&route).await;
    let seen = routes.of("hello");
    let seen = seen.iter().map(|seen| share(&seen.object));
    let mut shares: Vec<_> = seen.skip_while(|share| *share == 0).collect();
    shares.dedup();
    assert_eq!(shares, [10, 20, 30, 40, 50, 60, 0]);
    let status = &app["status"];
    let told = [
        &status["successfulRelease"],
        &status["testRunning"],
        &status["trafficShift"],
    ];
    assert_eq!(told, [&json!(true), &json!(false), &json!(0)], "{status:#}");
    assert!(status["lastTrafficShift"].is_string(), "{status:#}");
}

#[tokio::test]
async fn an_image_with_errors_is_rolled_back_and_remembered() {
    let world = served().await;
    let exporter = Exporter::start(&world).await;
    running(&world).await;
    set(&world, json!({"image": "hello:v3"})).await;
    is_scraped(&world, &exporter).await;
    let tested = |app: &Value| app["status"]["trafficShift"].as_u64() > Some(0);
    world
        .until(&CANARY_APP, "hello", "the secondary gets requests", tested)
        .await;
    exporter.set(&format!("errors{{ns=\"{}\"}}", world.ns), 7.0);
    let is_failed = |app: &Value| app["status"]["lastFailedTag"] == "hello:v3";
    let app = world.until(&CANARY_APP, "hello", "v3 is rolled back", is_failed).await;
    assert_eq!(reason(&app, "Failed"), "PromQLFailed");
    assert!(message(&app, "Failed").contains("change spec.image"), "{app:#}");
    let status = &app["status"];
    assert_eq!(
        (&status["successfulRelease"], &status["testRunning"]),
        (&json!(false), &json!(false))
    );
    world.gone(&DEPLOYMENT, SECONDARY).await;
    assert_eq!(share(&world.get(&VIRTUAL_SERVICE, "hello").await), 0);
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v1");

    set(&world, json!({"image": "hello:v4"})).await;
    let tried = |app: &Value| app["status"]["completedAt"].is_null();
    world.until(&CANARY_APP, "hello", "v4 is tried", tried).await;
    set(&world, json!({"image": "hello:v3"})).await;
    let again = |app: &Value| is_true(app, "Failed") && reason(app, "Failed") == "TemplateFailedBefore";
    let app = world.until(&CANARY_APP, "hello", "v3 is not tried again", again).await;
    assert!(
        message(&app, "Failed").starts_with("this image failed before"),
        "{app:#}"
    );
}

#[tokio::test]
async fn owned_objects_that_somebody_edits_or_deletes_are_put_back() {
    let world = served().await;
    running(&world).await;
    world
        .patch(&SERVICE, "hello", json!({"spec": {"selector": {"extra": "yes"}}}))
        .await;
    let is_back = |service: &Value| service["spec"]["selector"] == json!({"app": "hello", "owner": "canaryop"});
    world
        .until(&SERVICE, "hello", "the selector is put back", is_back)
        .await;
    world
        .patch(&DEPLOYMENT, PRIMARY, json!({"spec": {"replicas": 5}}))
        .await;
    let is_back = |primary: &Value| primary["spec"]["replicas"] == 2;
    world
        .until(&DEPLOYMENT, PRIMARY, "the replicas are put back", is_back)
        .await;
    let former = world.get(&DEPLOYMENT, PRIMARY).await;
    world.delete(&DEPLOYMENT, PRIMARY).await;
    let is_new = |primary: &Value| primary["metadata"]["uid"] != former["metadata"]["uid"];
    let primary = world
        .until(&DEPLOYMENT, PRIMARY, "the primary is created again", is_new)
        .await;
    assert_eq!(image(&primary), "hello:v1");
    world.delete(&SERVICE, "hello").await;
    let is_there = |service: &Value| service["metadata"]["deletionTimestamp"].is_null();
    world
        .until(&SERVICE, "hello", "the Service is created again", is_there)
        .await;
    // Objects that nothing watches are read when the CanaryApp changes.
    world
        .patch(&VIRTUAL_SERVICE, "hello", json!({"spec": {"hosts": ["other.example"]}}))
        .await;
    let other = json!({"spec": {"host": "other"}});
    world.patch(&DESTINATION_RULE, "hello", other).await;
    let other = json!({"spec": {"selector": {"istio": "other"}}});
    world.patch(&ISTIO_GATEWAY, "hello", other).await;
    set(&world, json!({"replicas": 1})).await;
    let is_back = |rule: &Value| rule["spec"]["host"] == "hello";
    world
        .until(&DESTINATION_RULE, "hello", "the host is put back", is_back)
        .await;
    let is_back = |gateway: &Value| gateway["spec"]["selector"] == json!({"istio": "ingressgateway"});
    world
        .until(&ISTIO_GATEWAY, "hello", "the selector is put back", is_back)
        .await;
    let is_back = |route: &Value| route["spec"]["hosts"] == json!(["*"]);
    world
        .until(&VIRTUAL_SERVICE, "hello", "the hosts are put back", is_back)
        .await;
}

#[tokio::test]
async fn an_object_of_the_same_name_that_belongs_to_somebody_else_is_left_alone() {
    let world = served().await;
    let theirs = world.service("hello", "theirs").await;
    world.create(&CANARY_APP, &app(&world, "hello:v1")).await;
    let is_taken = |app: &Value| reason(app, "Errored") == "NameTaken";
    let app = world
        .until(&CANARY_APP, "hello", "it says whose the Service is", is_taken)
        .await;
    assert!(
        message(&app, "Errored").contains("Service hello exists and has no owner"),
        "{app:#}"
    );
    assert_eq!(world.get(&SERVICE, "hello").await["spec"], theirs["spec"]);
    assert!(world.find(&DEPLOYMENT, PRIMARY).await.is_none());
    world.delete(&SERVICE, "hello").await;
    let ended = world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await;
    owned(&world, &ended, &SERVICE, "hello").await;
}

#[tokio::test]
async fn an_unanswered_query_holds_an_image_unless_the_user_says_that_it_fails() {
    let world = served().await;
    let (_socket, address) = Fake::refused();
    running(&world).await;
    let spec = json!({"image": "hello:v2", "prometheusURL": format!("http://{address}")});
    set(&world, spec).await;
    let is_held = |app: &Value| is_true(app, "Stalled") && reason(app, "Stalled") == "Inconclusive";
    world
        .until(&CANARY_APP, "hello", "the run waits for an answer", is_held)
        .await;
    set(&world, json!({"failWhenPrometheusFails": true})).await;
    let is_failed = |app: &Value| app["status"]["lastFailedTag"] == "hello:v2";
    let app = world.until(&CANARY_APP, "hello", "the image fails", is_failed).await;
    assert_eq!(reason(&app, "Failed"), "Inconclusive");
    assert_eq!(image(&world.get(&DEPLOYMENT, PRIMARY).await), "hello:v1");
}

#[tokio::test]
async fn without_the_flag_no_canary_app_is_served_and_the_schema_names_what_is_missing() {
    let world = World::new("canary-app").await;
    world.create(&CANARY_APP, &app(&world, "hello:v1")).await;
    world.target("other", 1).await;
    world.kanary("batman", "other", json!({})).await;
    world.ends_as(&KANARY, "batman", "DeploymentUpdated").await;
    let unserved = world.get(&CANARY_APP, "hello").await;
    assert_eq!(unserved["status"]["observedGeneration"], -1, "{unserved:#}");
    assert!(world.find(&SERVICE, "hello").await.is_none());
    for (field, value, why) in [
        ("image", Value::Null, "spec.image: Required value"),
        ("prometheusQuery", Value::Null, "spec.prometheusQuery: Required value"),
        ("replicas", json!(0), "greater than or equal to 1"),
        ("imageListenPort", json!("http"), "integer"),
        ("gateway", json!("nginx"), "supported values"),
    ] {
        let mut wrong = app(&world, "hello:v1");
        wrong["metadata"]["name"] = json!("wrong");
        if value.is_null() {
            wrong["spec"].as_object_mut().unwrap().remove(field);
        } else {
            wrong["spec"][field] = value;
        }
        let refused = world.try_create(&CANARY_APP, &wrong).await.unwrap_err();
        assert!(
            refused.to_lowercase().contains(&why.to_lowercase()),
            "{field}: {refused}"
        );
    }
    let mut dotted = app(&world, "hello:v1");
    dotted["metadata"]["name"] = json!("hello.eu");
    let refused = world.try_create(&CANARY_APP, &dotted).await.unwrap_err();
    assert!(refused.contains("Services are named after a CanaryApp"), "{refused}");
}

#[tokio::test]
async fn a_user_with_the_rights_of_deploy_manages_canary_apps_and_sees_no_pods() {
    let Some(world) = World::with_kubectl("canary-app").await else {
        return;
    };
    if !world.plane.has_rights() {
        eprintln!("this control plane has no rights: this case is skipped");
        return;
    }
    world.kill_controller();
    world.install_istio().await;
    world.start_controller_of_apps();
    let role = include_str!("../../deploy/limited-user/role.yaml");
    let applied = world.try_kubectl(&["apply", "-f", "-"], role).await;
    assert!(applied.ok, "{}", applied.err);
    let user = format!("{}:limited-user", world.ns);
    let (account, user) = (
        format!("--serviceaccount={user}"),
        format!("--as=system:serviceaccount:{user}"),
    );
    world
        .kubectl(&["create", "rolebinding", "limited", "--role=kanary-user", &account])
        .await;
    let manifest = app(&world, "hello:v1").to_string();
    let created = world.try_kubectl(&[&user, "create", "-f", "-"], &manifest).await;
    assert!(created.ok, "{}", created.err);
    world.ends_as(&CANARY_APP, "hello", "DeploymentUpdated").await;
    let table = world.kubectl(&[&user, "get", "canaryapps", "hello"]).await;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0].join(" "),
        "NAME STATUS IMAGE SUCCESSFUL TESTING SHIFT FAILED AGE"
    );
    assert_eq!(
        rows[1][..6],
        ["hello", "DeploymentUpdated", "hello:v1", "true", "false", "0"]
    );
    let patch = r#"{"spec": {"image": "hello:v2"}}"#;
    world
        .kubectl(&[&user, "patch", "canaryapp", "hello", "--patch", patch, "--type=merge"])
        .await;
    let refused = world.try_kubectl(&[&user, "get", "pods"], "").await;
    assert!(
        !refused.ok && refused.err.contains("forbidden"),
        "{} {}",
        refused.out,
        refused.err
    );
}
