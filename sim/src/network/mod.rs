//! The network between one client and the API server: latency, faults, partitions, and a client that dies in the midst.
//!
//! Every request travels in a task of its own, so that a client which gives up, or dies, cannot call back what it sent.

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

/// The body of a response that came over a network.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// The connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection {0}")]
pub struct Broken(pub(crate) &'static str);

/// What becomes of a request's body on its way: as many requests as there are bodies. The last one is answered.
pub type Interceptor = Arc<dyn Fn(&Parts, Bytes) -> Vec<Bytes> + Send + Sync>;

/// A client's way to the API server. Clones are the same one.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    connection: Connection,
    state: Mutex<State>,
    /// Woken in the order in which they wait, so that one seed gives one history.
    changed: Notify,
}

struct State {
    rng: fastrand::Rng,
    network_faults: NetworkFaults,
    line: Line,
    /// Counts cuts: a stream that was opened before one is broken.
    cuts: u64,
    writes: u64,
    crash: Option<(u64, Moment)>,
    crashed: bool,
    delivered: bool,
    interceptor: Option<Interceptor>,
}

/// Whether anything gets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// It does.
    #[default]
    Up,
    /// Connections are refused at once, and open ones are cut.
    Refusing,
    /// Whatever is sent is swallowed, and open connections are silent until the line is up again, when they break.
    Dark,
    /// The client is paused: nothing goes out or in until the line is up again.
    Frozen,
}

/// When a client dies, as the API server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the write is sent.
    Before,
    /// After the write was done, and before the reply arrived.
    After,
    /// The write is on its way, and is done only after [`Link::deliver`].
    Meanwhile,
}

impl Link {
    /// A way for the user of `connection`, on a network without faults.
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

    /// What becomes of requests from now on.
    pub fn set_network(&self, network_faults: NetworkFaults) {
        self.lock().network_faults = network_faults;
    }

    /// Whether anything gets through from now on.
    pub fn set_line(&self, line: Line) {
        {
            let mut state = self.lock();
            let breaks = line == Line::Refusing || (state.line == Line::Dark && line != Line::Dark);
            state.cuts += u64::from(breaks);
            state.line = line;
        }
        self.0.changed.notify_waiters();
    }

    /// Changes the bodies of requests from now on.
    pub fn set_interceptor(&self, interceptor: Interceptor) {
        self.lock().interceptor = Some(interceptor);
    }

    /// How many writes were sent so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Lets the client die at its write number `nth`, counted from 1. From then on nothing goes out or in.
    pub fn crash_at(&self, nth: u64, moment: Moment) {
        self.lock().crash = Some((nth, moment));
    }

    /// Waits for the moment of [`Link::crash_at`].
    pub async fn crashed(&self) {
        self.wait_for(|state| state.crashed.then_some(())).await;
    }

    /// Lets the write arrive that was on its way when the client died.
    pub fn deliver(&self) {
        self.lock().delivered = true;
        self.0.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `check` finds something.
    async fn wait_for<T>(&self, check: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // From now on no change is missed.
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
            // Nobody waits for it any more if the client gave up.
            let _given_up = reply.send(answer);
        });
        Box::pin(async move { replied.await.unwrap_or(Err(Broken("closed"))) })
    }
}
