//! Whether gateways have taken over what a route says.

use serde_json::Value;

use crate::api::RouteKind;

/// Whether gateways have taken over what a route says. Proxies may follow a little later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All have.
    Taken,
    /// All have seen it, and one does not accept a part of it, or none is there. What the route no longer says is not in force.
    Refused(String),
    /// One has not seen it yet.
    Not(String),
}

/// Whether the status of a route says that every gateway has taken it over as it is. A `VirtualService` has no such status.
#[must_use]
pub fn standing(kind: RouteKind, route: &Value) -> Standing {
    if kind == RouteKind::Virtual {
        return Standing::Taken;
    }
    let generation = generation(route);
    let parents = named_parents(route);
    if parents.is_empty() {
        return Standing::Refused("no gateway reports on it in status.parents".to_owned());
    }
    let conditions = parents.iter().flat_map(|parent| CONDITIONS.map(|name| (*parent, name)));
    let unseen = conditions
        .clone()
        .find_map(|(parent, name)| unseen(parent, name, generation));
    let refused = conditions.clone().find_map(|(parent, name)| refused(parent, name));
    let refused = refused.or_else(|| silent(route, &parents));
    match (unseen, refused) {
        (Some(why), _) => Standing::Not(why),
        (None, Some(why)) => Standing::Refused(why),
        (None, None) => Standing::Taken,
    }
}

/// Why a gateway serves nothing of a route that another one serves.
#[must_use]
pub fn served_in_part(kind: RouteKind, route: &Value) -> Option<String> {
    if kind == RouteKind::Virtual {
        return None;
    }
    let parents = named_parents(route);
    let is_true = |parent: &Value, name: &str| condition(parent, name).is_some_and(|is| is["status"] == "True");
    let serves = |parent: &&Value| CONDITIONS.iter().all(|name| is_true(parent, name));
    if !parents.iter().any(serves) {
        return None;
    }
    // One that has refused an earlier generation may not have seen this one yet: each share is another.
    let refused = parents.iter().find_map(|parent| refused(parent, "Accepted"));
    refused.or_else(|| silent(route, &parents))
}

/// The conditions of a route that say whether a gateway has taken it over.
const CONDITIONS: [&str; 2] = ["Accepted", "ResolvedRefs"];

fn generation(route: &Value) -> i64 {
    let generation = route.pointer("/metadata/generation").and_then(Value::as_i64);
    generation.unwrap_or_default()
}

/// The reports about gateways that the route names.
fn named_parents(route: &Value) -> Vec<&Value> {
    parents(route).iter().filter(|parent| is_named(route, parent)).collect()
}

fn parents(route: &Value) -> &[Value] {
    let parents = route.pointer("/status/parents").and_then(Value::as_array);
    parents.map_or(&[], Vec::as_slice)
}

/// A parent that has never reported on the route. It serves nothing of it, and may never do.
fn silent(route: &Value, parents: &[&Value]) -> Option<String> {
    let reports = |reference: &Value| {
        parents
            .iter()
            .any(|parent| is_same(route, reference, &parent["parentRef"]))
    };
    let reference = named(route).find(|reference| !reports(reference))?;
    let name = reference.get("name").and_then(Value::as_str).unwrap_or_default();
    Some(format!(
        "{name}, which spec.parentRefs names, does not report on it in status.parents"
    ))
}

/// The parents that the route names.
fn named(route: &Value) -> impl Iterator<Item = &Value> {
    let named = route.pointer("/spec/parentRefs").and_then(Value::as_array);
    named.into_iter().flatten()
}

/// Whether the route still names a parent on which its status reports.
fn is_named(route: &Value, parent: &Value) -> bool {
    named(route).any(|reference| is_same(route, reference, &parent["parentRef"]))
}

/// Whether two references of a route are about one parent.
fn is_same(route: &Value, one: &Value, other: &Value) -> bool {
    let of = |reference: &Value| {
        let text = |field: &str| reference.get(field).and_then(Value::as_str).map(str::to_owned);
        let namespace = text("namespace").unwrap_or_else(|| super::namespace(route).to_owned());
        (
            text("kind").unwrap_or_else(|| "Gateway".to_owned()),
            namespace,
            text("name"),
        )
    };
    of(one) == of(other)
}

fn gateway(parent: &Value) -> &str {
    let name = parent.pointer("/parentRef/name").and_then(Value::as_str);
    name.unwrap_or("(unnamed)")
}

fn condition<'a>(parent: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = parent.get("conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition["type"] == name)
}

/// Why a parent may not have seen this generation.
fn unseen(parent: &Value, name: &str, generation: i64) -> Option<String> {
    let gateway = gateway(parent);
    let Some(condition) = condition(parent, name) else {
        return Some(format!("{gateway} does not report {name}"));
    };
    let seen = condition["observedGeneration"].as_i64().unwrap_or_default();
    (seen < generation).then(|| format!("{gateway} has seen generation {seen} of {generation}"))
}

/// What a parent does not accept.
fn refused(parent: &Value, name: &str) -> Option<String> {
    let condition = condition(parent, name).filter(|condition| condition["status"] != "True")?;
    let (status, message) = (condition["status"].as_str(), condition["message"].as_str());
    Some(format!(
        "{} reports {name}={}: {}",
        gateway(parent),
        status.unwrap_or("Unknown"),
        message.unwrap_or_default()
    ))
}

/// An implementation among the gateways of a route that is known to ignore `sessionPersistence`.
#[must_use]
pub fn ignores_affinity(route: &Value) -> Option<&str> {
    let controllers = parents(route)
        .iter()
        .filter_map(|parent| parent["controllerName"].as_str());
    controllers
        .into_iter()
        .find(|name| *name == "istio.io/gateway-controller")
}
