//! The objects of a load test: targets and Kanaries.

use std::{ops::Range, time::Duration};

use kanary_core::api::{
    GoDuration,
    names::{GROUP, VERSION},
};
use serde_json::{Value, json};

use crate::plan::Template;

/// Version of the targets before the promotion.
pub(crate) const OLD: &str = "v1";
/// Version of the canaries.
pub(crate) const NEW: &str = "v2";

/// Image of a version.
pub(crate) fn image(version: &str) -> String {
    format!("registry.example.com/shop/app:{version}")
}

/// Name of target and Kanary `number`.
pub(crate) fn name(number: usize) -> String {
    format!("app-{number:05}")
}

/// The number in the name of a target, a Kanary or a canary.
pub(crate) fn number(name: &str) -> Option<usize> {
    name.strip_prefix("app-")?.get(..5)?.parse().ok()
}

/// A pod template with the label `app`.
pub(crate) fn template(app: &str, version: &str, size: Template) -> Value {
    match size {
        Template::Small => json!({
            "metadata": {"labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "image": image(version)}]},
        }),
        Template::Realistic => json!({
            "metadata": {
                "labels": {"app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "tier": "backend"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "checksum/config": "4f1c0b7e"},
            },
            "spec": {
                "serviceAccountName": "default",
                "terminationGracePeriodSeconds": 45,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    container("main", &image(version), 8080, 0..20),
                    container("proxy", "registry.example.com/mesh/proxy:1.29", 15090, 2..5),
                    container("logs", "registry.example.com/logs/agent:5.1", 2020, 2..5),
                ],
                "volumes": [
                    {"name": "config", "configMap": {"name": "app", "optional": true}},
                    {"name": "cache", "emptyDir": {"sizeLimit": "64Mi"}},
                    {"name": "token", "projected": {"sources": [{"downwardAPI": {"items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    ]}}]}},
                ],
                "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                    "weight": 1,
                    "podAffinityTerm": {
                        "labelSelector": {"matchLabels": {"app": app}},
                        "topologyKey": "kubernetes.io/hostname",
                    },
                }]}},
            },
        }),
    }
}

/// A container of a realistic template, with these variables.
fn container(name: &str, image: &str, port: u16, variables: Range<usize>) -> Value {
    let variable = |number: usize| match number {
        0 => json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        1 => json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
        _ => json!({"name": format!("SETTING_{number}"), "value": format!("value of setting {number}")}),
    };
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "failureThreshold": 3});
    json!({
        "name": name,
        "image": image,
        "args": ["serve", "--config", "/etc/app/config.yaml"],
        "env": variables.map(variable).collect::<Vec<_>>(),
        "ports": [{"name": "http", "containerPort": port}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        "livenessProbe": probe("/livez"),
        "readinessProbe": probe("/readyz"),
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app", "readOnly": true},
            {"name": "cache", "mountPath": "/var/cache/app"},
            {"name": "token", "mountPath": "/etc/token", "readOnly": true},
        ],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    })
}

/// The Deployment that a canary is for.
pub(crate) fn target(number: usize, size: Template) -> Value {
    let name = name(number);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": template(&name, OLD, size),
        },
    })
}

/// A `promQL` item that asks `prometheus` about each ready pod.
pub(crate) fn item(prometheus: &str, interval: Duration) -> Value {
    json!({"promQL": {
        "prometheusURL": prometheus,
        "query": "sum by (pod) (errors_per_second{pod=~\"{{ pods }}\"})",
        "valueInRange": {"min": 0, "max": 1},
        "interval": GoDuration(interval).to_string(),
    }})
}

/// A Kanary that promotes its target if all its items pass.
pub(crate) fn kanary(number: usize, size: Template, validation: Duration, items: &[Value]) -> Value {
    let name = name(number);
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "KanaryDeployment",
        "metadata": {"name": name},
        "spec": {
            "deploymentName": name,
            "template": {"spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": template(&name, NEW, size),
            }},
            "validation": {"validationPeriod": GoDuration(validation).to_string(), "items": items},
        },
    })
}

#[cfg(test)]
mod tests {
    use kanary_core::api::names::canary_name;

    use super::*;

    fn maps(value: &Value) -> usize {
        match value {
            Value::Object(map) => 1 + map.values().map(maps).sum::<usize>(),
            Value::Array(list) => list.iter().map(maps).sum(),
            _ => 0,
        }
    }

    #[test]
    fn names_contain_the_number() {
        assert_eq!(number(&name(42)), Some(42));
        assert_eq!(number(&canary_name(&name(19_999), &name(19_999))), Some(19_999));
        assert_eq!(number("app-1"), None);
        assert_eq!(number("other"), None);
    }

    #[test]
    fn a_realistic_template_is_as_large_as_those_of_users() {
        let template = template("app", NEW, Template::Realistic);
        assert!((60..=100).contains(&maps(&template)), "{}", maps(&template));
        let variables = |container: &Value| container["env"].as_array().unwrap().len();
        assert_eq!(
            template["spec"]["containers"]
                .as_array()
                .unwrap()
                .iter()
                .map(variables)
                .max(),
            Some(20)
        );
    }

    #[test]
    fn the_interval_is_written_as_the_api_reads_it() {
        let item = item("http://127.0.0.1:9090", Duration::from_secs(10));
        assert_eq!(item["promQL"]["interval"], "10s");
    }
}
