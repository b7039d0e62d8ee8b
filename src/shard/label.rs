//! Labels of Kanaries: the slot is written by the owner of the slot, and put back where somebody changed it. A Kanary whose
//! label is wrong is not acted upon before that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::Notify, time::timeout};

use super::{fence::Fence, slot::Slot};
use crate::{
    api::{
        Kanary, KanaryKind,
        names::{FIELD_MANAGER, SLOT},
    },
    cache::{place_of, version_of},
    canary::{Key, canary::slot_of},
    client::{CALL_TIMEOUT, within},
    error::{ApiError, retry_after},
    metrics::{self, Metrics},
};

/// Labels that are written at once.
const AT_ONCE: usize = 16;

/// A Kanary whose label is missing or wrong.
#[derive(Clone, Debug)]
struct Stray {
    uid: Option<String>,
    version: Option<String>,
    /// The version, to compare it.
    order: u64,
    /// The slot that it belongs to.
    slot: Slot,
    /// The slot whose owner writes it: the one it belongs to, or the wrong one that it is in, because nobody else sees it.
    seen_in: Slot,
}

/// The Kanaries whose labels are missing or wrong.
pub struct Labels {
    client: Client,
    fence: Arc<Fence>,
    metrics: Arc<Metrics>,
    strays: Mutex<BTreeMap<Key, Stray>>,
    changed: Notify,
}

impl Labels {
    /// Writes labels with `client`, for the slots that `fence` lets pass.
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

    /// Whether a Kanary has the label that it must have. If not, it is written soon, by whoever may.
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
        let order = version_of(object);
        let mut strays = self.lock();
        if strays.get(&key).is_some_and(|known| known.order > order) {
            // Watches are not in step: another told of what came after this, and will not tell again.
            return has_it;
        }
        if has_it {
            strays.remove(&key);
        } else {
            let stray = Stray {
                uid: object.uid(),
                version: object.resource_version(),
                order,
                slot,
                seen_in: label.unwrap_or(slot),
            };
            strays.insert(key, stray);
        }
        has_it
    }

    /// A Kanary that had no slot is gone, or was given one. If a wrong one, another watch may have told of it before.
    pub(crate) fn forget_slotless(&self, key: &Key) {
        let mut strays = self.lock();
        if strays.get(key).is_some_and(|stray| stray.seen_in == stray.slot) {
            strays.remove(key);
        }
    }

    /// A shard was taken: its Kanaries may have been waiting for it.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Writes labels, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let strays: Vec<_> = self.lock().clone().into_iter().collect();
            let written = stream::iter(strays).map(|(key, stray)| self.write(key, stray));
            let failed = written
                .buffer_unordered(AT_ONCE)
                .fold(false, async |any, done| any || !done)
                .await;
            failures = if failed { failures + 1 } else { 0 };
            let wait = if failed {
                retry_after(failures, Duration::from_secs(5))
            } else {
                Duration::MAX
            };
            let _again = timeout(wait, self.changed.notified()).await;
        }
    }

    /// Writes one, if it is ours to write. Whether that is done with.
    async fn write(&self, key: Key, stray: Stray) -> bool {
        let Some(right) = self.fence.begin(stray.seen_in) else {
            tracing::debug!(key = %key, slot = %stray.slot, "the label is for another replica to write");
            // A session that was not renewed in time may be, later.
            return !self.fence.holds(stray.seen_in);
        };
        let Key { kind, namespace, name } = &key;
        let api: Api<Kanary> = Api::namespaced_with(self.client.clone(), namespace, kind);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": {
            "uid": stray.uid,
            "resourceVersion": stray.version,
            "labels": {SLOT: stray.slot.to_string()},
        }}));
        let written = self.fence.write(right, api.patch(name, &params, &patch)).await;
        let written = written.map_err(|error| ApiError::new("label", kind.as_str().into(), namespace, name, error));
        let result = match &written {
            Ok(_) => "ok",
            Err(error) => error.class().as_str(),
        };
        self.metrics
            .writes
            .get_or_create(&metrics::Write { write: "label", result })
            .inc();
        tracing::debug!(key = %key, slot = %stray.slot, result, "label");
        match written {
            Ok(_) => self.forget_if(&key, &stray),
            Err(error) if error.is_conflict() => return self.look_again(&api, &key, &stray).await,
            Err(error) => {
                tracing::warn!(key = %key, error = error.message(), "a label could not be written and is tried again");
                return false;
            }
        }
        true
    }

    /// It is another by now, or gone; its watch may be one of another replica, and never tell this one. Whether it needs no
    /// label of ours any more.
    async fn look_again(&self, api: &Api<Kanary>, key: &Key, stray: &Stray) -> bool {
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
