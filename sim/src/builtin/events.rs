//! An Event is served in two API versions, core/v1 and events.k8s.io/v1. It is stored as core/v1.

use serde_json::{Value, json};

/// Field names in events.k8s.io/v1 and in core/v1.
const NAMES: [(&str, &str); 6] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn rename(event: &mut Value, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(fields) = event.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

/// Converts from events.k8s.io/v1.
pub(crate) fn to_core(event: &mut Value) {
    rename(event, NAMES.into_iter());
    rename(event, [("deprecatedSource", "source")].into_iter());
    event["apiVersion"] = json!("v1");
}

/// Converts to events.k8s.io/v1.
pub(crate) fn from_core(event: &mut Value) {
    rename(event, NAMES.into_iter().map(|(new, core)| (core, new)));
    rename(event, [("source", "deprecatedSource")].into_iter());
    event["apiVersion"] = json!("events.k8s.io/v1");
}
