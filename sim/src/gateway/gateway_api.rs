//! Translates HTTPRoutes and GRPCRoutes.

use serde_json::Value;

use super::{
    request::SetCookie,
    table::{Destination, Entrance, Match, Mirror, Rank, Rule, Table, Text, host_of},
};
use crate::{object::Object, store::Place};

/// A parent of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A Gateway.
    Gateway(Place),
    /// A Service, for requests from inside the mesh.
    Service(Place),
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The parent that a reference in a namespace names.
pub(crate) fn parent_of(reference: &Value, namespace: &str) -> Option<Parent> {
    let namespace = reference["namespace"].as_str().unwrap_or(namespace).to_owned();
    let place = (namespace, text(&reference["name"]).to_owned());
    match (text(&reference["group"]), text(&reference["kind"])) {
        ("gateway.networking.k8s.io", "Gateway") => Some(Parent::Gateway(place)),
        ("", "Service") => Some(Parent::Service(place)),
        _ => None,
    }
}

/// The Service that a reference of a route leads to. A Service of another namespace needs a permission, which no route has
/// here.
pub(crate) fn service(reference: &Value, namespace: &str) -> Option<Place> {
    let is_service = text(&reference["group"]).is_empty() && text(&reference["kind"]) == "Service";
    let is_here = reference["namespace"].as_str().is_none_or(|given| given == namespace);
    let name = text(&reference["name"]).to_owned();
    (is_service && is_here).then(|| (namespace.to_owned(), name))
}

/// The Services that a route refers to, also those that it may not refer to.
pub(crate) fn references(route: &Value) -> impl Iterator<Item = &Value> {
    items(&route["spec"]["rules"]).flat_map(|rule| {
        let mirrors = items(&rule["filters"]).map(|filter| &filter["requestMirror"]["backendRef"]);
        items(&rule["backendRefs"]).chain(mirrors.filter(|reference| reference.is_object()))
    })
}

/// Translates a route that is accepted by some of its parents.
pub(crate) fn table(route: &Object, accepted: &[Parent]) -> Table {
    let value = route.json();
    let namespace = &route.meta.namespace;
    let hosts: Vec<_> = items(&value["spec"]["hostnames"])
        .map(|host| text(host).to_owned())
        .collect();
    let entrance = |parent: &Parent| match parent {
        Parent::Gateway(gateway) => Entrance {
            gateway: Some(gateway.clone()),
            hosts: hosts.clone(),
        },
        Parent::Service(service) => Entrance {
            gateway: None,
            hosts: vec![host_of(service)],
        },
    };
    Table {
        generation: route.meta.generation,
        entrances: accepted.iter().map(entrance).collect(),
        rules: items(&value["spec"]["rules"])
            .map(|spec| rule(spec, namespace))
            .collect(),
        created: text(&value["metadata"]["creationTimestamp"]).to_owned(),
    }
}

fn rule(spec: &Value, namespace: &str) -> Rule {
    let set = cookies(&spec["filters"]);
    let destination = |reference: &Value| {
        let own = cookies(&reference["filters"]);
        Destination {
            service: service(reference, namespace),
            subset: None,
            weight: weight(&reference["weight"]),
            cookies: set.iter().cloned().chain(own).collect(),
        }
    };
    Rule {
        matches: items(&spec["matches"]).map(matching).collect(),
        destinations: items(&spec["backendRefs"]).map(destination).collect(),
        mirrors: items(&spec["filters"])
            .filter_map(|filter| mirror(&filter["requestMirror"], namespace))
            .collect(),
        session: session(&spec["sessionPersistence"]),
        spec: spec.clone(),
    }
}

fn weight(value: &Value) -> u32 {
    value
        .as_u64()
        .map_or(1, |weight| u32::try_from(weight).unwrap_or(u32::MAX))
}

fn mirror(spec: &Value, namespace: &str) -> Option<Mirror> {
    let fraction = spec["fraction"]["numerator"].as_f64().map(|numerator| {
        let denominator = spec["fraction"]["denominator"].as_f64().unwrap_or(100.0);
        100.0 * numerator / denominator
    });
    Some(Mirror {
        service: service(&spec["backendRef"], namespace).filter(|_| spec.is_object())?,
        percent: spec["percent"].as_f64().or(fraction).unwrap_or(100.0),
    })
}

/// The cookies that filters add to an answer.
fn cookies(filters: &Value) -> Vec<SetCookie> {
    let modifiers = items(filters).map(|filter| &filter["responseHeaderModifier"]);
    let headers = modifiers.flat_map(|modifier| items(&modifier["add"]).chain(items(&modifier["set"])));
    let headers = headers.filter(|header| text(&header["name"]).eq_ignore_ascii_case("set-cookie"));
    headers
        .filter_map(|header| SetCookie::parse(text(&header["value"])))
        .collect()
}

/// The name of the cookie that keeps a session.
fn session(spec: &Value) -> Option<String> {
    let is_cookie = spec.is_object() && text(&spec["type"]) != "Header";
    is_cookie.then(|| spec["cookie"]["name"].as_str().unwrap_or("session").to_owned())
}

fn matching(spec: &Value) -> Match {
    let named = |list: &Value| -> Vec<_> {
        let pairs = items(list).map(|pair| (text(&pair["name"]).to_owned(), condition(pair, "value")));
        pairs.collect()
    };
    let grpc = spec["method"].is_object();
    let path = if grpc {
        called(&spec["method"])
    } else {
        path(&spec["path"])
    };
    let method = spec["method"].as_str().map(|method| Text::Exact(method.to_owned()));
    let headers: Vec<_> = named(&spec["headers"])
        .into_iter()
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect();
    let params = named(&spec["queryParams"]);
    Match {
        rank: rank(path.as_ref(), method.is_some(), headers.len(), params.len()),
        path,
        method,
        headers,
        params,
        without: Vec::new(),
    }
}

fn condition(spec: &Value, field: &str) -> Text {
    let value = text(&spec[field]);
    match text(&spec["type"]) {
        "RegularExpression" => Text::regex(value),
        _ => Text::Exact(value.to_owned()),
    }
}

fn path(spec: &Value) -> Option<Text> {
    match text(&spec["type"]) {
        "PathPrefix" => Some(Text::Path(text(&spec["value"]).to_owned())),
        _ if spec.is_object() => Some(condition(spec, "value")),
        _ => None,
    }
}

/// The path of a gRPC method.
fn called(spec: &Value) -> Option<Text> {
    let (service, method) = (spec["service"].as_str(), spec["method"].as_str());
    if text(&spec["type"]) == "RegularExpression" {
        let any = "[^/]+";
        return Some(Text::regex(&format!(
            "/{}/{}",
            service.unwrap_or(any),
            method.unwrap_or(any)
        )));
    }
    match (service, method) {
        (Some(service), Some(method)) => Some(Text::Exact(format!("/{service}/{method}"))),
        (Some(service), None) => Some(Text::Path(format!("/{service}"))),
        (None, Some(method)) => Some(Text::regex(&format!("/[^/]+/{}", regex::escape(method)))),
        (None, None) => None,
    }
}

fn rank(path: Option<&Text>, method: bool, headers: usize, params: usize) -> Rank {
    let (exact, length) = match path {
        Some(Text::Exact(path)) => (true, path.len()),
        Some(Text::Path(path) | Text::Prefix(path)) => (false, path.len()),
        // Its length says nothing: it goes after all other paths except `/`.
        Some(Text::Regex(_)) => (false, 2),
        Some(Text::Never) | None => (false, 0),
    };
    (exact, length, method, headers, params)
}
