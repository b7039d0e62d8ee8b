//! The Prometheus client: sends an instant query, within limits, and parses the response. It does not judge the result.
//!
//! Every failure is an [`Answer::Unanswered`] with a reason. Endpoints and credentials come from users, so responses are not
//! trusted: time, size and concurrency are limited, redirects are not followed, and no message contains data from Secrets.

mod access;
mod answer;
mod bounded;
mod skew;
mod transport;
mod trust;

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, LOCATION},
};
use tokio::{sync::Semaphore, time::timeout};

pub use self::transport::{Local, Transport};
use kanary_core::validation::{Answer, promql::Endpoint};

use self::{
    access::{Access, Clients, Credentials, Reading},
    bounded::Bounded,
    skew::Skew,
};
use crate::cluster::clock::Clock;

/// Timeout of a query, from sending it to the end of the response.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response body, in bytes.
const MAX_BODY: usize = 8 << 20;

/// Maximum concurrent queries per endpoint: half of Prometheus' own default limit.
const MAX_IN_FLIGHT: usize = 10;

/// Maximum length of a message in characters, because it may quote the server.
const MAX_MESSAGE: usize = 240;

/// Maximum number of cached endpoints.
const MAX_ENDPOINTS: usize = 1000;

/// Header in which M3 reports that it omitted data.
const LIMITED: &str = "m3-results-limited";

/// How long Secrets are cached.
const KEEP_SECRETS: Duration = Duration::from_mins(5);

/// Minimum time between two reads of the same Secrets.
const READ_SECRETS_AGAIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
struct Limits {
    timeout: Duration,
    body: usize,
    in_flight: usize,
    endpoints: usize,
    keep_secrets: Duration,
    read_secrets_again: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: QUERY_TIMEOUT,
            body: MAX_BODY,
            in_flight: MAX_IN_FLIGHT,
            endpoints: MAX_ENDPOINTS,
            keep_secrets: KEEP_SECRETS,
            read_secrets_again: READ_SECRETS_AGAIN,
        }
    }
}

/// A client for any number of Prometheus servers. Clones share all state.
#[derive(Clone)]
pub struct Prometheus {
    inner: Arc<Inner>,
}

struct Inner {
    secrets: kube::Client,
    limits: Limits,
    transport: Transport,
    clock: Clock,
    clients: Clients,
    /// By URL, because the limit applies to the server across all Kanaries.
    gates: Mutex<Bounded<String, Semaphore>>,
    /// By namespace and endpoint, for endpoints that need Secrets.
    accesses: Mutex<Bounded<(String, Endpoint), Access>>,
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The server's answer.
    pub answer: Answer,
    /// A note about the server that may explain an unexpected answer.
    pub note: Option<String>,
}

/// Why a query failed.
struct Failed {
    why: String,
    /// Whether other credentials may help.
    refused: bool,
    /// Whether the query itself is at fault.
    rejected: bool,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self {
            why,
            refused: false,
            rejected: false,
        }
    }
}

impl Prometheus {
    /// A client that reads the Secrets of [`PrometheusAuth`](kanary_core::api::PrometheusAuth) through `secrets`, which is used
    /// for nothing else. The clocks of servers are compared with `clock`.
    #[must_use]
    pub fn new(secrets: kube::Client, transport: Transport, clock: Clock) -> Self {
        Self::with_limits(secrets, transport, clock, Limits::default())
    }

    fn with_limits(secrets: kube::Client, transport: Transport, clock: Clock, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                secrets,
                limits,
                clients: Clients::new(&transport),
                transport,
                clock,
                gates: Mutex::new(Bounded::new(limits.endpoints)),
                accesses: Mutex::new(Bounded::new(limits.endpoints)),
            }),
        }
    }

    /// Sends the instant query `query` to `endpoint`, evaluated at `at`. Secrets are read from `namespace`.
    ///
    /// At most 10 queries per URL are in flight; others wait. After that the query takes at most 10 s, or 20 s if Secrets have
    /// to be read first.
    pub async fn query(&self, namespace: &str, endpoint: &Endpoint, query: &str, at: Timestamp) -> Reply {
        let reply = self.inner.query(namespace, endpoint, query, at).await;
        reply.unwrap_or_else(|failed| {
            let why = brief(&failed.why);
            let answer = if failed.rejected {
                Answer::Rejected(why)
            } else {
                Answer::Unanswered(why)
            };
            Reply { answer, note: None }
        })
    }
}

impl Inner {
    async fn query(&self, namespace: &str, endpoint: &Endpoint, query: &str, at: Timestamp) -> Result<Reply, Failed> {
        let full = || {
            format!(
                "more than {} Prometheus endpoints in use at once",
                self.limits.endpoints
            )
        };
        let gate = shared(&self.gates, &endpoint.url, || Semaphore::new(self.limits.in_flight)).ok_or_else(full)?;
        let Some(auth) = &endpoint.auth else {
            let credentials = Credentials::none(self.clients.get(&endpoint.url).await?);
            return self.turn(&gate, &credentials, &endpoint.url, query, at).await;
        };
        let key = (namespace.to_owned(), endpoint.clone());
        let new = || Access::new(namespace, &endpoint.url, auth);
        let access = shared(&self.accesses, &key, new).ok_or_else(full)?;
        let credentials = access.credentials(&self.secrets, &self.clients, self.reading()).await?;
        self.turn(&gate, &credentials, &endpoint.url, query, at)
            .await
            .map_err(|failed| {
                if failed.refused {
                    access.refuse();
                }
                Failed {
                    why: credentials.hide(failed.why),
                    ..failed
                }
            })
    }

    fn reading(&self) -> Reading {
        Reading {
            timeout: self.limits.timeout,
            keep: self.limits.keep_secrets,
            again: self.limits.read_secrets_again,
        }
    }

    /// Waits for a free slot and sends the query.
    async fn turn(
        &self,
        gate: &Semaphore,
        credentials: &Credentials,
        url: &str,
        query: &str,
        at: Timestamp,
    ) -> Result<Reply, Failed> {
        let _turn = gate.acquire().await.map_err(|_| "the client is closed".to_owned())?;
        timeout(self.limits.timeout, self.ask(credentials, url, query, at))
            .await
            .unwrap_or_else(|_| Err(format!("no answer from {url} within {:?}", self.limits.timeout).into()))
    }

    async fn ask(&self, credentials: &Credentials, url: &str, query: &str, at: Timestamp) -> Result<Reply, Failed> {
        // A little shorter than our timeout, so that Prometheus can still respond with its timeout error.
        let timeout = format!("{}ms", (self.limits.timeout * 9 / 10).as_millis().max(1));
        let request = credentials
            .client
            .post(format!("{url}/api/v1/query"))
            .header(ACCEPT, "application/json")
            .headers(credentials.headers.clone())
            .form(&[("query", query), ("time", &at.to_string()), ("timeout", &timeout)]);
        let sent = self.clock.now();
        let response = self.transport.send(request).await;
        let response = response.map_err(|error| unreached(url, &*error))?;
        let skew = Skew::of(response.headers(), sent, self.clock.now());
        let status = response.status();
        if status.is_redirection() {
            return Err(redirected(url, &response).into());
        }
        let limited = response.headers().get(LIMITED).is_some();
        let body = self.body(response).await;
        if !status.is_success() {
            let reply = body.ok().and_then(|body| answer::error(&body));
            return Err(Failed {
                rejected: reply.as_ref().is_some_and(answer::ErrorReply::blames_the_query),
                why: reply.map_or_else(
                    || format!("{url} answers {status}"),
                    |reply| format!("{url} answers {status}: {}", reply.error),
                ),
                refused: matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            });
        }
        let answer = body.and_then(|body| answer::parse(&body, at));
        let answer = answer.map_err(|why| format!("{url}: {why}"))?;
        if limited || status == StatusCode::PARTIAL_CONTENT {
            return Err(
                format!("the answer is partial, as {url} says ({status}): a part of the data is missing").into(),
            );
        }
        skew.check(url)?;
        Ok(Reply {
            answer,
            note: skew.note(),
        })
    }

    /// Reads the body up to the size limit.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, String> {
        let limit = self.limits.body;
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|_| "the connection closed before the end of the answer".to_owned())?
        {
            if body.len() + chunk.len() > limit {
                return Err(format!(
                    "the answer is larger than {limit} bytes: aggregate in the query"
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn shared<K: Clone + Eq + std::hash::Hash, V>(
    map: &Mutex<Bounded<K, V>>,
    key: &K,
    new: impl FnOnce() -> V,
) -> Option<Arc<V>> {
    map.lock().unwrap_or_else(PoisonError::into_inner).get(key, new)
}

/// Shortens a message to one line. Truncate after hiding secrets, because part of a secret would not be recognised.
fn brief(message: &str) -> String {
    let line: String = message
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

fn unreached(url: &str, error: &(dyn Error + 'static)) -> Failed {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let why = if error.downcast_ref().is_some_and(reqwest::Error::is_builder) {
        format!("{url} is not a valid address")
    } else {
        format!("{url} can't be reached: {cause}")
    };
    Failed {
        why,
        refused: is_about_tls(error),
        rejected: false,
    }
}

fn is_about_tls(error: &(dyn Error + 'static)) -> bool {
    // An I/O error does not return the error it wraps from `source`.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || wrapped.is_some_and(|wrapped| is_about_tls(wrapped))
        || error.source().is_some_and(is_about_tls)
}

/// Describes the target of a redirect, without its confidential parts.
fn redirected(url: &str, response: &Response) -> String {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| Url::parse(url).ok()?.join(location).ok());
    let target = target.map_or_else(
        || "nowhere".to_owned(),
        |mut target| {
            target.set_query(None);
            target.set_fragment(None);
            // Fails for URLs that cannot have a username.
            let _without = (target.set_username(""), target.set_password(None));
            target.to_string()
        },
    );
    format!(
        "{url} answers {} and redirects to {target}: queries do not follow redirects, so use the address of the server itself",
        response.status()
    )
}
