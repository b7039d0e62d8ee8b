//! Validation of embedded objects, and of lists with the type set or map.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::node::{ListType, Node};
use super::path::Path;
use super::wording;
use crate::failure::Cause;

/// Errors of embedded objects, which must have an `apiVersion` and a `kind`.
pub(super) fn embedded(root: &Node, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(root, value, &Path::Root, &mut |node, value, path| {
        let Some(fields) = value.as_object().filter(|_| node.embedded) else {
            return;
        };
        for name in ["apiVersion", "kind"] {
            let path = Path::Field(path, name);
            match fields.get(name) {
                None => causes.push(wording::required(&path, "")),
                Some(Value::String(text)) if text.is_empty() => {
                    causes.push(wording::invalid(&path, "\"\"", "must not be empty"));
                }
                Some(Value::String(_)) => {}
                Some(other) => causes.push(wording::invalid(&path, &wording::shown(other), "must be a string")),
            }
        }
    });
    causes
}

/// Errors of lists with duplicate entries, unless the duplicates already existed.
pub(super) fn lists(root: &Node, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let causes = lists_of(root, value);
    let ratcheted = !causes.is_empty() && old.is_some_and(|old| !lists_of(root, old).is_empty());
    if ratcheted { Vec::new() } else { causes }
}

fn lists_of(root: &Node, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(root, value, &Path::Root, &mut |node, value, path| {
        let Some(items) = value.as_array() else { return };
        match &node.list_type {
            ListType::Atomic => {}
            ListType::Set => duplicates(items, path, &mut causes),
            ListType::Map(keys) => {
                let stray = items.iter().position(|item| !item.is_object() && !item.is_null());
                if let Some((index, item)) = stray.and_then(|index| Some((index, items.get(index)?))) {
                    let why = "must be an object for an array of list-type map";
                    causes.push(wording::invalid(&Path::Index(path, index), &wording::shown(item), why));
                    return;
                }
                let identities: Vec<_> = items.iter().map(|item| identity(item, keys)).collect();
                duplicates(&identities, path, &mut causes);
            }
        }
    });
    causes
}

/// The keys of an entry of a map list.
fn identity(item: &Value, keys: &[String]) -> Value {
    let pairs = keys
        .iter()
        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Reports each duplicate value once.
fn duplicates(items: &[Value], path: &Path, causes: &mut Vec<Cause>) {
    if items.len() < 2 {
        return;
    }
    let mut seen = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let times = seen.entry(item.to_string()).or_insert(0);
        *times += 1;
        if *times == 2 {
            causes.push(wording::duplicate(&Path::Index(path, index), item));
        }
    }
}

/// Visits every value whose schema has invariants.
fn walk(node: &Node, value: &Value, path: &Path, visit: &mut impl FnMut(&Node, &Value, &Path)) {
    if !node.has_invariants {
        return;
    }
    visit(node, value, path);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match node.child(key) {
                    Some((child, true)) => walk(child, value, &Path::Field(path, key), visit),
                    Some((child, false)) => walk(child, value, &Path::Key(path, key), visit),
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(inner) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                walk(inner, item, &Path::Index(path, index), visit);
            }
        }
        _ => {}
    }
}
