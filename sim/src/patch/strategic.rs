//! Strategic merge patch: a merge patch that merges lists of built-in kinds by their merge keys.

use serde_json::{Map, Value};

use super::element_order;
use super::merge_keys::{Strategy, of_list, replaces_map};
use super::unprocessable;
use crate::failure::Failure;

pub(super) type Object = Map<String, Value>;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of a built-in kind, completely or not at all.
///
/// # Errors
///
/// 400 and 422 for malformed directives, 500 (as in kube-apiserver) for an element without its merge key or an order that
/// does not list the elements that the patch adds.
pub fn strategic(live: &mut Value, patch: &Value) -> Result<(), Failure> {
    let (Value::Object(object), Value::Object(patch)) = (&*live, patch) else {
        return Err(Failure::bad_request("invalid JSON document"));
    };
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    *live = Value::Object(merge_map(object.clone(), patch.clone(), &[kind])?);
    Ok(())
}

/// `at` is the path of the map: the kind and the field names.
fn merge_map(mut live: Object, mut patch: Object, at: &[&str]) -> Result<Object, Failure> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(cleaned_map(patch)),
            Some("delete") => Ok(Object::new()),
            _ => {
                patch.insert(PATCH.to_owned(), directive.clone());
                Err(unknown_directive(&directive, &patch))
            }
        };
    }
    retain_keys(&mut live, &mut patch)?;
    merge_ordered_lists(&mut live, &mut patch, at)?;
    for (key, patched) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM_LIST) {
            delete_values(&mut live, field, &patched)?;
            continue;
        }
        let merged = match (live.remove(&key), patched) {
            (_, Value::Null) => None,
            (Some(Value::Object(old)), Value::Object(new)) if !replaces_map(&join(at, &key)) => {
                Some(Value::Object(merge_map(old, new, &join(at, &key))?))
            }
            (Some(Value::Array(old)), Value::Array(new)) => Some(Value::Array(merge_list(old, new, &join(at, &key))?)),
            (_, new) => cleaned(new),
        };
        if let Some(merged) = merged {
            live.insert(key, merged);
        }
    }
    Ok(live)
}

fn join<'a>(at: &[&'a str], field: &'a str) -> Vec<&'a str> {
    at.iter().copied().chain([field]).collect()
}

/// `$retainKeys` lists all fields that may remain. The other members of a union are removed.
fn retain_keys(live: &mut Object, patch: &mut Object) -> Result<(), Failure> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let malformed = || Failure::bad_request("invalid patch format of retainKeys");
    let retained = directive.as_array().ok_or_else(malformed)?;
    let retains = |key: &str| retained.iter().any(|name| name == key);
    let is_directive = |key: &str| key.starts_with(ELEMENT_ORDER) || key.starts_with(DELETE_FROM_LIST);
    let all_listed = patch
        .iter()
        .all(|(key, value)| value.is_null() || is_directive(key) || retains(key));
    if !all_listed {
        return Err(malformed());
    }
    live.retain(|key, _| retains(key));
    Ok(())
}

/// Lists with a `$setElementOrder` are merged first and then sorted.
fn merge_ordered_lists(live: &mut Object, patch: &mut Object, at: &[&str]) -> Result<(), Failure> {
    let directives: Vec<_> = patch
        .keys()
        .filter(|key| key.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let order = patch.remove(&directive);
        let field = directive.trim_start_matches(ELEMENT_ORDER);
        let malformed = || Failure::bad_request("invalid patch format of setElementOrder list");
        let Some(Value::Array(order)) = order else {
            return Err(malformed());
        };
        let patched = match patch.remove(field) {
            None => None,
            Some(Value::Array(list)) => Some(list),
            // A null removes the list, whatever its order.
            Some(Value::Null) => {
                live.remove(field);
                continue;
            }
            Some(_) => return Err(malformed()),
        };
        let at = join(at, field);
        let key = match of_list(&at) {
            Strategy::MergeBy(key) => Some(key),
            _ => None,
        };
        element_order::check(patched.as_deref().unwrap_or_default(), &order, key)?;
        let old = match live.remove(field) {
            Some(Value::Array(old)) => Some(old),
            _ => None,
        };
        let merged = match (old.clone(), patched) {
            (Some(old), None) => old,
            (None, Some(new)) => cleaned_list(new),
            (Some(old), Some(new)) => merge_list(old, new, &at)?,
            (None, None) => continue,
        };
        let ordered = element_order::arrange(merged, &order, &old.unwrap_or_default(), key)?;
        live.insert(field.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

fn delete_values(live: &mut Object, field: &str, values: &Value) -> Result<(), Failure> {
    let malformed = || Failure::bad_request("invalid patch format of primitive list");
    let values = values.as_array().ok_or_else(malformed)?;
    if let Some(Value::Array(list)) = live.get_mut(field) {
        list.retain(|value| !values.contains(value));
    }
    Ok(())
}

fn merge_list(live: Vec<Value>, patch: Vec<Value>, at: &[&str]) -> Result<Vec<Value>, Failure> {
    let strategy = of_list(at);
    if strategy == Strategy::Replace {
        return Ok(cleaned_list(patch));
    }
    let mut elements = live.iter().chain(&patch);
    if elements.clone().any(Value::is_array) {
        return Err(unprocessable());
    }
    if elements.clone().any(Value::is_object) && !elements.all(Value::is_object) {
        return Err(internal("list element types are not identical"));
    }
    if let Strategy::MergeBy(key) = strategy {
        return merge_elements(live, patch, key, at);
    }
    let merged = live.iter().chain(&patch).cloned().collect();
    element_order::arrange(distinct(merged), &patch, &live, None)
}

fn distinct(values: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

fn merge_elements(mut live: Vec<Value>, patch: Vec<Value>, key: &str, at: &[&str]) -> Result<Vec<Value>, Failure> {
    let mut elements = Vec::new();
    let mut replaces = false;
    for element in patch.into_iter().filter_map(into_object) {
        match element.get(PATCH).map(Value::as_str) {
            None => elements.push(element),
            Some(Some("delete")) => {
                let deleted = element_order::key_of(&element, key)?.clone();
                live.retain(|value| value.get(key) != Some(&deleted));
            }
            Some(Some("replace")) => replaces = true,
            Some(Some("merge")) => return Err(internal("merging lists cannot yet be specified in the patch")),
            Some(_) => return Err(unknown_directive(element.get(PATCH).unwrap_or(&Value::Null), &element)),
        }
    }
    if replaces {
        live.clear();
    }
    let server_order = live.clone();
    let patch_order: Vec<_> = elements.iter().cloned().map(Value::Object).collect();
    for element in elements {
        let value = element_order::key_of(&element, key)?.clone();
        match live.iter_mut().find(|old| old.get(key) == Some(&value)) {
            Some(slot) => {
                let old = into_object(slot.take()).unwrap_or_default();
                *slot = Value::Object(merge_map(old, element, at)?);
            }
            None => live.push(Value::Object(cleaned_map(element))),
        }
    }
    element_order::arrange(live, &patch_order, &server_order, Some(key))
}

fn into_object(value: Value) -> Option<Object> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A patch value for a missing field: without nulls, and without directives, which have nothing to act on.
fn cleaned(value: Value) -> Option<Value> {
    match value {
        Value::Object(object) if object.contains_key(PATCH) => None,
        Value::Object(object) => Some(Value::Object(cleaned_map(object))),
        Value::Array(list) => Some(Value::Array(cleaned_list(list))),
        scalar => Some(scalar),
    }
}

fn cleaned_list(list: Vec<Value>) -> Vec<Value> {
    list.into_iter().filter_map(cleaned).collect()
}

fn cleaned_map(object: Object) -> Object {
    let is_directive =
        |key: &str| key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) || key.starts_with(DELETE_FROM_LIST);
    let kept = object
        .into_iter()
        .filter(|(key, value)| !value.is_null() && !is_directive(key));
    kept.filter_map(|(key, value)| Some((key, cleaned(value)?))).collect()
}

fn unknown_directive(directive: &Value, patch: &Object) -> Failure {
    let directive = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    let patch = element_order::as_go_prints(&Value::Object(patch.clone()));
    internal(format!("unknown patch type: {directive} in map: {patch}"))
}

/// A 500 error without a reason, as kube-apiserver reports unexpected patches.
pub(super) fn internal(message: impl Into<String>) -> Failure {
    Failure::new(500, "", message)
}

#[cfg(test)]
mod tests;
