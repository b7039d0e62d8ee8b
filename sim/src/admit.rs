//! What happens to an object between its arrival and its storing: read as its kind, defaulted, checked.

use serde_json::{Value, json};

use crate::{builtin, cluster::State, failure::Failure, resource::Resource};

/// Makes an object fit to be stored, or says what is wrong with it.
pub(crate) fn admit(
    state: &mut State,
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    strict: bool,
) -> Result<(), Failure> {
    check_kind(resource, object)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let causes = if let Some(typed) = resource.typed {
        read(resource, typed, object, strict)?;
        let addresses = &mut state.addresses;
        builtin::default(&resource.name, object, || {
            *addresses += 1;
            format!("10.0.{}.{}", *addresses / 250, *addresses % 250 + 1)
        });
        builtin::check(&resource.name, object, old)
    } else {
        Vec::new()
    };
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid(&resource.kind_name(), &name, &causes))
    }
}

fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    let expected = resource.api_version();
    for (field, expected) in [("apiVersion", expected.as_str()), ("kind", resource.kind.as_str())] {
        match object[field].as_str() {
            None | Some("") => object[field] = json!(expected),
            Some(given) if given != expected => {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(Failure::bad_request(format!(
                    "the {what} in the data ({given}) does not match the expected {what} ({expected})"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Reads a built-in kind as its type, which drops what the type does not know.
fn read(
    resource: &Resource,
    typed: fn(Value) -> Result<Value, serde_json::Error>,
    object: &mut Value,
    strict: bool,
) -> Result<(), Failure> {
    let cannot = |why: &str| {
        let (kind, version) = (&resource.kind, resource.api_version());
        Failure::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        ))
    };
    let given = strict.then(|| object.clone());
    let read = typed(object.take()).map_err(|error| cannot(&error.to_string()))?;
    if let Some(given) = given {
        let mut unknown = Vec::new();
        lost(&given, &read, "", &mut unknown);
        if !unknown.is_empty() {
            let fields: Vec<_> = unknown
                .iter()
                .map(|field| format!("unknown field \"{field}\""))
                .collect();
            return Err(cannot(&format!("strict decoding error: {}", fields.join(", "))));
        }
    }
    *object = read;
    Ok(())
}

/// Fields of `given` that did not make it into `read`.
fn lost(given: &Value, read: &Value, at: &str, unknown: &mut Vec<String>) {
    match (given, read) {
        (Value::Object(given), read) => {
            for (name, value) in given {
                let path = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                match read.get(name) {
                    Some(read) => lost(value, read, &path, unknown),
                    // An empty value says as much as none.
                    None if is_empty(value) => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(read)) => {
            for (index, (given, read)) in given.iter().zip(read).enumerate() {
                lost(given, read, &format!("{at}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
