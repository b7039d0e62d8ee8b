//! The cluster's time: this machine's clock, corrected with the `Date` headers of the API server's responses.
//!
//! Deadlines are in the cluster's time, and a verdict is never early. Every HTTP response has a `Date` with a resolution of one
//! second, which bounds the offset between the two clocks. While zero is within the bounds, the offset is zero, so machines
//! whose clock is correct to the second are not affected.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Monotonic time that includes suspend and is never set: the time since an arbitrary start.
#[derive(Clone)]
pub struct Monotonic(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Default for Monotonic {
    fn default() -> Self {
        Self::from_source(|| {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
        })
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monotonic").field(&self.now()).finish()
    }
}

impl Monotonic {
    /// Monotonic time from `source`, for simulations.
    pub fn from_source(source: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

/// The cluster's time. Clones share the measured offset.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    bounds: Arc<Mutex<Bounds>>,
    /// When the API server last responded to a request.
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::from_source(Timestamp::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

/// Known bounds of the cluster's clock minus ours.
#[derive(Debug)]
struct Bounds {
    low: SignedDuration,
    high: SignedDuration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            low: SignedDuration::MIN,
            high: SignedDuration::MAX,
        }
    }
}

impl Bounds {
    /// The offset closest to zero within the bounds.
    fn offset(&self) -> SignedDuration {
        SignedDuration::ZERO.clamp(self.low, self.high)
    }
}

impl Clock {
    /// A clock that uses `source` as this machine's clock, for simulations.
    pub fn from_source(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(source),
            bounds: Arc::default(),
            heard: Arc::default(),
        }
    }

    /// The current time, truncated to milliseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.local();
        let now = now.checked_add(self.offset()).unwrap_or(now);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The current time by this machine's clock.
    #[must_use]
    pub fn local(&self) -> Timestamp {
        (self.source)()
    }

    fn offset(&self) -> SignedDuration {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).offset()
    }

    /// Records that the API server responded to a request.
    pub(crate) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the API server responded to any request within the last `time`.
    #[must_use]
    pub fn heard_within(&self, time: Duration) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() <= time)
    }

    /// Updates the bounds from a response that was requested at `sent` and received at `received` by this machine's clock, with
    /// the API server's `Date` header in `date`.
    pub fn learn(&self, sent: Timestamp, received: Timestamp, date: Timestamp) {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let low = date.duration_since(received);
        let high = date.duration_since(sent) + SignedDuration::from_secs(1);
        if low > high {
            // This machine's clock was set during the request, so the measurement is useless.
            return;
        }
        let overlap = (bounds.low.max(low), bounds.high.min(high));
        // Disjoint bounds mean that one of the clocks was set, so only the latest response counts.
        (bounds.low, bounds.high) = if overlap.0 <= overlap.1 { overlap } else { (low, high) };
    }
}

/// Time until `at`, or zero if it has passed.
#[must_use]
pub fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + millis).unwrap()
    }

    #[test]
    fn clocks_that_agree_to_the_second_are_not_corrected() {
        let clock = Clock::default();
        clock.learn(at(300), at(310), at(0));
        clock.learn(at(1990), at(2000), at(1000));
        assert_eq!(clock.offset(), SignedDuration::ZERO);
    }

    #[test]
    fn a_clock_that_is_behind_is_corrected_to_within_a_second() {
        let clock = Clock::default();
        // The cluster is 60.5 s ahead.
        for local in [0, 300, 700, 1200] {
            let cluster = local + 60_500;
            clock.learn(at(local), at(local + 5), at(cluster / 1000 * 1000));
        }
        let offset = clock.offset();
        assert!(
            offset <= SignedDuration::from_millis(60_500),
            "{offset}: a verdict would be early"
        );
        assert!(offset >= SignedDuration::from_millis(59_500), "{offset}");
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let clock = Clock::default();
        clock.learn(at(0), at(1), at(0));
        clock.learn(at(1_000), at(1_001), at(301_000));
        assert_eq!(clock.offset(), SignedDuration::from_millis(299_999));
    }

    #[test]
    fn a_clock_that_is_set_back_during_a_call_learns_nothing_from_it() {
        let clock = Clock::default();
        clock.learn(at(10_000), at(2_000), at(10_000));
        assert_eq!(clock.offset(), SignedDuration::ZERO);
    }

    #[test]
    fn another_source_stands_in_for_this_machines_clock() {
        let clock = Clock::from_source(|| at(7));
        assert_eq!((clock.local(), clock.now()), (at(7), at(7)));
        clock.learn(at(7), at(7), at(60_000));
        assert_eq!((clock.local(), clock.now()), (at(7), at(60_000)));
    }
}
