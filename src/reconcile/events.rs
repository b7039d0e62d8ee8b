//! Events on their way to the API server. A turn hands its Events over and goes on: nothing depends on them, and a webhook may
//! let them hang.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream::FuturesUnordered};
use kanary_core::{Key, decision::Notice};
use tokio::sync::Notify;
use tracing::Instrument;

use super::{
    act::Writer,
    traced::{self, Place, Write},
};
use crate::{
    metrics::Metrics,
    queue::{lanes::Lanes, seats::Seats},
    shard::Right,
    traces::Traces,
};

/// Number of Events that may wait, each of about 1 KiB.
const WAITING: usize = 1024;

/// Number of Events that are sent at a time.
const AT_ONCE: usize = 32;

/// Of both, a namespace may have as many as are free: half of them if it is alone.
const DIVISOR: usize = 1;

/// An Event to create.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The Kanary.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// What to say.
    pub notice: Notice,
    /// The right to its shard. The fence checks it when the Event is sent.
    pub right: Right,
    /// Its place in the trace of the run, if traces are collected.
    pub trace: Option<Place>,
}

/// Events that wait, and those that are being sent.
#[derive(Debug)]
pub struct Events {
    state: Mutex<State>,
    changed: Notify,
    all_sent: Notify,
    metrics: Arc<Metrics>,
    traces: Traces,
}

#[derive(Debug)]
struct State {
    waiting: Lanes<Announcement>,
    room: Seats,
    senders: Seats,
    sending: usize,
}

impl Events {
    /// Nothing waits. Counts in `metrics`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Lanes::default(),
                room: Seats::new(WAITING, DIVISOR),
                senders: Seats::new(AT_ONCE, DIVISOR),
                sending: 0,
            }),
            changed: Notify::new(),
            all_sent: Notify::new(),
            metrics,
            traces: Traces::default(),
        }
    }

    /// Sends spans of the Events to `traces`.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Takes an Event, without waiting. If too many of its namespace wait, it is dropped.
    pub fn push(&self, announcement: Announcement) {
        let namespace: Arc<str> = announcement.key.namespace.as_str().into();
        let mut state = self.lock();
        if !state.room.has(&namespace) {
            drop(state);
            self.metrics.events_dropped.inc();
            tracing::warn!(
                key = %announcement.key,
                reason = announcement.notice.reason.as_str(),
                "dropped an Event, because too many wait"
            );
            return;
        }
        state.room.take(&namespace);
        state.waiting.push(&namespace, announcement);
        drop(state);
        self.changed.notify_one();
    }

    /// Sends Events forever, the namespaces in turn. Each one is sent once.
    pub async fn run(self: Arc<Self>, writer: Writer) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some((namespace, announcement)) = self.take() {
                let log = traced::log_context_of(announcement.trace.map(|place| place.trace));
                under_way.push(self.send(&writer, namespace, announcement).instrument(log));
            }
            tokio::select! {
                biased;
                Some(()) = under_way.next() => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn take(&self) -> Option<(Arc<str>, Announcement)> {
        let state = &mut *self.lock();
        let (namespace, announcement) = state.waiting.take(|namespace| state.senders.has(namespace))?;
        state.room.give(&namespace);
        state.senders.take(&namespace);
        state.sending += 1;
        Some((namespace, announcement))
    }

    async fn send(&self, writer: &Writer, namespace: Arc<str>, announcement: Announcement) {
        let begun = self.traces.now();
        let done = writer.announce(&announcement).await;
        self.metrics.wrote("event", &done);
        if let Some((place, begun)) = announcement.trace.zip(begun) {
            let write = Write {
                label: "event",
                object: ("Event", announcement.notice.reason.as_str()),
                status: None,
            };
            traced::wrote(&self.traces, place, write, begun, done.as_ref().err());
        }
        if let Err(error) = &done {
            tracing::warn!(key = %announcement.key, error = error.message(), "could not create an Event");
        }
        let mut state = self.lock();
        state.senders.give(&namespace);
        state.sending -= 1;
        if state.is_idle() {
            self.all_sent.notify_one();
        }
    }

    /// Number of Events that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Waits until all Events are sent.
    pub async fn sent(&self) {
        while !self.lock().is_idle() {
            self.all_sent.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sending == 0
    }
}

#[cfg(test)]
mod tests;
