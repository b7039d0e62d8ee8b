//! What is known of the objects that a front end keeps beyond its runs.

use std::sync::Arc;

use jiff::Timestamp;
use kanary_core::{
    Key,
    observation::{KeptFound, KeptSeen},
};
use serde_json::Value;

use super::Memory;

impl Memory {
    /// Records objects that were read.
    pub fn kept_read(&self, key: &Key, seen: &KeptSeen) {
        let mut memory = self.lock();
        let known = memory.entry(key.clone()).or_default();
        known.kept = Some(Box::new(KeptSeen {
            live: false,
            ..seen.clone()
        }));
    }

    /// Records an object as the API server returned it after a write at `now`. `None` if it was deleted, which may take a while.
    pub fn kept_written(&self, key: &Key, object: String, found: Option<Value>, now: Timestamp) {
        if let Some(kept) = self.lock().get_mut(key).and_then(|known| known.kept.as_mut()) {
            kept.since = now;
            if let Some(found) = found {
                kept.objects.insert(object, KeptFound::There(Arc::new(found)));
            } else {
                kept.gone = now;
                kept.objects.remove(&object);
            }
        }
    }

    /// Drops what is known after a write that failed: the objects have to be read again.
    pub fn forget_kept(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.kept = None;
        }
    }
}
