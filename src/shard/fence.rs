//! The fence: every write to the cluster passes through it.
//!
//! A write is sent only if this process owns the shard, still under the epoch at which the decision began, and only if there is
//! time to wait for its response before the right to the shard ends. The right ends a margin before another replica may take the
//! shard. A process may be paused after it passed the fence, so the connection checks the right again before it sends any bytes
//! ([`crate::cluster::client::gate`]). A write that was sent and is executed late is refused by its preconditions, which every
//! write has.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use kanary_core::api::{Layout, Slot};

use crate::cluster::{
    client::{CALL_TIMEOUT, gate::Permit, within},
    clock::Monotonic,
    error::Fenced,
};

/// A right with less remaining time is not used, because an API server under load does not respond faster.
const LEAST: Duration = Duration::from_millis(100);

/// The right to write about the Kanaries of a shard, as of the start of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    shard: u16,
    /// The fencing token, or `None` for a single replica without Leases.
    pub epoch: Option<i64>,
    /// Whether the cache has what the former owners of the shard wrote about its Kanaries.
    pub listed: bool,
}

impl Right {
    /// The shard.
    #[must_use]
    pub fn shard(self) -> u16 {
        self.shard
    }
}

/// Shards that this process may write to.
#[derive(Debug)]
pub struct Fence {
    layout: Layout,
    time: Monotonic,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// This process owns everything, forever.
    standalone: bool,
    /// When the right to all shards ends, unless the session is renewed first.
    until: Duration,
    held: BTreeMap<u16, Held>,
}

#[derive(Debug)]
struct Held {
    epoch: i64,
    /// Its objects have been read. Before that, objects that are not in the cache yet would look missing.
    open: bool,
    /// All its Kanaries have been listed since it was taken.
    listed: bool,
    /// It is being released: no new writes are sent.
    draining: bool,
    /// Writes without a response so far.
    in_flight: usize,
}

/// A shard that this process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its fencing token.
    pub epoch: i64,
    /// It is being released.
    pub draining: bool,
}

impl Fence {
    /// The fence of a single replica, which refuses nothing.
    #[must_use]
    pub fn standalone() -> Self {
        let fence = Self::new(Layout::DEFAULT, Monotonic::default());
        fence.lock().standalone = true;
        fence
    }

    /// A fence of a process that owns no shards yet.
    #[must_use]
    pub fn new(layout: Layout, time: Monotonic) -> Self {
        Self {
            layout,
            time,
            state: Arc::default(),
        }
    }

    /// How slots are divided into shards.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether this is the only replica.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.lock().standalone
    }

    /// Extends the right to all shards until `until`, after a session renewal that was sent at `sent`.
    pub fn renew(&self, until: Duration) {
        let mut state = self.lock();
        state.until = state.until.max(until);
    }

    /// Adds a shard. No writes are sent before it is opened.
    pub fn take(&self, shard: u16, epoch: i64) {
        let held = Held {
            epoch,
            open: false,
            listed: false,
            draining: false,
            in_flight: 0,
        };
        self.lock().held.insert(shard, held);
    }

    /// Opens a shard after its objects have been read. Returns whether this process owns it.
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn open(&self, shard: u16) -> bool {
        let mut state = self.lock();
        let held = state.held.get_mut(&shard);
        held.map(|held| held.open = true).is_some()
    }

    /// Records that all Kanaries of a shard have been listed since it was taken under this epoch, and are in the cache.
    pub fn mark_listed(&self, shard: u16, epoch: i64) {
        let mut state = self.lock();
        let held = state.held.get_mut(&shard).filter(|held| held.epoch == epoch);
        if let Some(held) = held {
            held.listed = true;
        }
    }

    /// Whether all Kanaries of a shard have been listed since it was taken under this epoch.
    #[must_use]
    pub fn is_listed(&self, shard: u16, epoch: i64) -> bool {
        let state = self.lock();
        let held = state.held.get(&shard).filter(|held| held.epoch == epoch);
        held.is_some_and(|held| held.listed)
    }

    /// Starts the release of a shard: writes in flight may complete, but no new ones are sent.
    pub fn drain(&self, shard: u16) {
        if let Some(held) = self.lock().held.get_mut(&shard) {
            held.draining = true;
        }
    }

    /// Whether no write to the shard is in flight.
    #[must_use]
    pub fn is_quiet(&self, shard: u16) -> bool {
        self.lock().held.get(&shard).is_none_or(|held| held.in_flight == 0)
    }

    /// Removes a shard. Returns whether this process owned it.
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn give(&self, shard: u16) -> bool {
        self.lock().held.remove(&shard).is_some()
    }

    /// Removes all rights, after the session has ended.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.held.clear();
        state.until = Duration::ZERO;
    }

    /// The shards that this process owns.
    #[must_use]
    pub fn owned(&self) -> BTreeMap<u16, Owned> {
        let owned = |held: &Held| Owned {
            epoch: held.epoch,
            draining: held.draining,
        };
        self.lock()
            .held
            .iter()
            .map(|(shard, held)| (*shard, owned(held)))
            .collect()
    }

    /// The number of shards that this process owns, and of all shards. Each shard has one owner at most, so these parts of all
    /// replicas are never more than the whole.
    #[must_use]
    pub fn share(&self) -> (u16, u16) {
        let (state, all) = (self.lock(), self.layout.shards());
        let owned = u16::try_from(state.held.len()).unwrap_or(all);
        (if state.standalone { all } else { owned }, all)
    }

    /// Revokes a shard after the API server refused its epoch as too low. A higher epoch has to be taken.
    pub fn revoke(&self, right: Right) {
        let mut state = self.lock();
        let held = state.held.get_mut(&right.shard);
        if let Some(held) = held.filter(|held| Some(held.epoch) == right.epoch) {
            tracing::error!(
                shard = right.shard,
                epoch = held.epoch,
                "the API server has a later epoch: giving up the shard"
            );
            held.draining = true;
        }
    }

    /// Remaining time of the right, if the session is not renewed.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.lock().until.saturating_sub(self.time.now())
    }

    /// The right to start work on a Kanary of this slot, or `None`.
    #[must_use]
    pub fn begin(&self, slot: Slot) -> Option<Right> {
        let shard = self.layout.shard_of(slot);
        let state = self.lock();
        if state.standalone {
            return Some(Right {
                shard,
                epoch: None,
                listed: true,
            });
        }
        let held = state.held.get(&shard).filter(|held| held.open && !held.draining)?;
        (self.time.now() < state.until).then_some(Right {
            shard,
            epoch: Some(held.epoch),
            listed: held.listed,
        })
    }

    /// Whether this process owns the slot's shard, even if it may not write at the moment.
    #[must_use]
    pub fn holds(&self, slot: Slot) -> bool {
        let state = self.lock();
        state.standalone || state.held.contains_key(&self.layout.shard_of(slot))
    }

    /// Sends a write if `right` is still held, and waits for its response only as long as the right lasts. The request carries a
    /// permit: no byte is sent after the right has ended or the caller has stopped waiting.
    ///
    /// # Errors
    ///
    /// [`Fenced`] or [`Ended`](crate::cluster::client::gate::Ended) (each as a [`kube::Error::Service`]) if the write was not
    /// sent; otherwise the API server's error, or a timeout.
    pub async fn write<T, F>(
        &self,
        right: Right,
        mut request: Request<Vec<u8>>,
        send: impl FnOnce(Request<Vec<u8>>) -> F,
    ) -> kube::Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let pass = self
            .pass(right)
            .map_err(|fenced| kube::Error::Service(Box::new(fenced)))?;
        if let Some(permit) = pass.permit() {
            request.extensions_mut().insert(permit);
        }
        within(pass.time, send(request)).await
    }

    fn pass(&self, right: Right) -> Result<Pass<'_>, Fenced> {
        let mut state = self.lock();
        let now = self.time.now();
        let pass = |time| Pass {
            fence: self,
            right,
            time,
            ends: now.saturating_add(time),
            over: Arc::default(),
        };
        let Some(epoch) = right.epoch else {
            return Ok(pass(CALL_TIMEOUT));
        };
        let left = state.until.saturating_sub(now);
        let held = state.held.get_mut(&right.shard);
        let Some(held) = held.filter(|held| held.epoch == epoch && !held.draining) else {
            return Err(Fenced::NotOwned);
        };
        if left < LEAST {
            return Err(Fenced::Expired);
        }
        held.in_flight += 1;
        Ok(pass(left.min(CALL_TIMEOUT)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A write in flight.
struct Pass<'a> {
    fence: &'a Fence,
    right: Right,
    time: Duration,
    /// When the right ends, by a clock that includes suspend.
    ends: Duration,
    /// The caller has stopped waiting. The shard may then be released, so buffered bytes must not be sent either.
    over: Arc<AtomicBool>,
}

impl Pass<'_> {
    /// The check made by the connection; `None` for a single replica.
    fn permit(&self) -> Option<Permit> {
        let Self { right, ends, .. } = *self;
        let epoch = right.epoch?;
        let (state, time, over) = (self.fence.state.clone(), self.fence.time.clone(), self.over.clone());
        Some(Permit::new(move || {
            // A release waits for writes in flight, so a draining shard still counts as held.
            let is_held = || {
                lock(&state)
                    .held
                    .get(&right.shard)
                    .is_some_and(|held| held.epoch == epoch)
            };
            // Read the time last, because nothing that takes time may run after it.
            !over.load(Ordering::Acquire) && is_held() && time.now() < ends
        }))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let mut state = self.fence.lock();
        let held = state.held.get_mut(&self.right.shard);
        if let Some(held) = held.filter(|held| Some(held.epoch) == self.right.epoch) {
            held.in_flight = held.in_flight.saturating_sub(1);
        }
    }
}
