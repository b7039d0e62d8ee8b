//! Objects that a live read did not find.

use jiff::Timestamp;
use kanary_core::Key;

use super::Memory;

impl Memory {
    /// Whether to read this object live: no live read has found it missing so far.
    pub fn is_worth_reading(&self, key: &Key, object: &str) -> bool {
        self.lock()
            .get_mut(key)
            .is_none_or(|known| !known.missing.contains_key(object))
    }

    /// Records that a live read did not find this object. Returns since when it has been missing.
    pub fn mark_missing(&self, key: &Key, object: String, now: Timestamp) -> Timestamp {
        let mut memory = self.lock();
        let known = memory.get_mut(key);
        known.map_or(now, |known| *known.missing.entry(object).or_insert(now))
    }

    /// Records that an object may exist after all: its creation failed, but may have been executed.
    pub fn unmark_missing(&self, key: &Key, object: &str) {
        if let Some(known) = self.lock().get_mut(key) {
            known.missing.remove(object);
        }
    }
}
