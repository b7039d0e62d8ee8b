//! Clock skew of a server, from the `Date` header of its responses.
//!
//! A query has an evaluation time, by the cluster's clock. A server whose clock is behind has no data for that time yet, and a
//! server whose clock is ahead answers for a time before the canary existed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::GoDuration;
use reqwest::header::{DATE, HeaderMap};

use crate::cluster::client::http_date;

/// Maximum skew. With a larger skew, the answer is about another time. Scrape intervals are usually longer than that.
const TOLERATED: SignedDuration = SignedDuration::from_secs(30);

/// A smaller skew is not reported.
const NOTABLE: SignedDuration = SignedDuration::from_secs(5);

/// A server's clock minus the cluster's: the value closest to zero that is consistent with the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew(SignedDuration);

impl Skew {
    /// Measures the skew from a response to a query sent at `sent` and received at `received`, by the cluster's clock. Without a
    /// `Date` header the skew is zero, and a slow response gives wider bounds.
    pub(super) fn of(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Self {
        let date = headers
            .get(DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(http_date);
        let Some(date) = date else { return Self::default() };
        // A `Date` is truncated to the second.
        let (low, high) = (
            date.duration_since(received),
            date.duration_since(sent) + SignedDuration::from_secs(1),
        );
        if low > high {
            // The cluster's clock was set during the query.
            return Self::default();
        }
        Self(SignedDuration::ZERO.clamp(low, high))
    }

    /// # Errors
    ///
    /// The skew is so large that answers prove nothing.
    pub(super) fn check(self, url: &str) -> Result<(), String> {
        if self.0.abs() <= TOLERATED {
            return Ok(());
        }
        Err(format!(
            "the clock of {url} is {self}, and {} are tolerated: its answers are about another time, so set the clock",
            GoDuration(TOLERATED.unsigned_abs())
        ))
    }

    /// A note for users who look for missing data.
    pub(super) fn note(self) -> Option<String> {
        (self.0.abs() > NOTABLE).then(|| format!("its clock is {self}"))
    }
}

impl Default for Skew {
    fn default() -> Self {
        Self(SignedDuration::ZERO)
    }
}

impl std::fmt::Display for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let off = GoDuration(Duration::from_secs(self.0.unsigned_abs().as_secs()));
        let side = if self.0.is_negative() { "behind" } else { "ahead of" };
        write!(f, "{off} {side} the cluster's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skew(date: &str, sent: &str, received: &str) -> Skew {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.parse().unwrap());
        let at = |time: &str| format!("2026-11-22T{time}Z").parse().unwrap();
        Skew::of(&headers, at(sent), at(received))
    }

    #[test]
    fn a_clock_is_as_far_off_as_the_date_of_a_reply_proves() {
        for (date, sent, received, off) in [
            ("Sun, 22 Nov 2026 12:00:00 GMT", "12:00:00.9", "12:00:00.95", 0),
            ("Sun, 22 Nov 2026 12:00:00 GMT", "11:59:50", "12:00:00", 0),
            ("Sun, 22 Nov 2026 12:00:09 GMT", "12:00:00", "12:00:09.5", 0),
            ("Sun, 22 Nov 2026 12:03:00 GMT", "12:00:00", "12:00:10", 170),
            ("Sun, 22 Nov 2026 11:58:00 GMT", "12:00:00", "12:00:10", -119),
            ("yesterday", "12:00:00", "12:00:01", 0),
            // The cluster's clock was set back during the query.
            ("Sun, 22 Nov 2026 12:00:00 GMT", "12:00:00", "11:00:00", 0),
        ] {
            assert_eq!(skew(date, sent, received).0.as_secs(), off, "{date} {sent} {received}");
        }
        assert_eq!(
            Skew::of(&HeaderMap::new(), Timestamp::MIN, Timestamp::MAX),
            Skew::default()
        );
    }

    #[test]
    fn a_clock_that_is_far_off_is_refused_and_one_that_is_a_little_off_is_mentioned() {
        let ahead = skew("Sun, 22 Nov 2026 12:00:12 GMT", "12:00:00", "12:00:00.1");
        assert_eq!(ahead.check("http://prom"), Ok(()));
        assert_eq!(ahead.note().as_deref(), Some("its clock is 11s ahead of the cluster's"));
        let behind = skew("Sun, 22 Nov 2026 11:57:00 GMT", "12:00:00", "12:00:00.1");
        assert_eq!(
            behind.check("http://prom").unwrap_err(),
            "the clock of http://prom is 2m59s behind the cluster's, and 30s are tolerated: its answers are about another \
             time, so set the clock"
        );
        let right = skew("Sun, 22 Nov 2026 12:00:03 GMT", "12:00:00", "12:00:00.1");
        assert_eq!((right.check("http://prom"), right.note()), (Ok(()), None));
    }
}
