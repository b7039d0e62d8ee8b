//! The manifest of a Kanary of 2019 as one of today. Pure: what differs is listed, and the template stays as it is.

use kanary_core::api::{
    KanaryKind,
    names::{self, OLD_GROUP},
};
use serde_json::{Map, Value, json};

use crate::manifests;

/// A manifest of today, and how it differs from the one that it was made from.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) kanary: Value,
    pub(super) changes: Vec<String>,
}

/// Whether a manifest is one that [`rewrite`] is about: a `KanaryDeployment` of either group.
pub(super) fn is_known(object: &Value) -> bool {
    let kind = manifests::kanary_kind(object);
    kind.is_some_and(|kind| [KanaryKind::Deployment, KanaryKind::OldDeployment].contains(&kind))
}

type Fields = Map<String, Value>;

/// Rewrites a `KanaryDeployment` of either group. Its status is left out. A manifest that needs no change stays the same.
pub(super) fn rewrite(old: &Value) -> Rewritten {
    let mut changes = Vec::new();
    let kind = KanaryKind::Deployment;
    let was = old.get("apiVersion").and_then(Value::as_str).unwrap_or(OLD_GROUP);
    if was != kind.api_version() {
        changes.push(format!("apiVersion is {} now", kind.api_version()));
    }
    let mut spec = manifests::tidy(old.get("spec").cloned().unwrap_or_default());
    if let Some(spec) = spec.as_object_mut() {
        validation(spec, &mut changes);
        scale(spec, &mut changes);
        traffic(spec, &mut changes);
        template(spec, &mut changes);
        spec.retain(|_, value| *value != json!(""));
    }
    let kanary = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": metadata(old.get("metadata").unwrap_or(&Value::Null)),
        "spec": spec,
    });
    Rewritten { kanary, changes }
}

/// What a user wrote: not what an API server, kubectl or Kanary keeps about the object.
fn metadata(old: &Value) -> Value {
    let mut kept = Fields::new();
    for field in ["name", "namespace", "ownerReferences"] {
        kept.extend(old.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    for field in ["labels", "annotations"] {
        let all = old.get(field).and_then(Value::as_object).into_iter().flatten();
        let is_theirs = |name: &str| names::is_reserved(name) || name.starts_with("kubectl.kubernetes.io/last-applied");
        let own: Fields = all
            .filter(|(name, _)| !is_theirs(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !own.is_empty() {
            kept.insert(field.to_owned(), own.into());
        }
    }
    kept.into()
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Fields::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Removes a field that holds nothing.
fn take(fields: &mut Fields, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !is_empty(value))
}

/// The block has one name, and its items are in a list.
fn validation(spec: &mut Fields, changes: &mut Vec<String>) {
    let (mut block, former) = (take(spec, "validation"), take(spec, "validations"));
    if former.is_some() {
        changes.push(if block.is_some() {
            "spec.validation is spec.validations of before, which the operator of 2019 followed where both are set"
                .to_owned()
        } else {
            "spec.validations is spec.validation now".to_owned()
        });
        block = former;
    }
    let beside = take(spec, "items");
    if block.is_none() && beside.is_none() {
        return;
    }
    let mut block = block.unwrap_or_else(|| json!({}));
    if let Some(fields) = block.as_object_mut() {
        if let Some(items) = beside {
            let is_used = !fields.contains_key("items");
            changes.push(if is_used {
                "spec.items is spec.validation.items now".to_owned()
            } else {
                "spec.items is left out: spec.validation has items of its own".to_owned()
            });
            if is_used {
                fields.insert("items".to_owned(), items);
            }
        }
        for name in ["manual", "labelWatch", "promQL"] {
            if let Some(item) = fields.remove(name) {
                changes.push(format!(
                    "spec.validation.{name} is an item of spec.validation.items now"
                ));
                let items = fields.entry("items").or_insert_with(|| json!([]));
                if let Some(items) = items.as_array_mut() {
                    items.push(json!({ name: item }));
                }
            }
        }
        let items = fields.get_mut("items").and_then(Value::as_array_mut);
        for (index, item) in items.into_iter().flatten().enumerate() {
            each(&format!("spec.validation.items[{index}]"), item, changes);
        }
        fields.retain(|name, value| name != "items" || !is_empty(value));
    }
    spec.insert("validation".to_owned(), block);
}

/// Defaults of 2019 that have to be written today.
fn each(at: &str, item: &mut Value, changes: &mut Vec<String>) {
    if is_empty(item) {
        changes.push(format!("{at} is a manual item, as it was by default"));
        *item = json!({"manual": {}});
    }
    if let Some(manual) = item.get_mut("manual").and_then(Value::as_object_mut) {
        manual.retain(|_, value| *value != json!(""));
    }
    let Some(query) = item.get_mut("promQL").and_then(Value::as_object_mut) else {
        return;
    };
    query.retain(|name, value| name == "query" || *value != json!(""));
    if !query.contains_key("prometheusService") && !query.contains_key("prometheusURL") {
        changes.push(format!(
            "{at}.promQL.prometheusService is prometheus:9090, as it was by default"
        ));
        query.insert("prometheusService".to_owned(), json!("prometheus:9090"));
    }
    if let Some(deviation) = query.get_mut("continuousValueDeviation").and_then(Value::as_object_mut)
        && !deviation.contains_key("maxDeviationPercent")
    {
        let field = format!("{at}.promQL.continuousValueDeviation.maxDeviationPercent");
        changes.push(format!("{field} is 10, as it was by default"));
        deviation.insert("maxDeviationPercent".to_owned(), json!(10));
    }
    if let Some(list) = query.get_mut("discreteValueOutOfList").and_then(Value::as_object_mut) {
        list.retain(|_, value| !is_empty(value));
    }
}

fn scale(spec: &mut Fields, changes: &mut Vec<String>) {
    let Some(mut scale) = take(spec, "scale") else { return };
    if let Some(hpa) = scale.get_mut("hpa").and_then(Value::as_object_mut)
        && hpa.get("maxReplicas").is_none_or(|most| *most == json!(0))
    {
        changes.push("spec.scale.hpa.maxReplicas is 10, as it was by default".to_owned());
        hpa.insert("maxReplicas".to_owned(), json!(10));
    }
    spec.insert("scale".to_owned(), scale);
}

fn traffic(spec: &mut Fields, changes: &mut Vec<String>) {
    let Some(mut traffic) = take(spec, "traffic") else {
        return;
    };
    if let Some(fields) = traffic.as_object_mut() {
        fields.retain(|_, value| *value != json!(""));
        let is_mirror = fields.get("source").is_some_and(|source| source == "mirror");
        if let Some(mirror) = fields.get_mut("mirror").and_then(Value::as_object_mut)
            && !is_mirror
            && let Some(activate) = mirror.remove("activate")
            && activate == json!(true)
        {
            changes.push(
                "spec.traffic.mirror.activate is left out: the operator of 2019 followed spec.traffic.source alone"
                    .to_owned(),
            );
        }
        fields.retain(|_, value| !is_empty(value));
    }
    if !is_empty(&traffic) {
        spec.insert("traffic".to_owned(), traffic);
    }
}

/// The template is a Deployment without its type, and without what only an API server sets.
fn template(spec: &mut Fields, changes: &mut Vec<String>) {
    let Some(template) = spec.get_mut("template").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["apiVersion", "kind", "status"] {
        if template.remove(field).is_some() {
            changes.push(format!("spec.template.{field} is left out: a Kanary has no such field"));
        }
    }
    if let Some(deployment) = template.get_mut("spec").and_then(Value::as_object_mut)
        && deployment.remove("rollbackTo").is_some()
    {
        changes.push("spec.template.spec.rollbackTo is left out: a Deployment has no such field any more".to_owned());
    }
}
