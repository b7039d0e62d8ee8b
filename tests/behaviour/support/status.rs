//! Accessors for the fields of a Kanary that users see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// The STATUS column of `kubectl get`.
pub(crate) fn phase(kanary: &Value) -> &str {
    kanary["status"]["report"]["status"].as_str().unwrap_or_default()
}

/// A condition, or null if it is not set.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == name)
        .unwrap_or(&Value::Null)
}

/// Whether a condition is True.
pub(crate) fn is_true(object: &Value, name: &str) -> bool {
    condition(object, name)["status"] == "True"
}

/// The reason of a condition.
pub(crate) fn reason<'a>(object: &'a Value, name: &str) -> &'a str {
    condition(object, name)["reason"].as_str().unwrap_or_default()
}

/// The message of a condition.
pub(crate) fn message<'a>(object: &'a Value, name: &str) -> &'a str {
    condition(object, name)["message"].as_str().unwrap_or_default()
}

/// The time at a JSON pointer.
pub(crate) fn time(object: &Value, pointer: &str) -> Timestamp {
    let text = object.pointer(pointer).and_then(Value::as_str);
    let text = text.unwrap_or_else(|| panic!("no time at {pointer} in {object:#}"));
    text.parse()
        .unwrap_or_else(|e| panic!("{text} at {pointer} is not a timestamp: {e}"))
}

/// The labels at a JSON pointer.
pub(crate) fn labels(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object
        .pointer(pointer)
        .map(|labels| serde_json::from_value(labels.clone()).expect("labels are a map of strings"))
        .unwrap_or_default()
}

/// The resource version, which increases across all objects of the cluster.
pub(crate) fn version(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    text.parse().expect("a resource version is a number")
}

/// The last transition time of a condition, in whole seconds.
pub(crate) fn since(object: &Value, name: &str) -> Timestamp {
    time(condition(object, name), "/lastTransitionTime")
}

/// Asserts that a condition's last transition was not before `at`, within the precision of a second.
#[track_caller]
pub(crate) fn assert_not_before(object: &Value, name: &str, at: Timestamp) {
    let since = since(object, name);
    assert!(since.as_second() >= at.as_second(), "{name} since {since}, before {at}");
}
