//! The watches that shards share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::{Running, Served, Serving, State};
use crate::cache::PartId;

/// Shards share their watches after none has come or gone for this long. A list of all their objects is the price, so replicas
/// that come and go one after the other do not cause one each time.
const SETTLED: Duration = Duration::from_secs(10);

/// Watches that several shards share.
pub(super) struct Shared {
    /// Tells shared watches from each other.
    number: u64,
    /// The shards that they feed, each with its part of the cache.
    parts: BTreeMap<u16, PartId>,
    /// The epochs under which these shards were owned before the watches listed anything.
    epochs: BTreeMap<u16, i64>,
    pub(super) running: Running,
}

impl Served {
    /// Lets settled shards share their watches, forever.
    pub async fn share(self: Arc<Self>) {
        loop {
            let wake = self.settle();
            tokio::select! {
                biased;
                () = self.moved.notified() => {}
                () = sleep_until(wake.unwrap_or_else(|| Instant::now() + Duration::from_hours(1))) => {}
            }
        }
    }

    /// Starts the shared watches that the settled shards need. Returns when to try again without a change.
    fn settle(self: &Arc<Self>) -> Option<Instant> {
        let state = &mut *self.lock();
        if state.next.is_some() {
            return None;
        }
        let epochs = self.settled(state);
        let parts: BTreeMap<_, _> = state
            .shards
            .iter()
            // The shards that are fed by the current shared watches leave these only by being dropped.
            .filter(|(shard, serving)| epochs.contains_key(shard) || serving.own.is_none())
            .map(|(shard, serving)| (*shard, serving.part.id()))
            .collect();
        let current = state.shared.as_ref().map(|shared| &shared.parts);
        let is_listed = epochs.iter().all(|(shard, epoch)| self.fence.is_listed(*shard, *epoch));
        if current.map_or(parts.is_empty(), |current| *current == parts) && is_listed {
            return None;
        }
        let settled = state.moved + SETTLED;
        if Instant::now() < settled {
            return Some(settled);
        }
        if parts.is_empty() {
            state.shared = None;
            return None;
        }
        let number = state.number;
        state.number += 1;
        let running = self.watch(&parts, |mark| mark.follows().boxed(), move |this| this.replace(number));
        tracing::debug!(shards = parts.len(), "shards begin to share their watches");
        state.next = Some(Shared {
            number,
            parts,
            epochs,
            running,
        });
        None
    }

    /// The shards that are owned and have been read, with their epochs.
    fn settled(&self, state: &State) -> BTreeMap<u16, i64> {
        let owned = self.fence.owned().into_iter();
        let is_settled = |shard: &u16| state.shards.get(shard).is_some_and(Serving::is_read);
        owned
            .filter(|(shard, owned)| !owned.draining && is_settled(shard))
            .map(|(shard, owned)| (shard, owned.epoch))
            .collect()
    }

    /// Ends the watches that these shared ones replace, which have listed and follow all objects.
    fn replace(&self, number: u64) {
        let ended = {
            let state = &mut *self.lock();
            let Some(next) = state.next.take_if(|next| next.number == number) else {
                return;
            };
            let mut ended = Vec::new();
            for (shard, part) in &next.parts {
                // The shard may have gone meanwhile, or gone and come again with another part.
                let serving = state.shards.get_mut(shard).filter(|serving| serving.part.id() == *part);
                let Some(serving) = serving else { continue };
                ended.extend(serving.own.take());
                if let Some(epoch) = next.epochs.get(shard) {
                    self.fence.mark_listed(*shard, *epoch);
                }
            }
            ended.extend(state.shared.replace(next).map(|shared| shared.running));
            ended
        };
        drop(ended);
        self.moved.notify_one();
    }
}
