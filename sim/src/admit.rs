//! Processing of an object between its arrival and its storage: parsing, defaulting and validation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    builtin,
    cluster::State,
    failure::{Cause, Failure},
    resource::{Read, Resource},
    write::WriteOptions,
};

/// Prepares an object for storage, or returns the reason why it is invalid.
pub(crate) fn admit(
    state: &mut State,
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    options: WriteOptions,
) -> Result<(), Failure> {
    check_kind(resource, object)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let causes = if let Some(typed) = resource.typed {
        if !options.typed {
            read(resource, typed, object, options.strict)?;
        }
        keep_address(resource, object, old);
        let addresses = &mut state.addresses;
        builtin::default(&resource.name, object, || {
            *addresses += 1;
            format!("10.0.{}.{}", *addresses / 250, *addresses % 250 + 1)
        });
        Vec::new()
    } else {
        customised(resource, object, old, options.strict)?
    };
    let causes = [causes, builtin::check(&resource.name, object, old)].concat();
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid(&resource.kind_name(), &name, &causes))
    }
}

/// A Service that is written without a cluster IP keeps its current one.
fn keep_address(resource: &Resource, object: &mut Value, old: Option<&Value>) {
    let Some(old) = old.filter(|_| &*resource.name == "services") else {
        return;
    };
    let (had, has) = (&old["spec"], &mut object["spec"]);
    if had["clusterIP"].is_string() && has["clusterIP"].is_null() && has["type"].as_str() != Some("ExternalName") {
        has["clusterIP"] = had["clusterIP"].clone();
    }
}

/// Prunes, defaults and validates a custom resource.
fn customised(
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    strict: bool,
) -> Result<Vec<Cause>, Failure> {
    let Some(custom) = &resource.custom else {
        return Ok(Vec::new());
    };
    if old.is_none_or(|old| old["metadata"] != object["metadata"]) {
        let read = serde_json::from_value::<ObjectMeta>(object["metadata"].take());
        let read = read.and_then(serde_json::to_value);
        object["metadata"] = read.map_err(|error| cannot_be_read(resource, &error.to_string()))?;
    }
    let unknown = custom.schema.prune(object);
    if strict && !unknown.is_empty() {
        return Err(cannot_be_read(resource, &listed(&unknown)));
    }
    custom.schema.default(object);
    Ok(custom.schema.validate(object, old))
}

fn listed(unknown: &[String]) -> String {
    let fields: Vec<_> = unknown
        .iter()
        .map(|field| format!("unknown field \"{field}\""))
        .collect();
    format!("strict decoding error: {}", fields.join(", "))
}

fn cannot_be_read(resource: &Resource, why: &str) -> Failure {
    let (kind, version) = (&resource.kind, &resource.version);
    Failure::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
    ))
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

/// Parses a built-in kind as its type, which drops unknown fields.
fn read(resource: &Resource, typed: Read, object: &mut Value, strict: bool) -> Result<(), Failure> {
    let read = typed(object).map_err(|error| {
        // The position in the text is of no use: the text is not the user's.
        let why = error.to_string();
        cannot_be_read(resource, why.split(" at line ").next().unwrap_or_default())
    })?;
    if strict {
        let mut unknown = Vec::new();
        lost(object, &read, "", &mut unknown);
        if !unknown.is_empty() {
            return Err(cannot_be_read(resource, &listed(&unknown)));
        }
    }
    *object = read;
    Ok(())
}

/// Fields of `given` that are missing in `read`.
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
                    // An empty value is equivalent to a missing one.
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
