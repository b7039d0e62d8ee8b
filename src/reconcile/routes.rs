//! Reads of routes. Nothing watches them: their CRDs need not exist, and a run
//! reads its route only while it uses it.

use std::sync::Arc;

use kanary_core::{
    ParsedKanary,
    api::{RouteKind, RouteRef},
    observation::RouteFound,
    route,
    routing::{Wanted, wanted},
    spec::Spec,
};
use kube::{
    Client,
    api::{GetParams, ListParams},
    core::Request,
};
use serde_json::Value;

use crate::cluster::{
    client::{CALL_TIMEOUT, within},
    error::ApiError,
};

/// Why a route could not be read, if the answer of the API server says so.
pub(super) enum Absent {
    Object,
    Kind,
    Forbidden(String),
}

/// Reads the route of a Kanary.
///
/// # Errors
///
/// The read failed. An answer of the API server that there is no such route, or that the controller may not read it, is a result.
pub(super) async fn find(client: &Client, kanary: &ParsedKanary, spec: &Spec) -> Result<RouteFound, ApiError> {
    let namespace = &kanary.key.namespace;
    match wanted(kanary, spec) {
        None => Ok(RouteFound::Nowhere),
        Some(Wanted::Named(route)) => read(client, namespace, route).await,
        Some(Wanted::LeadingTo { service, kinds }) => leading_to(client, namespace, &service, kinds).await,
    }
}

async fn read(client: &Client, namespace: &str, route: RouteRef) -> Result<RouteFound, ApiError> {
    let request = of(route.kind, namespace).get(&route.name, &GetParams::default());
    match ask(client, request).await {
        Ok(Ok(object)) => Ok(RouteFound::There(route, Arc::new(object))),
        Ok(Err(Absent::Object)) => Ok(RouteFound::Missing(route)),
        Ok(Err(Absent::Kind)) => Ok(RouteFound::NoKind(vec![route.kind])),
        Ok(Err(Absent::Forbidden(message))) => Ok(RouteFound::Forbidden(message)),
        Err(error) => Err(ApiError::new(
            "get",
            route.kind.as_str().into(),
            namespace,
            &route.name,
            error,
        )),
    }
}

async fn leading_to(
    client: &Client,
    namespace: &str,
    service: &str,
    kinds: Vec<RouteKind>,
) -> Result<RouteFound, ApiError> {
    let (mut found, mut missing, asked) = (Vec::new(), Vec::new(), kinds.len());
    for kind in kinds {
        let request = of(kind, namespace).list(&ListParams::default());
        let failed = |error| ApiError::new("list", kind.as_str().into(), namespace, service, error);
        match ask(client, request).await.map_err(failed)? {
            Ok(list) => found.extend(leading(kind, list, service)),
            Err(Absent::Forbidden(message)) => return Ok(RouteFound::Forbidden(message)),
            Err(Absent::Object | Absent::Kind) => missing.push(kind),
        }
    }
    Ok(match found.len() {
        0 if missing.len() == asked => RouteFound::NoKind(missing),
        0 => RouteFound::Nowhere,
        1 => found.pop().map_or(RouteFound::Nowhere, |(route, object)| {
            RouteFound::There(route, Arc::new(object))
        }),
        _ => RouteFound::Several(found.into_iter().map(|(route, _)| route).collect()),
    })
}

/// The routes of a list that lead to a Service.
fn leading(kind: RouteKind, mut list: Value, service: &str) -> Vec<(RouteRef, Value)> {
    let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
    let items = items
        .into_iter()
        .flatten()
        .filter(|object| route::leads_to(kind, object, service));
    items
        .filter_map(|object| {
            let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
            Some((RouteRef { kind, name }, object))
        })
        .collect()
}

/// Builder for requests about routes of a kind.
pub(super) fn of(kind: RouteKind, namespace: &str) -> Request {
    let (group, version, plural) = (kind.group(), kind.version(), kind.plural());
    Request::new(format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}"))
}

/// The raw object: fields that this build does not know are kept.
pub(super) async fn ask(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> kube::Result<Result<Value, Absent>> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    let error = match within(CALL_TIMEOUT, client.request::<Value>(request)).await {
        Ok(object) => return Ok(Ok(object)),
        Err(error) => error,
    };
    let kube::Error::Api(status) = &error else {
        return Err(error);
    };
    match status.code {
        // A path that the API server does not serve is no object with a name.
        404 if status.details.as_ref().is_some_and(|details| !details.name.is_empty()) => Ok(Err(Absent::Object)),
        404 => Ok(Err(Absent::Kind)),
        403 => Ok(Err(Absent::Forbidden(status.message.clone()))),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_that_lead_to_a_service_are_found_in_a_list() {
        let route = |name: &str, to: &str| {
            json!({
                "metadata": {"name": name, "namespace": "eu"}, "spec": {"rules": [{"backendRefs": [{"name": to}]}]},
            })
        };
        let list = json!({"items": [route("a", "shop"), route("b", "other"), route("c", "shop")]});
        let found = leading(RouteKind::Http, list, "shop");
        let names: Vec<_> = found.iter().map(|(route, _)| route.to_string()).collect();
        assert_eq!(names, ["HTTPRoute a", "HTTPRoute c"]);
    }
}
