//! Defaults of the built-in kinds.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

fn set(object: &mut Value, name: &str, value: Value) {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Some(slot) = object.as_object_mut() {
        let slot = slot.entry(name).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
    }
}

/// Sets default values. `address` returns a free cluster IP.
pub(crate) fn default(resource: &str, object: &mut Value, address: impl FnOnce() -> String) {
    match resource {
        "deployments.apps" => deployment(&mut object["spec"]),
        "statefulsets.apps" => stateful_set(&mut object["spec"]),
        "daemonsets.apps" => daemon_set(&mut object["spec"]),
        "persistentvolumeclaims" => claim(object),
        "replicasets.apps" => {
            set(&mut object["spec"], "replicas", json!(1));
            pod(&mut object["spec"]["template"]["spec"]);
        }
        "pods" => {
            pod(&mut object["spec"]);
            set(&mut object["spec"], "enableServiceLinks", json!(true));
            set(&mut object["status"], "phase", json!("Pending"));
            set(&mut object["status"], "qosClass", json!("BestEffort"));
        }
        "services" => service(&mut object["spec"], address),
        "horizontalpodautoscalers.autoscaling" => {
            let spec = &mut object["spec"];
            set(spec, "minReplicas", json!(1));
            let cpu = json!({"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
            }});
            set(spec, "metrics", json!([cpu]));
        }
        "secrets" => {
            set(object, "type", json!("Opaque"));
            encode(object);
        }
        "namespaces" => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            set(&mut object["spec"], "finalizers", json!(["kubernetes"]));
            set(&mut object["status"], "phase", json!("Active"));
        }
        _ => {}
    }
}

/// Moves `stringData` to `data`, as the API server does.
fn encode(secret: &mut Value) {
    let texts = secret.as_object_mut().and_then(|secret| secret.remove("stringData"));
    for (name, text) in texts.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        secret["data"][name] = json!(bytes);
    }
}

fn deployment(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "revisionHistoryLimit", json!(10));
    set(&mut spec["strategy"], "type", json!("RollingUpdate"));
    if spec["strategy"]["type"] == "RollingUpdate" {
        let rolling = &mut spec["strategy"]["rollingUpdate"];
        set(rolling, "maxSurge", json!("25%"));
        set(rolling, "maxUnavailable", json!("25%"));
    }
    pod(&mut spec["template"]["spec"]);
}

fn stateful_set(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    // A type that is set explicitly gets no rollingUpdate.
    let is_rolling = spec["updateStrategy"]["type"].is_null() || !spec["updateStrategy"]["rollingUpdate"].is_null();
    set(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
    if is_rolling && spec["updateStrategy"]["type"] == "RollingUpdate" {
        set(&mut spec["updateStrategy"]["rollingUpdate"], "partition", json!(0));
    }
    let policy = &mut spec["persistentVolumeClaimRetentionPolicy"];
    set(policy, "whenDeleted", json!("Retain"));
    set(policy, "whenScaled", json!("Retain"));
    for template in spec["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        set(template, "apiVersion", json!("v1"));
        set(template, "kind", json!("PersistentVolumeClaim"));
        claim(template);
    }
    if spec["volumeClaimTemplates"].is_null()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("volumeClaimTemplates");
    }
    pod(&mut spec["template"]["spec"]);
}

fn daemon_set(spec: &mut Value) {
    set(spec, "revisionHistoryLimit", json!(10));
    set(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
    if spec["updateStrategy"]["type"] == "RollingUpdate" {
        let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
        set(rolling, "maxUnavailable", json!(1));
        set(rolling, "maxSurge", json!(0));
    }
    pod(&mut spec["template"]["spec"]);
}

fn claim(claim: &mut Value) {
    set(&mut claim["spec"], "volumeMode", json!("Filesystem"));
    set(&mut claim["status"], "phase", json!("Pending"));
}

fn pod(spec: &mut Value) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            self::container(container);
        }
    }
    if spec["initContainers"].is_null()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("initContainers");
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let floating = !last.contains(['@', ':']) || last.ends_with(":latest");
    let policy = if floating { "Always" } else { "IfNotPresent" };
    set(container, "imagePullPolicy", json!(policy));
    set(container, "resources", json!({}));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
    }
    if container["ports"].is_null()
        && let Some(container) = container.as_object_mut()
    {
        container.remove("ports");
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        if container.get(probe).is_none_or(Value::is_null) {
            continue;
        }
        let probe = &mut container[probe];
        for (name, value) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            set(probe, name, json!(value));
        }
        if probe.get("httpGet").is_some() {
            set(&mut probe["httpGet"], "path", json!("/"));
            set(&mut probe["httpGet"], "scheme", json!("HTTP"));
        }
    }
}

fn service(spec: &mut Value, address: impl FnOnce() -> String) {
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    if spec["type"] == "ExternalName" {
        return;
    }
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    set(spec, "ipFamilyPolicy", json!("SingleStack"));
    set(spec, "ipFamilies", json!(["IPv4"]));
    if spec.get("clusterIP").is_none_or(|ip| ip.is_null() || ip == "") {
        spec["clusterIP"] = json!(address());
    }
    spec["clusterIPs"] = json!([spec["clusterIP"]]);
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
        let same = port["port"].clone();
        set(port, "targetPort", same);
    }
}
