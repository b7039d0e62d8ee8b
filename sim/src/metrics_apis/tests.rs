//! What clients of the metrics APIs see.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Api, Mood, Reading, Usage};
use crate::{
    cluster::{Cluster, Options},
    server::Server,
};

/// A server with two pods in the namespace `default`.
fn server() -> Server {
    let server = Server::new(Cluster::new(Options::default()));
    for (name, app) in [("web-1", "web"), ("db-1", "db")] {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "image": "i"}, {"name": "proxy", "image": "i"}]},
        }))
        .unwrap();
        server.cluster().create("test", &pod).unwrap();
    }
    server
}

/// The status and the body of an answer; a body that is not JSON is a text.
async fn get(server: &Server, path: &str) -> (u16, Value) {
    let connection = server.connect("test");
    let (head, ()) = Request::get(path).body(()).unwrap().into_parts();
    let response = connection.answer(&head, &bytes::Bytes::new());
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

const USAGE: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";

fn usage(cpu: &str) -> Usage {
    Usage {
        cpu: Reading::new(cpu),
        memory: "64Mi".to_owned(),
    }
}

#[tokio::test]
async fn an_api_is_missing_until_it_is_served() {
    let server = server();
    assert_eq!(get(&server, USAGE).await, (404, json!("404 page not found\n")));
    server.metrics_apis().set_mood("default", Api::Resource, Mood::Down);
    let (code, status) = get(&server, USAGE).await;
    assert_eq!((code, &status["reason"]), (503, &json!("ServiceUnavailable")));
    server.metrics_apis().set_mood("default", Api::Resource, Mood::Serves);
    let (code, list) = get(&server, USAGE).await;
    assert_eq!((code, &list["items"]), (200, &json!([])));
}

#[tokio::test]
async fn usage_is_that_of_pods_whose_containers_all_have_some() {
    let server = server();
    let apis = server.metrics_apis();
    apis.set_mood("default", Api::Resource, Mood::Serves);
    apis.set_usage("default", "web-", usage("100m"));
    apis.set_container_usage("default", "web-", "proxy", usage("5m"));
    apis.set_container_usage("default", "db-", "main", usage("1"));
    let (_, list) = get(&server, USAGE).await;
    let [pod] = list["items"].as_array().unwrap().as_slice() else {
        panic!("{list}")
    };
    assert_eq!(pod["metadata"]["name"], "web-1");
    let cpu = |index: usize| pod["containers"][index]["usage"]["cpu"].clone();
    assert_eq!((cpu(0), cpu(1)), (json!("100m"), json!("5m")));
    let (_, none) = get(&server, &format!("{USAGE}?labelSelector=app%3Ddb")).await;
    assert_eq!(none["items"], json!([]));
    let entries = server.take_entries();
    let entry = entries.last().unwrap();
    assert_eq!(
        (entry.verb, entry.resource.as_str(), entry.selector.as_str()),
        ("list", "metrics.k8s.io", "app=db")
    );
}

#[tokio::test]
async fn custom_metrics_are_of_pods_or_of_an_object() {
    let server = server();
    let apis = server.metrics_apis();
    apis.set_mood("default", Api::Custom, Mood::Serves);
    apis.set_custom(
        "default",
        "pods",
        "web-",
        "errors",
        Reading::new("3").labelled("code", "500"),
    );
    apis.set_custom(
        "default",
        "services",
        "web",
        "rps",
        Reading::new("7").aged(Duration::from_mins(1)),
    );
    let custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
    let (_, list) = get(
        &server,
        &format!("{custom}/pods/*/errors?metricLabelSelector=code%3D500"),
    )
    .await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["items"][0]["describedObject"]["name"], "web-1");
    let (code, status) = get(
        &server,
        &format!("{custom}/pods/*/errors?metricLabelSelector=code%3D404"),
    )
    .await;
    assert_eq!(
        (code, &status["message"]),
        (404, &json!("the server could not find the metric errors for pods"))
    );
    let (_, list) = get(&server, &format!("{custom}/services/web/rps")).await;
    assert_eq!(list["items"][0]["value"], "7");
    let (code, _) = get(&server, &format!("{custom}/services/other/rps")).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn external_metrics_are_selected_by_labels() {
    let server = server();
    let apis = server.metrics_apis();
    apis.set_mood("default", Api::External, Mood::Serves);
    apis.set_external("default", "queue", Reading::new("3").labelled("name", "a"));
    apis.set_external("default", "queue", Reading::new("4").labelled("name", "b"));
    apis.record();
    let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";
    let values = async |path: &str| {
        let (_, list) = get(&server, path).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["value"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(values(&format!("{external}/queue")).await, ["3", "4"]);
    assert_eq!(values(&format!("{external}/queue?labelSelector=name%3Db")).await, ["4"]);
    assert_eq!(get(&server, &format!("{external}/other")).await.0, 404);
    let codes: Vec<_> = apis.given().iter().map(|given| given.code).collect();
    assert_eq!(codes, [200, 200, 404]);
}
