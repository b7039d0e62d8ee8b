//! The Prometheus client: sends instant queries, within limits, and parses the responses. It does not judge the result.
//!
//! Every failure is an [`Answer::Unanswered`] with a reason. Endpoints and credentials come from users, so responses are not
//! trusted: time, size and concurrency are limited, redirects are not followed, and no message contains data from Secrets.

mod access;
mod allow;
mod answer;
pub(crate) mod bounded;
mod join;
pub(crate) mod pool;
mod reply;
mod request;
mod skew;
mod transport;
mod trust;

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    iter, mem,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kanary_core::{
    trace::TraceParent,
    validation::{
        Answer,
        promql::{Endpoint, shape},
    },
};
use tokio::time::Instant;

pub use self::{
    allow::{Allow, Allowed},
    pool::{Budget, FleetShare, When},
    reply::Reply,
    transport::{Local, Transport},
};

use self::{
    access::{Access, Clients, Credentials, Reading},
    bounded::Bounded,
    pool::{Account, Assignment, Batch, Fault, Large, Query, QueryPool},
    reply::reply,
    request::{Failed, FailureScope, Received},
};
use crate::{cluster::clock::Clock, metrics::Metrics};

/// Timeout of a query, from sending it to the end of the response.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response body, in bytes.
pub(crate) const MAX_BODY: usize = 8 << 20;

/// Size up to which a response is read at once, in bytes. A few larger ones are read at a time.
pub(crate) const SMALL_BODY: usize = 128 << 10;

/// Number of larger responses that are read at a time.
pub(crate) const MAX_LARGE: usize = 4;

/// Maximum length of a message in characters, because it may quote the server.
const MAX_MESSAGE: usize = 240;

/// Maximum number of cached credentials. It is larger than the number of queries in flight, which hold the others.
const MAX_ACCESSES: usize = 1000;

/// How long Secrets are cached.
const KEEP_SECRETS: Duration = Duration::from_mins(5);

/// Minimum time between two reads of the same Secrets.
const READ_SECRETS_AGAIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Limits {
    timeout: Duration,
    body: usize,
    small: usize,
    large: usize,
    accesses: usize,
    keep_secrets: Duration,
    read_secrets_again: Duration,
    budget: Budget,
    allow: Allow,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: QUERY_TIMEOUT,
            body: MAX_BODY,
            small: SMALL_BODY,
            large: MAX_LARGE,
            accesses: MAX_ACCESSES,
            keep_secrets: KEEP_SECRETS,
            read_secrets_again: READ_SECRETS_AGAIN,
            budget: Budget::default(),
            allow: Allow::default(),
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
    pool: Arc<QueryPool<Reply>>,
    large: Large,
    /// By namespace and endpoint, for endpoints that need Secrets.
    accesses: Mutex<Bounded<(String, Endpoint), Access>>,
}

impl Prometheus {
    /// A client that reads the Secrets of [`PrometheusAuth`](kanary_core::api::PrometheusAuth) through `secrets`, which is used
    /// for nothing else. The clocks of servers are compared with `clock`.
    #[must_use]
    pub fn new(
        secrets: kube::Client,
        transport: Transport,
        clock: Clock,
        (budget, allow): (Budget, Allow),
        metrics: &Metrics,
    ) -> Self {
        let limits = Limits {
            budget,
            allow,
            ..Limits::default()
        };
        Self::with_limits(secrets, transport, clock, limits, metrics)
    }

    fn with_limits(
        secrets: kube::Client,
        transport: Transport,
        clock: Clock,
        limits: Limits,
        metrics: &Metrics,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                secrets,
                clients: Clients::new(&transport, &limits.allow),
                transport,
                pool: QueryPool::new(limits.budget.clone(), clock.clone(), metrics.queries.clone()),
                clock,
                large: Large::new(limits.large),
                accesses: Mutex::new(Bounded::new(limits.accesses)),
                limits,
            }),
        }
    }

    /// Sends the instant query `query` to `endpoint`, perhaps together with others. Secrets are read from `namespace`.
    ///
    /// The query waits for its turn within the [`Budget`]. After that it takes at most 10 s, or 20 s if Secrets have to be read
    /// first, and longer if it was joined with queries that fail.
    ///
    /// The request carries `parent`, the span of this query, in the header `traceparent`. A request with several queries carries the
    /// span of one of them, and the replies to the others say which.
    pub async fn query(
        &self,
        parent: Option<TraceParent>,
        namespace: &str,
        endpoint: &Endpoint,
        query: &str,
        when: When,
    ) -> Reply {
        if let Err(why) = self.inner.limits.allow.check(&endpoint.url) {
            return Reply {
                answer: Answer::Rejected(why),
                note: None,
                at: when.at,
                sent_by: None,
            };
        }
        let login = endpoint.auth.as_ref().map(|auth| {
            let auth = serde_json::to_string(auth).unwrap_or_default();
            (namespace.to_owned(), auth)
        });
        let query = Query {
            account: Arc::new(Account {
                url: endpoint.url.clone(),
                login,
            }),
            namespace: Arc::from(namespace),
            text: Arc::from(query),
            when,
            shape: shape(query),
        };
        match self.inner.pool.turn(&query).await {
            Assignment::Done(reply) => reply,
            Assignment::Lead(batch) => self.inner.lead(&batch, namespace, endpoint, parent).await,
        }
    }
}

/// A server with the credentials for it.
struct Login<'a> {
    credentials: &'a Credentials,
    access: Option<&'a Access>,
    url: &'a str,
    parent: Option<TraceParent>,
}

impl Inner {
    /// Sends the queries of a batch and answers those who wait for them. Returns the reply to the first one.
    async fn lead(
        &self,
        batch: &Batch<Reply>,
        namespace: &str,
        endpoint: &Endpoint,
        parent: Option<TraceParent>,
    ) -> Reply {
        let mut own = None;
        let mut answer = |index, received| {
            let reply = reply(batch, received, parent);
            batch.answer(index, &reply);
            if index == 0 {
                own = Some(reply);
            }
        };
        let access = self.access(namespace, endpoint);
        let credentials = match &access {
            Err(why) => Err(why.clone()),
            Ok(None) => self
                .clients
                .get(&endpoint.url)
                .await
                .map(Credentials::none)
                .map(Arc::new),
            Ok(Some(access)) => access.credentials(&self.secrets, &self.clients, self.reading()).await,
        };
        match (credentials, access) {
            (Ok(credentials), Ok(access)) => {
                let login = Login {
                    credentials: &credentials,
                    access: access.as_deref(),
                    url: &endpoint.url,
                    parent,
                };
                self.send_all(batch, &login, &mut answer).await;
            }
            (Err(why), _) | (_, Err(why)) => {
                for index in 0..batch.operands.len() {
                    answer(index, Err(why.clone().into()));
                }
            }
        }
        own.unwrap_or_else(|| reply(batch, Err("the query was not sent".to_owned().into()), None))
    }

    /// Sends queries in one request. If it fails, each half is sent by itself, so that only those get an error that cause it.
    async fn send_all(
        &self,
        batch: &Batch<Reply>,
        login: &Login<'_>,
        answer: &mut impl FnMut(usize, Result<Received, Failed>),
    ) {
        let mut parts: Vec<_> = iter::once(0..batch.operands.len()).collect();
        let mut is_first = true;
        while let Some(part) = parts.pop() {
            if !mem::take(&mut is_first) {
                batch.another().await;
            }
            let failed = match self.send(batch, login, part.clone()).await {
                Ok(received) => {
                    for (index, received) in part.zip(received) {
                        answer(index, Ok(received));
                    }
                    continue;
                }
                Err(failed) => failed,
            };
            if failed.scope == FailureScope::Joined {
                parts.extend(part.rev().map(|index| index..index + 1));
                continue;
            }
            if part.len() > 1 && failed.scope != FailureScope::All {
                if failed.fault == Some(Fault::Slow) {
                    batch.was_slow(part.len());
                }
                let middle = part.start + part.len() / 2;
                parts.extend([middle..part.end, part.start..middle]);
                continue;
            }
            if batch.operands.len() > 1 && failed.scope != FailureScope::All {
                batch.spoilt_by(part.start);
            }
            for index in part {
                answer(index, Err(failed.clone()));
            }
        }
    }

    /// Sends some queries of a batch in one request.
    async fn send(&self, batch: &Batch<Reply>, login: &Login<'_>, part: Range<usize>) -> Result<Vec<Received>, Failed> {
        let operands = batch.operands.get(part.clone()).unwrap_or_default();
        let text = match operands {
            [one] => Cow::Borrowed(&*one.text),
            several => Cow::Owned(join::join(several)),
        };
        let since = Instant::now();
        let received = self.ask(batch, login, &text).await;
        let result = received.as_ref().map_or_else(Failed::result, |_| "ok");
        self.pool.asked(result, since.elapsed());
        let received = received.map_err(|failed| {
            if let Some(access) = login.access.filter(|_| failed.refused) {
                access.refuse();
            }
            Failed {
                why: brief(&login.credentials.hide(failed.why)),
                ..failed
            }
        });
        let failed = received.as_ref().err();
        let fault = failed.and_then(|failed| Some((failed.fault?, failed.why.as_str())));
        batch.record(part, fault);
        let (answer, note) = received?;
        if operands.len() == 1 {
            return Ok(vec![(answer, note)]);
        }
        let Some(answers) = join::split(answer, operands) else {
            batch.cannot_join();
            return Err(Failed::unjoined(login.url));
        };
        self.pool.joined(operands.len());
        Ok(answers.into_iter().map(|answer| (answer, note.clone())).collect())
    }

    /// The source of the credentials, if the endpoint needs Secrets.
    fn access(&self, namespace: &str, endpoint: &Endpoint) -> Result<Option<Arc<Access>>, String> {
        let Some(auth) = &endpoint.auth else { return Ok(None) };
        let key = (namespace.to_owned(), endpoint.clone());
        let mut accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner);
        let access = accesses.get(&key, || Access::new(namespace, &endpoint.url, auth));
        let full = || {
            format!(
                "more than {} credentials for Prometheus in use at once",
                self.limits.accesses
            )
        };
        access.map(Some).ok_or_else(full)
    }

    fn reading(&self) -> Reading {
        Reading {
            timeout: self.limits.timeout,
            keep: self.limits.keep_secrets,
            again: self.limits.read_secrets_again,
        }
    }
}

/// Shortens a message to one line. Truncate after hiding secrets, because part of a secret would not be recognised.
pub(crate) fn brief(message: &str) -> String {
    let line: String = message
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
