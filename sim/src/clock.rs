//! The cluster's clock. It follows tokio's clock, which may be paused, advanced or real.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that starts at `base` and advances with tokio's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    /// Creates a clock that starts at `base`.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self {
            base,
            start: Instant::now(),
        }
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.base.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// The current time in the API server's format, with whole seconds.
    #[must_use]
    pub fn second(&self) -> String {
        second(self.now())
    }
}

/// A time in the API server's format.
pub(crate) fn second(at: Timestamp) -> String {
    let second = Timestamp::from_second(at.as_second());
    second.unwrap_or(Timestamp::MAX).to_string()
}
