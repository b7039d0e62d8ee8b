//! One user, and how requests are sent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{Answer, Failure};

/// A request without an answer after this time has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends requests that differ only in their cookies.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client<HttpConnector, Empty<Bytes>>,
    gateway: SocketAddr,
    host: String,
    headers: Vec<(String, String)>,
}

impl Sender {
    pub(super) fn new(gateway: SocketAddr, host: &str, headers: &[(String, String)]) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            // A retry would hide a failure.
            client: Client::builder(TokioExecutor::new())
                .retry_canceled_requests(false)
                .build(connector),
            gateway,
            host: host.to_owned(),
            headers: headers.to_vec(),
        }
    }

    async fn send(&self, cookies: &str) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::get(format!("http://{}/", self.gateway)).header(header::HOST, &self.host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies);
        }
        let request = request
            .body(Empty::new())
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
            Ok(response) => self.read(response).await,
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
    async fn read(&mut self, response: Response<Incoming>) -> Result<String, Failure> {
        let (head, body) = response.into_parts();
        body.collect()
            .await
            .map_err(|error| Failure::Broken(error.to_string()))?;
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
