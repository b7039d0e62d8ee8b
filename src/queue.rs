//! The work queue of Kanaries. Each key has one entry, the earliest time wins, and a key never has two turns at a time.
//!
//! Namespaces share the workers. Those with due keys are served in turn, and within a namespace the key that was due first is
//! next. A turn that takes long, for example because a call hangs in a webhook of its namespace, lets its worker go, and a
//! namespace has no more turns under way than its share. So a namespace with a due key waits for one turn of each of the others
//! at most, whatever they do; `Schedule` has the limits. Operations cost O(log n) in the number of keys.

pub(crate) mod lanes;
#[cfg(test)]
mod properties;
mod schedule;
pub(crate) mod seats;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use kanary_core::Key;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

pub use self::schedule::{Depth, SLOW};
use self::schedule::{Happened, Schedule};
use crate::metrics::Metrics;

/// The queue. A key that is pushed during its turn is queued again when the turn ends.
#[derive(Debug, Default)]
pub struct Queue {
    schedule: Mutex<Schedule>,
    changed: Notify,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// An empty queue that counts in `metrics`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Queues `key` immediately.
    pub fn push(&self, key: Key) {
        self.push_at(key, Instant::now());
    }

    /// Queues `key` at `at`. An earlier time that is already queued wins.
    pub fn push_at(&self, key: Key, at: Instant) {
        self.lock().push(key, at);
        self.changed.notify_one();
    }

    /// Waits until a turn may start, and returns the keys of all turns that may start then. None is early. Each key must be
    /// returned with [`Queue::done`]. Only one task may wait at a time.
    pub async fn ready(&self) -> Vec<Key> {
        loop {
            let changed = self.changed.notified();
            let (started, wake) = self.start();
            if !started.is_empty() {
                return started;
            }
            match wake {
                None => changed.await,
                Some(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    fn start(&self) -> (Vec<Key>, Option<Instant>) {
        let mut happened = Happened::default();
        let (started, wake) = {
            let mut schedule = self.lock();
            let started = schedule.start(Instant::now(), &mut happened);
            (started, schedule.wake())
        };
        self.metrics.slow_reconciles.inc_by(happened.slowed);
        self.metrics.held_namespaces.inc_by(happened.held);
        let keys = started.into_iter().map(|started| {
            self.metrics.queue_wait.observe(started.waited.as_secs_f64());
            started.key
        });
        (keys.collect(), wake)
    }

    /// Ends the turn of a key. It is queued at `wake`, or earlier if it was pushed in the meantime. Times requested before this
    /// turn are dropped, because each turn returns the next time.
    pub fn done(&self, key: &Key, wake: Option<Instant>) {
        self.lock().done(key, wake, Instant::now());
        self.changed.notify_one();
    }

    /// How many keys wait, and how many turns are under way.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.lock().depth(Instant::now())
    }

    /// Whether no key is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.depth().queued == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
