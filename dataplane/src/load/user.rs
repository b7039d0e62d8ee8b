//! One user, and how requests are sent.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    iter::{Once, once},
    net::SocketAddr,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use tower::Service;

use super::{Answer, Failure};
use crate::backend::{EMPTY_MESSAGE, GRPC, GRPC_STATUS};

/// A request without an answer after this time has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The address of every host: that of the gateway.
#[derive(Clone, Debug)]
struct Gateway(SocketAddr);

impl Service<Name> for Gateway {
    type Response = Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(once(self.0)))
    }
}

/// Sends requests that differ only in their cookies.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client<HttpConnector<Gateway>, Full<Bytes>>,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    is_grpc: bool,
}

impl Sender {
    pub(super) fn new(
        gateway: SocketAddr,
        (host, path): (&str, &str),
        headers: &[(String, String)],
        is_grpc: bool,
    ) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Gateway(gateway));
        connector.set_nodelay(true);
        Self {
            // A retry would hide a failure.
            client: Client::builder(TokioExecutor::new())
                .retry_canceled_requests(false)
                .http2_only(is_grpc)
                .build(connector),
            host: host.to_owned(),
            path: path.to_owned(),
            headers: headers.to_vec(),
            is_grpc,
        }
    }

    async fn send(&self, cookies: &str) -> Result<Response<Incoming>, Failure> {
        let mut request = if self.is_grpc {
            let call = Request::post(format!("http://{}/kanary.test.Shop/Buy", self.host));
            call.header(header::CONTENT_TYPE, GRPC).header(header::TE, "trailers")
        } else {
            Request::get(format!("http://{}{}", self.host, self.path))
        };
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies);
        }
        let request = request
            .body(if self.is_grpc {
                Full::from(EMPTY_MESSAGE)
            } else {
                Full::default()
            })
            .map_err(|error| Failure::Broken(error.to_string()))?;
        let response = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let response = response.map_err(|_| Failure::Late)?;
        response.map_err(|error| Failure::Broken(format!("{:#}", anyhow::Error::from(error))))
    }
}

/// A user, who may keep cookies.
#[derive(Debug)]
pub(super) struct User {
    number: usize,
    cookies: Option<BTreeMap<String, String>>,
}

impl User {
    pub(super) fn new(number: usize, keeps_cookies: bool) -> Self {
        Self {
            number,
            cookies: keeps_cookies.then(BTreeMap::new),
        }
    }

    pub(super) async fn send(&mut self, sender: &Sender) -> Answer {
        let at = Instant::now();
        let cookies = self.cookies.iter().flatten();
        let cookies: Vec<_> = cookies.map(|(name, value)| format!("{name}={value}")).collect();
        let result = match sender.send(&cookies.join("; ")).await {
            Ok(response) => self.read(response, sender.is_grpc).await,
            Err(failure) => Err(failure),
        };
        Answer {
            at,
            until: Instant::now(),
            user: self.number,
            result,
        }
    }

    /// The version that answered.
    async fn read(&mut self, response: Response<Incoming>, is_grpc: bool) -> Result<String, Failure> {
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| Failure::Broken(error.to_string()))?;
        // A proxy that answers by itself says so in the headers.
        let status = body.trailers().unwrap_or(&head.headers).get(GRPC_STATUS);
        if is_grpc && head.status.is_success() && status.is_none_or(|status| status != "0") {
            return Err(Failure::Broken(format!("{GRPC_STATUS}: {status:?}")));
        }
        if let Some(kept) = &mut self.cookies {
            let set = head.headers.get_all(header::SET_COOKIE).iter();
            kept.extend(set.filter_map(|cookie| {
                let (name, value) = cookie.to_str().ok()?.split(';').next()?.split_once('=')?;
                Some((name.trim().to_owned(), value.trim().to_owned()))
            }));
        }
        let version = head.headers.get("x-version").and_then(|version| version.to_str().ok());
        match version {
            Some(version) if head.status.is_success() => Ok(version.to_owned()),
            _ => Err(Failure::Status(head.status.as_u16())),
        }
    }
}
