//! The cluster's time: this machine's clock, corrected by what the API server's replies say.
//!
//! Deadlines are promises in the cluster's time, and a verdict is never early. Every HTTP reply carries a `Date`, to the
//! second; each one bounds the difference between the two clocks. As long as the bounds allow for no difference, none is
//! assumed, so machines that keep time (to the second, at least) are not disturbed.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// Time that goes on while the machine is suspended and that nobody sets: the time since some moment.
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
    /// Time from `source`: a simulation has its own.
    pub fn from_source(source: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

/// The cluster's time. Clones share what they learn.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    bounds: Arc<Mutex<Bounds>>,
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

/// The cluster's clock minus ours lies between these, as far as is known.
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
    /// The difference that is nearest to none.
    fn offset(&self) -> SignedDuration {
        SignedDuration::ZERO.clamp(self.low, self.high)
    }
}

impl Clock {
    /// A clock that takes `source` for this machine's clock: a simulation has its own.
    pub fn from_source(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(source),
            bounds: Arc::default(),
        }
    }

    /// The present moment, to the millisecond that has passed.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.local();
        let now = now.checked_add(self.offset()).unwrap_or(now);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The present moment by this machine's clock.
    #[must_use]
    pub fn local(&self) -> Timestamp {
        (self.source)()
    }

    fn offset(&self) -> SignedDuration {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).offset()
    }

    /// Learns from a reply: asked at `sent` and received at `received` by this machine's clock, dated `date` to the
    /// second by the API server.
    pub fn learn(&self, sent: Timestamp, received: Timestamp, date: Timestamp) {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let low = date.duration_since(received);
        let high = date.duration_since(sent) + SignedDuration::from_secs(1);
        if low > high {
            // This machine's clock was set while the call was under way: it says nothing.
            return;
        }
        let overlap = (bounds.low.max(low), bounds.high.min(high));
        // Bounds that exclude each other mean that one of the clocks was set: only the latest reply counts.
        (bounds.low, bounds.high) = if overlap.0 <= overlap.1 { overlap } else { (low, high) };
    }
}

/// How long until `at`, none if it has passed.
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
