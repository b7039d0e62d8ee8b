//! Servers in this process and queries to them, in virtual time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use jiff::Timestamp;
use kanary_core::validation::{Answer, promql::JOINED};
use reqwest::Url;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{BoxError, service_fn};

use super::{
    super::{Budget, Local, Transport},
    Clock, EMPTY, Limits, Metrics, Prometheus, When, no_secrets, open,
};
use crate::metrics::OutcomeLabels;

/// A request that a server got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) host: String,
    pub(super) query: String,
    pub(super) time: Timestamp,
    pub(super) after: Duration,
    /// The span on whose behalf it was sent.
    pub(super) parent: Option<String>,
}

/// What the servers do and got.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) start: Instant,
    pub(super) metrics: Arc<Metrics>,
    got: Arc<Mutex<Vec<Got>>>,
    /// The requests that each server has in flight, and the most so far.
    pub(super) busy: Arc<Mutex<BTreeMap<String, (usize, usize)>>>,
}

/// A series of a query that a server knows: its own text as a label.
fn series(query: &str, mark: Option<&str>) -> String {
    let labels = match mark {
        Some(mark) => serde_json::json!({"q": query, JOINED: mark}),
        None => serde_json::json!({"q": query}),
    };
    format!(r#"{{"metric":{labels},"value":[0,"1"]}}"#)
}

/// The operands of a joined query, as text and mark.
fn operands(query: &str) -> Vec<(String, String)> {
    let parts = query.split("label_replace(").skip(1);
    let part = |part: &str| {
        let (text, rest) = part.rsplit_once(&format!(", \"{JOINED}\", \"")).unwrap();
        let text = text.trim_start_matches("(\n").trim_end_matches("\n)").to_owned();
        (text, rest.split('"').next().unwrap().to_owned())
    };
    parts.map(part).collect()
}

/// A vector of what the queries of a request select, or an error if one of them contains `bad`.
fn answer(query: &str) -> Response<Vec<u8>> {
    if query.contains("bad") {
        let body = r#"{"status":"error","errorType":"execution","error":"cannot be evaluated"}"#;
        return Response::builder().status(422).body(body.into()).unwrap();
    }
    let all: Vec<_> = if query.contains(JOINED) {
        let operands = operands(query).into_iter();
        let series = operands.map(|(text, mark)| match mark.as_str() {
            "witness" => format!(r#"{{"metric":{{"{JOINED}":"witness"}},"value":[0,"42"]}}"#),
            mark => series(&text, Some(mark)),
        });
        series.collect()
    } else {
        vec![series(query, None)]
    };
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        all.join(",")
    );
    Response::new(body.replace("[0,", "[1000000,").into_bytes())
}

impl Servers {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            metrics: Arc::default(),
            got: Arc::default(),
            busy: Arc::default(),
        }
    }

    /// Servers whose names say what they do: `slow…` answers after a second, `dead…` never, `down…` refuses, `odd…` does not know
    /// joined queries, and the others answer after 10 ms.
    pub(super) fn prometheus(&self, budget: Budget) -> Prometheus {
        let servers = self.clone();
        let server = service_fn(move |request: Request<Vec<u8>>| {
            let servers = servers.clone();
            async move { servers.serve(request).await }
        });
        let limits = Limits {
            budget,
            ..Limits::default()
        };
        let start = self.start;
        let clock = Clock::from_source(move || at(0) + start.elapsed());
        let transport = Transport::Local(Local::new(server));
        Prometheus::with_limits(no_secrets(), transport, clock, limits, &self.metrics)
    }

    async fn serve(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, BoxError> {
        let host = request.uri().host().unwrap().to_owned();
        let parent = request.headers().get("traceparent");
        let parent = parent.map(|parent| parent.to_str().unwrap().to_owned());
        let form = String::from_utf8(request.into_body()).unwrap();
        let form: BTreeMap<_, _> = Url::parse(&format!("http://form/?{form}"))
            .unwrap()
            .query_pairs()
            .into_owned()
            .collect();
        let query = form["query"].clone();
        self.got.lock().unwrap().push(Got {
            host: host.clone(),
            query: query.clone(),
            time: form["time"].parse().unwrap(),
            after: self.start.elapsed(),
            parent,
        });
        let count = |change: isize| {
            let mut busy = self.busy.lock().unwrap();
            let (now, most) = busy.entry(host.clone()).or_default();
            *now = now.checked_add_signed(change).unwrap();
            *most = (*now).max(*most);
        };
        count(1);
        let time = match &host {
            host if host.starts_with("slow") => Duration::from_secs(1),
            host if host.starts_with("dead") || query.contains("heavy") => Duration::from_hours(1),
            _ => Duration::from_millis(10),
        };
        sleep(time).await;
        count(-1);
        if host.starts_with("down") {
            return Err("Connection refused".into());
        }
        // It does not know what joined queries mean.
        let is_odd = host.starts_with("odd") && query.contains(JOINED);
        Ok(if is_odd {
            Response::new(EMPTY.into())
        } else {
            answer(&query)
        })
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The requests with this result, as the client counted them.
    pub(super) fn counted(&self, result: &'static str) -> u64 {
        let counter = self.metrics.queries.requests.get(&OutcomeLabels { result });
        counter.map_or(0, |counter| counter.get())
    }

    pub(super) fn queries(&self) -> Vec<String> {
        self.got().into_iter().map(|got| got.query).collect()
    }
}

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000_000 + millis).unwrap()
}

/// A time from this one on, for a while, due at the end.
pub(super) fn from(millis: i64, length: i64) -> When {
    When {
        at: at(millis),
        before: at(millis + length),
        due: at(millis + length),
    }
}

/// Asks at once, and waits for all answers. Each is a namespace, a host, a query and its time.
pub(super) async fn ask_all(
    prometheus: &Prometheus,
    asked: Vec<(String, String, String, When)>,
) -> Vec<(Answer, Timestamp)> {
    let mut all = JoinSet::new();
    for (index, (namespace, host, query, when)) in asked.into_iter().enumerate() {
        let prometheus = prometheus.clone();
        all.spawn(async move {
            let endpoint = open(&format!("http://{host}"));
            let reply = prometheus.query(None, &namespace, &endpoint, &query, when).await;
            (index, (reply.answer, reply.at))
        });
    }
    let mut answers = all.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

pub(super) fn ask(namespace: &str, host: &str, query: impl Into<String>, when: When) -> (String, String, String, When) {
    (namespace.to_owned(), host.to_owned(), query.into(), when)
}

/// Whether an answer is the one to this query.
pub(super) fn answers(answer: &Answer, query: &str) -> bool {
    matches!(answer, Answer::Vector(all) if all.len() == 1 && all[0].labels.len() == 1 && all[0].labels["q"] == query)
}

/// Without joining.
pub(super) fn alone() -> Budget {
    Budget {
        join: 1,
        ..Budget::default()
    }
}
