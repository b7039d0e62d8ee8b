//! Counts calls to the API server, and measures how long their responses take.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::{client::gate::Ended, error::Class};

/// Upper bounds of the histogram, in seconds. A call ends after 10 s at the latest.
const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// The resources that Kanary uses, with their subresources as in a Role. The resources of metrics APIs are metrics, so these APIs
/// are in the list with their groups.
const RESOURCES: [&str; 21] = [
    "configmaps",
    "custom.metrics.k8s.io",
    "deployments",
    "endpointslices",
    "events",
    "external.metrics.k8s.io",
    "grpcroutes",
    "horizontalpodautoscalers",
    "httproutes",
    "kanarydeployments",
    "kanarydeployments/status",
    "kanarystatefulsets",
    "kanarystatefulsets/status",
    "leases",
    "metrics.k8s.io",
    "pods",
    "replicasets",
    "scaledobjects",
    "secrets",
    "services",
    "virtualservices",
];

/// No response, because the caller has given up: after 10 s, or at the end of the controller.
const UNANSWERED: &str = "unanswered";

/// Every result of a call.
const RESULTS: [&str; 8] = [
    "ok",
    "not-found",
    Class::Conflict.as_str(),
    Class::Throttled(Duration::ZERO).as_str(),
    Class::Invalid.as_str(),
    Class::Transient.as_str(),
    Class::Fenced.as_str(),
    UNANSWERED,
];

/// Labels of a call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CallLabels {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// One of the resources that Kanary uses, or `other`.
    pub resource: &'static str,
}

/// Labels of the result of a call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CallResultLabels {
    /// As in [`CallLabels`].
    pub verb: &'static str,
    /// As in [`CallLabels`].
    pub resource: &'static str,
    /// `ok`, `not-found`, `unanswered` or a [`Class`] of errors.
    pub result: &'static str,
}

/// The calls of a process. All clients share one: clones have the same counts.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Calls that ended.
    pub ended: Family<CallResultLabels, Counter>,
    /// Seconds from a call to its response. For a watch, to the beginning of the response.
    pub duration: Family<CallLabels, Histogram, fn() -> Histogram>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl Calls {
    fn count(&self, labels: &CallLabels, result: &'static str, took: Duration) {
        let CallLabels { verb, resource } = labels.clone();
        let of = |result| CallResultLabels { verb, resource, result };
        if self.duration.get(labels).is_none() {
            // Prometheus does not see the increase of a counter that begins with 1.
            for result in RESULTS {
                drop(self.ended.get_or_create(&of(result)));
            }
        }
        self.ended.get_or_create(&of(result)).inc();
        self.duration.get_or_create(labels).observe(took.as_secs_f64());
    }
}

/// A call under way. A caller that gives up drops it.
struct Call {
    calls: Calls,
    labels: CallLabels,
    since: Instant,
    result: &'static str,
}

impl Call {
    fn ended<B>(&mut self, reply: &Result<Response<B>, BoxError>) {
        self.result = match reply {
            Ok(reply) => of_status(reply.status()),
            Err(error) if error.downcast_ref() == Some(&Ended::Unsent) => Class::Fenced.as_str(),
            Err(_) => Class::Transient.as_str(),
        };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.count(&self.labels, self.result, self.since.elapsed());
    }
}

/// Wraps `service`, which may be any service that responds like an API server, and counts its calls.
pub fn counting<S, B>(
    service: S,
    calls: Calls,
) -> impl Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send + 'static> + Send + 'static
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send + 'static> + Send + 'static,
    B: 'static,
{
    Counting { service, calls }
}

struct Counting<S> {
    service: S,
    calls: Calls,
}

impl<S, B> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send + 'static>,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut call = Call {
            calls: self.calls.clone(),
            labels: labels(&request),
            since: Instant::now(),
            result: UNANSWERED,
        };
        let reply = self.service.call(request);
        Box::pin(async move {
            let reply = reply.await;
            call.ended(&reply);
            reply
        })
    }
}

fn of_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "not-found",
        // What was read is out of date: the object, or the version from which a watch should begin.
        StatusCode::CONFLICT | StatusCode::GONE => Class::Conflict.as_str(),
        StatusCode::TOO_MANY_REQUESTS => Class::Throttled(Duration::ZERO).as_str(),
        status if status.is_client_error() => Class::Invalid.as_str(),
        status if status.is_server_error() => Class::Transient.as_str(),
        _ => "ok",
    }
}

/// The verb and the resource of a request, as the API server's own metrics have them.
fn labels(request: &Request<Body>) -> CallLabels {
    let mut parts = request.uri().path().trim_start_matches('/').split('/').peekable();
    // `/api/v1/…`, or `/apis/apps/v1/…`.
    let prefix = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => usize::MAX,
    };
    let group = parts.peek().copied().filter(|group| group.ends_with("metrics.k8s.io"));
    let rest: Vec<_> = parts.skip(prefix).collect();
    let (resource, name, subresource) = match *rest.as_slice() {
        ["namespaces", _, resource, ref rest @ ..] | [resource, ref rest @ ..] => {
            (resource, rest.first(), rest.get(1).copied())
        }
        [] => ("", None, None),
    };
    let is_it = |known: &&&str| match (group, subresource) {
        (Some(group), _) => **known == group,
        (None, None) => **known == resource,
        (None, Some(subresource)) => known.split_once('/') == Some((resource, subresource)),
    };
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
    let verb = match (request.method(), name) {
        (&Method::GET, _) if is_watch => "watch",
        (&Method::GET, None) if !resource.is_empty() => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, _) => "delete",
        _ => "get",
    };
    CallLabels {
        verb,
        resource: RESOURCES.iter().find(is_it).copied().unwrap_or("other"),
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;

    fn request(method: &Method, uri: &str) -> Request<Body> {
        let request = Request::builder().method(method).uri(uri);
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_call_has_the_verb_and_the_resource_of_a_role() {
        let kanaries = "/apis/kanary.k8s-operators.dev/v1alpha1";
        for (method, uri, verb, resource) in [
            (Method::GET, "/api/v1/pods?limit=500", "list", "pods"),
            (
                Method::GET,
                "/api/v1/pods?watch=true&timeoutSeconds=290",
                "watch",
                "pods",
            ),
            (Method::GET, "/api/v1/namespaces/shop/secrets/token?", "get", "secrets"),
            (
                Method::POST,
                "/apis/events.k8s.io/v1/namespaces/shop/events",
                "create",
                "events",
            ),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
                "update",
                "leases",
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/shop/deployments/app?dryRun=All",
                "patch",
                "deployments",
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/shop/services/app",
                "delete",
                "services",
            ),
            (
                Method::GET,
                "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=a",
                "list",
                "metrics.k8s.io",
            ),
            (
                Method::GET,
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/errors",
                "get",
                "custom.metrics.k8s.io",
            ),
            (Method::GET, "/version", "get", "other"),
            (Method::GET, "/api/v1/namespaces/shop", "get", "other"),
            (
                Method::GET,
                "/apis/apps/v1/namespaces/shop/deployments/app/scale",
                "get",
                "other",
            ),
        ] {
            let found = labels(&request(&method, uri));
            assert_eq!((found.verb, found.resource), (verb, resource), "{method} {uri}");
        }
        let status = format!("{kanaries}/namespaces/shop/kanarydeployments/batman/status");
        assert_eq!(
            labels(&request(&Method::PATCH, &status)).resource,
            "kanarydeployments/status"
        );
        assert_eq!(
            labels(&request(&Method::GET, &format!("{kanaries}/kanarystatefulsets"))).verb,
            "list"
        );
    }

    /// The counts of lists of pods, by result, after one of them.
    async fn counted(reply: Result<u16, Ended>, patience: Duration) -> Vec<(&'static str, u64)> {
        let calls = Calls::default();
        let service = service_fn(move |_| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let code = reply?;
            Ok::<_, BoxError>(Response::builder().status(code).body(()).unwrap())
        });
        let call = counting(service, calls.clone()).oneshot(request(&Method::GET, "/api/v1/pods"));
        let _given_up = tokio::time::timeout(patience, call).await;
        let labels = CallLabels {
            verb: "list",
            resource: "pods",
        };
        assert!(calls.duration.get(&labels).is_some());
        let of = |result| CallResultLabels {
            verb: "list",
            resource: "pods",
            result,
        };
        let counts = RESULTS.map(|result| (result, calls.ended.get(&of(result)).expect("it begins at 0").get()));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_call_is_counted_once_with_its_result() {
        for (reply, result) in [
            (Ok(200), "ok"),
            (Ok(201), "ok"),
            (Ok(404), "not-found"),
            (Ok(409), "conflict"),
            (Ok(410), "conflict"),
            (Ok(429), "throttled"),
            (Ok(422), "invalid"),
            (Ok(503), "transient"),
            (Err(Ended::CutOff), "transient"),
            (Err(Ended::Unsent), "fenced"),
        ] {
            assert_eq!(counted(reply, Duration::from_secs(10)).await, [(result, 1)]);
        }
        assert_eq!(counted(Ok(200), Duration::from_millis(10)).await, [("unanswered", 1)]);
    }
}
