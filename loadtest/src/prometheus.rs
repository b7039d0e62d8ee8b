//! A Prometheus in this process. It gives each pod that a query names a good value, counts queries, and can be slow and faulty.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::RawQuery,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::json;
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot, time::sleep};

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) latency: Duration,
    /// How many answers are errors.
    pub(crate) error_percent: u8,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Mutex<Behaviour>,
    queries: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
}

/// Queries since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) queries: u64,
    /// Answered with an error.
    pub(crate) errors: u64,
    /// Largest number in flight at once.
    pub(crate) most_in_flight: u64,
}

/// The server. It runs on a thread of its own, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct FakePrometheus {
    pub(crate) url: String,
    state: Arc<State>,
    _stop: oneshot::Sender<()>,
}

impl FakePrometheus {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let state: Arc<State> = Arc::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, address) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let shared = state.clone();
        std::thread::Builder::new()
            .name("prometheus".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                    let listener = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
                    let listener = match listener {
                        Ok((address, listener)) => bound.send(Ok(address)).map(|()| listener).ok(),
                        Err(error) => bound.send(Err(error)).err().and(None),
                    };
                    let Some(listener) = listener else { return };
                    let app = Router::new().fallback(move |RawQuery(query): RawQuery, body: Bytes| {
                        let state = shared.clone();
                        async move { answer(&state, &query.unwrap_or_default(), &body).await }
                    });
                    tokio::select! {
                        served = axum::serve(listener, app) => drop(served),
                        _ = stopped => {}
                    }
                });
            })?;
        let address = address.await.context("the fake Prometheus did not start")??;
        Ok(Self {
            url: format!("http://{address}"),
            state,
            _stop: stop,
        })
    }

    /// Changes how it answers from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            queries: self.state.queries.load(Ordering::Relaxed),
            errors: self.state.errors.load(Ordering::Relaxed),
            most_in_flight: self.state.most_in_flight.load(Ordering::Relaxed),
        }
    }
}

/// A query in flight. It also ends when the client closes the connection.
struct InFlight<'a>(&'a State);

impl<'a> InFlight<'a> {
    fn begin(state: &'a State) -> Self {
        let now = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        state.most_in_flight.fetch_max(now, Ordering::Relaxed);
        Self(state)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer(state: &State, in_url: &str, body: &[u8]) -> Response {
    let number = state.queries.fetch_add(1, Ordering::Relaxed);
    let _in_flight = InFlight::begin(state);
    let behaviour = *state.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
    if behaviour.latency > Duration::ZERO {
        sleep(behaviour.latency).await;
    }
    let json = [(CONTENT_TYPE, "application/json")];
    // 37 has no common divisor with 100, so that errors are spread evenly.
    if number * 37 % 100 < u64::from(behaviour.error_percent) {
        state.errors.fetch_add(1, Ordering::Relaxed);
        let error =
            json!({"status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"});
        return (StatusCode::SERVICE_UNAVAILABLE, json, error.to_string()).into_response();
    }
    let field = |text: &[u8]| {
        let mut fields = form_urlencoded::parse(text);
        fields
            .find(|(name, _)| name == "query")
            .map(|(_, query)| query.into_owned())
    };
    let query = field(body).or_else(|| field(in_url.as_bytes())).unwrap_or_default();
    let now = Timestamp::now().as_millisecond() as f64 / 1000.0;
    let series = |pod| json!({"metric": {"pod": pod}, "value": [now, "0.25"]});
    let result: Vec<_> = pods(&query).into_iter().map(series).collect();
    let good = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    (json, good.to_string()).into_response()
}

/// The pods in all matchers `pod=~"…"` of a query.
fn pods(query: &str) -> Vec<String> {
    let matchers = query.split("pod=~\"").skip(1).filter_map(|rest| rest.split('"').next());
    let names = matchers.flat_map(|matcher| {
        let group = matcher.strip_prefix("(?:").and_then(|group| group.strip_suffix(')'));
        group.unwrap_or(matcher).split('|').map(|name| name.replace('\\', ""))
    });
    // Without a ready pod the group is `-`.
    names.filter(|name| name != "-").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_of_a_query_is_found() {
        assert_eq!(
            pods(r#"sum(x{pod=~"(?:a-1|b-2)"}) or y{pod=~"c"}"#),
            ["a-1", "b-2", "c"]
        );
        assert_eq!(pods(r#"x{pod=~"(?:-)"}"#), Vec::<String>::new());
        assert_eq!(pods("up"), Vec::<String>::new());
    }

    #[tokio::test]
    async fn errors_come_as_often_as_was_asked_for() {
        let state = State::default();
        *state.behaviour.lock().unwrap() = Behaviour {
            error_percent: 30,
            latency: Duration::ZERO,
        };
        let mut refused = 0;
        for _ in 0..100 {
            let answer = answer(&state, "", b"query=up").await;
            refused += usize::from(answer.status() == StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(
            (refused, state.errors.into_inner(), state.queries.into_inner()),
            (30, 30, 100)
        );
        assert_eq!(
            (state.in_flight.into_inner(), state.most_in_flight.into_inner()),
            (0, 1)
        );
    }
}
