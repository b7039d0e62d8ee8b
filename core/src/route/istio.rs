//! `VirtualService` of Istio: its routes for HTTP.

use serde_json::{Map, Value, json};

use super::{Affinity, Tag, dialect::Dialect};

pub(super) struct Istio;

impl Dialect for Istio {
    fn rules(&self) -> &'static str {
        "http"
    }

    fn backends(&self) -> &'static str {
        "route"
    }

    fn extras(&self) -> &'static str {
        "mirrors"
    }

    fn most_rules(&self) -> usize {
        usize::MAX
    }

    fn service<'a>(&self, backend: &'a Value, namespace: &str) -> Option<&'a str> {
        let host = backend.pointer("/destination/host")?.as_str()?;
        let (service, rest) = host.split_once('.').unwrap_or((host, ""));
        let is_here = rest.is_empty()
            || rest == namespace
            || rest
                .strip_prefix(namespace)
                .is_some_and(|rest| rest == ".svc" || rest.starts_with(".svc."));
        is_here.then_some(service)
    }

    fn subset<'a>(&self, backend: &'a Value) -> Option<&'a str> {
        backend.pointer("/destination/subset")?.as_str()
    }

    fn port(&self, backend: &Value) -> Option<u64> {
        backend.pointer("/destination/port/number")?.as_u64()
    }

    /// A subset is left out, unless the canary has one: it is defined for the production Service alone.
    fn leading_to(&self, backend: &Value, service: &str) -> Value {
        let mut backend = backend.clone();
        if let Some(destination) = backend.get_mut("destination").and_then(Value::as_object_mut) {
            let (service, subset) = service
                .split_once('/')
                .map_or((service, None), |(service, subset)| (service, Some(subset)));
            destination.remove("subset");
            destination.extend(subset.map(|subset| ("subset".to_owned(), json!(subset))));
            let host = destination.get("host").and_then(Value::as_str).unwrap_or_default();
            let host = host
                .split_once('.')
                .map_or_else(|| service.to_owned(), |(_, rest)| format!("{service}.{rest}"));
            destination.insert("host".to_owned(), json!(host));
        }
        backend
    }

    fn narrowed(&self, one: &Value, tag: &Tag) -> Result<Value, String> {
        with_header(one, tag)
    }

    fn matches(&self) -> &'static str {
        "match"
    }

    fn mirror(&self, backend: &Value, percent: u8) -> Value {
        json!({"destination": backend["destination"], "percentage": {"value": percent}})
    }

    fn mirrors_to<'a>(&self, extra: &'a Value, namespace: &str) -> Option<&'a str> {
        self.service(extra, namespace)
    }

    fn refuses_mirror(&self, rule: &Map<String, Value>) -> Option<String> {
        rule.contains_key("mirror").then(|| {
            "a route of the VirtualService has the field mirror, beside which Istio accepts no other: write it as an entry of mirrors"
                .to_owned()
        })
    }

    fn affinity(&self, _: &Affinity) -> Result<(&'static str, Value), String> {
        Err("spec.traffic.sessionAffinity does not work with a VirtualService, because Istio keeps a user on a pod and not on a \
             version: remove the block, or use an HTTPRoute"
            .to_owned())
    }
}

/// Names of headers are written in lower case.
fn with_header(one: &Value, tag: &Tag) -> Result<Value, String> {
    let (name, value, is_regex) = tag.header();
    let name = name.to_ascii_lowercase();
    let mut one = one.clone();
    let Some(fields) = one.as_object_mut() else {
        return Err("a match of the VirtualService is not an object".to_owned());
    };
    // Names of matches show up in metrics and have to be unique.
    fields.remove("name");
    let headers = fields.entry("headers").or_insert_with(|| json!({}));
    let Some(headers) = headers.as_object_mut() else {
        return Err("the headers of a match are not a map".to_owned());
    };
    if headers.keys().any(|other| other.eq_ignore_ascii_case(&name)) {
        return Err(format!(
            "a match has the header {name} already, so it cannot be narrowed to spec.traffic.tagged: use another header"
        ));
    }
    let kind = if is_regex { "regex" } else { "exact" };
    headers.insert(name, json!({kind: value}));
    Ok(one)
}
