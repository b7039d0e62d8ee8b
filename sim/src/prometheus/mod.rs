//! A Prometheus server that answers instant queries from scripted series, for any evaluation time.
//!
//! A series is a function of time, so a counter that has run for an hour costs nothing. Queries that this implementation
//! does not support fail with the error type `execution`.

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

/// Number of most recent queries in the log.
const REMEMBERED: usize = 10_000;

/// Lookback period: how long a sample stays valid, in milliseconds.
const LOOKBACK: i64 = 300_000;

/// A Prometheus server. Clones share the same state.
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

/// How the server answers queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers correctly.
    #[default]
    Healthy,
    /// It answers correctly after this delay, or with a timeout if the query's timeout is shorter.
    Slow(Duration),
    /// It accepts queries and never answers.
    Hanging,
    /// It refuses connections.
    Dead,
    /// It answers with this status and body.
    Status(u16, String),
    /// It answers with a proxy's login page.
    Html,
    /// It answers with truncated JSON.
    Garbage,
    /// It answers with an empty vector.
    Empty,
    /// It replaces every value with NaN.
    Nan,
    /// It replaces every value with +Inf.
    Infinite,
    /// It replaces the value of one series with NaN. The index wraps around.
    OneNan(usize),
    /// It replaces the value of one series with −Inf.
    OneInfinite(usize),
    /// It leaves out one of the series.
    Without(usize),
    /// It answers correctly and marks the result as partial, as `VictoriaMetrics` does.
    Partial,
    /// It answers correctly with a warning.
    Warning(String),
    /// It answers correctly with an info.
    Info(String),
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The header Content-Type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// The connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection refused")]
pub struct Refused;

/// An entry in the log of queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When the query arrived.
    pub at: Timestamp,
    /// The evaluation time.
    pub time: Timestamp,
    /// The query.
    pub query: String,
}

impl Mood {
    /// The body of the answer with this result, altered as the mood requires.
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
    /// Creates a healthy server without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a series such as `requests{pod="a"}`: its value is `start` at `at` and grows by `per_second` from then on.
    /// Earlier values are kept.
    ///
    /// # Errors
    ///
    /// Fails if `series` is not a name with labels.
    pub fn set(&self, series: &str, at: Timestamp, start: f64, per_second: f64) -> Result<(), String> {
        self.store().set(series, at.as_millisecond(), start, per_second)
    }

    /// Removes a series with its history, so that ranges no longer include it.
    pub fn remove(&self, series: &str) {
        self.store().remove(series);
    }

    /// Computes the series of `metric` with `script` at any time. The script may return more series than the selector
    /// asks for and may omit the metric name. A range calls it about 30 times.
    pub fn script(
        &self,
        metric: &str,
        script: impl Fn(&Matchers<'_>, Timestamp) -> Vec<(Labels, f64)> + Send + Sync + 'static,
    ) {
        self.store().script(metric, Arc::new(script));
    }

    /// A second server with the same series, and its own mood, clock and log.
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

    /// Sets how far the server's clock is ahead. Scrapes carry the time of that clock: for a time in the past the server
    /// answers with the sample that was scraped earlier by this much, and for times after the last scrape it repeats the
    /// last sample until it becomes stale.
    pub fn set_skew(&self, skew: SignedDuration) {
        *lock(&self.inner.skew) = skew;
    }

    /// The server's clock, as in the `Date` header of its answers.
    #[must_use]
    pub fn shows(&self, now: Timestamp) -> Timestamp {
        now.checked_add(*lock(&self.inner.skew)).unwrap_or(now)
    }

    /// Changes the mood.
    pub fn set_mood(&self, mood: Mood) {
        *lock(&self.inner.mood) = mood;
    }

    /// The current mood.
    #[must_use]
    pub fn mood(&self) -> Mood {
        lock(&self.inner.mood).clone()
    }

    /// The latest 10,000 queries, oldest first.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.inner.log).latest.iter().cloned().collect()
    }

    /// Total number of queries.
    #[must_use]
    pub fn queries(&self) -> u64 {
        lock(&self.inner.log).queries
    }

    /// Answers a request for `path` at the time `now`. `form` holds the parameters `query`, `time` and `timeout` in the
    /// format of a query string or a POST body.
    ///
    /// # Errors
    ///
    /// Fails if the server refuses connections.
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
            Mood::Status(status, body) => return Ok(Reply::of(status, body)),
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
        // A clock that is behind has not scraped that time yet.
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
