//! Outages of a canary whose status has no times.

use jiff::Timestamp;
use kanary_core::Key;

use super::Memory;

impl Memory {
    /// Since when a canary whose status has no times is known not to be available.
    pub fn down_since(&self, key: &Key, is_down: bool, now: Timestamp) -> Option<Timestamp> {
        let mut memory = self.lock();
        let known = memory.get_mut(key)?;
        known.unavailable = is_down.then(|| known.unavailable.unwrap_or(now));
        known.unavailable
    }
}
