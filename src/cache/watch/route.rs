//! Which part of the cache the objects of a watch belong to.

use std::{collections::BTreeMap, sync::Arc};

use kanary_core::{
    api::{Layout, names::SLOT},
    labels::Labels,
};

use super::Sink;
use crate::cache::PartId;

/// A part of the cache that is open. Dropping it drops its objects: what a watch reports for it afterwards is ignored.
#[derive(Debug)]
pub struct CachePart {
    id: PartId,
    sink: Sink,
}

impl CachePart {
    /// Opens a part.
    #[must_use]
    pub fn open(sink: &Sink) -> Self {
        Self {
            id: sink.cache.open_part(),
            sink: sink.clone(),
        }
    }

    /// Its number, which is never used again.
    #[must_use]
    pub fn id(&self) -> PartId {
        self.id
    }
}

impl Drop for CachePart {
    fn drop(&mut self) {
        let keys = self.sink.cache.close_part(self.id);
        self.sink.push(keys);
    }
}

/// Which part of the cache the objects of a watch belong to.
#[derive(Clone, Debug)]
pub enum Route {
    /// All objects belong to one part.
    One(Arc<CachePart>),
    /// The slot label names the shard, and each shard has a part.
    Slots(Layout, Arc<BTreeMap<u16, PartId>>),
}

impl Route {
    /// All objects belong to one part, which is dropped with the watch.
    #[must_use]
    pub fn one(sink: &Sink) -> Self {
        Self::One(Arc::new(CachePart::open(sink)))
    }

    /// The part of an object with these labels. `None` if the watch should not feed it.
    pub(super) fn part_of(&self, labels: &Labels) -> Option<PartId> {
        match self {
            Self::One(part) => Some(part.id),
            Self::Slots(layout, parts) => {
                // A selector that only requires the label also matches values that are not slots.
                let slot = labels.get(SLOT)?.parse().ok()?;
                parts.get(&layout.shard_of(slot)).copied()
            }
        }
    }

    /// Whether the watch feeds a part.
    pub(super) fn feeds(&self, part: PartId) -> bool {
        match self {
            Self::One(one) => one.id == part,
            Self::Slots(_, parts) => parts.values().any(|fed| *fed == part),
        }
    }

    /// All parts that the watch feeds.
    pub(super) fn parts(&self) -> Vec<PartId> {
        match self {
            Self::One(part) => vec![part.id],
            Self::Slots(_, parts) => parts.values().copied().collect(),
        }
    }
}
