//! The API server, from HTTP requests to HTTP responses.

mod call;
mod change;
mod http_listener;
mod read;
mod respond;
mod service;
mod watch;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use jiff::Timestamp;

use self::call::Call;
pub use self::{
    http_listener::{Listener, kubeconfig},
    service::Connection,
};
pub(crate) use self::{
    read::Rest,
    respond::{failed as refusal, json},
};
use crate::{admission::Attempt, cluster::Cluster, failure::Failure, metrics_apis::MetricsApis};

/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Arrival time of the request.
    pub at: Timestamp,
    /// User who sent it.
    pub user: Arc<str>,
    /// `get`, `create`, …
    pub verb: &'static str,
    /// `deployments`, `kanarydeployments/status`, …
    pub resource: String,
    /// Empty for cluster-scoped kinds and for all namespaces.
    pub namespace: String,
    /// Empty for a list.
    pub name: String,
    /// Label selector of a list or watch, or empty.
    pub selector: String,
    /// HTTP status of the response.
    pub code: u16,
    /// The client's `User-Agent`.
    pub agent: String,
}

/// An API server for a cluster. Clones share the same state.
#[derive(Clone)]
pub struct Server {
    cluster: Cluster,
    metrics_apis: MetricsApis,
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    pub(crate) user: &'a Arc<str>,
}

impl Request<'_> {
    pub(crate) fn header(&self, name: &str) -> &str {
        let header = self.headers.get(name).and_then(|header| header.to_str().ok());
        header.unwrap_or_default()
    }
}

impl Server {
    /// Creates an API server for `cluster`.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            metrics_apis: MetricsApis::default(),
            entries: Arc::default(),
        }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The metrics APIs behind it, which serve nothing at first.
    #[must_use]
    pub fn metrics_apis(&self) -> &MetricsApis {
        &self.metrics_apis
    }

    /// Takes the audit log since the last call. A request is in the log before its effects are visible.
    #[must_use]
    pub fn take_entries(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries())
    }

    /// How long policies, or a metrics API that hangs, delay a request before it is processed.
    pub(crate) fn delay(&self, method: &Method, uri: &Uri, user: &str) -> Duration {
        if *method == Method::GET {
            return self.metrics_apis.delay(uri);
        }
        let Ok(Some(call)) = Call::parse(&self.cluster, method, uri) else {
            return Duration::ZERO;
        };
        self.cluster.delay(&Attempt {
            user,
            verb: match call.verb {
                "create" => "create",
                "update" | "patch" => "update",
                _ => "delete",
            },
            resource: &call.resource.name,
            subresource: &call.subresource,
            namespace: call.namespace.as_deref().unwrap_or_default(),
            name: &call.name,
        })
    }

    /// Processes a request.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Response<Body> {
        let call = match Call::parse(&self.cluster, request.method, request.uri) {
            Ok(Some(call)) => call,
            Ok(None) => {
                if let Some(answered) = self.metrics(request) {
                    return self.dated(answered);
                }
                let found = respond::about_the_server(&self.cluster, request);
                return self.dated(found.unwrap_or_else(|failure| respond::failed(&failure)));
            }
            Err(failure) => return self.dated(respond::failed(&failure)),
        };
        // The log is locked before the request is processed, because a watch may report its effect before this function
        // returns.
        let mut entries = self.entries();
        let at = self.cluster.now();
        let answer = self.dispatch(&call, request);
        let response = answer.unwrap_or_else(|failure| respond::failed(&failure));
        entries.push(entry(at, &call, request, &response));
        drop(entries);
        self.dated(response)
    }

    /// The answer to a request about metrics.
    fn metrics(&self, request: &Request<'_>) -> Option<Response<Body>> {
        let (response, logged) = self.metrics_apis.answer(&self.cluster, request)?;
        let entry = Entry {
            at: self.cluster.now(),
            user: request.user.clone(),
            verb: logged.verb,
            resource: logged.resource.to_owned(),
            namespace: logged.namespace,
            name: logged.name,
            selector: logged.selector,
            code: response.status().as_u16(),
            agent: request.header("user-agent").to_owned(),
        };
        self.entries().push(entry);
        Some(response)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
        let cluster = &self.cluster;
        match call.verb {
            "get" => read::get(cluster, call, request),
            "list" => read::list(cluster, call, request),
            "watch" => watch::watch(cluster, call, request),
            "create" => change::create(cluster, call, request),
            "update" => change::update(cluster, call, request),
            "patch" => change::patch(cluster, call, request),
            "delete" => change::delete(cluster, call, request),
            _ => change::delete_collection(cluster, call, request),
        }
    }

    fn dated(&self, mut response: Response<Body>) -> Response<Body> {
        let date = self.cluster.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = date.parse() {
            response.headers_mut().insert(http::header::DATE, date);
        }
        response
    }
}

fn entry(at: Timestamp, call: &Call, request: &Request<'_>, response: &Response<Body>) -> Entry {
    let mut resource = call.resource.plural.clone();
    if !call.subresource.is_empty() {
        resource = format!("{resource}/{}", call.subresource);
    }
    Entry {
        at,
        user: request.user.clone(),
        verb: call.verb,
        resource,
        namespace: call.namespace.clone().unwrap_or_default(),
        name: change::name_of(call, request),
        selector: call.query.text("labelSelector").to_owned(),
        code: response.status().as_u16(),
        agent: request.header("user-agent").to_owned(),
    }
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}
