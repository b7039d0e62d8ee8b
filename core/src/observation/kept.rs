//! What is known of the objects that a front end keeps beyond its runs.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

/// The objects that a front end keeps beyond its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSeen {
    /// When they were read.
    pub at: Timestamp,
    /// Whether they were read for this decision.
    pub live: bool,
    /// `metadata.generation` of the Kanary for which they were read.
    pub generation: i64,
    /// Since when all of them are known to say the same. Proxies may need some time to follow.
    pub since: Timestamp,
    /// When one of them was last seen to be gone, or when they were read for the first time. Proxies may follow a route that is gone for
    /// a while.
    pub gone: Timestamp,
    /// What was found, by kind and name: `Service/shop`.
    pub objects: BTreeMap<String, KeptFound>,
}

impl KeptSeen {
    /// What is known after `self` was read. `former` was known before.
    #[must_use]
    pub fn after(self, former: Option<&Self>) -> Self {
        let same = former.filter(|former| says(&former.objects) == says(&self.objects));
        let since = same.map_or(self.since, |former| former.since);
        let gone = former
            .filter(|former| former.are_in(&self))
            .map_or(self.at, |former| former.gone);
        Self { since, gone, ..self }
    }

    /// Whether all that were there are still there.
    fn are_in(&self, later: &Self) -> bool {
        let is_there =
            |objects: &BTreeMap<String, KeptFound>, key: &String| matches!(objects.get(key), Some(KeptFound::There(_)));
        let mut known = self.objects.keys().filter(|key| is_there(&self.objects, key));
        known.all(|key| is_there(&later.objects, key))
    }
}

/// Each object with what changes whenever it says something else.
fn says(objects: &BTreeMap<String, KeptFound>) -> Vec<(&String, Option<[Option<&Value>; 3]>)> {
    objects.iter().map(|(key, found)| (key, said(found))).collect()
}

fn said(found: &KeptFound) -> Option<[Option<&Value>; 3]> {
    let KeptFound::There(object) = found else {
        return None;
    };
    let fields = ["/metadata/uid", "/metadata/generation", "/metadata/deletionTimestamp"];
    Some(fields.map(|field| object.pointer(field)))
}

/// An object, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum KeptFound {
    /// The object, without its managed fields.
    There(Arc<Value>),
    /// It does not exist.
    Missing,
    /// The cluster has no such kind.
    NoKind,
    /// The API server does not let the controller read it, and its message.
    Forbidden(String),
}
