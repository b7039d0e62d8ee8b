//! Cells that several kinds share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;

pub(super) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or `instead` if it is missing.
pub(super) fn or<'v>(value: &'v Value, instead: &'v str) -> &'v str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or(instead)
}

pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The time since a timestamp.
pub(super) fn since(time: &Value, now: Timestamp) -> String {
    time.as_str()
        .and_then(|time| age::of(time, now))
        .unwrap_or_else(|| "<unknown>".to_owned())
}

pub(super) fn age(object: &Value, now: Timestamp) -> String {
    since(&object["metadata"]["creationTimestamp"], now)
}

pub(super) fn joined<'v>(values: &'v Value, part: impl Fn(&'v Value) -> &'v str) -> String {
    items(values).iter().map(part).collect::<Vec<_>>().join(",")
}

/// Names and images of the containers of a pod template.
pub(super) fn containers(object: &Value) -> [Value; 2] {
    let containers = &object["spec"]["template"]["spec"]["containers"];
    [
        json!(joined(containers, |it| text(&it["name"]))),
        json!(joined(containers, |it| text(&it["image"]))),
    ]
}

/// `app=web,tier in (a,b)`.
pub(super) fn selector(selector: &Value) -> String {
    let mut parts = BTreeMap::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.insert(key.as_str(), format!("{key}={}", text(value)));
    }
    for expression in items(&selector["matchExpressions"]) {
        let (key, values) = (text(&expression["key"]), joined(&expression["values"], text));
        let shown = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.insert(key, shown);
    }
    parts.into_values().collect::<Vec<_>>().join(",")
}

/// `app=web`, for a plain map.
pub(super) fn labels(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    labels
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect::<Vec<_>>()
        .join(",")
}

/// Row conditions, which kubectl uses to mark completed pods.
pub(super) fn row_conditions(object: &Value) -> Value {
    if object["kind"] != "Pod" {
        return Value::Null;
    }
    let (reason, message) = match text(&object["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Value::Null,
    };
    json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}])
}
