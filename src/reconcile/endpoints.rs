//! Reads of the addresses behind a canary's own Service, before the canary gets more requests. Nothing watches them.

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    Client,
    api::{GetParams, ListParams},
    core::Request,
};
use serde_json::Value;

use super::routes::ask;
use crate::cluster::{
    client::{CALL_TIMEOUT, within},
    error::ApiError,
};

/// Label with the name of the Service that an `EndpointSlice` belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The number of pods with a ready address behind a Service and with all its ports, and the `targetPort` that a ready pod lacks. `used`
/// has the numbers of the ports to which a route sends requests. If it has none of the Service's, all of them count.
///
/// # Errors
///
/// A read failed.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    service: &str,
    used: &BTreeSet<u64>,
) -> Result<(usize, Option<String>), ApiError> {
    let failed = |verb, error| ApiError::new(verb, "Service".into(), namespace, service, error);
    let services = Request::new(format!("/api/v1/namespaces/{namespace}/services"));
    let found = ask(client, services.get(service, &GetParams::default())).await;
    let Ok(found) = found.map_err(|error| failed("get", error))? else {
        return Ok((0, None));
    };
    let slices = Request::new(format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    ));
    let of_service = ListParams::default().labels(&format!("{SERVICE_NAME}={service}"));
    let list_failed = |error| failed("list the EndpointSlices of", error);
    let request = slices
        .list(&of_service)
        .map_err(|error| list_failed(kube::Error::BuildRequest(error)))?;
    let slices = within(CALL_TIMEOUT, client.request::<Value>(request))
        .await
        .map_err(list_failed)?;
    Ok(ready(&slices, &ports(&found, used)))
}

/// Names of the ports of a Service that a route uses, each with its `targetPort`.
fn ports(service: &Value, used: &BTreeSet<u64>) -> BTreeMap<String, String> {
    let ports = || {
        service
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let is_used = |port: &&Value| port["port"].as_u64().is_some_and(|number| used.contains(&number));
    let is_any_used = ports().any(|port| is_used(&port));
    ports()
        .filter(|port| !is_any_used || is_used(port))
        .map(|port| {
            let target = &port["targetPort"];
            let shown = target.as_str().map_or_else(|| target.to_string(), ToOwned::to_owned);
            (name(port), shown)
        })
        .collect()
}

/// The only port of a Service may have no name.
fn name(port: &Value) -> String {
    port["name"].as_str().unwrap_or_default().to_owned()
}

/// A pod has its ports in one slice, or in one for each family of addresses. Pods with other ports are in other slices.
fn ready(slices: &Value, wanted: &BTreeMap<String, String>) -> (usize, Option<String>) {
    let (mut whole, mut partial) = (BTreeSet::new(), BTreeMap::new());
    for slice in slices["items"].as_array().into_iter().flatten() {
        let has: BTreeSet<_> = slice["ports"].as_array().into_iter().flatten().map(name).collect();
        let lacking = wanted.iter().find(|(name, _)| !has.contains(*name));
        for pod in ready_pods(slice) {
            match lacking {
                None => drop(whole.insert(pod)),
                Some((_, target)) => drop(partial.insert(pod, target)),
            }
        }
    }
    let lacking = partial.into_iter().find(|(pod, _)| !whole.contains(pod));
    (whole.len(), lacking.map(|(_, target)| target.clone()))
}

fn ready_pods(slice: &Value) -> impl Iterator<Item = &str> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    // An unknown readiness counts as ready, by the definition of the field.
    let ready = endpoints.filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)));
    ready.filter_map(|endpoint| {
        let pod = endpoint.pointer("/targetRef/name").and_then(Value::as_str);
        pod.or_else(|| endpoint.pointer("/addresses/0").and_then(Value::as_str))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(pod: &str, ready: Option<bool>) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"name": pod}})
    }

    #[test]
    fn pods_with_a_ready_address_are_counted_once() {
        let slices = json!({"items": [
            {"endpoints": [endpoint("a", Some(true)), endpoint("b", Some(false)), endpoint("c", None)]},
            {"endpoints": [endpoint("a", Some(true))]},
            {"endpoints": null},
            {"endpoints": [{"addresses": ["10.0.0.9"]}]},
        ]});
        let none = BTreeMap::new();
        assert_eq!(ready(&slices, &none), (3, None));
        assert_eq!(ready(&json!({"items": null}), &none), (0, None));
    }

    #[test]
    fn pods_without_a_port_that_a_route_uses_do_not_count() {
        let service = json!({"spec": {"ports": [
            {"name": "http", "port": 80, "targetPort": "web"}, {"name": "metrics", "port": 9090, "targetPort": "prom"},
        ]}});
        let slices = json!({"items": [
            {"ports": [{"name": "http"}, {"name": "metrics"}], "endpoints": [endpoint("a", None)]},
            {"ports": [{"name": "http"}], "endpoints": [endpoint("b", None)]},
            {"ports": [{"name": "metrics"}], "endpoints": [endpoint("c", None), endpoint("d", Some(false))]},
            {"ports": null, "endpoints": [endpoint("e", Some(false))]},
        ]});
        let found = |used: &[u64]| ready(&slices, &ports(&service, &used.iter().copied().collect()));
        assert_eq!(found(&[80]), (2, Some("web".to_owned())));
        assert_eq!(found(&[9090]), (2, Some("prom".to_owned())));
        // A route that names no port of the Service may lead to any of them.
        assert_eq!(found(&[]), (1, Some("prom".to_owned())));
        assert_eq!(found(&[8443]), (1, Some("prom".to_owned())));
    }

    #[test]
    fn a_port_without_a_name_is_one_that_slices_name_nothing() {
        let service = json!({"spec": {"ports": [{"port": 80, "targetPort": "web"}]}});
        let wanted = ports(&service, &BTreeSet::new());
        let slice = |ports: Value| json!({"items": [{"ports": ports, "endpoints": [endpoint("a", None)]}]});
        assert_eq!(ready(&slice(json!([{"name": "", "port": 8080}])), &wanted), (1, None));
        assert_eq!(ready(&slice(json!([{"port": 8080}])), &wanted), (1, None));
        assert_eq!(ready(&slice(json!(null)), &wanted), (0, Some("web".to_owned())));
        assert_eq!(
            ready(&slice(json!(null)), &ports(&Value::Null, &BTreeSet::new())),
            (1, None)
        );
    }
}
