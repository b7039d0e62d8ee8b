//! The client of the API server: one attempt for each call, a limit to the wait for its answer, and the cluster's time from
//! every reply.

use std::time::Duration;

use http::{
    Response,
    header::{DATE, HeaderValue, USER_AGENT},
};
use jiff::{Timestamp, fmt::rfc2822};
use kube::{Client, Config, client::ClientBuilder};
use tower::{Service, layer::layer_fn, util::MapFuture};

use crate::clock::Clock;

/// A client that tells `clock` what time the API server says it is, and the API server which replica asks: its audit log
/// has that as `userAgent`.
///
/// The client does not repeat calls by itself: what follows a failed call is decided anew, from what is seen then.
///
/// # Errors
///
/// The configuration names certificates or credentials that cannot be used.
pub fn connect(mut config: Config, clock: Clock, identity: &str) -> kube::Result<Client> {
    config.headers.extend(agent(identity).map(|agent| (USER_AGENT, agent)));
    config.default_retry = false;
    // Watches end by their own timeout; a read timeout below it would cut them off and cost a request each time.
    let learn = layer_fn(move |service| learning(service, clock.clone()));
    Ok(ClientBuilder::try_from(config)?.with_layer(&learn).build())
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Request;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    #[test]
    fn the_date_of_a_reply_is_understood() {
        let date = http_date("Sun, 22 Nov 2026 01:36:03 GMT");
        assert_eq!(date, "2026-11-22T01:36:03Z".parse().ok());
    }

    #[tokio::test]
    async fn the_replies_of_any_service_correct_the_clock() {
        let clock = Clock::from_source(|| "2026-11-22T01:00:00Z".parse().unwrap());
        let service = service_fn(async |_: Request<Body>| {
            let reply = Response::builder().header(DATE, "Sun, 22 Nov 2026 01:36:03 GMT");
            Ok::<_, Infallible>(reply.body(Body::empty()).unwrap())
        });
        let client = Client::new(learning(service, clock.clone()), "default");
        client.send(Request::new(Body::empty())).await.unwrap();
        assert_eq!(clock.now(), "2026-11-22T01:36:03Z".parse().unwrap());
    }
}
