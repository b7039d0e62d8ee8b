//! The published walk through a `CanaryApp`: its sample with three images, and requests as its users send them.

use kanary_dataplane::load::Load;
use serde_json::{Value, json};

use super::site::{Site, until_answered};
use crate::support::{CANARY_APP, DEPLOYMENT, Process, VIRTUAL_SERVICE, reason};

const NAME: &str = "canaryapp-sample";

/// The sample. Its query is the published one.
fn sample(prometheus: &str) -> Value {
    json!({
        "apiVersion": "canary.atze.io/v1", "kind": "CanaryApp", "metadata": {"name": NAME},
        "spec": {
            "image": "go-status-code-server:v1", "imageListenPort": 8088, "replicas": 2, "testReplicas": 1,
            "prometheusQuery":
                "increase(istio_requests_total{destination_service_name=\"canaryapp-sample\",response_code=~\"5.*\"}[20s]) > 2",
            "prometheusURL": prometheus,
            // A test does not wait for 30 seconds at each share.
            "trafficShiftUpdateInterval": 5,
        },
    })
}

async fn set_image(site: &Site, version: &str) {
    let patch = json!({"spec": {"image": format!("go-status-code-server:{version}")}});
    site.world.patch(&CANARY_APP, NAME, patch).await;
}

/// The Gateway of the sample takes all hosts, so no other test may run.
#[tokio::test]
async fn the_sample_goes_through_its_three_images() {
    let Some(site) = Site::alone().await else { return };
    let arguments = [
        "--routes",
        "--route-settling-time",
        "3s",
        "--kinds",
        "CanaryApp.canary.atze.io",
    ];
    let process = Process::start(&site.world, &arguments);
    process.ready().await;
    site.world
        .create(&CANARY_APP, &sample(site.world.plane.prometheus()))
        .await;
    site.world.ends_as(&CANARY_APP, NAME, "DeploymentUpdated").await;
    let hello = Load::new(site.plane.gateway, "localhost").path("/hello");
    site.plane.until_answers(&hello, "v1").await;

    let load = hello.clone().start().unwrap();
    until_answered(&load, 100).await;
    set_image(&site, "v2").await;
    let is_v2 = |app: &Value| app["status"]["lastSuccessfulTag"] == "go-status-code-server:v2";
    site.world.until(&CANARY_APP, NAME, "v2 is promoted", is_v2).await;
    site.world.gone(&DEPLOYMENT, "canaryapp-sample-secondary").await;
    site.plane.until_answers(&hello, "v2").await;
    let answers = load.stop().await;
    super::assert_served(&answers);
    assert!(answers.of("v1") > 0 && answers.of("v2") > 0, "{answers}");

    set_image(&site, "v3").await;
    let is_tested = |app: &Value| app["status"]["trafficShift"].as_u64() > Some(0);
    site.world.until(&CANARY_APP, NAME, "v3 gets requests", is_tested).await;
    let broken = Load::new(site.plane.gateway, "localhost").path("/nothello");
    let load = broken.per_second(20.0).start().unwrap();
    let is_failed = |app: &Value| app["status"]["lastFailedTag"] == "go-status-code-server:v3";
    let app = site
        .world
        .until(&CANARY_APP, NAME, "v3 is rolled back", is_failed)
        .await;
    drop(load.stop().await);
    assert_eq!(reason(&app, "Failed"), "PromQLFailed", "{app:#}");
    assert_eq!(app["status"]["successfulRelease"], false);
    site.world.gone(&DEPLOYMENT, "canaryapp-sample-secondary").await;
    let route = site.world.get(&VIRTUAL_SERVICE, NAME).await;
    let backends = route["spec"]["http"][0]["route"].as_array().unwrap();
    assert_eq!(backends.len(), 1, "{route:#}");
    site.plane.until_answers(&hello, "v2").await;
}
