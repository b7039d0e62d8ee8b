//! The work queue of Kanaries. Each key has one entry, the earliest time wins, and only one worker processes a key at a time.
//! Operations cost O(log n) in the number of keys.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use kanary_core::Key;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The queue. A key that is pushed while a worker processes it is queued again when the worker is done.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<Entries>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    waiting: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    running: HashSet<Key>,
    /// Keys that were pushed while a worker processes them.
    again: HashMap<Key, Instant>,
}

impl Entries {
    fn push(&mut self, key: Key, at: Instant) {
        if self.running.contains(&key) {
            let again = self.again.entry(key).or_insert(at);
            *again = at.min(*again);
            return;
        }
        if let Some(former) = self.due.get(&key).copied() {
            if former <= at {
                return;
            }
            self.waiting.remove(&(former, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.waiting.insert((at, key));
    }

    /// Removes and returns the first key if it is due.
    fn take(&mut self, now: Instant) -> Option<Key> {
        self.waiting.first().filter(|(at, _)| *at <= now)?;
        let (_, key) = self.waiting.pop_first()?;
        self.due.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }
}

impl Queue {
    /// Queues `key` immediately.
    pub fn push(&self, key: Key) {
        self.push_at(key, Instant::now());
    }

    /// Queues `key` at `at`. An earlier time that is already queued wins.
    pub fn push_at(&self, key: Key, at: Instant) {
        self.lock().push(key, at);
        self.changed.notify_one();
    }

    /// Waits for the next key that is due. The worker must return it with [`Queue::done`].
    pub async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let wait = {
                let mut state = self.lock();
                if let Some(key) = state.take(Instant::now()) {
                    let more = !state.waiting.is_empty();
                    drop(state);
                    if more {
                        // A push wakes only one worker, so this worker wakes the next.
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.waiting.first().map(|(at, _)| *at)
            };
            match wait {
                None => changed.await,
                Some(at) => tokio::select! {
                    // Both branches check the queue again, so neither starves the other.
                    biased;
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    /// Returns a key. It is queued at `wake`, or earlier if it was pushed in the meantime. Times requested before this reconcile
    /// are dropped, because each reconcile returns the next time.
    pub fn done(&self, key: Key, wake: Option<Instant>) {
        {
            let mut state = self.lock();
            state.running.remove(&key);
            let again = state.again.remove(&key);
            if let Some(at) = [again, wake].into_iter().flatten().min() {
                state.push(key, at);
            }
        }
        self.changed.notify_one();
    }

    /// Number of queued keys: in total, and due.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether the queue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kanary_core::api::KanaryKind;

    use super::*;

    fn key(name: &str) -> Key {
        Key {
            kind: KanaryKind::Deployment,
            namespace: "n".to_owned(),
            name: name.to_owned(),
        }
    }

    fn after(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_for_a_key_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.push_at(key("a"), after(500));
        queue.push_at(key("a"), after(200));
        queue.push_at(key("a"), after(900));
        assert_eq!(queue.len(), 1);
        queue.next().await;
        assert_eq!(start.elapsed(), Duration::from_millis(200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_with_two_workers_and_comes_again_when_pushed_meanwhile() {
        let queue = Queue::default();
        queue.push(key("a"));
        queue.push_at(key("b"), after(10));
        assert_eq!(queue.next().await, key("a"));
        queue.push(key("a"));
        assert_eq!(queue.next().await, key("b"), "a is with a worker");
        queue.done(key("a"), None);
        assert_eq!(queue.next().await, key("a"));
        queue.done(key("a"), None);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_asks_for_a_wake_gets_it_on_time() {
        let queue = Queue::default();
        queue.push(key("a"));
        let start = Instant::now();
        let a = queue.next().await;
        queue.done(a, Some(after(300)));
        queue.next().await;
        assert_eq!(start.elapsed(), Duration::from_millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn every_waiting_worker_gets_work_that_was_pushed_at_once() {
        let queue = std::sync::Arc::new(Queue::default());
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let queue = queue.clone();
            workers.spawn(async move { queue.next().await });
        }
        tokio::task::yield_now().await;
        for name in ["a", "b", "c", "d"] {
            queue.push(key(name));
        }
        let mut got: Vec<_> = workers.join_all().await;
        got.sort();
        assert_eq!(got, ["a", "b", "c", "d"].map(key));
    }
}
