//! A queue of keys, ordered by due time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

/// Maximum backoff after failures.
const LONGEST: Duration = Duration::from_secs(1000);

/// Keys ordered by time, without duplicates. Keys due at the same time are ordered by their `Ord`.
#[derive(Debug)]
pub(super) struct Queue<K> {
    due: BTreeSet<(Instant, K)>,
    at: BTreeMap<K, Instant>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> Queue<K> {
    pub(super) fn new() -> Self {
        Self {
            due: BTreeSet::new(),
            at: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Adds a key, or moves it forward if it is already queued for later.
    pub(super) fn add(&mut self, key: K, at: Instant) {
        if self.at.get(&key).is_none_or(|known| at < *known) {
            self.remove(&key);
            self.at.insert(key.clone(), at);
            self.due.insert((at, key));
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// Due time of the first key.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Removes and returns the first key.
    pub(super) fn pop(&mut self) -> Option<K> {
        let (_, key) = self.due.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// Records a failure of a key and returns its backoff.
    pub(super) fn failed(&mut self, key: &K) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = Duration::from_millis(5).saturating_mul(2_u32.saturating_pow(*failures));
        *failures += 1;
        wait.min(LONGEST)
    }

    /// Resets the backoff of a key.
    pub(super) fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_time_and_then_in_their_own_order() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        let later = now + Duration::from_secs(1);
        for (key, at) in [("c", later), ("b", now), ("a", later)] {
            queue.add(key, at);
        }
        assert_eq!(queue.next(), Some(now));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn a_key_is_there_once_at_its_earliest_time() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        for seconds in [2, 1, 3] {
            queue.add("a", now + Duration::from_secs(seconds));
        }
        assert_eq!(queue.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(queue.pop(), Some("a"));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_a_limit() {
        let mut queue = Queue::new();
        assert_eq!(queue.failed(&"a"), Duration::from_millis(5));
        assert_eq!(queue.failed(&"a"), Duration::from_millis(10));
        assert_eq!(queue.failed(&"b"), Duration::from_millis(5));
        queue.succeeded(&"a");
        assert_eq!(queue.failed(&"a"), Duration::from_millis(5));
        for _ in 0..60 {
            queue.failed(&"a");
        }
        assert_eq!(queue.failed(&"a"), LONGEST);
    }
}
