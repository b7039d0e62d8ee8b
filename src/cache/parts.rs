//! The parts of the cache. Each part can be dropped and filled by itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod, Service},
};
use kanary_core::{
    Key,
    api::{KanaryKind, WorkloadKind},
};

use super::{Cache, Cached, Gone, PartId, ScaledObject, for_kind};

/// The parts that watches may fill.
#[derive(Debug, Default)]
pub(super) struct OpenParts {
    next: u64,
    open: BTreeSet<PartId>,
    /// The version of the last complete list of the Kanaries of a part.
    listed: BTreeMap<(PartId, KanaryKind), u64>,
}

impl OpenParts {
    pub(super) fn is_open(&self, part: PartId) -> bool {
        self.open.contains(&part)
    }

    /// The version of the last complete list of the Kanaries of a part, or 0.
    pub(super) fn listed(&self, part: PartId, kind: KanaryKind) -> u64 {
        self.listed.get(&(part, kind)).copied().unwrap_or_default()
    }

    /// Records a complete list of the Kanaries of a part.
    pub(super) fn mark_listed(&mut self, part: PartId, kind: KanaryKind, version: u64) {
        if self.is_open(part) {
            let known = self.listed.entry((part, kind)).or_default();
            *known = version.max(*known);
        }
    }
}

impl Cache {
    /// Opens a part. Its number is never used again.
    pub(super) fn open_part(&self) -> PartId {
        let parts = &mut self.lock().parts;
        parts.next += 1;
        let part = PartId(parts.next);
        parts.open.insert(part);
        part
    }

    /// Closes a part and drops its objects. What a watch reports for it from now on is ignored. Returns the affected Kanaries.
    pub(super) fn close_part(&self, part: PartId) -> Vec<Key> {
        let state = &mut *self.lock();
        state.parts.open.remove(&part);
        state.parts.listed.retain(|(of, _), _| *of != part);
        let mut keys = state.kanaries.of_part(part);
        for key in &keys {
            state.remove_kanary(key, Gone::Unfollowed);
        }
        for kind in WorkloadKind::ALL {
            keys.extend(for_kind!(kind, K => K::drop_part(state, part)));
        }
        keys.extend(Service::drop_part(state, part));
        keys.extend(HorizontalPodAutoscaler::drop_part(state, part));
        keys.extend(ScaledObject::drop_part(state, part));
        keys.extend(Pod::drop_part(state, part));
        keys
    }
}
