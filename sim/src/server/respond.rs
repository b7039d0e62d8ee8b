//! Responses: objects, lists, tables, refusals, and information about the server.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    Body, Request,
    call::{Call, unknown},
    full,
    read::Page,
};
use crate::{
    builtin,
    cluster::Cluster,
    discovery,
    failure::Failure,
    object::Object,
    openapi,
    resource::Resource,
    table::{Columns, IncludeObject, table},
};

const JSON: &str = "application/json";

/// The representation of objects that the client accepts.
pub(crate) struct View {
    resource: Arc<Resource>,
    /// A table, for kubectl.
    table: Option<(Columns, IncludeObject)>,
}

impl View {
    pub(crate) fn of(call: &Call, request: &Request<'_>) -> Self {
        let resource = call.resource.clone();
        let include = IncludeObject::of(call.query.text("includeObject")).unwrap_or_default();
        let table = request.header("accept").contains("as=Table");
        Self {
            table: table.then(|| (Columns::of(&resource), include)),
            resource,
        }
    }

    /// A response with one object.
    pub(crate) fn object(&self, cluster: &Cluster, code: u16, object: &Object) -> Response<Body> {
        json(code, self.watched(cluster, object))
    }

    /// An object in a watch event.
    pub(crate) fn watched(&self, cluster: &Cluster, object: &Object) -> bytes::Bytes {
        let Some((columns, include)) = &self.table else {
            return self.body(object);
        };
        let meta = json!({"resourceVersion": object.meta.resource_version.to_string()});
        let rows = table(columns, &[self.value(object)], cluster.now(), *include, meta);
        rows.to_string().into()
    }

    /// A response with a list.
    pub(crate) fn list(&self, cluster: &Cluster, page: &Page) -> Response<Body> {
        let resource = &self.resource;
        let meta = list_meta(page);
        if let Some((columns, include)) = &self.table {
            let objects: Vec<_> = page.items.iter().map(|object| self.value(object)).collect();
            let rows = table(columns, &objects, cluster.now(), *include, meta);
            return json(200, rows.to_string());
        }
        let head = format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{meta},\"items\":[",
            resource.kind,
            resource.api_version()
        );
        let mut all = BytesMut::from(head.as_bytes());
        for (index, object) in page.items.iter().enumerate() {
            if index > 0 {
                all.put_u8(b',');
            }
            all.put(self.body(object));
        }
        all.put(&b"]}"[..]);
        json(200, all.freeze())
    }

    /// A bookmark object of a watch.
    pub(crate) fn bookmark(&self, version: u64) -> Value {
        json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        })
    }

    fn body(&self, object: &Object) -> bytes::Bytes {
        if self.resource.is_view() {
            self.value(object).to_string().into()
        } else {
            object.body().clone()
        }
    }

    fn value(&self, object: &Object) -> Value {
        let mut value = object.value();
        if self.resource.is_view() {
            builtin::from_core(&mut value);
        }
        value
    }
}

/// A JSON response.
pub(crate) fn json(code: u16, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = http::HeaderValue::from_static(JSON);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The response for a failure.
pub(crate) fn failed(failure: &Failure) -> Response<Body> {
    json(failure.code, failure.to_status().to_string())
}

fn list_meta(page: &Page) -> Value {
    let mut meta = json!({"resourceVersion": page.version.to_string()});
    if let Some(next) = &page.next {
        meta["continue"] = json!(next);
        meta["remainingItemCount"] = json!(page.remaining);
    }
    meta
}

/// Responses for paths outside the API groups: health, version, discovery.
pub(crate) fn about_the_server(cluster: &Cluster, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let path = request.uri.path().trim_end_matches('/');
    if ["/healthz", "/livez", "/readyz"].contains(&path) {
        return Ok(Response::new(full("ok")));
    }
    let aggregated = request.header("accept").contains("apidiscovery.k8s.io");
    let state = cluster.lock();
    let registry = &state.registry;
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let found = match parts.as_slice() {
        ["api" | "apis"] if aggregated => {
            let body = discovery::aggregated(registry, parts == ["api"]).to_string();
            let mut response = json(200, body);
            let kind = http::HeaderValue::from_static(discovery::AGGREGATED);
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            return Ok(response);
        }
        ["version"] => Some(discovery::version()),
        ["api"] => Some(discovery::core_versions()),
        ["apis"] => Some(discovery::groups(registry)),
        ["api", version] => discovery::resources(registry, "", version),
        ["apis", group] => discovery::group(registry, group),
        ["apis", group, version] => discovery::resources(registry, group, version),
        ["openapi", "v3"] => Some(openapi::index(registry)),
        ["openapi", "v3", "api", version] => openapi::document(registry, "", version),
        ["openapi", "v3", "apis", group, version] => openapi::document(registry, group, version),
        _ => None,
    };
    found.map(|found| json(200, found.to_string())).ok_or_else(unknown)
}
