//! Fake Prometheus servers with faulty answers.

use std::{
    collections::BTreeMap,
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::RawQuery,
    http::{HeaderMap, StatusCode, header::DATE},
    response::IntoResponse,
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
};

use super::poll;

/// The answer to every query.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// A login page.
    Html,
    /// No answer.
    Nothing,
    /// A status and a body.
    Body(u16, String),
    /// A vector of series, with labels and value.
    Vector(Vec<(Value, String)>),
    /// A JSON body of this many bytes.
    Much(usize),
    /// The answer after a delay.
    Late(Duration, Box<Says>),
    /// The answer with a clock that is off by this many seconds.
    Skewed(i64, Box<Says>),
    /// Each answer in turn, repeatedly.
    InTurn(Vec<Says>),
}

/// A received query.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Arrival time.
    pub(crate) at: Timestamp,
    /// The query.
    pub(crate) query: String,
    /// The Authorization header.
    pub(crate) authorization: String,
    /// All headers by their lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
}

/// A server that gives every request the same answer and records the queries. It has its own runtime, so that it answers
/// while the test is busy.
#[derive(Debug)]
pub(crate) struct Fake {
    /// `host:port`.
    pub(crate) address: String,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    runtime: Option<Runtime>,
}

impl Fake {
    /// Starts a server.
    pub(crate) async fn start(says: Says) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be created");
        let listener = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await;
        let listener = listener.expect("it does not panic").expect("there is a free port");
        let address = listener.local_addr().expect("the listener is bound").to_string();
        let says = Arc::new(Mutex::new(says));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, record) = (says.clone(), asked.clone());
        let app = Router::new().fallback(
            async move |headers: HeaderMap, RawQuery(query): RawQuery, body: Bytes| {
                let body = String::from_utf8_lossy(&body);
                let query = field(&query.unwrap_or_default(), "query").or_else(|| field(&body, "query"));
                let headers = headers.iter();
                let headers: BTreeMap<_, _> = headers
                    .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                    .collect();
                let asked = Asked {
                    at: Timestamp::now(),
                    query: query.unwrap_or_default(),
                    authorization: headers.get("authorization").cloned().unwrap_or_default(),
                    headers,
                };
                let times = {
                    let mut record = record.lock().unwrap();
                    record.push(asked);
                    record.len()
                };
                let says = answer.lock().unwrap().clone();
                say(says, times).await
            },
        );
        runtime.spawn(async move { axum::serve(listener, app).await.expect("the fake serves") });
        Self {
            address,
            says,
            asked,
            runtime: Some(runtime),
        }
    }

    /// Starts a server that answers with a single series without labels.
    pub(crate) async fn value(value: &str) -> Self {
        Self::start(Says::one(value)).await
    }

    /// An address that refuses connections while the returned socket exists, which reserves it.
    pub(crate) fn refused() -> (TcpSocket, String) {
        let socket = TcpSocket::new_v4().expect("there is a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(any).expect("there is a free port");
        let address = socket.local_addr().expect("the socket is bound").to_string();
        (socket, address)
    }

    /// Changes the answer.
    pub(crate) fn now_says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Waits until the server has received this many queries.
    pub(crate) async fn asked_times(&self, times: usize) -> Vec<Asked> {
        poll(&format!("the fake Prometheus was asked {times} times"), async || {
            let asked = self.asked();
            if asked.len() < times {
                Err(asked.len())
            } else {
                Ok(asked)
            }
        })
        .await
    }

    /// The queries so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Says {
    /// A vector with one series without labels.
    pub(crate) fn one(value: &str) -> Self {
        Self::Vector(vec![(json!({}), value.to_owned())])
    }
}

/// A field of a query string or form.
fn field(form: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://fake/?{form}")).ok()?;
    let (_, value) = url.query_pairs().find(|(field, _)| field == name)?;
    Some(value.into_owned())
}

/// The response to the query with this number.
async fn say(mut says: Says, number: usize) -> axum::response::Response {
    let mut date = None;
    loop {
        says = match says {
            Says::Late(time, says) => {
                tokio::time::sleep(time).await;
                *says
            }
            Says::Skewed(seconds, says) => {
                date = Some(Timestamp::now() + SignedDuration::from_secs(seconds));
                *says
            }
            Says::InTurn(all) => all[number % all.len()].clone(),
            says => {
                let mut response = respond(says).await;
                if let Some(date) = date {
                    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
                    let date = date.expect("the year is valid in HTTP").parse();
                    response.headers_mut().insert(DATE, date.expect("a date is a header"));
                }
                return response;
            }
        };
    }
}

async fn respond(says: Says) -> axum::response::Response {
    let json = [("content-type", "application/json")];
    match says {
        Says::Html => ([("content-type", "text/html")], "<html><body>Log in</body></html>").into_response(),
        Says::Nothing => pending().await,
        Says::Body(status, body) => {
            let status = StatusCode::from_u16(status).expect("a case has a real status");
            (status, json, body).into_response()
        }
        Says::Vector(series) => {
            let result: Vec<_> = series
                .into_iter()
                .map(|(labels, value)| json!({"metric": labels, "value": [Timestamp::now().as_second(), value]}))
                .collect();
            let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
            (json, body.to_string()).into_response()
        }
        Says::Much(bytes) => (json, format!("{{\"status\": \"{}\"}}", "x".repeat(bytes))).into_response(),
        Says::Late(..) | Says::Skewed(..) | Says::InTurn(_) => unreachable!("these wrap other answers"),
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
