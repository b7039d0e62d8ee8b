//! The cluster's time, which is tokio's: paused, advanced or real.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that shows `base` when it is made, and goes as tokio's clock goes.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    /// Starts at `base`.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self {
            base,
            start: Instant::now(),
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.base.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// The present moment as the API server writes it: whole seconds.
    #[must_use]
    pub fn second(&self) -> String {
        second(self.now())
    }
}

/// A moment as the API server writes it.
pub(crate) fn second(at: Timestamp) -> String {
    let second = Timestamp::from_second(at.as_second());
    second.unwrap_or(Timestamp::MAX).to_string()
}
