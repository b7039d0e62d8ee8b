//! A circuit breaker: after too many failures no query is sent for a while.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::cluster::error::backoff;

/// How long a result counts.
const WINDOW: Duration = Duration::from_secs(10);

/// Number of results within [`WINDOW`] that are needed to open.
const FEWEST: usize = 10;

/// Maximum number of results that are remembered.
const MOST: usize = 1000;

/// Minimum pause before a probe.
const SHORTEST: Duration = Duration::from_secs(1);

/// The pause before the first probe is at most this much longer. Each further one may be twice as long.
const BASE: Duration = Duration::from_secs(2);

/// Maximum of what is added to [`SHORTEST`].
const CAP: Duration = Duration::from_secs(29);

/// An open breaker is forgotten if nobody asks its server for so long after its pause.
const UNASKED: Duration = Duration::from_mins(10);

/// Whether a query may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It may.
    Free,
    /// It may, alone: its result decides whether others follow.
    Probe,
    /// It may not, until this time if it is known, for this reason.
    Closed(Option<Instant>, String),
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    /// No query is sent until then.
    Open(Instant),
    /// One query is in flight.
    HalfOpen,
}

/// The breaker of one server, for queries that may fail together.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// The latest results, oldest first, and whether they were failures.
    results: VecDeque<(Instant, bool)>,
    /// How often it opened without closing.
    opened: u32,
    why: String,
}

impl Breaker {
    /// Whether a query may be sent at `now`.
    pub(super) fn passage(&self, now: Instant) -> Passage {
        match self.state {
            State::Closed => Passage::Free,
            State::Open(until) if until <= now => Passage::Probe,
            State::Open(until) => Passage::Closed(Some(until), self.why.clone()),
            State::HalfOpen => Passage::Closed(None, self.why.clone()),
        }
    }

    /// Records that the probe is on its way.
    pub(super) fn probe(&mut self) {
        self.state = State::HalfOpen;
    }

    /// Records that the probe was not sent or that nobody waits for it any more.
    pub(super) fn abandon(&mut self, now: Instant) {
        if matches!(self.state, State::HalfOpen) {
            self.state = State::Open(now);
        }
    }

    /// Records the result of a query: `None`, or why it failed. `random` is between 0 and 1.
    pub(super) fn record(&mut self, failure: Option<&str>, now: Instant, random: f64) {
        match (&self.state, failure) {
            (State::HalfOpen, None) => *self = Self::default(),
            (State::HalfOpen, Some(why)) => {
                self.why = format!("the last attempt failed: {why}");
                self.open(now, random);
            }
            // A result of a query that was sent before.
            (State::Open(_), _) => {}
            (State::Closed, failure) => {
                self.forget(now);
                if self.results.len() == MOST {
                    self.results.pop_front();
                }
                self.results.push_back((now, failure.is_some()));
                let (all, failed) = (
                    self.results.len(),
                    self.results.iter().filter(|(_, failed)| *failed).count(),
                );
                if let Some(why) = failure
                    && all >= FEWEST
                    && failed * 2 >= all
                {
                    self.why = format!("{failed} of {all} queries failed within {}s: {why}", WINDOW.as_secs());
                    self.open(now, random);
                }
            }
        }
    }

    fn open(&mut self, now: Instant, random: f64) {
        let pause = SHORTEST + backoff(self.opened, BASE, CAP, random);
        self.opened = self.opened.saturating_add(1);
        self.results.clear();
        self.state = State::Open(now + pause);
    }

    fn forget(&mut self, now: Instant) {
        while self
            .results
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        {
            self.results.pop_front();
        }
    }

    pub(super) fn is_probing(&self) -> bool {
        matches!(self.state, State::HalfOpen)
    }

    /// Whether it holds queries back.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// Whether the past has no influence any more.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.forget(now);
        match self.state {
            State::Closed => self.results.is_empty(),
            State::Open(until) => now.saturating_duration_since(until) >= UNASKED,
            State::HalfOpen => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_free(breaker: &Breaker, now: Instant) -> bool {
        breaker.passage(now) == Passage::Free
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_half_of_ten_results_are_failures() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for result in [
            None,
            Some("down"),
            None,
            Some("down"),
            None,
            Some("down"),
            None,
            Some("down"),
            None,
        ] {
            breaker.record(result, now, 0.0);
        }
        assert!(is_free(&breaker, now), "four of nine");
        breaker.record(Some("down"), now, 0.0);
        let why = "5 of 10 queries failed within 10s: down".to_owned();
        assert_eq!(breaker.passage(now), Passage::Closed(Some(now + SHORTEST), why));
    }

    #[tokio::test(start_paused = true)]
    async fn few_or_old_failures_do_not_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for second in 0..100 {
            breaker.record(Some("down"), now + Duration::from_millis(1112) * second, 0.0);
        }
        assert!(!breaker.is_open());
        let later = now + Duration::from_mins(5);
        assert!(breaker.is_idle(later));
        for failed in [false; 11].into_iter().chain([true; 10]) {
            breaker.record(failed.then_some("down"), later, 0.0);
        }
        assert!(!breaker.is_open(), "10 of 21");
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides_and_each_failed_one_prolongs_the_pause() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.record(Some("down"), now, 1.0);
        }
        for pause in [3, 5, 9, 17, 30, 30] {
            breaker.record(None, now, 1.0);
            assert!(breaker.is_open(), "a late result of an earlier query decides nothing");
            assert!(matches!(
                breaker.passage(now + Duration::from_secs(pause - 1)),
                Passage::Closed(Some(_), _)
            ));
            now += Duration::from_secs(pause);
            assert_eq!(breaker.passage(now), Passage::Probe);
            breaker.probe();
            assert!(
                matches!(breaker.passage(now), Passage::Closed(None, _)),
                "one at a time"
            );
            breaker.record(Some("down"), now, 1.0);
        }
        now += Duration::from_secs(30);
        breaker.probe();
        breaker.abandon(now);
        assert_eq!(breaker.passage(now), Passage::Probe, "the next one probes");
        assert!(!breaker.is_idle(now + Duration::from_mins(9)) && breaker.is_idle(now + Duration::from_mins(10)));
        breaker.probe();
        breaker.record(None, now, 1.0);
        assert!(is_free(&breaker, now) && breaker.is_idle(now));
    }
}
