//! Which watch put which object into the cache.
//!
//! Several watches with different selectors may feed one kind, and an object whose labels change moves from one watch to
//! another. Their streams are not synchronized: an object that the new watch has stored must not be removed by a late event of
//! the old watch.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::cache::Place;

/// Kind, and namespace and name.
pub(super) type Name = (Cow<'static, str>, Place);

/// Which watch put which object into the cache.
#[derive(Debug, Default)]
pub(super) struct Claims {
    watches: AtomicU64,
    held: Mutex<BTreeMap<Name, Claim>>,
}

/// The claim of a watch on an object in the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// The watch that stored it.
    pub(super) watch: u64,
    /// The version that the watch stored.
    pub(super) version: u64,
    /// The watch's last list before that.
    pub(super) list: u64,
}

impl Claims {
    /// Returns a new number for a watch.
    pub(super) fn enlist(&self) -> u64 {
        self.watches.fetch_add(1, Ordering::Relaxed)
    }

    /// Locks all claims. The lock must be held while the cache is changed according to them.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Claim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
