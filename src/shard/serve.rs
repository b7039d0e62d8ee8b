//! The shards whose objects this replica reads: those it owns, and those it is about to take.
//!
//! Each shard has its own part of the cache, and at first watches of its own, one for each kind. The shards that this replica
//! owns share one watch for each kind as soon as no shard has come or gone for a while. Shared watches are replaced by others
//! with other shards: the new ones list and follow all their objects before the old ones end, so nothing is missed. A shard that
//! goes takes its part of the cache with it, and what the shared watches still report for it is ignored.

mod shared;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use self::shared::Shared;
use super::fence::Fence;
use crate::cache::{
    PartId,
    watch::{CachePart, Heartbeat},
};

/// One watch for each kind, with their heartbeats.
pub struct Watches {
    /// One heartbeat for each watch.
    pub heartbeats: Vec<Heartbeat>,
    /// Runs all watches. Never completes.
    pub run: BoxFuture<'static, ()>,
}

/// How shards are read.
pub struct Source {
    /// Opens a part of the cache.
    pub open: Box<dyn Fn() -> CachePart + Send + Sync>,
    /// Creates one watch for each kind that feeds these shards, each with its part of the cache.
    pub watch: WatchShards,
}

/// Creates one watch for each kind that feeds these shards, each with its part of the cache.
pub type WatchShards = Box<dyn Fn(&BTreeMap<u16, PartId>) -> Watches + Send + Sync>;

/// Called for a shard that is owned and has been read.
pub type Opened = Box<dyn Fn(u16) + Send + Sync>;

/// The shards that this replica reads.
pub struct Served {
    fence: Arc<Fence>,
    source: Source,
    opened: Opened,
    state: Mutex<State>,
    changed: Arc<Notify>,
    /// Notified when a shard came or went, or shared watches have caught up.
    moved: Notify,
    failed: Notify,
}

struct State {
    shards: BTreeMap<u16, Serving>,
    shared: Option<Shared>,
    /// The shared watches that will replace the current ones.
    next: Option<Shared>,
    /// When a shard last came or went.
    moved: Instant,
    /// The number of the next shared watches.
    number: u64,
}

struct Serving {
    /// Its part of the cache, which is dropped with this.
    part: CachePart,
    /// Its own watches; `None` if the shared watches feed it.
    own: Option<Running>,
}

impl Serving {
    /// Whether its objects have been read.
    fn is_read(&self) -> bool {
        self.own
            .as_ref()
            .is_none_or(|own| own.heartbeats.iter().all(Heartbeat::get))
    }
}

/// Watches that run until this is dropped.
struct Running {
    heartbeats: Vec<Heartbeat>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("shards", &self.shards())
            .finish_non_exhaustive()
    }
}

impl Served {
    /// No shards yet. `changed` is notified when a shard has been read.
    #[must_use]
    pub fn new(fence: Arc<Fence>, source: Source, opened: Opened, changed: Arc<Notify>) -> Self {
        let state = State {
            shards: BTreeMap::new(),
            shared: None,
            next: None,
            moved: Instant::now(),
            number: 0,
        };
        Self {
            fence,
            source,
            opened,
            state: Mutex::new(state),
            changed,
            moved: Notify::new(),
            failed: Notify::new(),
        }
    }

    /// Starts reading a shard.
    pub fn start(self: &Arc<Self>, shard: u16) {
        let state = &mut *self.lock();
        if state.shards.contains_key(&shard) {
            return;
        }
        let part = (self.source.open)();
        let parts = BTreeMap::from([(shard, part.id())]);
        let own = self.watch(
            &parts,
            |mark| mark.wait().boxed(),
            move |this| {
                this.open(shard);
                this.changed.notify_one();
            },
        );
        state.shards.insert(shard, Serving { part, own: Some(own) });
        self.note_move(state);
    }

    /// Starts watches. `then` is called after `reached` has completed for each of them.
    fn watch(
        self: &Arc<Self>,
        shards: &BTreeMap<u16, PartId>,
        reached: fn(&Heartbeat) -> BoxFuture<'_, ()>,
        then: impl FnOnce(Arc<Self>) + Send + 'static,
    ) -> Running {
        let Watches { heartbeats, run } = (self.source.watch)(shards);
        let (this, marks) = (Arc::downgrade(self), heartbeats.clone());
        let task = tokio::spawn(async move {
            let watched = AssertUnwindSafe(async {
                let read = async {
                    for mark in &marks {
                        reached(mark).await;
                    }
                    if let Some(this) = this.upgrade() {
                        then(this);
                    }
                };
                futures::future::join(run, read).await;
            });
            let _panicked = watched.catch_unwind().await;
            if let Some(this) = this.upgrade() {
                this.failed.notify_one();
            }
        });
        Running { heartbeats, task }
    }

    /// Stops reading a shard and drops its objects.
    pub fn stop(&self, shard: u16) {
        let stopped = {
            let state = &mut *self.lock();
            let stopped = state.shards.remove(&shard);
            if stopped.is_some() {
                self.note_move(state);
            }
            stopped
        };
        drop(stopped);
    }

    /// Opens a shard that is both owned and read, and queues its Kanaries.
    pub fn open(&self, shard: u16) {
        if self.is_read(shard) && self.fence.open(shard) {
            self.note_move(&mut self.lock());
            (self.opened)(shard);
        }
    }

    fn note_move(&self, state: &mut State) {
        state.moved = Instant::now();
        self.moved.notify_one();
    }

    fn is_read(&self, shard: u16) -> bool {
        self.lock().shards.get(&shard).is_some_and(Serving::is_read)
    }

    /// The part of the cache for a shard, if it is being read.
    #[must_use]
    pub fn part(&self, shard: u16) -> Option<PartId> {
        self.lock().shards.get(&shard).map(|serving| serving.part.id())
    }

    /// Shards that are being read or have been read.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<u16> {
        self.lock().shards.keys().copied().collect()
    }

    /// Shards of other replicas that have been read and can be taken immediately.
    #[must_use]
    pub fn ready(&self) -> BTreeSet<u16> {
        let owned = self.fence.owned();
        let state = self.lock();
        let read = state.shards.iter().filter(|(_, serving)| serving.is_read());
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
    pub fn each_pulse(&self, visit: impl FnMut(&Heartbeat)) {
        let state = self.lock();
        let own = state.shards.values().filter_map(|serving| serving.own.as_ref());
        let shared = state.shared.iter().chain(&state.next).map(|shared| &shared.running);
        own.chain(shared)
            .flat_map(|running| &running.heartbeats)
            .for_each(visit);
    }

    /// Waits until a watch ends, which is a bug.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
