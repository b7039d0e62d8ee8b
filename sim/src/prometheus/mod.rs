//! A Prometheus that answers instant queries from scripted series, at whatever time it is asked for.
//!
//! A series is a function of time, so a counter that has run for an hour costs nothing. What Prometheus would evaluate and
//! this one cannot is refused as an error of execution.

mod aggregate;
mod binary;
mod eval;
mod functions;
mod histogram;
mod matchers;
mod numbers;
mod over_time;
mod parsed;
mod request;
mod serve;
mod store;
mod value;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::sleep;

use self::{
    eval::Evaluation,
    parsed::Parsed,
    request::{Problem, Request},
    store::Store,
    value::Value,
};
pub use self::{matchers::Matchers, serve::serve, value::Labels};

/// Queries that are remembered, the latest.
const REMEMBERED: usize = 10_000;

/// How long a sample counts, in milliseconds.
const LOOKBACK: i64 = 300_000;

/// A Prometheus. Clones are the same one.
#[derive(Clone, Default)]
pub struct Prometheus {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    store: Arc<RwLock<Store>>,
    parsed: Arc<Parsed>,
    mood: Mutex<Mood>,
    skew: Mutex<SignedDuration>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    latest: VecDeque<Asked>,
    queries: u64,
}

/// How it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    #[default]
    Healthy,
    /// As it should, after a while; it gives up when the query's own timeout comes first.
    Slow(Duration),
    /// It takes the query and never answers.
    Hanging,
    /// Nobody listens.
    Dead,
    /// With this status and body.
    Status(u16, String),
    /// With the login page of some proxy.
    Html,
    /// With half of an answer.
    Garbage,
    /// With a vector of no series.
    Empty,
    /// With NaN in place of every number.
    Nan,
    /// With +Inf in place of every number.
    Infinite,
    /// With NaN as the value of one series: that of this index, counted round and round.
    OneNan(usize),
    /// With −Inf as the value of one series.
    OneInfinite(usize),
    /// Without one of the series.
    Without(usize),
    /// As it should, and says in the way of `VictoriaMetrics` that parts are missing.
    Partial,
    /// As it should, with a warning.
    Warning(String),
    /// As it should, with an info.
    Info(String),
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The header Content-Type.
    pub content_type: &'static str,
    /// What it says.
    pub body: Bytes,
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection refused")]
pub struct Refused;

/// A query that it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was asked.
    pub at: Timestamp,
    /// The time that it was asked about.
    pub time: Timestamp,
    /// The query.
    pub query: String,
}

impl Mood {
    /// An answer with this value.
    fn body(&self, value: Value, at: i64) -> String {
        let value = match self {
            Self::Empty => Value::Vector(Vec::new()),
            Self::Nan => value.with(f64::NAN, None),
            Self::Infinite => value.with(f64::INFINITY, None),
            Self::OneNan(nth) => value.with(f64::NAN, Some(*nth)),
            Self::OneInfinite(nth) => value.with(f64::NEG_INFINITY, Some(*nth)),
            Self::Without(nth) => value.without(*nth),
            _ => value,
        };
        let also = match self {
            Self::Partial => r#""isPartial":true"#.to_owned(),
            Self::Warning(text) => format!(r#""warnings":[{}]"#, json!(text)),
            Self::Info(text) => format!(r#""infos":[{}]"#, json!(text)),
            _ => return value.body(at),
        };
        let body = value.body(at);
        format!("{},{also}}}", body.strip_suffix('}').unwrap_or(&body))
    }
}

impl Prometheus {
    /// A healthy one without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the series `requests{pod="a"}` be `start` at the time `at` and grow by `per_second` from then on. Before, it is
    /// what it was set to before.
    ///
    /// # Errors
    ///
    /// If `series` is not a name and labels.
    pub fn set(&self, series: &str, at: Timestamp, start: f64, per_second: f64) -> Result<(), String> {
        self.store().set(series, at.as_millisecond(), start, per_second)
    }

    /// Forgets a series: it is gone at once, out of ranges too.
    pub fn remove(&self, series: &str) {
        self.store().remove(series);
    }

    /// Lets `script` say what series `metric` has at a time, whoever is asked about. It may return more than is asked for,
    /// and needs not name the metric. A range asks it about 30 times.
    pub fn script(
        &self,
        metric: &str,
        script: impl Fn(&Matchers<'_>, Timestamp) -> Vec<(Labels, f64)> + Send + Sync + 'static,
    ) {
        self.store().script(metric, Arc::new(script));
    }

    /// Another one over the same series. How it answers, its clock and its log are its own.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: self.inner.store.clone(),
                parsed: self.inner.parsed.clone(),
                ..Inner::default()
            }),
        }
    }

    /// Sets how far ahead of the right time its clock is. Whatever it scrapes bears the time of that clock: of a time that
    /// has passed by now it answers with what it scraped so much earlier, and after the last scrape with that, for as long
    /// as it is not stale.
    pub fn set_skew(&self, skew: SignedDuration) {
        *lock(&self.inner.skew) = skew;
    }

    /// What its clock shows, as the `Date` of its answers says.
    #[must_use]
    pub fn shows(&self, now: Timestamp) -> Timestamp {
        now.checked_add(*lock(&self.inner.skew)).unwrap_or(now)
    }

    /// Changes how it answers from now on.
    pub fn set_mood(&self, mood: Mood) {
        *lock(&self.inner.mood) = mood;
    }

    /// How it answers.
    #[must_use]
    pub fn mood(&self) -> Mood {
        lock(&self.inner.mood).clone()
    }

    /// The latest 10,000 queries, the oldest first.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.inner.log).latest.iter().cloned().collect()
    }

    /// How many queries it was asked.
    #[must_use]
    pub fn queries(&self) -> u64 {
        lock(&self.inner.log).queries
    }

    /// Answers a request for `path` at the time `now`. `form` holds the parameters `query`, `time` and `timeout`, as a query
    /// string or the body of a POST does.
    ///
    /// # Errors
    ///
    /// If nobody listens.
    pub async fn answer(&self, path: &str, form: &str, now: Timestamp) -> Result<Reply, Refused> {
        let mood = self.mood();
        if mood == Mood::Dead {
            return Err(Refused);
        }
        if path != "/api/v1/query" {
            return Ok(Reply::text(404, "404 page not found\n"));
        }
        let request = Request::read(form, now);
        self.remember(&request, now);
        match mood {
            Mood::Status(status, body) => return Ok(Reply::said(status, body)),
            Mood::Html => return Ok(Reply::login_page()),
            Mood::Garbage => return Ok(Reply::json(200, r#"{"status":"success","data":{"resultTy"#)),
            Mood::Hanging => pending().await,
            Mood::Slow(time) => {
                let timeout = request.timeout().unwrap_or(Duration::MAX);
                sleep(time.min(timeout)).await;
                if timeout < time {
                    return Ok(Problem::timeout().reply());
                }
            }
            _ => {}
        }
        let answer = self.evaluate(&request, now).map(|(value, at)| mood.body(value, at));
        Ok(answer.map_or_else(|problem| problem.reply(), |body| Reply::json(200, body)))
    }

    fn evaluate(&self, request: &Request, now: Timestamp) -> Result<(Value, i64), Problem> {
        let at = request.time()?.as_millisecond();
        request.timeout()?;
        let expr = self.inner.parsed.get(&request.query)?;
        let (store, skew) = (&self.inner.store, lock(&self.inner.skew).as_millis());
        let skew = i64::try_from(skew).unwrap_or_default();
        let scraped = at.saturating_sub(skew);
        // A clock that is behind has scraped nothing yet at such a time.
        let latest = if skew == 0 {
            scraped
        } else {
            scraped.min(now.as_millisecond())
        };
        let value = if scraped - latest < LOOKBACK {
            Evaluation { store, at: latest }.value(&expr)
        } else {
            let nothing = RwLock::default();
            Evaluation { store: &nothing, at }.value(&expr)
        };
        value.map(|value| (value, at)).map_err(Problem::execution)
    }

    fn remember(&self, request: &Request, now: Timestamp) {
        let mut log = lock(&self.inner.log);
        log.queries += 1;
        if log.latest.len() == REMEMBERED {
            log.latest.pop_front();
        }
        log.latest.push_back(Asked {
            at: now,
            time: request.time().unwrap_or(now),
            query: request.query.clone(),
        });
    }

    fn store(&self) -> RwLockWriteGuard<'_, Store> {
        self.inner.store.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
