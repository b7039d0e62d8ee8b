//! The shards whose objects this replica reads: those it owns, and those it is about to take.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::Notify, task::JoinHandle};

use super::fence::Fence;
use crate::cache::watch::Heartbeat;

/// The watches of a shard, with their heartbeats.
pub struct Watches {
    /// One heartbeat for each watch.
    pub heartbeats: Vec<Heartbeat>,
    /// Runs all watches. Never completes; dropping it drops the objects that were read.
    pub run: BoxFuture<'static, ()>,
}

/// Creates the watches of a shard.
pub type Watch = Box<dyn Fn(u16) -> Watches + Send + Sync>;

/// Called for a shard that is owned and has been read.
pub type Opened = Box<dyn Fn(u16) + Send + Sync>;

/// The shards that this replica reads.
pub struct Served {
    fence: Arc<Fence>,
    watch: Watch,
    opened: Opened,
    shards: Mutex<BTreeMap<u16, Serving>>,
    /// Watches that are stopping. New watches of the same shard wait for them, so that the old ones do not remove objects that
    /// the new ones have read.
    ending: Mutex<BTreeMap<u16, JoinHandle<()>>>,
    changed: Arc<Notify>,
    failed: Notify,
}

struct Serving {
    heartbeats: Vec<Heartbeat>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("shards", &self.shards())
            .finish_non_exhaustive()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.lock().values().for_each(|serving| serving.task.abort());
    }
}

impl Served {
    /// No shards yet. `changed` is notified when a shard has been read.
    #[must_use]
    pub fn new(fence: Arc<Fence>, watch: Watch, opened: Opened, changed: Arc<Notify>) -> Self {
        Self {
            fence,
            watch,
            opened,
            shards: Mutex::default(),
            ending: Mutex::default(),
            changed,
            failed: Notify::new(),
        }
    }

    /// Starts reading a shard.
    pub fn start(self: &Arc<Self>, shard: u16) {
        let mut shards = self.lock();
        if shards.contains_key(&shard) {
            return;
        }
        let Watches { heartbeats, run } = (self.watch)(shard);
        let former = self.ending().remove(&shard);
        let (this, marks) = (Arc::downgrade(self), heartbeats.clone());
        let task = tokio::spawn(async move {
            if let Some(former) = former {
                let _aborted = former.await;
            }
            let watched = AssertUnwindSafe(async {
                let read = async {
                    for mark in &marks {
                        mark.wait().await;
                    }
                    if let Some(this) = this.upgrade() {
                        this.open(shard);
                        this.changed.notify_one();
                    }
                };
                futures::future::join(run, read).await;
            });
            let _panicked = watched.catch_unwind().await;
            if let Some(this) = this.upgrade() {
                this.failed.notify_one();
            }
        });
        shards.insert(shard, Serving { heartbeats, task });
    }

    /// Stops reading a shard and drops its objects.
    pub fn stop(&self, shard: u16) {
        if let Some(serving) = self.lock().remove(&shard) {
            serving.task.abort();
            self.ending().insert(shard, serving.task);
        }
    }

    /// Opens a shard that is both owned and read, and queues its Kanaries.
    pub fn open(&self, shard: u16) {
        if self.is_read(shard) && self.fence.open(shard) {
            (self.opened)(shard);
        }
    }

    fn is_read(&self, shard: u16) -> bool {
        let shards = self.lock();
        shards
            .get(&shard)
            .is_some_and(|serving| serving.heartbeats.iter().all(Heartbeat::get))
    }

    /// Shards that are being read or have been read.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<u16> {
        self.lock().keys().copied().collect()
    }

    /// Shards of other replicas that have been read and can be taken immediately.
    #[must_use]
    pub fn ready(&self) -> BTreeSet<u16> {
        let owned = self.fence.owned();
        let shards = self.lock();
        let read = shards
            .iter()
            .filter(|(_, serving)| serving.heartbeats.iter().all(Heartbeat::get));
        read.map(|(shard, _)| *shard)
            .filter(|shard| !owned.contains_key(shard))
            .collect()
    }

    /// Shards that are owned and have not been read yet.
    #[must_use]
    pub fn unread(&self) -> Vec<u16> {
        let owned = self.fence.owned().into_keys();
        owned.filter(|shard| !self.is_read(*shard)).collect()
    }

    /// Calls `visit` with the heartbeat of every watch.
    pub fn each_pulse(&self, mut visit: impl FnMut(&Heartbeat)) {
        for serving in self.lock().values() {
            serving.heartbeats.iter().for_each(&mut visit);
        }
    }

    /// Waits until a watch ends, which is a bug.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Serving>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> MutexGuard<'_, BTreeMap<u16, JoinHandle<()>>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
