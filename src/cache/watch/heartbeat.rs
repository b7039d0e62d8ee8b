//! Liveness of a watch.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::SetOnce, time::Instant};

/// Liveness of a watch. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listed: SetOnce<()>,
    follows: SetOnce<()>,
    last: Mutex<Instant>,
    restarts: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            listed: SetOnce::new(),
            follows: SetOnce::new(),
            last: Mutex::new(Instant::now()),
            restarts: AtomicU64::new(0),
        }
    }
}

impl Heartbeat {
    /// Whether the initial list is complete.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.listed.initialized()
    }

    /// Waits until the initial list is complete.
    pub async fn wait(&self) {
        self.0.listed.wait().await;
    }

    /// Waits until the API server sends changes since the initial list.
    pub async fn follows(&self) {
        self.0.follows.wait().await;
    }

    /// Time since the API server last sent something: a page of a list, the start or the regular end of a watch, an event, or a
    /// bookmark. If it never did, the time since creation.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// How many times the watch was restarted.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.0.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn beat(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn listed(&self) {
        // The first list already set it.
        let _again = self.0.listed.set(());
    }

    pub(super) fn opened(&self) {
        self.beat();
        // The first watch already set it.
        let _again = self.0.follows.set(());
    }

    pub(super) fn restarted(&self) {
        self.0.restarts.fetch_add(1, Ordering::Relaxed);
    }
}
