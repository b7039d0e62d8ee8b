//! A rate limit: the generic cell rate algorithm. It has no clock of its own, so it works under tokio's paused clock.

use std::time::Duration;

use tokio::time::Instant;

/// Number of requests that may follow each other without a pause after an idle time.
const BURST: u32 = 2;

/// The requests that were admitted so far, as one point in time.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When a request would be admitted if there were no burst.
    next: Option<Instant>,
}

impl Rate {
    /// The earliest time from `now` on at which a request may be sent, with one request per `interval` on average.
    pub(super) fn ready(&self, interval: Duration, now: Instant) -> Instant {
        let early = interval * (BURST - 1);
        let next = self.next.and_then(|next| next.checked_sub(early));
        next.map_or(now, |next| next.max(now))
    }

    /// Admits a request at `now` or, if it is too early, at the time that is returned.
    pub(super) fn take(&mut self, interval: Duration, now: Instant) -> Instant {
        let at = self.ready(interval, now);
        self.next = Some(self.next.map_or(now, |next| next.max(now)) + interval);
        at
    }

    /// Whether the past has no influence any more.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_the_rate_after_a_short_burst() {
        let (start, interval) = (Instant::now(), Duration::from_millis(50));
        let mut rate = Rate::default();
        let times: Vec<_> = (0..5)
            .map(|_| rate.take(interval, start).duration_since(start).as_millis())
            .collect();
        assert_eq!(times, [0, 0, 50, 100, 150]);
        let later = start + Duration::from_millis(225);
        assert!(!rate.is_idle(later) && rate.is_idle(start + Duration::from_millis(250)));
        assert_eq!(rate.take(interval, later), later);
        assert_eq!(rate.ready(interval, later).duration_since(start).as_millis(), 250);
    }
}
