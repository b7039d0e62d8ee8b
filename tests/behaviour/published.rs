//! The published examples, verbatim where they are valid. Periods are shortened, and Prometheus is that of the test
//! environment.

use serde_json::{Value, json};

use crate::support::{
    DAEMON_SET, DEPLOYMENT, EVENT, Exporter, KANARY, KANARY_DAEMONSET, KANARY_STATEFULSET, OF_OLD_GROUP, OF_SET, POD,
    SERVICE, Subject, USUAL, World, deployment, from_yaml, is_true, merge, message, on_nodes, reason,
};

/// `examples/example/nginx_deployment.yaml`, in the API version that still exists.
const NGINX_DEPLOYMENT: &str = include_str!("published/nginx_deployment.yaml");

/// `examples/example/nginx_service.yaml`
const NGINX_SERVICE: &str = include_str!("published/nginx_service.yaml");

/// `examples/example/nginx_kanarydeployment.yaml`
const NGINX_KANARY: &str = include_str!("published/nginx_kanary.yaml");

/// The README's "Basic example", with `items` next to `validation` as published.
const BASIC: &str = include_str!("published/basic.yaml");

/// The README's promQL block.
const BATMAN_VALIDATIONS: &str = include_str!("published/batman_validations.yaml");

/// `examples/istio-prom/kd.yaml`: promQL directly under `validation`.
const ISTIO: &str = include_str!("published/istio.yaml");

fn one(text: &str) -> Value {
    from_yaml(text).remove(0)
}

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

async fn nginx_waits_for_a_person(subject: Subject) {
    let world = World::unserved("published").await;
    world.start_controller_of_all_targets();
    let Subject {
        kanary: kind,
        target: workload,
        ..
    } = subject;
    world.create(&workload, &subject.of_target(one(NGINX_DEPLOYMENT))).await;
    world.create(&SERVICE, &one(NGINX_SERVICE)).await;
    world.create(&kind, &subject.of_kanary(one(NGINX_KANARY))).await;
    world
        .until(&kind, "nginx-dep", "runs", |kanary| is_true(kanary, "Running"))
        .await;
    let canary = world.get(&workload, "nginx-dep-kanary-nginx-dep").await;
    assert_eq!(
        (image(&canary), &canary["spec"]["replicas"]),
        (&json!("nginx:latest"), &json!(1))
    );
    world.get(&SERVICE, "nginx-kanary-nginx-dep").await;
    let valid = json!({"spec": {"validation": {"items": [{"manual": {"status": "valid"}}]}}});
    world.patch(&kind, "nginx-dep", valid).await;
    world.ends_as(&kind, "nginx-dep", "DeploymentUpdated").await;
    let target = world.get(&workload, "nginx-dep").await;
    assert_eq!(
        (image(&target), &target["spec"]["replicas"]),
        (&json!("nginx:latest"), &json!(3))
    );
}

#[tokio::test]
async fn nginx_as_a_kanary_deployment() {
    nginx_waits_for_a_person(USUAL).await;
}

#[tokio::test]
async fn nginx_as_a_kanary_statefulset() {
    let subject = Subject {
        kanary: KANARY_STATEFULSET,
        ..USUAL
    };
    nginx_waits_for_a_person(subject).await;
}

#[tokio::test]
async fn nginx_as_a_kanary_statefulset_of_a_stateful_set() {
    nginx_waits_for_a_person(OF_SET).await;
}

#[tokio::test]
async fn nginx_as_a_kanary_daemonset() {
    let world = World::of_nodes("published", 3).await;
    let mut target = one(NGINX_DEPLOYMENT);
    target["kind"] = json!("DaemonSet");
    merge(&mut target, json!({"spec": {"replicas": null}}));
    on_nodes(&world, &mut target["spec"]["template"]);
    world.create(&DAEMON_SET, &target).await;
    world.create(&SERVICE, &one(NGINX_SERVICE)).await;
    let mut manifest = one(NGINX_KANARY);
    manifest["kind"] = json!(KANARY_DAEMONSET.kind);
    // The name of the Kanary is that of the target.
    merge(&mut manifest, json!({"spec": {"deploymentName": null}}));
    on_nodes(&world, &mut manifest["spec"]["template"]["spec"]["template"]);
    world.create(&KANARY_DAEMONSET, &manifest).await;
    world
        .until(&KANARY_DAEMONSET, "nginx-dep", "runs", |kanary| {
            is_true(kanary, "Running")
        })
        .await;
    let canary = world.get(&DAEMON_SET, "nginx-dep-kanary-nginx-dep").await;
    assert_eq!(
        (image(&canary), &canary["status"]["desiredNumberScheduled"]),
        (&json!("nginx:latest"), &json!(1))
    );
    let valid = json!({"spec": {"validation": {"items": [{"manual": {"status": "valid"}}]}}});
    world.patch(&KANARY_DAEMONSET, "nginx-dep", valid).await;
    world.ends_as(&KANARY_DAEMONSET, "nginx-dep", "DeploymentUpdated").await;
    assert_eq!(
        image(&world.get(&DAEMON_SET, "nginx-dep").await),
        &json!("nginx:latest")
    );
}

#[tokio::test]
async fn nginx_in_the_group_in_which_it_was_published_first() {
    nginx_waits_for_a_person(OF_OLD_GROUP).await;
}

#[tokio::test]
async fn the_basic_example_of_the_readme_is_answered_with_where_its_items_belong() {
    for kind in [KANARY, KANARY_STATEFULSET] {
        let world = World::unserved("published").await;
        let mut basic = one(BASIC);
        basic["kind"] = json!(kind.kind);
        // "deployment template" and a null `validation:`, as published and with a template.
        basic["spec"]["template"] = one(NGINX_KANARY)["spec"]["template"].clone();
        let refused = world
            .try_create(&kind, &basic)
            .await
            .expect_err("items next to validation are refused");
        assert!(
            refused.contains("spec.items belongs under spec.validation"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn the_basic_example_runs_once_its_items_are_indented() {
    let world = World::new("published").await;
    let mut target = one(NGINX_DEPLOYMENT);
    target["metadata"]["name"] = json!("nginx");
    world.create(&DEPLOYMENT, &target).await;
    world.create(&SERVICE, &one(NGINX_SERVICE)).await;
    let mut basic = one(BASIC);
    basic["spec"]["template"] = one(NGINX_KANARY)["spec"]["template"].clone();
    let items = basic["spec"]["items"].take();
    merge(
        &mut basic,
        json!({"spec": {"items": null, "validation": {"items": items}}}),
    );
    world.create(&KANARY, &basic).await;
    world.phase("nginx", "Running").await;
    world.edit("nginx", json!({"verdict": "valid"})).await;
    world.ends("nginx", "DeploymentUpdated").await;
}

#[tokio::test]
async fn promql_directly_under_validation_is_answered_with_where_it_belongs() {
    let world = World::unserved("published").await;
    let refused = world
        .try_create(&KANARY, &one(ISTIO))
        .await
        .expect_err("promQL is not a field of validation");
    assert!(refused.contains("write them under `items:`"), "{refused}");
}

/// The app of the Istio examples, and a Kanary called `name` with the published block `validation`.
async fn myapp(world: &World, name: &str, validation: Value) -> Value {
    myapp_of(world, USUAL, name, validation).await
}

/// The target in the report: with its kind, unless it is a Deployment.
fn reported(subject: Subject, target: &str) -> String {
    match subject.target {
        DEPLOYMENT => target.to_owned(),
        other => format!("{}/{target}", other.kind),
    }
}

async fn myapp_of(world: &World, subject: Subject, name: &str, validation: Value) -> Value {
    let target = subject.of_target(deployment("myapp", 1));
    world.create(&subject.target, &target).await;
    world.service("myapp-svc", "myapp").await;
    let mut manifest = one(ISTIO);
    merge(
        &mut manifest,
        json!({"metadata": {"name": name}, "spec": {"validation": null}}),
    );
    merge(&mut manifest["spec"], validation);
    world.create(&subject.kanary, &subject.of_kanary(manifest)).await
}

/// The published block with the test environment's Prometheus and periods of seconds.
fn batman(world: &World, indicator: &str) -> Value {
    let mut block = one(BATMAN_VALIDATIONS);
    let prometheus = world.plane.prometheus().trim_start_matches("http://");
    block["validations"]["items"][0]["promQL"]["prometheusService"] = json!(prometheus);
    let periods = json!({"initialDelay": "1s", "maxIntervalPeriod": "1s", "validationPeriod": "3s"});
    merge(&mut block["validations"], periods);
    let query = &block["validations"]["items"][0]["promQL"]["query"];
    assert_eq!(query, indicator, "verbatim");
    block
}

#[tokio::test]
async fn batman_is_promoted_when_the_quantile_of_istio_is_good() {
    batman_is_promoted(USUAL).await;
}

#[tokio::test]
async fn batman_is_promoted_in_the_group_in_which_he_was_published_first() {
    batman_is_promoted(OF_OLD_GROUP).await;
}

#[tokio::test]
async fn batman_is_promoted_as_a_stateful_set() {
    batman_is_promoted(OF_SET).await;
}

async fn batman_is_promoted(subject: Subject) {
    let world = World::unserved("published").await;
    world.start_controller_of_all_targets();
    let exporter = Exporter::start(&world).await;
    let query = "histogram_quantile(0.99, sum(rate(istio_request_duration_seconds_bucket{reporter=\"destination\",\
                 destination_workload=\"myapp-kanary-batman\"}[1m])) by (le))";
    let buckets = [
        ("0.1", 50.0),
        ("0.25", 99.5),
        ("0.5", 100.0),
        ("1", 100.0),
        ("+Inf", 100.0),
    ];
    exporter.grow(&buckets.map(|(le, per_second)| {
        let labels = format!("reporter=\"destination\",destination_workload=\"myapp-kanary-batman\",le=\"{le}\"");
        (format!("istio_request_duration_seconds_bucket{{{labels}}}"), per_second)
    }));
    exporter.answers(&format!("{query} < 0.31")).await;
    myapp_of(&world, subject, "batman", batman(&world, query)).await;
    let ended = world.ends_as(&subject.kanary, "batman", "DeploymentUpdated").await;
    let report = &ended["status"]["report"];
    for (field, value) in [
        ("deployment", reported(subject, "myapp").as_str()),
        ("service", "myapp-svc"),
        ("scale", "static"),
        ("traffic", "both"),
        ("validation", "promQL"),
    ] {
        assert_eq!(report[field], value);
    }
    assert!(
        report["duration"]
            .as_str()
            .is_some_and(|duration| duration.ends_with("/4s")),
        "{report}"
    );
    assert_eq!(
        image(&world.get(&subject.target, "myapp").await),
        "kanaryoperator/simpleserver:latest"
    );
}

#[tokio::test]
async fn superman_is_a_dry_run() {
    superman_runs_dry(USUAL).await;
}

#[tokio::test]
async fn superman_is_a_dry_run_in_the_group_in_which_he_was_published_first() {
    superman_runs_dry(OF_OLD_GROUP).await;
}

#[tokio::test]
async fn superman_is_a_dry_run_as_a_stateful_set() {
    superman_runs_dry(OF_SET).await;
}

async fn superman_runs_dry(subject: Subject) {
    let world = World::unserved("published").await;
    world.start_controller_of_all_targets();
    let validation = json!({"validation": {
        "validationPeriod": "1s", "noUpdate": true, "items": [{"manual": {"statusAfterDeadline": "valid"}}],
    }});
    myapp_of(&world, subject, "superman", validation).await;
    let ended = world.ends_as(&subject.kanary, "superman", "Succeeded").await;
    assert_eq!(reason(&ended, "Succeeded"), "DryRun");
    assert_eq!(image(&world.get(&subject.target, "myapp").await), "myapp:v1");
    world.gone(&subject.target, "myapp-kanary-superman").await;
}

#[tokio::test]
async fn the_label_validation_failed_on_the_canary_deployment_fails_the_run() {
    let world = World::new("published").await;
    let block = r#"
  validation:
    validationPeriod: 15m
    items:
    - labelWatch:
        deploymentInvalidationLabels:
          validation: "failed"
"#;
    myapp(&world, "batman", one(block)).await;
    world.phase("batman", "Running").await;
    world
        .label(&DEPLOYMENT, "myapp-kanary-batman", "validation", "failed")
        .await;
    let ended = world.ends("batman", "Failed").await;
    assert!(message(&ended, "Failed").contains("validation"), "{ended:#}");
}

#[tokio::test]
async fn the_label_monitoring_alert_on_a_canary_pod_fails_the_run() {
    let world = World::new("published").await;
    let block = r#"
  validation:
    validationPeriod: 15m
    items:
    - labelWatch:
        podInvalidationLabels:
          monitoring-alert: "high-cpu"
"#;
    myapp(&world, "batman", one(block)).await;
    world.phase("batman", "Running").await;
    let pods = world.list(&POD, "kanary.k8s-operators.dev/name=batman").await;
    let pod = pods[0]["metadata"]["name"].as_str().expect("a pod has a name");
    world.label(&POD, pod, "monitoring-alert", "high-cpu").await;
    let ended = world.ends("batman", "Failed").await;
    assert!(message(&ended, "Failed").contains(pod), "{ended:#}");
    world
        .until_all(&EVENT, "", "an Event reports it", |events| {
            events
                .iter()
                .any(|event| event["reason"] == "Failed" && event["note"].to_string().contains(pod))
        })
        .await;
}

#[tokio::test]
async fn several_kanaries_on_one_deployment_run_together() {
    let world = World::new("published").await;
    world.target("myapp", 1).await;
    world.service("myapp-svc", "myapp").await;
    for name in ["david", "cedric"] {
        let mut manifest = one(ISTIO);
        merge(
            &mut manifest,
            json!({"metadata": {"name": name}, "spec": {"validation": null}}),
        );
        world.create(&KANARY, &manifest).await;
    }
    for name in ["david", "cedric"] {
        world.phase(name, "Running").await;
        let canary = world.get(&DEPLOYMENT, &format!("myapp-kanary-{name}")).await;
        assert_eq!(canary["status"]["availableReplicas"], 1);
    }
    let what = "both canaries and the target receive production traffic";
    world.until_all(&POD, "app=myapp", what, |pods| pods.len() == 3).await;
}
