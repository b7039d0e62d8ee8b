//! Services and their `EndpointSlices`.

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::*;

fn service(name: &str, more: Value) -> Service {
    let mut object = json!({
        "metadata": {"namespace": "default", "name": name, "labels": {"team": "gotham"}},
        "spec": {"selector": {"app": "app"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]},
    });
    merge(&mut object, more);
    typed(object)
}

async fn running(more: Value) -> World {
    let world = world();
    world.made(service("app", more));
    world.made(deployment("app", json!({})));
    pass(5).await;
    world
}

fn slices(world: &World) -> Vec<EndpointSlice> {
    world.all()
}

fn endpoints(world: &World) -> Vec<Value> {
    let slices = slices(world).into_iter();
    let endpoints = slices.flat_map(|slice| slice.endpoints.unwrap_or_default());
    endpoints
        .map(|endpoint| serde_json::to_value(endpoint).unwrap())
        .collect()
}

fn ready(world: &World) -> usize {
    endpoints(world)
        .iter()
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count()
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_service_are_its_endpoints() {
    let world = running(json!({})).await;
    let slice = serde_json::to_value(&slices(&world)[0]).unwrap();
    assert_eq!((slices(&world).len(), ready(&world)), (1, 3));
    assert!(slice["metadata"]["name"].as_str().unwrap().starts_with("app-"));
    assert_eq!(slice["metadata"]["generateName"], "app-");
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/service-name"], "app");
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(labels["team"], "gotham");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(
        slice["ports"],
        json!([{"name": "web", "port": 8080, "protocol": "TCP"}])
    );
    assert_eq!(slice["addressType"], "IPv4");
    let pod = &world.pods()[0];
    let endpoint = &endpoints(&world)[0];
    assert_eq!(endpoint["targetRef"]["uid"], json!(pod.metadata.uid));
    assert_eq!(endpoint["addresses"], json!([status(pod)["podIP"]]));
    assert_eq!(
        endpoint["conditions"],
        json!({"ready": true, "serving": true, "terminating": false})
    );
}

#[tokio::test(start_paused = true)]
async fn a_port_is_found_by_its_number_too() {
    let world = running(json!({"spec": {"ports": [{"port": 80, "targetPort": 9090}]}})).await;
    assert_eq!(
        json!(slices(&world)[0].ports),
        json!([{"name": "", "port": 9090, "protocol": "TCP"}])
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_ready_gets_no_traffic() {
    let world = running(json!({})).await;
    let sick = world.pods()[0].metadata.name.clone().unwrap();
    world.edit::<Pod>(&sick, json!({"metadata": {"labels": {super::super::LABEL: "crash"}}}));
    pass(5).await;
    assert_eq!((endpoints(&world).len(), ready(&world)), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_pods_that_are_not_ready_can_be_asked_for() {
    let world = world();
    world.made(service("app", json!({"spec": {"publishNotReadyAddresses": true}})));
    world.made(deployment("app", pods_that_are("never-ready")));
    pass(5).await;
    assert_eq!(ready(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_loses_its_label_leaves() {
    let world = running(json!({})).await;
    let leaver = world.pods()[0].metadata.name.clone().unwrap();
    world.edit::<Pod>(&leaver, json!({"metadata": {"labels": {"app": "other"}}}));
    pass(5).await;
    assert_eq!(ready(&world), 3, "a new pod replaces it");
    assert!(
        endpoints(&world)
            .iter()
            .all(|endpoint| endpoint["targetRef"]["name"] != leaver)
    );
}

#[tokio::test(start_paused = true)]
async fn another_selector_brings_other_endpoints() {
    let world = running(json!({})).await;
    world.made(deployment("two", json!({"spec": {"replicas": 2}})));
    world.edit::<Service>("app", json!({"spec": {"selector": {"app": "two"}}}));
    pass(5).await;
    assert_eq!(ready(&world), 2);
    world.edit::<Service>("app", json!({"spec": {"selector": {"app": "two", "more": "yes"}}}));
    pass(5).await;
    assert_eq!(
        (endpoints(&world).len(), slices(&world).len()),
        (0, 1),
        "a slice without endpoints exists"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_without_a_selector_has_no_slices() {
    let world = running(json!({"spec": {"selector": null}})).await;
    assert!(slices(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slice_has_a_hundred_endpoints_at_most() {
    let world = running(json!({})).await;
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 250}}));
    pass(10).await;
    let mut sizes: Vec<_> = slices(&world)
        .iter()
        .map(|slice| slice.endpoints.as_ref().unwrap().len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    world.edit::<Deployment>("app", json!({"spec": {"replicas": 1}}));
    pass(10).await;
    assert_eq!((slices(&world).len(), ready(&world)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_is_deleted_comes_back() {
    let world = running(json!({})).await;
    let name = slices(&world)[0].metadata.name.clone().unwrap();
    world.remove("endpointslices.discovery.k8s.io", &name);
    pass(5).await;
    assert_eq!(ready(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn a_headless_service_is_labelled() {
    let world = running(json!({"spec": {"clusterIP": "None"}})).await;
    let labels = slices(&world)[0].metadata.labels.clone().unwrap();
    assert_eq!(
        labels.get("service.kubernetes.io/headless").map(String::as_str),
        Some("")
    );
}

#[tokio::test(start_paused = true)]
async fn the_slices_go_with_the_service() {
    let world = running(json!({})).await;
    world.remove("services", "app");
    pass(5).await;
    assert!(slices(&world).is_empty());
}
