//! Slot labels of Kanaries. The owner of the slot writes the label, and restores it if it was changed. A Kanary with a wrong
//! label is not processed before its label is corrected.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    metrics::Metrics,
    queue::{lanes::Lanes, seats::Seats},
};

/// Maximum number of concurrent label writes. A namespace may have as many as are free: 16 if it is alone.
const AT_ONCE: usize = 32;
const DIVISOR: usize = 1;

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

/// Called with a Kanary that was given its label, as the API server stored it, and the right to its shard. No other replica has
/// written about the Kanary since this right began, other than in the version that is passed.
pub type Labelled = Box<dyn Fn(KanaryKind, &Kanary, Right) + Send + Sync>;

/// Kanaries whose labels are missing or wrong.
pub struct SlotLabels {
    client: Client,
    fence: Arc<Fence>,
    metrics: Arc<Metrics>,
    strays: Mutex<BTreeMap<Key, Stray>>,
    /// Kanaries whose label is being written.
    writing: Mutex<BTreeSet<Key>>,
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
            writing: Mutex::default(),
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
        let (slot, label) = (slot_of(object), label_of(object));
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

    /// Whether the label of a Kanary is being written. A watch may report the label before the response arrives.
    pub(crate) fn is_being_written(&self, key: &Key) -> bool {
        self.writing().contains(key)
    }

    /// Wakes the writer after a shard was taken, because Kanaries may be waiting for it.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Writes labels, forever. Writes run concurrently, and namespaces take turns, so a write that hangs does not delay the
    /// others. `labelled` is called with the responses, so that a run does not wait for the watch.
    pub async fn run(self: Arc<Self>, labelled: Labelled) {
        let labelled = Arc::new(labelled);
        let (mut under_way, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        let mut seats = Seats::new(AT_ONCE, DIVISOR);
        let (mut due, mut wake) = (Lanes::default(), Instant::now());
        loop {
            if due.is_empty() && busy.len() < AT_ONCE {
                (due, wake) = self.due(&busy);
            }
            while busy.len() < AT_ONCE
                && let Some((namespace, key)) = due.take(|namespace| seats.has(namespace))
            {
                let Some((stray, right)) = self.begin(&key) else {
                    continue;
                };
                seats.take(&namespace);
                busy.insert(key.clone());
                self.writing().insert(key.clone());
                let (this, labelled) = (self.clone(), labelled.clone());
                under_way.push(async move {
                    if !this.write(&key, &stray, right, &labelled).await {
                        this.put_off(&key, stray.failures + 1);
                    }
                    this.writing().remove(&key);
                    key
                });
            }
            tokio::select! {
                biased;
                Some(key) = under_way.next() => {
                    busy.remove(&key);
                    seats.give(&key.namespace);
                }
                () = self.changed.notified() => due = Lanes::default(),
                () = sleep_until(wake) => {
                    due = Lanes::default();
                    wake = Instant::now() + Duration::from_hours(1);
                }
            }
        }
    }

    /// Labels that are due and that this replica may write, the oldest of each namespace first; and when to check again without an event: a
    /// postponed label is due then, or a late session renewal may have succeeded.
    fn due(&self, busy: &BTreeSet<Key>) -> (Lanes<Key>, Instant) {
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
        let mut lanes = Lanes::default();
        for (_, key) in due {
            let namespace = key.namespace.clone();
            lanes.push(&namespace, key);
        }
        (lanes, wake)
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
    async fn write(&self, key: &Key, stray: &Stray, right: Right, labelled: &Labelled) -> bool {
        let Key { kind, namespace, name } = key;
        // The label may be seen, and written, in the shard of the wrong slot.
        let own = self.fence.begin(stray.slot);
        let written = self.send(key, stray, right).await;
        let written = written.map_err(|error| ApiError::new("label", kind.id().into(), namespace, name, error));
        self.metrics.wrote("label", &written);
        tracing::debug!(key = %key, slot = %stray.slot, done = written.is_ok(), "label");
        match written {
            Ok(stored) => {
                self.forget_if(key, stray);
                if let Some(own) = own.filter(|_| has_slot(&stored, stray.slot)) {
                    labelled(*kind, &stored, own);
                }
            }
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

    fn writing(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Stray>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label_of(object: &Kanary) -> Option<Slot> {
    object.labels().get(SLOT).and_then(|label| label.parse().ok())
}

/// Whether a Kanary still belongs to this slot, and has its label.
fn has_slot(object: &Kanary, slot: Slot) -> bool {
    slot_of(object) == slot && label_of(object) == Some(slot)
}

#[cfg(test)]
mod tests;
