//! Translates VirtualServices.

use serde_json::Value;

use super::{
    plane::Subsets,
    request::SetCookie,
    table::{Destination, Entrance, Match, Mirror, Rule, Table, Text, host_of, service_of},
};
use crate::{object::Object, store::Place};

/// The gateway of requests from inside the mesh.
const MESH: &str = "mesh";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Translates a VirtualService. Its rules are tried in order.
pub(crate) fn table(route: &Object) -> Table {
    let value = route.json();
    let (namespace, spec) = (&route.meta.namespace, &value["spec"]);
    let hosts: Vec<_> = items(&spec["hosts"]).map(|host| text(host).to_owned()).collect();
    let mut gateways: Vec<_> = items(&spec["gateways"]).map(text).collect();
    if gateways.is_empty() {
        gateways.push(MESH);
    }
    let entrance = |gateway: &str| {
        if gateway == MESH {
            let full = hosts
                .iter()
                .map(|host| service_of(host, namespace).map_or(host.clone(), |it| host_of(&it)));
            return Entrance {
                gateway: None,
                hosts: full.collect(),
            };
        }
        let (of, name) = gateway.split_once('/').unwrap_or((namespace, gateway));
        Entrance {
            gateway: Some((of.to_owned(), name.to_owned())),
            hosts: hosts.clone(),
        }
    };
    Table {
        generation: route.meta.generation,
        entrances: gateways.into_iter().map(entrance).collect(),
        rules: items(&spec["http"]).map(|http| rule(http, namespace)).collect(),
        created: text(&value["metadata"]["creationTimestamp"]).to_owned(),
    }
}

/// The Services that a VirtualService leads to.
pub(crate) fn references(route: &Object) -> Vec<Place> {
    let rules = table(route).rules;
    let services = rules.into_iter().flat_map(|rule| {
        let mirrors = rule.mirrors.into_iter().map(|mirror| mirror.service);
        rule.destinations.into_iter().filter_map(|to| to.service).chain(mirrors)
    });
    services.collect()
}

/// The Service of a DestinationRule, and its subsets.
pub(crate) fn subsets(rule: &Object) -> Option<(Place, Subsets)> {
    let value = rule.json();
    let service = service_of(text(&value["spec"]["host"]), &rule.meta.namespace)?;
    let subsets = items(&value["spec"]["subsets"]).map(|subset| {
        let labels = subset["labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(name, value)| (name.clone(), text(value).to_owned()));
        (text(&subset["name"]).to_owned(), labels.collect())
    });
    Some((service, subsets.collect()))
}

fn rule(spec: &Value, namespace: &str) -> Rule {
    let routes = spec["route"].as_array().map_or(&[][..], Vec::as_slice);
    let set = cookies(&spec["headers"]["response"]);
    let destination = |route: &Value| Destination {
        service: service_of(text(&route["destination"]["host"]), namespace),
        subset: route["destination"]["subset"].as_str().map(str::to_owned),
        // A single destination gets everything.
        weight: match route["weight"].as_u64().unwrap_or_default() {
            0 if routes.len() == 1 => 1,
            weight => u32::try_from(weight).unwrap_or(u32::MAX),
        },
        cookies: set
            .iter()
            .cloned()
            .chain(cookies(&route["headers"]["response"]))
            .collect(),
    };
    let percent = |spec: &Value| spec["value"].as_f64();
    let mirror = |destination: &Value, percent: Option<f64>| {
        let service = service_of(text(&destination["host"]), namespace)?;
        let percent = percent.unwrap_or(100.0);
        Some(Mirror { service, percent })
    };
    let many = items(&spec["mirrors"]).map(|each| mirror(&each["destination"], percent(&each["percentage"])));
    let one = mirror(&spec["mirror"], percent(&spec["mirrorPercentage"]));
    Rule {
        matches: items(&spec["match"]).map(matching).collect(),
        destinations: routes.iter().map(destination).collect(),
        mirrors: many.chain([one]).flatten().collect(),
        session: None,
        spec: spec.clone(),
    }
}

/// The cookies that are added to an answer.
fn cookies(headers: &Value) -> Vec<SetCookie> {
    let headers = [&headers["add"], &headers["set"]]
        .into_iter()
        .filter_map(Value::as_object)
        .flatten();
    let headers = headers.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    headers.filter_map(|(_, value)| SetCookie::parse(text(value))).collect()
}

fn matching(spec: &Value) -> Match {
    let named = |map: &Value| -> Vec<_> {
        let pairs = map.as_object().into_iter().flatten();
        pairs.map(|(name, value)| (name.clone(), condition(value))).collect()
    };
    let lower = |pairs: Vec<(String, Text)>| -> Vec<_> {
        let pairs = pairs.into_iter();
        pairs.map(|(name, value)| (name.to_lowercase(), value)).collect()
    };
    let one = |value: &Value| value.is_object().then(|| condition(value));
    Match {
        path: one(&spec["uri"]),
        method: one(&spec["method"]),
        headers: lower(named(&spec["headers"])),
        without: lower(named(&spec["withoutHeaders"])),
        params: named(&spec["queryParams"]),
        ..Match::default()
    }
}

/// A `StringMatch`. An empty one asks for any value.
fn condition(spec: &Value) -> Text {
    if let Some(exact) = spec["exact"].as_str() {
        return Text::Exact(exact.to_owned());
    }
    match spec["regex"].as_str() {
        Some(expression) => Text::regex(expression),
        None => Text::Prefix(text(&spec["prefix"]).to_owned()),
    }
}
