//! Slot labels of Kanaries. The owner of the slot writes the label, and restores it if it was changed. A Kanary with a wrong
//! label is not processed before its label is corrected.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use kanary_core::{
    Key,
    api::{
        Kanary, KanaryKind, Slot,
        names::{FIELD_MANAGER, SLOT},
    },
    kanary::slot_of,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::fence::{Fence, Right};
use crate::{
    cache::{number, place_of},
    cluster::{
        client::{CALL_TIMEOUT, within},
        error::{ApiError, retry_after},
    },
    metrics::{self, Metrics},
};

/// Maximum number of concurrent label writes.
const AT_ONCE: usize = 16;

/// A Kanary whose label is missing or wrong.
#[derive(Clone, Debug)]
struct Stray {
    uid: Option<String>,
    version: String,
    /// The slot that it belongs to.
    slot: Slot,
    /// The slot whose owner writes the label: normally the Kanary's own slot. For a wrong label it is the slot in that label,
    /// because only the owner of that slot sees the Kanary.
    seen_in: Slot,
    /// Consecutive failed writes.
    failures: u32,
    /// Time of the next attempt.
    not_before: Instant,
}

/// Kanaries whose labels are missing or wrong.
pub struct SlotLabels {
    client: Client,
    fence: Arc<Fence>,
    metrics: Arc<Metrics>,
    strays: Mutex<BTreeMap<Key, Stray>>,
    changed: Notify,
}

impl SlotLabels {
    /// Writes labels with `client`, for slots that `fence` permits.
    #[must_use]
    pub fn new(client: Client, fence: Arc<Fence>, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            fence,
            metrics,
            strays: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Whether a Kanary has the correct label. If not, its label is queued, and the replica that owns the slot writes it.
    pub(crate) fn check(&self, kind: KanaryKind, object: &Kanary) -> bool {
        let has_it = self.note(kind, object);
        if !has_it {
            self.changed.notify_one();
        }
        has_it
    }

    fn note(&self, kind: KanaryKind, object: &Kanary) -> bool {
        let slot = slot_of(object);
        let label = object.labels().get(SLOT).and_then(|label| label.parse().ok());
        let has_it = label == Some(slot);
        let key = Key::at(kind, place_of(object));
        let version = object.resource_version().unwrap_or_default();
        let mut strays = self.lock();
        if strays
            .get(&key)
            .is_some_and(|known| number(&known.version) > number(&version))
        {
            // Watches are not synchronized: another watch has already reported a later version, and will not report it again.
            return has_it;
        }
        if has_it {
            strays.remove(&key);
        } else {
            let stray = Stray {
                uid: object.uid(),
                version,
                slot,
                seen_in: label.unwrap_or(slot),
                failures: 0,
                not_before: Instant::now(),
            };
            strays.insert(key, stray);
        }
        has_it
    }

    /// Drops a Kanary without a slot that was deleted or labelled. If its label is wrong, another watch may have reported it
    /// already.
    pub(crate) fn forget_slotless(&self, key: &Key) {
        let mut strays = self.lock();
        if strays.get(key).is_some_and(|stray| stray.seen_in == stray.slot) {
            strays.remove(key);
        }
    }

    /// Wakes the writer after a shard was taken, because Kanaries may be waiting for it.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Writes labels, forever. Writes run concurrently, so a write that hangs does not delay the others.
    pub async fn run(self: Arc<Self>) {
        let (mut under_way, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        let (mut due, mut wake) = (VecDeque::new(), Instant::now());
        loop {
            if due.is_empty() && busy.len() < AT_ONCE {
                (due, wake) = self.due(&busy);
            }
            while busy.len() < AT_ONCE
                && let Some(key) = due.pop_front()
            {
                let Some((stray, right)) = self.begin(&key) else {
                    continue;
                };
                busy.insert(key.clone());
                let this = self.clone();
                under_way.push(async move {
                    if !this.write(&key, &stray, right).await {
                        this.put_off(&key, stray.failures + 1);
                    }
                    key
                });
            }
            tokio::select! {
                biased;
                Some(key) = under_way.next() => drop(busy.remove(&key)),
                () = self.changed.notified() => due.clear(),
                () = sleep_until(wake) => {
                    due.clear();
                    wake = Instant::now() + Duration::from_hours(1);
                }
            }
        }
    }

    /// Labels that are due and that this replica may write, the oldest first; and when to check again without an event: a
    /// postponed label is due then, or a late session renewal may have succeeded.
    fn due(&self, busy: &BTreeSet<Key>) -> (VecDeque<Key>, Instant) {
        let now = Instant::now();
        let (mut due, mut wake) = (Vec::new(), now + Duration::from_hours(1));
        let strays = self.lock();
        let ours = strays.iter().filter(|(_, stray)| self.fence.holds(stray.seen_in));
        for (key, stray) in ours {
            if stray.not_before > now {
                wake = wake.min(stray.not_before);
            } else if self.fence.begin(stray.seen_in).is_none() {
                wake = wake.min(now + Duration::from_secs(1));
            } else if !busy.contains(key) {
                due.push((stray.not_before, key.clone()));
            }
        }
        due.sort();
        (due.into_iter().map(|(_, key)| key).collect(), wake)
    }

    /// The right to write a label that is still wrong.
    fn begin(&self, key: &Key) -> Option<(Stray, Right)> {
        let stray = self.lock().get(key).cloned()?;
        let right = self.fence.begin(stray.seen_in)?;
        Some((stray, right))
    }

    fn put_off(&self, key: &Key, failures: u32) {
        if let Some(stray) = self.lock().get_mut(key) {
            stray.failures = failures;
            stray.not_before = Instant::now() + retry_after(failures, Duration::from_secs(5));
        }
    }

    /// Writes one label. Returns whether it is done.
    async fn write(&self, key: &Key, stray: &Stray, right: Right) -> bool {
        let Key { kind, namespace, name } = key;
        let written = self.send(key, stray, right).await;
        let written = written.map_err(|error| ApiError::new("label", kind.as_str().into(), namespace, name, error));
        let result = match &written {
            Ok(_) => "ok",
            Err(error) => error.class().as_str(),
        };
        self.metrics
            .writes
            .get_or_create(&metrics::WriteLabels { write: "label", result })
            .inc();
        tracing::debug!(key = %key, slot = %stray.slot, result, "label");
        match written {
            Ok(_) => self.forget_if(key, stray),
            Err(error) if error.is_conflict() => return self.look_again(key, stray).await,
            Err(error) => {
                tracing::warn!(key = %key, error = error.message(), "could not write a slot label; retrying");
                return false;
            }
        }
        true
    }

    async fn send(&self, key: &Key, stray: &Stray, right: Right) -> kube::Result<Kanary> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": {
            "uid": stray.uid,
            "resourceVersion": stray.version,
            "labels": {SLOT: stray.slot.to_string()},
        }}));
        let request = Request::new(Kanary::url_path(&key.kind, Some(&key.namespace))).patch(&key.name, &params, &patch);
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert("patch");
        let send = |request| self.client.request(request);
        self.fence.write(right, request, send).await
    }

    /// Reads the Kanary again after it changed or disappeared: its watch may belong to another replica and never report to this
    /// one. Returns whether this replica has nothing left to write.
    async fn look_again(&self, key: &Key, stray: &Stray) -> bool {
        let api: Api<Kanary> = Api::namespaced_with(self.client.clone(), &key.namespace, &key.kind);
        match within(CALL_TIMEOUT, api.get_opt(&key.name)).await {
            Ok(live) => {
                self.forget_if(key, stray);
                live.is_none_or(|live| self.note(key.kind, &live))
            }
            Err(_) => false,
        }
    }

    fn forget_if(&self, key: &Key, stray: &Stray) {
        let mut strays = self.lock();
        if strays.get(key).is_some_and(|known| known.version == stray.version) {
            strays.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Stray>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
