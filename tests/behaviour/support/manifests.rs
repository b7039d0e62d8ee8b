//! Short manifests.

use serde_json::{Value, json};

/// A pod template with the label `app` and one container, whose image names the version.
pub(crate) fn template(app: &str, version: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": format!("{app}:{version}")}]},
    })
}

/// A Deployment at version `v1`.
pub(crate) fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, "v1"),
        },
    })
}

/// A Deployment whose rollouts take ten minutes, because its pods count as available only after that time.
pub(crate) fn slow_deployment(name: &str) -> Value {
    let mut slow = deployment(name, 1);
    slow["spec"]["minReadySeconds"] = json!(599);
    slow
}

/// A validation that waits for a manual verdict.
pub(crate) fn held() -> Value {
    json!({"validationPeriod": "1h", "items": [{"manual": {}}]})
}

/// A Service in front of the Deployment `app`.
pub(crate) fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

/// A `ConfigMap`.
pub(crate) fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A KanaryDeployment that validates version `v2` of `target` for two seconds and then passes, merged with `spec`.
pub(crate) fn kanary(name: &str, target: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "kanary.k8s-operators.dev/v1alpha1",
        "kind": "KanaryDeployment",
        "metadata": {"name": name},
        "spec": {
            "deploymentName": target,
            "template": {"spec": {
                "selector": {"matchLabels": {"app": target}},
                "template": template(target, "v2"),
            }},
            "validation": {
                "validationPeriod": "2s",
                "items": [{"manual": {"statusAfterDeadline": "valid"}}],
            },
        },
    });
    merge(&mut manifest["spec"], spec);
    manifest
}

/// JSON merge patch.
pub(crate) fn merge(into: &mut Value, patch: Value) {
    kanary_sim::patch::merge(into, &patch);
}

/// All documents of a YAML text.
pub(crate) fn from_yaml(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("the text is YAML"))
        .filter(|document| !document.is_null())
        .collect()
}
