//! Desired objects: the canary, its Service, its autoscaler, and a target that has to be created.

use serde_json::{Map, Value, json};

use super::{
    canary::{Canary, Spec},
    labels::{self, Labels},
    observation::{Deployment, Observation, Service},
    scale::Scale,
};
use crate::api::names::{
    CHANGE_CAUSE, CREATED_BY, GROUP, IS_KANARY, KANARY_KIND, KANARY_NAME, RUN, SLOT, TARGET_HASH, TRAFFIC, VERSION,
};

/// Labels of every object that belongs to a run.
fn identity(canary: &Canary) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert(IS_KANARY.to_owned(), json!("true"));
    labels.insert(KANARY_NAME.to_owned(), json!(canary.key.name));
    labels.insert(KANARY_KIND.to_owned(), json!(canary.key.kind.as_str()));
    labels
}

fn metadata(canary: &Canary, name: &str, mut labels: Map<String, Value>) -> Value {
    labels.extend(identity(canary));
    labels.insert(SLOT.to_owned(), json!(canary.slot.to_string()));
    json!({
        "name": name,
        "namespace": canary.key.namespace,
        "labels": labels,
        "ownerReferences": [{
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": canary.key.kind.as_str(),
            "name": canary.key.name,
            "uid": canary.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    })
}

fn string_labels(value: Option<&Value>) -> Labels {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Labels of the template's pods, as the user wrote them.
#[must_use]
pub fn template_labels(spec: &Spec) -> Labels {
    string_labels(spec.template_spec.pointer("/template/metadata/labels"))
}

/// Labels of the canary's pods: the template's, with what the traffic source adds or must not have.
///
/// A canary behind the production Service carries all labels that the Service selects by. Any other canary carries none
/// that would bring traffic to it: whatever a Service of the namespace or the target's own selector (which autoscalers
/// and disruption budgets use too) would match is left out.
fn pod_labels(canary: &Canary, spec: &Spec, seen: &Observation, target: &Deployment) -> Labels {
    let mut pod = template_labels(spec);
    if let (true, Some(service)) = (spec.in_production(), &seen.service) {
        pod.extend(service.selector.clone());
    } else {
        for key in target.selector.iter().flat_map(|selector| &selector.keys) {
            pod.remove(key);
        }
        let before = pod.clone();
        for selector in seen.selectors.iter().filter(|s| labels::service_selects(s, &before)) {
            pod.retain(|name, _| !selector.contains_key(name));
        }
    }
    pod.insert(IS_KANARY.to_owned(), "true".to_owned());
    pod.insert(KANARY_NAME.to_owned(), canary.key.name.clone());
    pod.insert(KANARY_KIND.to_owned(), canary.key.kind.as_str().to_owned());
    pod.insert(RUN.to_owned(), canary.run(spec));
    pod.insert(SLOT.to_owned(), canary.slot.to_string());
    pod
}

/// The canary: the template's Deployment under the canary's name, with a selector that is only its own.
#[must_use]
pub fn canary_deployment(canary: &Canary, spec: &Spec, seen: &Observation, target: &Deployment) -> Value {
    let mut deployment = spec.template_spec.clone();
    let mut own = identity(canary);
    own.insert(RUN.to_owned(), json!(canary.run(spec)));
    if let Some(fields) = deployment.as_object_mut() {
        fields.insert("replicas".to_owned(), json!(spec.scale.initial(target.replicas)));
        fields.insert("selector".to_owned(), json!({"matchLabels": own}));
        // A canary is never rolled over, and "available" is to mean all of it: with the user's `maxUnavailable` a single
        // pod that never starts could count as available.
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
        fields.insert("strategy".to_owned(), strategy);
        fields.remove("paused");
        let pod_labels = json!(pod_labels(canary, spec, seen, target));
        if let Some(pod) = fields.get_mut("template").and_then(Value::as_object_mut) {
            let metadata = pod.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("labels".to_owned(), pod_labels);
            }
        }
    }
    let mut run = Map::new();
    run.insert(RUN.to_owned(), json!(canary.run(spec)));
    let mut metadata = metadata(canary, &spec.canary, run);
    // A canary that is made again within a run keeps the hash that the run started with.
    let target_hash = canary.status.target_hash.as_ref().unwrap_or(&target.template_hash);
    if let Some(fields) = metadata.as_object_mut() {
        let mut annotations = Map::new();
        annotations.insert(TARGET_HASH.to_owned(), json!(target_hash));
        if let Some(traffic) = canary.traffic_of_run(spec) {
            annotations.insert(TRAFFIC.to_owned(), json!(traffic));
        }
        fields.insert("annotations".to_owned(), json!(annotations));
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment})
}

/// The canary's own Service: the production Service's ports, the canary's pods.
#[must_use]
pub fn kanary_service(canary: &Canary, name: &str, production: &Service) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(canary, name, Map::new()),
        "spec": {"type": "ClusterIP", "ports": production.ports, "selector": identity(canary)},
    })
}

/// The canary's autoscaler, if it scales by one.
#[must_use]
pub fn autoscaler(canary: &Canary, spec: &Spec) -> Option<Value> {
    let Scale::Hpa { spec: hpa, .. } = &spec.scale else {
        return None;
    };
    let mut hpa = hpa.clone();
    if let Some(fields) = hpa.as_object_mut() {
        fields.insert(
            "scaleTargetRef".to_owned(),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.canary}),
        );
    }
    Some(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(canary, &spec.canary, Map::new()),
        "spec": hpa,
    }))
}

/// A target that does not exist yet: the user's template, owned by nobody, so that it outlives the Kanary.
#[must_use]
pub fn target_deployment(canary: &Canary, spec: &Spec) -> Value {
    let mut annotations = string_labels(spec.template_metadata.get("annotations"));
    annotations.insert(CREATED_BY.to_owned(), canary.marker(spec));
    annotations.insert(CHANGE_CAUSE.to_owned(), format!("created by {}", canary.key));
    let mut deployment = spec.template_spec.clone();
    if let Some(fields) = deployment.as_object_mut()
        && !fields.contains_key("selector")
    {
        fields.insert("selector".to_owned(), json!({"matchLabels": template_labels(spec)}));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": spec.target,
            "namespace": canary.key.namespace,
            "labels": string_labels(spec.template_metadata.get("labels")),
            "annotations": annotations,
        },
        "spec": deployment,
    })
}
