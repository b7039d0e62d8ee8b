//! An admission webhook for one client: it refuses or changes the client's writes.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service;

use super::{controller::Controller, world::World};

/// The webhook's decision about a write.
pub(crate) enum Answer {
    /// Sends the write with this body.
    Send(Value),
    /// Refuses the write with this code and message.
    Refuse(u16, &'static str),
}

type Rule = dyn Fn(&Method, &str, Value) -> Answer + Send + Sync;

/// A webhook for the writes of one client. It is active until it is removed.
#[derive(Clone)]
pub(crate) struct Webhook {
    rule: Arc<Rule>,
    removed: Arc<AtomicBool>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    /// Creates a webhook. `rule` decides on each write by its method, path and body.
    pub(crate) fn new(rule: impl Fn(&Method, &str, Value) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            rule: Arc::new(rule),
            removed: Arc::default(),
        }
    }

    /// Lets all writes pass unchanged from now on.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
    }

    /// Wraps a client's service.
    pub(crate) fn before<S>(&self, inner: S) -> Behind<S> {
        Behind {
            inner,
            webhook: self.clone(),
        }
    }

    fn is_asked(&self, method: &Method) -> bool {
        !self.removed.load(Ordering::SeqCst) && [Method::POST, Method::PATCH, Method::PUT].contains(method)
    }
}

impl World {
    /// Starts a controller whose writes go through the webhook.
    pub(crate) fn start_controller_behind(&self, webhook: &Webhook) {
        self.put(Controller::start_behind(self.plane, &self.ns, webhook.clone()));
    }
}

/// The service that [`Webhook::before`] returns.
#[derive(Clone, Debug)]
pub(crate) struct Behind<S> {
    inner: S,
    webhook: Webhook,
}

impl<S> Service<Request<Body>> for Behind<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = kube::Error> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !self.webhook.is_asked(request.method()) {
            return Box::pin(self.inner.call(request));
        }
        let (mut inner, rule) = (self.inner.clone(), self.webhook.rule.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.expect("the body of a write is complete");
            let body: Value = serde_json::from_slice(&body).expect("the body of a write is JSON");
            match rule(&head.method, head.uri.path(), body) {
                Answer::Send(body) => {
                    let body = Body::from(body.to_string().into_bytes());
                    inner.call(Request::from_parts(head, body)).await
                }
                Answer::Refuse(code, message) => {
                    let status = json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "code": code, "reason": "Unknown", "message": message,
                    });
                    let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
                    *answer.status_mut() = StatusCode::from_u16(code).expect("the code is valid");
                    Ok(answer)
                }
            }
        })
    }
}
