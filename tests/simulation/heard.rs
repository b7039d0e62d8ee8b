//! Requests of the replicas: queries to Prometheus, and live reads of canaries.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::request::Parts;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kanary::prometheus::{Local, Transport};
use kanary_core::api::WorkloadKind;
use kanary_sim::cluster::Cluster;
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};

/// Timeout of a query.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// A function that changes the answer that a replica receives.
pub(crate) type Hears = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// The log of requests. Clones share it; the default one records nothing.
#[derive(Clone, Default)]
pub(crate) struct Heard(Option<Arc<Mutex<Log>>>);

#[derive(Default)]
struct Log {
    /// Finished queries, by host and text.
    queries: BTreeMap<(String, String), Vec<Query>>,
    /// Times at which each replica read each canary and target.
    reads: BTreeMap<(String, String), Vec<Timestamp>>,
}

/// A query that was answered or timed out.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The replica.
    pub(crate) actor: String,
    /// The evaluation time.
    pub(crate) time: Timestamp,
    pub(crate) asked: Timestamp,
    /// When the answer arrived or the replica timed out.
    pub(crate) answered: Timestamp,
    /// Status and body, or `None` without an answer.
    pub(crate) answer: Option<(u16, Vec<u8>)>,
    /// The server's clock in the answer.
    pub(crate) date: Option<Timestamp>,
}

impl Query {
    /// The minimum skew of the server's clock.
    pub(crate) fn skew(&self) -> SignedDuration {
        let Some(date) = self.date else {
            return SignedDuration::ZERO;
        };
        let ahead = date.duration_since(self.answered);
        let behind = self.asked.duration_since(date);
        ahead.max(behind).max(SignedDuration::ZERO)
    }
}

/// The parameters of a query.
struct Question {
    host: String,
    text: String,
    time: Option<Timestamp>,
}

impl Question {
    fn read(request: &http::Request<Vec<u8>>) -> Self {
        let form = String::from_utf8_lossy(request.body()).into_owned();
        // A form has the same encoding as a URL's query string.
        let form = reqwest::Url::parse(&format!("http://form/?{form}")).unwrap();
        let field = |name: &str| {
            form.query_pairs()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.into_owned())
        };
        Self {
            host: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
            text: field("query").unwrap_or_default(),
            time: field("time").and_then(|time| time.parse().ok()),
        }
    }
}

/// A query in progress. It is recorded when it ends, even if the replica no longer waits for the answer.
struct UnderWay {
    heard: Heard,
    cluster: Cluster,
    host: String,
    text: String,
    query: Query,
}

/// Marks the operands of a joined query.
const MARK: &str = "__kanary_query__";

/// The queries in a request: text and mark, and whether it is turned from a scalar into a vector.
fn operands(text: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(operand) = rest.strip_prefix("label_replace(") {
        let Some((query, after)) = operand.split_once(&format!(", \"{MARK}\", \"")) else {
            break;
        };
        let Some((mark, after)) = after.split_once('"') else {
            break;
        };
        let scalar = query.strip_prefix("vector(\n");
        let inner = scalar.or_else(|| query.strip_prefix("(\n"));
        let inner = inner.and_then(|inner| inner.strip_suffix("\n)"));
        found.extend(inner.map(|inner| (inner.to_owned(), mark.to_owned(), scalar.is_some())));
        rest = after.split_once(") or ").map_or("", |(_, rest)| rest);
    }
    found
}

/// The part of an answer that has a mark, without it. `None` if the answer is not one to a joined query.
fn part(body: &[u8], mark: &str, is_scalar: bool) -> Option<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let result = body["data"]["result"].as_array()?;
    let of = |mark: &str| -> Vec<Value> {
        let all = result.iter().filter(|series| series["metric"][MARK] == mark);
        all.cloned().collect()
    };
    let witness = of("witness");
    if witness.len() != 1 || witness[0]["value"][1] != "42" {
        return None;
    }
    let mut part = of(mark);
    for series in &mut part {
        series["metric"].as_object_mut()?.remove(MARK);
    }
    body["data"] = if is_scalar {
        json!({"resultType": "scalar", "result": part.first()?["value"]})
    } else {
        json!({"resultType": "vector", "result": part})
    };
    Some(body.to_string().into_bytes())
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.query.answered = self.cluster.now();
        let Some(mut log) = self.heard.lock() else { return };
        let mut push = |text: String, query| {
            log.queries.entry((self.host.clone(), text)).or_default().push(query);
        };
        if !self.text.contains(MARK) {
            return push(self.text.clone(), self.query.clone());
        }
        for (text, mark, is_scalar) in operands(&self.text) {
            let mut query = self.query.clone();
            let answer = query.answer.take();
            query.answer = answer.and_then(|(status, body)| Some((status, part(&body, &mark, is_scalar)?)));
            push(text, query);
        }
    }
}

impl Heard {
    /// A log that records.
    pub(crate) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Log>> {
        let log = self.0.as_ref()?;
        Some(log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wraps a transport to Prometheus and records its queries. `makes` changes the answers that the replica receives.
    pub(crate) fn listen(
        &self,
        actor: &str,
        cluster: &Cluster,
        transport: Transport,
        makes: Option<Hears>,
    ) -> Transport {
        let Transport::Local(server) = transport else {
            return transport;
        };
        let (heard, actor, cluster) = (self.clone(), actor.to_owned(), cluster.clone());
        Transport::Local(Local::new(service_fn(move |request: http::Request<Vec<u8>>| {
            let (heard, actor, cluster, server) = (heard.clone(), actor.clone(), cluster.clone(), server.clone());
            let makes = makes.clone();
            async move {
                let (question, asked) = (Question::read(&request), cluster.now());
                let query = Query {
                    actor,
                    time: question.time.unwrap_or(asked),
                    asked,
                    answered: asked,
                    answer: None,
                    date: None,
                };
                let mut under_way = UnderWay {
                    heard,
                    cluster,
                    host: question.host,
                    text: question.text,
                    query,
                };
                let reply = server.oneshot(request).await;
                let answer = reply.as_ref().ok();
                under_way.query.answer = answer.map(|reply| (reply.status().as_u16(), reply.body().clone()));
                let date = answer.and_then(|reply| reply.headers().get("date")?.to_str().ok());
                under_way.query.date = date.and_then(|date| Some(rfc2822::parse(date).ok()?.timestamp()));
                drop(under_way);
                match (reply, makes) {
                    (Ok(reply), Some(makes)) => Ok(reply.map(|body| makes(body))),
                    (reply, _) => reply,
                }
            }
        })))
    }

    /// Records a request that the API server is about to process.
    pub(crate) fn note_request(&self, actor: &str, head: &Parts, sent: Option<Timestamp>, now: Timestamp) {
        let mut path = head.uri.path().rsplit('/');
        let name = path.next();
        let workload = name.filter(|_| {
            path.next()
                .is_some_and(|plural| WorkloadKind::ALL.iter().any(|kind| kind.plural() == plural))
        });
        let in_time = sent.is_none_or(|sent| now.duration_since(sent) < PATIENCE);
        if let Some(name) = workload.filter(|_| head.method == http::Method::GET && in_time)
            && let Some(mut log) = self.lock()
        {
            let place = (actor.to_owned(), name.to_owned());
            log.reads.entry(place).or_default().push(now);
        }
    }

    /// When a replica last read a workload of this name before a time. Requests may be processed late and out of order.
    pub(crate) fn read(&self, actor: &str, workload: &str, until: Timestamp) -> Option<Timestamp> {
        let place = (actor.to_owned(), workload.to_owned());
        let log = self.lock()?;
        let mut reads = log.reads.get(&place)?.iter().rev();
        reads.find(|read| **read <= until).copied()
    }

    /// The answers for an evaluation time that arrived before a time, with their queries.
    pub(crate) fn about(&self, host: &str, time: Timestamp, until: Timestamp) -> Vec<(String, Query)> {
        let mut found = Vec::new();
        let Some(log) = self.lock() else { return found };
        for ((_, text), queries) in log.queries.iter().filter(|((asked, _), _)| asked == host) {
            let meant = queries
                .iter()
                .filter(|query| query.time == time && query.answered <= until);
            found.extend(meant.map(|query| (text.clone(), query.clone())));
        }
        found
    }

    /// The queries between two times for which `is_meant` returns a value.
    pub(crate) fn queries<T: Clone>(
        &self,
        host: &str,
        (from, until): (Timestamp, Timestamp),
        is_meant: impl Fn(&str) -> Option<T>,
    ) -> Vec<(T, Query)> {
        let mut found = Vec::new();
        let Some(log) = self.lock() else { return found };
        for ((_, text), queries) in log.queries.iter().filter(|((asked, _), _)| asked == host) {
            let Some(meant) = is_meant(text) else { continue };
            let within = queries
                .iter()
                .filter(|query| from <= query.asked && query.answered <= until);
            found.extend(within.map(|query| (meant.clone(), query.clone())));
        }
        drop(log);
        found.sort_by_key(|(_, query)| query.answered);
        found
    }
}
