//! The desired traffic, and how it is written into a route and taken out again. Pure.
//!
//! A route belongs to its user. [`change`] first takes everything out that Kanaries put in, which yields what the user wrote,
//! and then puts in what every Kanary wants now. Both directions are inverse to each other, so the order in which several Kanaries
//! come and go does not matter, and an edit of the user is kept. An annotation records what cannot be derived: who has which
//! share, and the weights that the user wrote.
//!
//! `gateway` and `istio` are the dialects: where rules are, and how a backend, a match or a mirror is written.

mod dialect;
mod gateway;
mod give_back;
mod istio;
mod patch;
mod record;
mod rules;
mod standing;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::dialect::Dialect;
pub use self::{
    patch::{Change, Own, change},
    record::{Record, Share},
    standing::{Standing, ignores_affinity, served_in_part, standing},
};
use crate::api::RouteKind;

/// What a route should send to the canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Share of the requests in percent.
    #[serde(default)]
    pub weight: u8,
    /// Requests that always reach the canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Percent of the requests that are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<u8>,
    /// The cookie that keeps a user on one version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

/// A header or a cookie of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Whether it is a cookie.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
    /// Its name.
    pub name: String,
    /// Its value, or a regular expression for it.
    pub value: String,
    /// Whether `value` is a regular expression.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regex: bool,
}

/// A cookie that keeps a user on one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// Its name.
    pub cookie: String,
    /// How long it lasts, in seconds; until the browser is closed if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl Tag {
    /// The header by which a route recognizes the tag: name, value, and whether the value is a regular expression.
    fn header(&self) -> (String, String, bool) {
        if !self.cookie {
            return (self.name.clone(), self.value.clone(), self.regex);
        }
        let value = if self.regex {
            format!("(?:{})", self.value)
        } else {
            escaped(&self.value)
        };
        let pattern = format!("(^|.*; *){}={value}( *;.*|$)", escaped(&self.name));
        ("Cookie".to_owned(), pattern, true)
    }
}

/// A regular expression (RE2) that matches only `text`.
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn dialect(kind: RouteKind) -> &'static dyn Dialect {
    match kind {
        RouteKind::Http | RouteKind::Grpc => &gateway::Gateway,
        RouteKind::Virtual => &istio::Istio,
    }
}

/// Whether a route leads to a Service of its namespace.
#[must_use]
pub fn leads_to(kind: RouteKind, route: &Value, service: &str) -> bool {
    let dialect = dialect(kind);
    let namespace = namespace(route);
    rules::of(dialect, route)
        .iter()
        .any(|rule| rules::backends(dialect, rule).any(|backend| dialect.leads(backend, namespace, service)))
}

/// The ports of a Service of its namespace to which a route sends requests.
#[must_use]
pub fn ports(kind: RouteKind, route: &Value, service: &str) -> BTreeSet<u64> {
    let dialect = dialect(kind);
    let namespace = namespace(route);
    let rules = rules::of(dialect, route);
    let backends = rules.iter().flat_map(|rule| rules::backends(dialect, rule));
    backends
        .filter(|backend| dialect.leads(backend, namespace, service) && rules::weight(backend) > 0)
        .filter_map(|backend| dialect.port(backend))
        .collect()
}

fn namespace(route: &Value) -> &str {
    route
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Applies a patch as an API server does. The version is not raised, so that routes can be compared.
#[cfg(test)]
pub(crate) fn apply(route: &Value, operations: &[Value]) -> Value {
    let mut route = route.clone();
    for op in operations {
        let path = op["path"].as_str().unwrap();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        let known = route.pointer(path).cloned();
        let parent = route.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        match op["op"].as_str().unwrap() {
            "test" => assert_eq!(known.as_ref(), Some(&op["value"]), "{path}"),
            "remove" => assert!(parent.remove(&name).is_some(), "{path}"),
            "replace" | "add" => {
                let _former = parent.insert(name, op["value"].clone());
            }
            other => panic!("{other}"),
        }
    }
    route
}
