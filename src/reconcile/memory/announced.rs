//! Which Events were created.

use std::time::Duration;

use jiff::Timestamp;
use kanary_core::{Key, decision::Notice};

use super::Memory;

/// Older Events are not created again by a controller that starts.
const OLD_NEWS: Duration = Duration::from_mins(10);

impl Memory {
    /// The notices that are new: not announced before, and not old.
    pub fn unannounced(&self, key: &Key, notices: Vec<Notice>, now: Timestamp) -> Vec<Notice> {
        let memory = self.lock();
        let announced = memory.get(key).map(|known| &known.announced);
        let is_news = |notice: &Notice| {
            let age = Duration::try_from(now.duration_since(notice.at)).unwrap_or_default();
            age < OLD_NEWS && !announced.is_some_and(|announced| announced.contains(&(notice.reason, notice.at)))
        };
        notices.into_iter().filter(is_news).collect()
    }

    /// Records that a notice was announced.
    pub fn mark_announced(&self, key: &Key, notice: &Notice) {
        let mut memory = self.lock();
        let known = memory.entry(key.clone()).or_default();
        // A run has few notices; this bounds the memory of a Kanary that keeps failing.
        if known.announced.len() > 64 {
            known.announced.clear();
        }
        known.announced.insert((notice.reason, notice.at));
    }
}
