//! A client that dies at a chosen write, which simulates a crash between any two API calls.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::sync::watch;
use tower::{Layer, Service};

/// When the client dies, relative to the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// Before the write is sent.
    Before,
    /// After the write is sent; its reply is lost.
    After,
}

/// The write at which the client dies.
#[derive(Clone, Copy, Debug)]
enum At {
    /// The nth write, counted from 1.
    Number(usize),
    /// The nth patch with this path suffix, counted from 1.
    Patch(&'static str, usize),
}

/// Counts the writes of a client and makes it die at one of them.
#[derive(Clone, Debug)]
pub(crate) struct Faults(Arc<State>);

#[derive(Debug)]
struct State {
    strike: Option<(At, Strike)>,
    writes: AtomicUsize,
    /// Patches whose path matches.
    patches: AtomicUsize,
    dead: AtomicBool,
    told: watch::Sender<bool>,
    answers: Mutex<Vec<Answer>>,
}

/// A response that replaces that of the API server.
#[derive(Clone, Debug)]
struct Answer {
    method: Method,
    part: &'static str,
    code: u16,
    message: &'static str,
}

impl Faults {
    /// Counts writes without any fault.
    pub(crate) fn none() -> Self {
        Self::new(None)
    }

    /// Makes the client die at the `nth` write, counted from 1.
    pub(crate) fn at(nth: usize, strike: Strike) -> Self {
        Self::new(Some((At::Number(nth), strike)))
    }

    /// Makes the client die at the `nth` patch with this path suffix, counted from 1.
    pub(crate) fn at_patch(path: &'static str, nth: usize, strike: Strike) -> Self {
        Self::new(Some((At::Patch(path, nth), strike)))
    }

    fn new(strike: Option<(At, Strike)>) -> Self {
        Self(Arc::new(State {
            strike,
            writes: AtomicUsize::new(0),
            patches: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            told: watch::Sender::new(false),
            answers: Mutex::default(),
        }))
    }

    /// Answers requests with this method and a path that contains `part` without executing them, as an admission policy
    /// or a broken webhook does.
    pub(crate) fn answer(&self, method: Method, part: &'static str, code: u16, message: &'static str) {
        let answer = Answer {
            method,
            part,
            code,
            message,
        };
        self.0.answers.lock().unwrap().push(answer);
    }

    /// Stops replacing responses.
    pub(crate) fn answer_no_more(&self) {
        self.0.answers.lock().unwrap().clear();
    }

    fn answered(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let answers = self.0.answers.lock().unwrap();
        let Answer { code, message, .. } = answers
            .iter()
            .find(|answer| answer.method == *method && path.contains(answer.part))?;
        let reason = if *code < 500 { "Forbidden" } else { "InternalError" };
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code});
        let response = Response::builder()
            .status(*code)
            .header("content-type", "application/json");
        let response = response.body(Body::from(status.to_string().into_bytes()));
        Some(response.expect("the response is valid"))
    }

    /// Number of writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.0.writes.load(Ordering::SeqCst)
    }

    /// Waits until the client dies.
    pub(crate) async fn struck(&self) {
        let mut told = self.0.told.subscribe();
        told.wait_for(|struck| *struck).await.expect("the sender is in self");
    }

    fn strike(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
        self.0.told.send_replace(true);
    }

    fn next(&self, method: &Method, path: &str) -> Option<Strike> {
        if matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let number = self.0.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let is_it = |at: At| match at {
            At::Number(nth) => nth == number,
            At::Patch(end, nth) => {
                *method == Method::PATCH
                    && path.ends_with(end)
                    && self.0.patches.fetch_add(1, Ordering::SeqCst) + 1 == nth
            }
        };
        self.0.strike.filter(|(at, _)| is_it(*at)).map(|(_, when)| when)
    }
}

impl<S> Layer<S> for Faults {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty {
            inner,
            faults: self.clone(),
        }
    }
}

/// The service that [`Faults`] wraps.
#[derive(Debug)]
pub(crate) struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.faults.0.dead.load(Ordering::SeqCst) {
            return Box::pin(pending());
        }
        let faults = self.faults.clone();
        if let Some(answer) = faults.answered(request.method(), request.uri().path()) {
            return Box::pin(std::future::ready(Ok(answer)));
        }
        match faults.next(request.method(), request.uri().path()) {
            None => Box::pin(self.inner.call(request)),
            Some(Strike::Before) => {
                faults.strike();
                Box::pin(pending())
            }
            Some(Strike::After) => {
                let sent = self.inner.call(request);
                Box::pin(async move {
                    drop(sent.await);
                    faults.strike();
                    pending().await
                })
            }
        }
    }
}
