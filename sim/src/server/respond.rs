//! Responses: objects, lists, tables, refusals, and what the server says about itself.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, Request, full, read::Page};
use crate::{builtin, cluster::Cluster, failure::Failure, object::Object, resource::Resource};

const JSON: &str = "application/json";

/// How objects are shown to whoever asks.
pub(crate) struct View {
    resource: Arc<Resource>,
    /// As rows, for kubectl.
    table: bool,
}

impl View {
    pub(crate) fn of(resource: &Arc<Resource>, request: &Request<'_>) -> Self {
        Self {
            resource: resource.clone(),
            table: request.header("accept").contains("as=Table"),
        }
    }

    /// A response of one object.
    pub(crate) fn object(&self, cluster: &Cluster, code: u16, object: &Object) -> Response<Body> {
        json(code, self.watched(cluster, object))
    }

    /// An object as a watch shows it.
    pub(crate) fn watched(&self, _cluster: &Cluster, object: &Object) -> bytes::Bytes {
        self.body(object)
    }

    /// A response of a list.
    pub(crate) fn list(&self, _cluster: &Cluster, page: &Page) -> Response<Body> {
        let resource = &self.resource;
        let meta = list_meta(page);
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

    /// How far a watch is.
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

/// A response of JSON.
pub(crate) fn json(code: u16, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = http::HeaderValue::from_static(JSON);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// A refusal.
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

/// What is not about objects: health, version, discovery.
pub(crate) fn about_the_server(_cluster: &Cluster, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    match request.uri.path() {
        "/healthz" | "/livez" | "/readyz" => Ok(Response::new(full("ok"))),
        _ => Err(super::call::unknown()),
    }
}
