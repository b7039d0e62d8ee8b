//! Pruning of unknown fields, and defaulting.

use std::fmt::Write;

use serde_json::Value;

use super::node::{Additional, Node};

fn is_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

/// Removes unknown fields below `value`, which has the path `at`, and records their paths.
pub(super) fn prune(value: &mut Value, node: Option<&Node>, at: &mut String, gone: &mut Vec<String>) {
    prune_below(value, node, node.is_some_and(|node| node.preserve), at, gone);
}

/// `preserve` is inherited from a list by its items.
fn prune_below(value: &mut Value, node: Option<&Node>, preserve: bool, at: &mut String, gone: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.retain(|key, value| {
            let before = at.len();
            if before > 0 {
                at.push('.');
            }
            at.push_str(key);
            let stays = keeps(key, value, node, at, gone) || preserve;
            if !stays {
                gone.push(at.clone());
            }
            at.truncate(before);
            stays
        }),
        Value::Array(items) => {
            let inner = node.and_then(|node| node.items.as_deref());
            if preserve && inner.is_none() {
                return;
            }
            let preserve = preserve || inner.is_some_and(|inner| inner.preserve);
            for (index, item) in items.iter_mut().enumerate() {
                let before = at.len();
                let _ = write!(at, "[{index}]");
                prune_below(item, inner, preserve, at, gone);
                at.truncate(before);
            }
        }
        _ => {}
    }
}

/// Whether a field is known. Known fields are pruned recursively.
fn keeps(key: &str, value: &mut Value, node: Option<&Node>, at: &mut String, gone: &mut Vec<String>) -> bool {
    let Some(node) = node else { return false };
    if (node.resource || node.embedded) && is_meta(key) {
        return true;
    }
    if let Some((child, _)) = node.child(key) {
        prune(value, Some(child), at, gone);
        return true;
    }
    let open = !matches!(node.additional, Additional::Unspecified);
    if open {
        prune(value, None, at, gone);
    }
    open
}

/// Removes nulls from fields that are neither nullable nor have a default.
pub(super) fn drop_nulls(value: &mut Value, node: &Node) {
    match value {
        Value::Object(fields) => fields.retain(|key, value| {
            let Some((child, _)) = node.child(key) else { return true };
            if value.is_null() && !child.nullable && child.default.is_none() {
                return false;
            }
            drop_nulls(value, child);
            true
        }),
        Value::Array(items) => {
            if let Some(inner) = &node.items {
                for item in items {
                    drop_nulls(item, inner);
                }
            }
        }
        _ => {}
    }
}

/// Sets defaults below `value`.
pub(super) fn default(value: &mut Value, node: &Node) {
    match value {
        Value::Object(fields) => {
            for (key, child) in &node.properties {
                if let Some(default) = &child.default
                    && fields.get(key).is_none_or(|value| value.is_null() && !child.nullable)
                {
                    fields.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in fields.iter_mut() {
                if let Some((child, _)) = node.child(key) {
                    replace_null(value, child);
                    default_below(value, child);
                }
            }
        }
        Value::Array(items) => {
            let Some(inner) = &node.items else { return };
            for item in items {
                replace_null(item, inner);
                default_below(item, inner);
            }
        }
        _ => {}
    }
}

fn default_below(value: &mut Value, node: &Node) {
    if value.is_object() || value.is_array() {
        default(value, node);
    }
}

fn replace_null(value: &mut Value, node: &Node) {
    if let Some(default) = &node.default
        && value.is_null()
        && !node.nullable
    {
        *value = default.clone();
    }
}
