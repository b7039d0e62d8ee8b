//! Which watch put what into the cache.
//!
//! Several watches with different selectors may feed one kind, and an object whose labels change moves from one to another.
//! Their streams are not in step: what the new watch has put must not be removed by the old one, which hears of it later.

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

/// Which watch put what into the cache.
#[derive(Debug, Default)]
pub(super) struct Claims {
    watches: AtomicU64,
    held: Mutex<BTreeMap<Name, Claim>>,
}

/// Whose an object in the cache is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// The watch that put it there.
    pub(super) watch: u64,
    /// The version that it put there.
    pub(super) version: u64,
    /// The last list of the watch before that.
    pub(super) list: u64,
}

impl Claims {
    /// A number for a watch.
    pub(super) fn enlist(&self) -> u64 {
        self.watches.fetch_add(1, Ordering::Relaxed)
    }

    /// All claims. Whoever changes the cache by them holds them meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Claim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
