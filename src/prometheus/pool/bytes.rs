//! Who may read a large answer: a few at a time, so that the memory for answers is bounded.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::queue::seats::Seats;

/// A namespace may read half of the large answers that may still be read.
const DIVISOR: usize = 2;

/// The large answers that are being read.
pub(crate) struct Large(Arc<Mutex<State>>);

struct State {
    seats: Seats,
    /// In the order of arrival.
    waiting: BTreeMap<u64, (Arc<str>, oneshot::Sender<LargeRead>)>,
    number: u64,
}

/// The right to read a large answer.
pub(crate) struct LargeRead {
    namespace: Arc<str>,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Large {
    pub(crate) fn new(total: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            seats: Seats::new(total, DIVISOR),
            waiting: BTreeMap::new(),
            number: 0,
        })))
    }

    /// Waits until a large answer may be read for `namespace`.
    pub(crate) async fn read(&self, namespace: &Arc<str>) -> LargeRead {
        loop {
            let (granted, mine) = oneshot::channel();
            {
                let mut state = lock(&self.0);
                state.number += 1;
                let number = state.number;
                state.waiting.insert(number, (namespace.clone(), granted));
            }
            grant(&self.0);
            if let Ok(reading) = mine.await {
                return reading;
            }
        }
    }
}

/// Lets those read who may.
fn grant(state: &Arc<Mutex<State>>) {
    loop {
        let mut locked = lock(state);
        locked.waiting.retain(|_, (_, granted)| !granted.is_closed());
        let next = locked
            .waiting
            .iter()
            .find(|(_, (namespace, _))| locked.seats.has(namespace));
        let Some(number) = next.map(|(number, _)| *number) else {
            return;
        };
        let Some((namespace, granted)) = locked.waiting.remove(&number) else {
            return;
        };
        locked.seats.take(&namespace);
        drop(locked);
        // If nobody waits any more, dropping it gives the place back.
        let _unused = granted.send(LargeRead {
            namespace,
            state: state.clone(),
        });
    }
}

impl Drop for LargeRead {
    fn drop(&mut self) {
        lock(&self.state).seats.give(&self.namespace);
        grant(&self.state);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn large_answers_are_read_in_turn_and_one_namespace_leaves_room_for_another() {
        let large = Large::new(4);
        let [greedy, other] = ["greedy", "other"].map(Arc::<str>::from);
        let first = large.read(&greedy).await;
        let second = large.read(&greedy).now_or_never();
        assert!(second.is_none(), "three are free, and half of them is one");
        let theirs = large.read(&other).now_or_never();
        assert!(theirs.is_some());
        let mut waiting = std::pin::pin!(large.read(&greedy));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.now_or_never().is_some());
    }
}
