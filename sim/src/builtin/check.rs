//! Validation of the built-in kinds, limited to the rules that users of Kanary run into.

use serde_json::{Map, Value, json};

use crate::{
    failure::Cause,
    names::{label_key_problem, label_value_problem, name_problem},
    object::string_map,
    selector::LabelSelector,
};

/// All validation errors of an object of a built-in kind.
pub(crate) fn check(resource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = labels(new.pointer("/metadata/labels"), "metadata.labels");
    let spec = &new["spec"];
    match resource {
        "statefulsets.apps" => causes.extend(stateful_set(spec, old.map(|old| &old["spec"]))),
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" => {
            causes.extend(workload(spec, old.map(|old| &old["spec"])));
            if resource == "deployments.apps" {
                causes.extend(strategy(&spec["strategy"]));
            }
        }
        "pods" => causes.extend(pod(spec, "spec")),
        "services" => causes.extend(service(spec, old.map(|old| &old["spec"]))),
        "horizontalpodautoscalers.autoscaling" => causes.extend(autoscaler(spec)),
        _ => {}
    }
    causes
}

fn required(field: &str) -> Cause {
    Cause {
        reason: "FieldValueRequired",
        message: "Required value".to_owned(),
        field: field.to_owned(),
    }
}

fn invalid(field: &str, value: &Value, why: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {value}: {why}"),
        field: field.to_owned(),
    }
}

fn negative(spec: &Value, name: &str) -> Option<Cause> {
    let is_negative = spec[name].as_i64().is_some_and(|number| number < 0);
    is_negative.then(|| {
        let field = format!("spec.{name}");
        invalid(&field, &spec[name], "must be greater than or equal to 0")
    })
}

fn labels(labels: Option<&Value>, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in string_map(labels.unwrap_or(&Value::Null)) {
        if let Some(why) = label_key_problem(&key) {
            causes.push(invalid(field, &key.as_str().into(), &why));
        }
        if let Some(why) = label_value_problem(&value) {
            causes.push(invalid(field, &value.as_str().into(), &why));
        }
    }
    causes
}

fn workload(spec: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes: Vec<_> = ["replicas", "minReadySeconds", "progressDeadlineSeconds"]
        .iter()
        .filter_map(|name| negative(spec, name))
        .collect();
    let selector = LabelSelector::from_object(&spec["selector"]);
    let template = spec.pointer("/template/metadata/labels");
    match selector {
        Err(why) => causes.push(invalid("spec.selector", &spec["selector"], &why)),
        Ok(selector) if selector.is_empty() => causes.push(required("spec.selector")),
        Ok(selector) => {
            let template = template.unwrap_or(&Value::Null);
            if !selector.matches(&string_map(template)) {
                let why = "`selector` does not match template `labels`";
                causes.push(invalid("spec.template.metadata.labels", template, why));
            }
        }
    }
    if old.is_some_and(|old| old["selector"] != spec["selector"]) {
        causes.push(invalid("spec.selector", &spec["selector"], "field is immutable"));
    }
    causes.extend(labels(template, "spec.template.labels"));
    let pods = &spec["template"]["spec"];
    causes.extend(pod(pods, "spec.template.spec"));
    if let Some(policy) = pods["restartPolicy"].as_str().filter(|policy| *policy != "Always") {
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: \"{policy}\": supported values: \"Always\""),
            field: "spec.template.spec.restartPolicy".to_owned(),
        });
    }
    causes
}

/// Fields of a StatefulSet that may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn stateful_set(spec: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut mounted = spec.clone();
    let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
    let volumes: Vec<_> = claims
        .map(|claim| json!({"name": claim["metadata"]["name"]}))
        .chain(
            spec["template"]["spec"]["volumes"]
                .as_array()
                .into_iter()
                .flatten()
                .cloned(),
        )
        .collect();
    if let Some(pod) = mounted.pointer_mut("/template/spec").and_then(Value::as_object_mut) {
        pod.insert("volumes".to_owned(), volumes.into());
    }
    let mut causes = workload(&mounted, old);
    let fixed = |spec: &Value| {
        let fields = spec.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| !MUTABLE.contains(&name.as_str()));
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Map<_, _>>()
    };
    if old.is_some_and(|old| fixed(old) != fixed(spec)) {
        causes.push(Cause {
            reason: "FieldValueForbidden",
            message: "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
                      forbidden"
                .to_owned(),
            field: "spec".to_owned(),
        });
    }
    causes
}

fn strategy(strategy: &Value) -> Vec<Cause> {
    let rolling = &strategy["rollingUpdate"];
    let is_zero = |value: &Value| *value == 0 || *value == "0%";
    if is_zero(&rolling["maxSurge"]) && is_zero(&rolling["maxUnavailable"]) {
        let why = "may not be 0 when `maxSurge` is 0";
        let field = "spec.strategy.rollingUpdate.maxUnavailable";
        return vec![invalid(field, &rolling["maxUnavailable"], why)];
    }
    if strategy["type"] == "Recreate" && !rolling.is_null() {
        return vec![Cause {
            reason: "FieldValueForbidden",
            message: "Forbidden: may not be specified when strategy `type` is 'Recreate'".to_owned(),
            field: "spec.strategy.rollingUpdate".to_owned(),
        }];
    }
    Vec::new()
}

fn pod(spec: &Value, at: &str) -> Vec<Cause> {
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        return vec![required(&format!("{at}.containers"))];
    }
    let mut causes = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let field = |name: &str| format!("{at}.containers[{index}].{name}");
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(required(&field("name")));
        } else if let Some(why) = name_problem(name, true) {
            causes.push(invalid(&field("name"), &container["name"], &why));
        } else if !names.insert(name) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: \"{name}\""),
                field: field("name"),
            });
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            causes.push(required(&field("image")));
        }
        causes.extend(mounts(container, &spec["volumes"], &field("volumeMounts")));
    }
    causes
}

fn mounts(container: &Value, volumes: &Value, field: &str) -> Vec<Cause> {
    let known = |name: &Value| {
        volumes
            .as_array()
            .into_iter()
            .flatten()
            .any(|volume| volume["name"] == *name)
    };
    let mounts = container["volumeMounts"].as_array().into_iter().flatten().enumerate();
    mounts
        .filter(|(_, mount)| !known(&mount["name"]))
        .map(|(index, mount)| Cause {
            reason: "FieldValueNotFound",
            message: format!("Not found: {}", mount["name"]),
            field: format!("{field}[{index}].name"),
        })
        .collect()
}

fn service(spec: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && !headless && spec["type"] != "ExternalName" {
        causes.push(required("spec.ports"));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports.len() > 1 && port["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(required(&format!("spec.ports[{index}].name")));
        }
        if !(1..=65535).contains(&port["port"].as_i64().unwrap_or_default()) {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(invalid(&format!("spec.ports[{index}].port"), &port["port"], why));
        }
    }
    let moved = |old: &Value| old["type"] == spec["type"] && old["clusterIP"] != spec["clusterIP"];
    if old.is_some_and(moved) {
        causes.push(invalid("spec.clusterIPs[0]", &spec["clusterIP"], "field is immutable"));
    }
    causes
}

fn autoscaler(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (least, most) = (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64());
    if most.is_none_or(|most| most < 1) {
        causes.push(invalid(
            "spec.maxReplicas",
            &spec["maxReplicas"],
            "must be greater than 0",
        ));
    } else if most.is_some_and(|most| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(invalid("spec.maxReplicas", &spec["maxReplicas"], why));
    }
    if least < 1 {
        causes.push(invalid(
            "spec.minReplicas",
            &spec["minReplicas"],
            "must be greater than or equal to 1",
        ));
    }
    causes
}
