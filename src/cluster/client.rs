//! The client of the API server: one attempt for each call, a limit to the wait for its answer, the cluster's time from every
//! reply, and a gate for requests that may be sent only as long as a right lasts.

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
use crate::cluster::clock::Clock;

/// A client that tells `clock` what time the API server says it is, and the API server which replica asks: its audit log
/// has that as `userAgent`.
///
/// The client does not repeat calls by itself: what follows a failed call is decided anew, from what is seen then. Of a request
/// that has a [`Permit`] no byte is sent after the permit has ended.
///
/// # Errors
///
/// The configuration names certificates or credentials that cannot be used.
pub fn connect(mut config: Config, clock: Clock, identity: &str) -> kube::Result<Client> {
    config.headers.extend(agent(identity).map(|agent| (USER_AGENT, agent)));
    config.default_retry = false;
    // Watches end by their own timeout; a read timeout below it would cut them off and cost a request each time.
    let learn = layer_fn(move |service| learning(service, clock.clone()));
    let gated = pool::service(&config)?;
    let route = layer_fn(move |plain| Routed {
        plain,
        gated: gated.clone(),
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&route)
        .with_layer(&learn)
        .build())
}

/// Requests that have a permit go through connections that have gates. One client for both, so that no write can be given to the
/// wrong one.
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

/// `None` for an identity that no header can hold.
fn agent(identity: &str) -> Option<HeaderValue> {
    format!("kanary/{} ({identity})", env!("CARGO_PKG_VERSION"))
        .parse()
        .ok()
}

/// `service`, which may be anything that answers as an API server, telling `clock` what time its replies say it is.
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

/// Longest time that one call may take. A reply that comes later is never waited for: the outcome is read instead.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the answer to a call no longer than `time`.
pub(crate) async fn within<T>(time: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(time, call).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer within {time:?}").into())),
    }
}

/// The time that a header `Date` names.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    Some(rfc2822::parse(text).ok()?.timestamp())
}
