//! The network between a client and the API server: latency, faults, partitions, and crashes of the client.
//!
//! Every request runs in a task of its own, so that a client that times out or dies cannot cancel a request that it has
//! sent.

mod delivery;
mod network_faults;
mod relay;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::sync::{Notify, oneshot};
use tower::Service;

pub use self::network_faults::{Faults, NetworkFaults};
use crate::server::Connection;

/// The body of a response received over the network.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// The error for a broken connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection {0}")]
pub struct Broken(pub(crate) &'static str);

/// A function that replaces a request's body: one request is sent for each body it returns. The reply to the last one is
/// returned.
pub type Interceptor = Arc<dyn Fn(&Parts, Bytes) -> Vec<Bytes> + Send + Sync>;

/// A client's connection to the API server. Clones share the same state.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    connection: Connection,
    state: Mutex<State>,
    /// Waiters are woken in FIFO order, so that runs with the same seed produce the same history.
    changed: Notify,
}

struct State {
    rng: fastrand::Rng,
    network_faults: NetworkFaults,
    line: Line,
    /// Number of cuts so far. A cut breaks all streams that were opened before it.
    cuts: u64,
    writes: u64,
    crash: Option<(u64, Moment)>,
    crashed: bool,
    delivered: bool,
    interceptor: Option<Interceptor>,
}

/// State of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// Requests get through.
    #[default]
    Up,
    /// New connections are refused, and open connections are cut.
    Refusing,
    /// Packets are dropped. Open connections are silent until the line is up again, and then break.
    Dark,
    /// The client is paused: it sends and receives nothing until the line is up again.
    Frozen,
}

/// When a client dies, relative to one of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the write is sent.
    Before,
    /// After the write is stored and before the reply arrives.
    After,
    /// While the write is in flight. It is stored only after [`Link::deliver`].
    Meanwhile,
}

impl Link {
    /// Creates a link without faults for the user of `connection`.
    #[must_use]
    pub fn new(connection: Connection, seed: u64) -> Self {
        Self(Arc::new(Inner {
            connection,
            state: Mutex::new(State {
                rng: fastrand::Rng::with_seed(seed),
                network_faults: NetworkFaults::default(),
                line: Line::Up,
                cuts: 0,
                writes: 0,
                crash: None,
                crashed: false,
                delivered: false,
                interceptor: None,
            }),
            changed: Notify::new(),
        }))
    }

    /// Sets the faults of requests from now on.
    pub fn set_network(&self, network_faults: NetworkFaults) {
        self.lock().network_faults = network_faults;
    }

    /// Sets the state of the line.
    pub fn set_line(&self, line: Line) {
        {
            let mut state = self.lock();
            let breaks = line == Line::Refusing || (state.line == Line::Dark && line != Line::Dark);
            state.cuts += u64::from(breaks);
            state.line = line;
        }
        self.0.changed.notify_waiters();
    }

    /// Intercepts the bodies of requests from now on.
    pub fn set_interceptor(&self, interceptor: Interceptor) {
        self.lock().interceptor = Some(interceptor);
    }

    /// Number of writes sent so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Makes the client die at its write number `nth`, counted from 1. From then on it sends and receives nothing.
    pub fn crash_at(&self, nth: u64, moment: Moment) {
        self.lock().crash = Some((nth, moment));
    }

    /// Waits for the crash set by [`Link::crash_at`].
    pub async fn crashed(&self) {
        self.wait_for(|state| state.crashed.then_some(())).await;
    }

    /// Delivers the write that was in flight when the client died.
    pub fn deliver(&self) {
        self.lock().delivered = true;
        self.0.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `check` returns a value.
    async fn wait_for<T>(&self, check: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Registers the waiter, so that it misses no later change.
            changed.as_mut().enable();
            if let Some(found) = check(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

impl<B> Service<Request<B>> for Link
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    type Response = Response<Body>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let link = self.clone();
        let (reply, replied) = oneshot::channel();
        tokio::spawn(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes);
            let answer = link.carry(head, body.unwrap_or_default()).await;
            // The send fails if the client timed out.
            let _given_up = reply.send(answer);
        });
        Box::pin(async move { replied.await.unwrap_or(Err(Broken("closed"))) })
    }
}
