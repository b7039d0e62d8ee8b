//! The manifests that the demo applies.

use kanary_core::api::names::{GROUP, VERSION};
use serde_json::{Value, json};

/// The namespace of all objects: kubectl's default.
pub(super) const NAMESPACE: &str = "default";

/// The label that an alert sets on a pod.
pub(super) const ALERT: (&str, &str) = ("monitoring-alert", "high-cpu");

fn pods(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": 8080}]}]},
    })
}

/// A Deployment that runs `app:v1`, and its Service, before any Kanary exists.
pub(super) fn target(app: &str, replicas: u32) -> [Value; 2] {
    let metadata = json!({"name": app, "namespace": NAMESPACE, "labels": {"app": app}});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app}},
            "template": pods(app, &format!("{app}:v1")),
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    [deployment, service]
}

/// The Gateway of all routes.
const GATEWAY: &str = "web";
const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

pub(super) fn gateway() -> Value {
    json!({
        "apiVersion": GATEWAY_API,
        "kind": "Gateway",
        "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "demo", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    })
}

/// A route from the Gateway to the Service of a target.
pub(super) fn route(app: &str) -> Value {
    json!({
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": app, "namespace": NAMESPACE, "labels": {"app": app}},
        "spec": {
            "parentRefs": [{"name": GATEWAY}],
            "hostnames": [format!("{app}.example.com")],
            "rules": [{"backendRefs": [{"name": app, "port": 80}]}],
        },
    })
}

/// A Kanary that tests `image` on `app`. `more` contains the other fields of its spec.
pub(super) fn kanary(name: &str, app: &str, image: &str, more: Value) -> Value {
    let mut spec = json!({
        "deploymentName": app,
        "serviceName": app,
        "traffic": {"source": "service"},
        "template": {"spec": {"template": pods(app, image)}},
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "KanaryDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    })
}

/// A validation item with a Prometheus query.
pub(super) fn prom_ql(query: &str, max: f64) -> Value {
    json!({"promQL": {
        "prometheusService": "prometheus.monitoring:9090",
        "query": query,
        "allPodsQuery": true,
        "valueInRange": {"max": max},
    }})
}

/// A validation item that fails when an alert labels a pod.
pub(super) fn alert() -> Value {
    json!({"labelWatch": {"podInvalidationLabels": {ALERT.0: ALERT.1}}})
}

/// A validation item that waits for a manual verdict.
pub(super) fn manual() -> Value {
    json!({"manual": {"statusAfterDeadline": "none"}})
}
