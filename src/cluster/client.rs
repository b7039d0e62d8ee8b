//! The API server client: one attempt per request, a timeout for the response, the cluster's time from every response, and a
//! gate for requests that may only be sent while a right lasts.

pub mod gate;
mod pool;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{
    Request, Response,
    header::{DATE, HeaderValue, USER_AGENT},
};
use jiff::{Timestamp, fmt::rfc2822};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{
    BoxError, Service,
    layer::layer_fn,
    util::{BoxCloneService, BoxService, MapFuture},
};

use self::{gate::Permit, pool::Reply};
use crate::cluster::{
    calls::{Calls, counting},
    clock::Clock,
    error::Unanswered,
};

/// A client that synchronizes `clock` with the API server's time, counts its calls in `calls`, and identifies the replica to the
/// API server: its audit log contains `identity` in `userAgent`.
///
/// The client does not retry requests: after a failed request, the controller decides again from the current state. No byte of a
/// request with a [`Permit`] is sent after the permit has ended.
///
/// # Errors
///
/// The configuration contains certificates or credentials that cannot be used.
pub fn connect(mut config: Config, clock: Clock, identity: &str, calls: Calls) -> kube::Result<Client> {
    config.headers.extend(agent(identity).map(|agent| (USER_AGENT, agent)));
    config.default_retry = false;
    // Watches end by their own timeout. A shorter read timeout would cut them off and cost an extra request each time.
    let count = layer_fn(move |service| counting(service, calls.clone()));
    let learn = layer_fn(move |service| learning(service, clock.clone()));
    let gated = pool::service(&config)?;
    let route = layer_fn(move |plain| Routed {
        plain,
        gated: gated.clone(),
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&route)
        .with_layer(&count)
        .with_layer(&learn)
        .build())
}

/// Sends requests with a permit through gated connections. It is one client for both, so that a write cannot be sent with the
/// wrong client.
struct Routed {
    plain: BoxService<Request<Body>, Reply, BoxError>,
    gated: BoxCloneService<Request<Body>, Reply, BoxError>,
}

impl Service<Request<Body>> for Routed {
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.plain.poll_ready(cx))?;
        self.gated.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.extensions().get::<Permit>().is_some() {
            self.gated.call(request)
        } else {
            self.plain.call(request)
        }
    }
}

/// The user agent; `None` if the identity is not a valid header value.
fn agent(identity: &str) -> Option<HeaderValue> {
    format!("kanary/{} ({identity})", env!("CARGO_PKG_VERSION"))
        .parse()
        .ok()
}

/// Wraps `service`, which may be any service that responds like an API server, and synchronizes `clock` with its responses.
pub fn learning<S, Q, B>(
    service: S,
    clock: Clock,
) -> impl Service<Q, Response = Response<B>, Error = S::Error, Future: Send + 'static> + Send + 'static
where
    S: Service<Q, Response = Response<B>, Error: 'static, Future: Send + 'static> + Send + 'static,
    B: 'static,
{
    MapFuture::new(service, move |call| learn(call, clock.clone()))
}

async fn learn<B, E>(call: impl Future<Output = Result<Response<B>, E>>, clock: Clock) -> Result<Response<B>, E> {
    let sent = clock.local();
    let reply = call.await?;
    clock.hear();
    if let Some(date) = reply
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(http_date)
    {
        clock.learn(sent, clock.local(), date);
    }
    Ok(reply)
}

/// Timeout of a request. A later response is ignored, and the outcome is read from the cluster instead.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for a response for at most `time`.
pub(crate) async fn within<T>(time: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(time, call).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(Box::new(Unanswered(time)))),
    }
}

/// Parses a `Date` header.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    Some(rfc2822::parse(text).ok()?.timestamp())
}
