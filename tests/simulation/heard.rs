//! What replicas asked: of Prometheus, and of the API server when they read a canary live.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::request::Parts;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kanary::prometheus::{Local, Transport};
use kanary_sim::cluster::Cluster;
use tower::{ServiceExt, service_fn};

/// A reply that comes later than this after its request was sent is not waited for.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// What a replica makes of an answer.
pub(crate) type Hears = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// What was asked. Clones are the same one; the default one is deaf.
#[derive(Clone, Default)]
pub(crate) struct Heard(Option<Arc<Mutex<Log>>>);

#[derive(Default)]
struct Log {
    /// Queries that are over, by host and text.
    queries: BTreeMap<(String, String), Vec<Query>>,
    /// When a replica read a Deployment.
    reads: BTreeMap<(String, String), Vec<Timestamp>>,
}

/// A query that was answered or given up.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Who asked.
    pub(crate) actor: String,
    /// The time that it was asked about.
    pub(crate) time: Timestamp,
    pub(crate) asked: Timestamp,
    /// When the answer came, or the replica stopped waiting for it.
    pub(crate) answered: Timestamp,
    /// Status and body; nothing if nobody answered.
    pub(crate) answer: Option<(u16, Vec<u8>)>,
    /// What the server's clock said.
    pub(crate) date: Option<Timestamp>,
}

impl Query {
    /// How far the server's clock was off, at the least.
    pub(crate) fn skew(&self) -> SignedDuration {
        let Some(date) = self.date else {
            return SignedDuration::ZERO;
        };
        let ahead = date.duration_since(self.answered);
        let behind = self.asked.duration_since(date);
        ahead.max(behind).max(SignedDuration::ZERO)
    }
}

/// What a request asks.
struct Question {
    host: String,
    text: String,
    time: Option<Timestamp>,
}

impl Question {
    fn read(request: &http::Request<Vec<u8>>) -> Self {
        let form = String::from_utf8_lossy(request.body()).into_owned();
        // A form is written as the query of a URL is.
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

/// A query that is noted once it is over, also if the replica no longer waits for its answer.
struct UnderWay {
    heard: Heard,
    cluster: Cluster,
    place: (String, String),
    query: Query,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.query.answered = self.cluster.now();
        if let Some(mut log) = self.heard.lock() {
            let place = std::mem::take(&mut self.place);
            log.queries.entry(place).or_default().push(self.query.clone());
        }
    }
}

impl Heard {
    /// One that remembers.
    pub(crate) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Log>> {
        let log = self.0.as_ref()?;
        Some(log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same way to Prometheus, with somebody who listens. The replica hears what `makes` makes of it.
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
                    place: (question.host, question.text),
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

    /// Notes a request that the API server is about to carry out.
    pub(crate) fn note_request(&self, actor: &str, head: &Parts, sent: Option<Timestamp>, now: Timestamp) {
        let deployment = head.uri.path().rsplit_once("/deployments/").map(|(_, name)| name);
        let in_time = sent.is_none_or(|sent| now.duration_since(sent) < PATIENCE);
        if let Some(name) = deployment.filter(|_| head.method == http::Method::GET && in_time)
            && let Some(mut log) = self.lock()
        {
            let place = (actor.to_owned(), name.to_owned());
            log.reads.entry(place).or_default().push(now);
        }
    }

    /// When a replica read a Deployment the last time until a moment: a request may be carried out late, after others.
    pub(crate) fn read(&self, actor: &str, deployment: &str, until: Timestamp) -> Option<Timestamp> {
        let place = (actor.to_owned(), deployment.to_owned());
        let log = self.lock()?;
        let mut reads = log.reads.get(&place)?.iter().rev();
        reads.find(|read| **read <= until).copied()
    }

    /// The answers about a time that were given until a moment, with the texts of their queries.
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

    /// The queries between two moments whose text `is_meant`, which may find something in it.
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
