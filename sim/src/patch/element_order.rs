//! Order of the elements of a merged list. Elements in the patch keep the patch's order; the others keep the object's
//! order.

use serde_json::Value;

use super::strategic::{Object, internal};
use crate::failure::Failure;

/// Sorts `merged`. Elements in `patch_order` have that order; the others keep their position relative to them as in
/// `server_order`. `key` is the merge key; without a key, elements are compared by value.
pub(super) fn arrange(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    if let Some(key) = key {
        for element in merged.iter().chain(patch_order) {
            key_of(element.as_object().unwrap_or(&Object::new()), key)?;
        }
    }
    let position = |order: &[Value], element: &Value| order.iter().position(|other| same(other, element, key));
    let (mut patched, mut rest): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .partition(|element| position(patch_order, element).is_some());
    patched.sort_by_key(|element| position(patch_order, element));
    rest.sort_by_key(|element| position(server_order, element));

    let mut arranged = Vec::with_capacity(patched.len() + rest.len());
    let mut rest = rest.into_iter().peekable();
    for element in patched {
        let place = position(server_order, &element);
        // Elements that precede this one in the object still precede it. A new element has no position to keep.
        while let Some(before) = rest.next_if(|other| {
            let other = position(server_order, other);
            other.zip(place).is_some_and(|(other, place)| other < place)
        }) {
            arranged.push(before);
        }
        arranged.push(element);
    }
    arranged.extend(rest);
    Ok(arranged)
}

/// Refuses a patch that adds elements missing from its order list, or in another order.
pub(super) fn check(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Failure> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    let mut added = patch.iter().filter(|element| element.get("$patch").is_none());
    let listed = added.all(|element| rest.any(|other| same(other, element, key)));
    if listed {
        return Ok(());
    }
    let shown = |list: &[Value]| as_go_prints(&Value::Array(list.to_vec()));
    Err(internal(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        shown(patch),
        shown(order)
    )))
}

fn same(left: &Value, right: &Value, key: Option<&str>) -> bool {
    match key {
        None => left == right,
        Some(key) => left.get(key).is_some() && left.get(key) == right.get(key),
    }
}

/// The value of the merge key.
pub(super) fn key_of<'a>(element: &'a Object, key: &str) -> Result<&'a Value, Failure> {
    element.get(key).ok_or_else(|| {
        let shown = as_go_prints(&Value::Object(element.clone()));
        internal(format!("map: {shown} does not contain declared merge key: {key}"))
    })
}

/// Formats a value as Go's `%v` does. kube-apiserver uses that format for patches in its messages.
pub(super) fn as_go_prints(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let members: Vec<_> = object
                .iter()
                .map(|(key, value)| format!("{key}:{}", as_go_prints(value)))
                .collect();
            format!("map[{}]", members.join(" "))
        }
        Value::Array(list) => {
            let elements: Vec<_> = list.iter().map(as_go_prints).collect();
            format!("[{}]", elements.join(" "))
        }
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        scalar => scalar.to_string(),
    }
}
