//! How a watch is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::SetOnce, time::Instant};

/// How a watch is. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listed: SetOnce<()>,
    last: Mutex<Instant>,
    restarts: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            listed: SetOnce::new(),
            last: Mutex::new(Instant::now()),
            restarts: AtomicU64::new(0),
        }
    }
}

impl Heartbeat {
    /// Whether everything was listed once.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.listed.initialized()
    }

    /// Waits until everything was listed once.
    pub async fn wait(&self) {
        self.0.listed.wait().await;
    }

    /// The time since the API server last said something: a page of a list, that a watch begins or that its time is over, an
    /// event, a bookmark. Since the beginning, if it never did.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// How often it had to start anew.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.0.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn beat(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn listed(&self) {
        // A watch that lists again is listed already.
        let _again = self.0.listed.set(());
    }

    pub(super) fn restarted(&self) {
        self.0.restarts.fetch_add(1, Ordering::Relaxed);
    }
}
