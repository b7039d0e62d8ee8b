//! Manifests: the canary, its Service, its autoscaler, and a target that is missing.

use serde_json::{Map, Value, json};

use super::{
    carried,
    decision::ObjectKind,
    kanary::ParsedKanary,
    labels::Labels,
    nodes::{self, Choice},
    observation::{Observation, Service, Workload},
    scale::Scale,
    spec::Spec,
    validation::Item,
    workload,
};
use crate::api::names::{
    CHANGE_CAUSE, CREATED_BY, IS_KANARY, KANARY_KIND, KANARY_NAME, NODES, OLD_CANARY_POD, OLD_GROUP, OLD_IS_KANARY,
    OLD_KANARY_NAME, RUN, SLOT, TARGET_HASH, TRAFFIC,
};

/// Labels of all objects of a run.
fn identity(kanary: &ParsedKanary) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert(IS_KANARY.to_owned(), json!("true"));
    labels.insert(KANARY_NAME.to_owned(), json!(kanary.key.name));
    labels.insert(KANARY_KIND.to_owned(), json!(kanary.key.kind.id()));
    labels
}

/// Whether the objects of a run also have the labels of the first published operator.
fn has_old_labels(kanary: &ParsedKanary) -> bool {
    kanary.key.kind.api_group() == OLD_GROUP
}

fn metadata(kanary: &ParsedKanary, name: &str, labels: Labels) -> Value {
    let mut labels: Map<_, _> = labels.into_iter().map(|(name, value)| (name, json!(value))).collect();
    labels.extend(identity(kanary));
    labels.insert(SLOT.to_owned(), json!(kanary.slot.to_string()));
    if has_old_labels(kanary) {
        labels.insert(OLD_IS_KANARY.to_owned(), json!("true"));
        labels.insert(OLD_KANARY_NAME.to_owned(), json!(kanary.key.name));
    }
    json!({
        "name": name,
        "namespace": kanary.key.namespace,
        "labels": labels,
        "ownerReferences": [kanary.owner_reference()],
    })
}

/// Labels of the template that the canary's pods inherit.
///
/// Labels in the target's selector are left out, because the target's autoscalers and disruption budgets use it too.
/// Behind the production Service a canary keeps the labels that the Service selects; any other canary has no labels that
/// would send it traffic from a Service of the namespace.
fn kept_labels(spec: &Spec, seen: &Observation, target: &Workload) -> Labels {
    let mut pod = spec.template.pod_labels();
    let production = seen.service.as_ref().filter(|_| spec.in_production());
    let is_needed = |name: &String| production.is_some_and(|service| service.selector.contains_key(name));
    if let Some(selector) = &target.selector
        && selector.selector.matches(&pod)
    {
        pod.retain(|name, _| !selector.keys.contains(name) || is_needed(name));
    }
    // The Service that gives the target's pods their names lists its members, which the canary is not.
    let governing = target.set.as_ref().filter(|_| production.is_some());
    let governing = governing.and_then(|set| seen.services.iter().find(|service| *service.name == *set.service));
    if let Some(service) = governing.filter(|service| service.selects(&pod)) {
        pod.retain(|name, _| !service.selector.contains_key(name) || is_needed(name));
    }
    if production.is_none() {
        let before = pod.clone();
        let services = seen.services.iter().chain(&seen.service);
        for service in services.filter(|service| service.selects(&before)) {
            pod.retain(|name, _| !service.selector.contains_key(name));
        }
    }
    pod
}

/// The target's selector in readable form, if it also selects the canary's pods.
#[must_use]
pub fn shared_selector<'a>(spec: &Spec, seen: &Observation, target: &'a Workload) -> Option<&'a str> {
    let selector = target.selector.as_ref()?;
    let shared = selector.selector.matches(&kept_labels(spec, seen, target));
    shared.then_some(selector.shown.as_str())
}

/// Labels of the canary's pods.
fn pod_labels(kanary: &ParsedKanary, spec: &Spec, seen: &Observation, target: &Workload) -> Labels {
    let mut pod = kept_labels(spec, seen, target);
    pod.insert(IS_KANARY.to_owned(), "true".to_owned());
    pod.insert(KANARY_NAME.to_owned(), kanary.key.name.clone());
    pod.insert(KANARY_KIND.to_owned(), kanary.key.kind.id().to_owned());
    if has_old_labels(kanary) {
        pod.insert(OLD_CANARY_POD.to_owned(), "true".to_owned());
        pod.insert(OLD_KANARY_NAME.to_owned(), kanary.key.name.clone());
    }
    pod.extend(extra_labels(spec));
    pod.insert(RUN.to_owned(), kanary.run(spec));
    pod.insert(SLOT.to_owned(), kanary.slot.to_string());
    pod
}

/// Labels of a canary and of its pods that a front end asks for.
fn extra_labels(spec: &Spec) -> Labels {
    let frame = spec.frame.as_ref();
    frame.map(|frame| frame.canary_labels.clone()).unwrap_or_default()
}

/// Labels of the canary in addition to Kanary's own: those of the template and the target, because policies
/// may require them. Labels that would fail the canary through a labelWatch item are left out.
fn carried_labels(spec: &Spec, target: &Workload) -> Labels {
    let mut labels = carried::of(&target.labels);
    labels.extend(carried::of(&spec.template.labels()));
    for item in &spec.validation.items {
        let Item::LabelWatch {
            deployment: Some(selector),
            ..
        } = item
        else {
            continue;
        };
        if selector.matches(&labels) {
            labels.retain(|name, _| !selector.keys().contains(name));
        }
    }
    labels
}

fn carried_annotations(spec: &Spec, target: &Workload) -> Labels {
    let mut annotations = target.annotations.clone();
    annotations.extend(carried::of(&spec.template.annotations()));
    annotations
}

/// The labels of everything that the runs of a Kanary create.
#[must_use]
pub fn own_selector(kanary: &ParsedKanary) -> Labels {
    identity(kanary)
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
        .collect()
}

/// The canary: a workload with the user's template, the canary's name, and a selector of its own. `choice` has the nodes of a canary
/// without a number of replicas.
#[must_use]
pub fn canary_workload(
    kanary: &ParsedKanary,
    spec: &Spec,
    seen: &Observation,
    target: &Workload,
    choice: Option<&Choice>,
) -> Value {
    let mut workload = spec.template.spec();
    let mut own = identity(kanary);
    own.insert(RUN.to_owned(), json!(kanary.run(spec)));
    if let Some(fields) = workload.as_object_mut() {
        fields.insert("replicas".to_owned(), json!(spec.scale.initial(target.replicas)));
        fields.insert("selector".to_owned(), json!({"matchLabels": own}));
        workload::of(spec.canary.kind).isolate(fields);
        let pod_labels = json!(pod_labels(kanary, spec, seen, target));
        if let Some(pod) = fields.get_mut("template").and_then(Value::as_object_mut) {
            let metadata = pod.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("labels".to_owned(), pod_labels);
            }
            if let (Some(choice), Some(pod)) = (choice, pod.get_mut("spec").and_then(Value::as_object_mut)) {
                let affinity = nodes::pinned(pod.get("affinity"), &choice.nodes);
                pod.insert("affinity".to_owned(), affinity);
            }
        }
    }
    let mut labels = carried_labels(spec, target);
    labels.extend(extra_labels(spec));
    labels.insert(RUN.to_owned(), kanary.run(spec));
    let mut metadata = metadata(kanary, &spec.canary.name, labels);
    // A canary that is created again within a run keeps the hash from the start of the run.
    let target_hash = kanary.status.target_hash.as_ref().unwrap_or(&target.template_hash);
    let mut annotations = carried_annotations(spec, target);
    annotations.insert(TARGET_HASH.to_owned(), target_hash.clone());
    annotations.extend(choice.map(|choice| (NODES.to_owned(), choice.annotation(1))));
    if let Some(fields) = metadata.as_object_mut() {
        if let Some(traffic) = kanary.traffic_of_run(spec) {
            annotations.insert(TRAFFIC.to_owned(), traffic.to_owned());
        }
        fields.insert("annotations".to_owned(), json!(annotations));
    }
    json!({"apiVersion": "apps/v1", "kind": spec.canary.kind.as_str(), "metadata": metadata, "spec": workload})
}

/// The selector of the canary's own Service. A pod of a former run may have left its canary, and may be a bad one.
#[must_use]
pub fn service_selector(kanary: &ParsedKanary, spec: &Spec) -> Labels {
    let mut selector = own_selector(kanary);
    selector.insert(RUN.to_owned(), kanary.run(spec));
    selector
}

/// The canary's own Service, with the production Service's ports and the canary's pods.
#[must_use]
pub fn kanary_service(kanary: &ParsedKanary, spec: &Spec, name: &str, production: &Service) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(kanary, name, Labels::new()),
        "spec": {"type": "ClusterIP", "ports": production.ports, "selector": service_selector(kanary, spec)},
    })
}

/// The canary's autoscaler and its kind, if it has one.
#[must_use]
pub fn autoscaler(kanary: &ParsedKanary, spec: &Spec, target: &Workload) -> Option<(ObjectKind, Value)> {
    let Scale::Auto { kind, spec: scale, .. } = &spec.scale else {
        return None;
    };
    let mut scale = scale.clone();
    if let Some(fields) = scale.as_object_mut() {
        fields.insert(
            "scaleTargetRef".to_owned(),
            json!({"apiVersion": "apps/v1", "kind": spec.canary.kind.as_str(), "name": spec.canary.name}),
        );
    }
    let object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.object().as_str(),
        "metadata": metadata(kanary, &spec.canary.name, carried_labels(spec, target)),
        "spec": scale,
    });
    Some((kind.object(), object))
}

/// A missing target: the user's template without an owner, so that it outlives the Kanary. The target of a front end may belong to it.
#[must_use]
pub fn target_workload(kanary: &ParsedKanary, spec: &Spec) -> Value {
    let mut annotations = spec.template.annotations();
    annotations.insert(CREATED_BY.to_owned(), kanary.marker(spec));
    annotations.insert(CHANGE_CAUSE.to_owned(), format!("created by {}", kanary.key));
    let mut workload = spec.template.spec();
    if let Some(fields) = workload.as_object_mut()
        && !fields.contains_key("selector")
    {
        fields.insert(
            "selector".to_owned(),
            json!({"matchLabels": spec.template.pod_labels()}),
        );
    }
    let mut metadata = json!({
        "name": spec.target.name,
        "namespace": kanary.key.namespace,
        "labels": spec.template.labels(),
        "annotations": annotations,
    });
    if let Some(fields) = metadata.as_object_mut()
        && spec.frame.is_some()
    {
        fields.insert("ownerReferences".to_owned(), json!([kanary.owner_reference()]));
    }
    json!({"apiVersion": "apps/v1", "kind": spec.target.kind.as_str(), "metadata": metadata, "spec": workload})
}
