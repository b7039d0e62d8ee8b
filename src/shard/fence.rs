//! The fence: every write to the cluster passes it, or is not sent.
//!
//! A write is sent only for a shard that this process owns, under the epoch with which the decision was begun, and only if
//! its answer can be waited for before the right to the shard ends. The right ends a margin before anybody else may take the
//! shard. A process may be stopped after it passed the fence, so the connection asks once more before each byte leaves
//! ([`crate::cluster::client::gate`]). What was sent and is carried out later all the same is refused by the preconditions that every
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

/// Of a right that ends sooner than this, no use is made: no API server answers that fast under load.
const LEAST: Duration = Duration::from_millis(100);

/// The right to write about the Kanaries of a shard, as a decision was begun with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    shard: u16,
    /// The fencing token; none where there is one replica and no Leases.
    pub epoch: Option<i64>,
}

/// What this process may write.
#[derive(Debug)]
pub struct Fence {
    layout: Layout,
    time: Monotonic,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything is this process's, for ever.
    standalone: bool,
    /// When the right to every shard ends, if the session is not renewed before.
    until: Duration,
    held: BTreeMap<u16, Held>,
}

#[derive(Debug)]
struct Held {
    epoch: i64,
    /// Its objects have been read: before, a cache that is half filled looks like a cluster where things are missing.
    open: bool,
    /// It is being given away: nothing new is sent.
    draining: bool,
    /// Writes that have no answer yet.
    in_flight: usize,
}

/// A shard that this process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its fencing token.
    pub epoch: i64,
    /// Being given away.
    pub draining: bool,
}

impl Fence {
    /// The fence of the only replica: nothing is refused.
    #[must_use]
    pub fn standalone() -> Self {
        let fence = Self::new(Layout::DEFAULT, Monotonic::default());
        fence.lock().standalone = true;
        fence
    }

    /// A fence behind which nothing is owned yet.
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

    /// Whether there is no other replica to be told apart from.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.lock().standalone
    }

    /// The session was renewed by a call sent at `sent`: the right to every shard lasts until `until`.
    pub fn renew(&self, until: Duration) {
        let mut state = self.lock();
        state.until = state.until.max(until);
    }

    /// A shard was taken; nothing is sent before it is opened.
    pub fn take(&self, shard: u16, epoch: i64) {
        let held = Held {
            epoch,
            open: false,
            draining: false,
            in_flight: 0,
        };
        self.lock().held.insert(shard, held);
    }

    /// The objects of a shard have been read. Whether it is owned.
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn open(&self, shard: u16) -> bool {
        let mut state = self.lock();
        let held = state.held.get_mut(&shard);
        held.map(|held| held.open = true).is_some()
    }

    /// A shard is about to be given away: what is under way may end, nothing new is sent.
    pub fn drain(&self, shard: u16) {
        if let Some(held) = self.lock().held.get_mut(&shard) {
            held.draining = true;
        }
    }

    /// Whether no write to a shard waits for its answer.
    #[must_use]
    pub fn is_quiet(&self, shard: u16) -> bool {
        self.lock().held.get(&shard).is_none_or(|held| held.in_flight == 0)
    }

    /// A shard is not this process's any more. Whether it was.
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn give(&self, shard: u16) -> bool {
        self.lock().held.remove(&shard).is_some()
    }

    /// The session is over, and with it every right.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.held.clear();
        state.until = Duration::ZERO;
    }

    /// The shards that are owned.
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

    /// The API server holds a later epoch than ours: the shard is given up, and a higher epoch has to be taken.
    pub fn revoke(&self, right: Right) {
        let mut state = self.lock();
        let held = state.held.get_mut(&right.shard);
        if let Some(held) = held.filter(|held| Some(held.epoch) == right.epoch) {
            tracing::error!(
                shard = right.shard,
                epoch = held.epoch,
                "a later epoch is stored: the shard is given up"
            );
            held.draining = true;
        }
    }

    /// How long the right lasts from now on, if the session is not renewed.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.lock().until.saturating_sub(self.time.now())
    }

    /// The right to begin something about a Kanary of this slot, if there is one.
    #[must_use]
    pub fn begin(&self, slot: Slot) -> Option<Right> {
        let shard = self.layout.shard_of(slot);
        let state = self.lock();
        if state.standalone {
            return Some(Right { shard, epoch: None });
        }
        let held = state.held.get(&shard).filter(|held| held.open && !held.draining)?;
        (self.time.now() < state.until).then_some(Right {
            shard,
            epoch: Some(held.epoch),
        })
    }

    /// Whether a slot is of a shard that this process owns, whether or not it may write at this moment.
    #[must_use]
    pub fn holds(&self, slot: Slot) -> bool {
        let state = self.lock();
        state.standalone || state.held.contains_key(&self.layout.shard_of(slot))
    }

    /// Sends a write, if `right` still holds, and waits for its answer no longer than that. The request is given a permit: no
    /// byte of it leaves once the right has ended, or nobody waits for its answer any more.
    ///
    /// # Errors
    ///
    /// [`Fenced`], or [`Ended`](crate::cluster::client::gate::Ended) (each as a [`kube::Error::Service`]), if it was not sent; what the
    /// API server answered, or that it did not.
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

/// A write that is under way.
struct Pass<'a> {
    fence: &'a Fence,
    right: Right,
    time: Duration,
    /// When the time is over, by the clock that a suspend does not stop.
    ends: Duration,
    /// Nobody waits for the answer any more. A shard is given away then, so nothing that is left in a buffer may leave either.
    over: Arc<AtomicBool>,
}

impl Pass<'_> {
    /// What the connection asks. None where there is no other replica.
    fn permit(&self) -> Option<Permit> {
        let Self { right, ends, .. } = *self;
        let epoch = right.epoch?;
        let (state, time, over) = (self.fence.state.clone(), self.fence.time.clone(), self.over.clone());
        Some(Permit::new(move || {
            // A shard that is being given away waits for what is under way, so that counts as held.
            let is_held = || {
                lock(&state)
                    .held
                    .get(&right.shard)
                    .is_some_and(|held| held.epoch == epoch)
            };
            // The time comes last: nothing else may take time after it was read.
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
