//! Rules for raising an object's generation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::COUNTED;
use crate::resource::Resource;

/// Whether an update raises the generation.
pub(super) fn is_raised(resource: &Resource, old: &Value, new: &Value) -> bool {
    let counted = resource.typed.is_none() || COUNTED.contains(&&*resource.name);
    let annotated = &*resource.name == "deployments.apps" && annotations_changed(old, new);
    counted && (annotated || spec_changed(old, new))
}

/// A Deployment's generation also counts annotations, except those that its controller writes.
fn annotations_changed(old: &Value, new: &Value) -> bool {
    let annotations = |object: &Value| {
        let mut annotations = object["metadata"]["annotations"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        annotations.retain(|name, _| !name.starts_with("deployment.kubernetes.io/"));
        annotations
    };
    annotations(old) != annotations(new)
}

/// Whether anything except the metadata and the status differs.
fn spec_changed(old: &Value, new: &Value) -> bool {
    let names = |value: &Value| -> BTreeSet<String> {
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, _)| name.clone()).collect()
    };
    let counts = |name: &&String| !["metadata", "status"].contains(&name.as_str());
    let all = &names(old) | &names(new);
    all.iter().filter(counts).any(|name| old.get(name) != new.get(name))
}
