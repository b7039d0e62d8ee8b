//! `HTTPRoute` and `GRPCRoute` of Gateway API, which write backends, header matches and mirrors in the same way.

use serde_json::{Map, Value, json};

use super::{Affinity, Tag, dialect::Dialect};

pub(super) struct Gateway;

impl Dialect for Gateway {
    fn rules(&self) -> &'static str {
        "rules"
    }

    fn backends(&self) -> &'static str {
        "backendRefs"
    }

    fn extras(&self) -> &'static str {
        "filters"
    }

    fn most_rules(&self) -> usize {
        16
    }

    fn service<'a>(&self, backend: &'a Value, namespace: &str) -> Option<&'a str> {
        let text = |field: &str| backend.get(field).and_then(Value::as_str);
        let is_service =
            text("group").unwrap_or_default().is_empty() && text("kind").is_none_or(|kind| kind == "Service");
        let is_here = text("namespace").is_none_or(|other| other == namespace);
        text("name").filter(|_| is_service && is_here)
    }

    fn port(&self, backend: &Value) -> Option<u64> {
        backend.get("port")?.as_u64()
    }

    fn leading_to(&self, backend: &Value, service: &str) -> Value {
        let mut backend = backend.clone();
        if let Some(fields) = backend.as_object_mut() {
            fields.insert("name".to_owned(), json!(service));
        }
        backend
    }

    fn narrowed(&self, one: &Value, tag: &Tag) -> Result<Value, String> {
        with_header(one, tag)
    }

    fn matches(&self) -> &'static str {
        "matches"
    }

    fn mirror(&self, backend: &Value, percent: u8) -> Value {
        let mut to = backend.clone();
        if let Some(fields) = to.as_object_mut() {
            fields.retain(|name, _| ["group", "kind", "namespace", "name", "port"].contains(&name.as_str()));
        }
        let mut mirror = json!({"backendRef": to});
        // Versions of the API without this field copy all requests.
        if let Some(fields) = mirror.as_object_mut().filter(|_| percent < 100) {
            fields.insert("percent".to_owned(), json!(percent));
        }
        json!({"type": "RequestMirror", "requestMirror": mirror})
    }

    fn mirrors_to<'a>(&self, extra: &'a Value, namespace: &str) -> Option<&'a str> {
        self.service(extra.pointer("/requestMirror/backendRef")?, namespace)
    }

    fn refuses_mirror(&self, _: &Map<String, Value>) -> Option<String> {
        None
    }

    /// The field has one form up to version 1.6 of the API and another one after it. An API server drops the fields that it does not
    /// know, so both are written, with the values that it would add.
    fn affinity(&self, affinity: &Affinity) -> Result<(&'static str, Value), String> {
        let lifetime = if affinity.seconds.is_some() {
            "Permanent"
        } else {
            "Session"
        };
        let mut session = json!({
            "type": "Cookie",
            "sessionName": affinity.cookie, "cookieConfig": {"lifetimeType": lifetime},
            "cookie": {"name": affinity.cookie, "lifetimeType": lifetime, "path": "/"},
        });
        if let (Some(fields), Some(seconds)) = (session.as_object_mut(), affinity.seconds) {
            fields.insert("absoluteTimeout".to_owned(), json!(duration(seconds)));
        }
        Ok(("sessionPersistence", session))
    }
}

/// A duration of Gateway API: each number has five digits at most.
fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let parts = [(hours.min(99_999), "h"), (minutes, "m"), (seconds, "s")];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    parts.fold(String::new(), |text, (number, unit)| format!("{text}{number}{unit}"))
}

/// Routes of Gateway API use only the first of several matches on one header.
fn with_header(one: &Value, tag: &Tag) -> Result<Value, String> {
    let (name, value, is_regex) = tag.header();
    let mut one = one.clone();
    let Some(fields) = one.as_object_mut() else {
        return Err("a match of the rule is not an object".to_owned());
    };
    let headers = fields.entry("headers").or_insert_with(|| json!([]));
    let Some(headers) = headers.as_array_mut() else {
        return Err("the headers of a match are not a list".to_owned());
    };
    let named = |header: &Value| {
        header["name"]
            .as_str()
            .is_some_and(|other| other.eq_ignore_ascii_case(&name))
    };
    if headers.iter().any(named) {
        return Err(format!(
            "a rule matches on the header {name} already, so it cannot be narrowed to spec.traffic.tagged: use another header"
        ));
    }
    let kind = if is_regex { "RegularExpression" } else { "Exact" };
    headers.push(json!({"type": kind, "name": name, "value": value}));
    Ok(one)
}
