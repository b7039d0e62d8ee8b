//! Kanaries in the cache.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use kanary_core::{
    Key, ParsedKanary,
    api::{Kanary, KanaryKind},
};

use super::{Cache, Claim, Contents, Gone, PartId, interests, number, view::KanaryRow};

impl Contents {
    pub(super) fn kanary(&self, key: &Key) -> Option<&Arc<ParsedKanary>> {
        self.kanaries.get(key).map(|row| &row.0)
    }

    fn put_kanary(&mut self, kanary: ParsedKanary, claim: Option<Claim>) -> Option<Key> {
        let (key, version) = (kanary.key.clone(), number(&kanary.resource_version));
        if claim.is_some_and(|claim| self.kanaries.is_late(&key, claim)) {
            return None;
        }
        let (uid, mut row) = (kanary.uid.clone(), KanaryRow(Arc::new(kanary)));
        let is_news = self.kanaries.is_news(&key, &uid, version, &mut row);
        if let Some(claim) = claim {
            self.kanaries.claim(&key, claim);
        }
        if !is_news {
            return None;
        }
        let claim = self.kanaries.claim_of(&key).or(claim);
        if let Some(KanaryRow(former)) = self.kanaries.remove(&key) {
            self.index(&former, false);
        }
        self.index(&row.0, true);
        self.kanaries.insert(key.clone(), uid, version, row, claim);
        Some(key)
    }

    pub(super) fn remove_kanary(&mut self, key: &Key, gone: Gone) {
        if let Some(KanaryRow(former)) = self.kanaries.take_out(key, gone) {
            self.index(&former, false);
        }
    }

    fn index(&mut self, kanary: &ParsedKanary, add: bool) {
        let (workloads, services) = interests(&kanary.key, &kanary.spec);
        for (kind, place) in workloads {
            let index = &mut self.workloads.of_mut(kind).named;
            index.enlist(place, kanary.key.clone(), add);
        }
        for place in services {
            self.by_service.enlist(place, kanary.key.clone(), add);
        }
    }

    fn kanary_leaves(&mut self, key: &Key, version: u64, is_fed: impl Fn(PartId) -> bool) -> bool {
        let is_released = self.kanaries.release(key, version, is_fed);
        if is_released {
            self.kanary_left(key, version);
        }
        is_released
    }

    /// Removes a Kanary that left its part, whatever version a response brought: only what watches report is followed.
    fn kanary_left(&mut self, key: &Key, version: u64) {
        let known = self.kanaries.version(key).unwrap_or_default();
        self.remove_kanary(key, Gone::At(version.max(known)));
    }
}

impl Cache {
    /// Parses a version of a Kanary. The spec is parsed only if it differs from that of the stored version, and without the lock:
    /// what a response changes meanwhile costs at most the reuse.
    fn parse(&self, kind: KanaryKind, object: &Kanary) -> Result<ParsedKanary, String> {
        let metadata = &object.metadata;
        let former = metadata
            .namespace
            .clone()
            .zip(metadata.name.clone())
            .and_then(|(namespace, name)| {
                let key = Key { kind, namespace, name };
                self.lock().kanary(&key).cloned()
            });
        ParsedKanary::parse_after(former.as_deref(), kind, object)
    }

    /// Stores the response to a write of a Kanary, unless the Kanary has been removed.
    ///
    /// # Errors
    ///
    /// The object cannot be parsed at all. The stored version stays. See [`ParsedKanary::parse`].
    pub fn update_kanary(&self, kind: KanaryKind, object: &Kanary) -> Result<(), String> {
        let parsed = self.parse(kind, object)?;
        let mut state = self.lock();
        if state.kanary(&parsed.key).is_some_and(|known| known.uid == parsed.uid) {
            state.put_kanary(parsed, None);
        }
        Ok(())
    }

    /// Removes this Kanary after the API server reported it as not found. A newer Kanary of the same name stays.
    pub fn forget_kanary(&self, kanary: &ParsedKanary) {
        let mut state = self.lock();
        if state.kanary(&kanary.key).is_some_and(|known| known.uid == kanary.uid) {
            state.remove_kanary(&kanary.key, Gone::Unfollowed);
        }
    }

    /// Returns a Kanary.
    #[must_use]
    pub fn kanary(&self, key: &Key) -> Option<Arc<ParsedKanary>> {
        self.lock().kanary(key).cloned()
    }

    /// Calls `visit` for every Kanary.
    pub fn each_kanary(&self, mut visit: impl FnMut(&ParsedKanary)) {
        self.lock().kanaries.views().for_each(|row| visit(&row.0));
    }

    /// Stores a version of a Kanary that a watch reported, as part of `part`. If the part was closed, the Kanary has left the
    /// parts that the watch feeds. Returns its key if that is news.
    ///
    /// # Errors
    ///
    /// As [`Cache::update_kanary`].
    pub(super) fn report_kanary(
        &self,
        kind: KanaryKind,
        object: &Kanary,
        part: PartId,
        is_fed: impl Fn(PartId) -> bool,
    ) -> Result<Option<Key>, String> {
        let parsed = self.parse(kind, object)?;
        let version = number(&parsed.resource_version);
        let state = &mut *self.lock();
        if !state.parts.is_open(part) {
            let left = state.kanary_leaves(&parsed.key, version, is_fed);
            return Ok(left.then_some(parsed.key));
        }
        Ok(state.put_kanary(parsed, Some(Claim { part, version })))
    }

    /// Stores the response to a write that made a Kanary belong to `part`, before a watch reports it. Returns whether this or a
    /// later version is stored; it is not if a watch has reported that the Kanary is gone.
    ///
    /// # Errors
    ///
    /// As [`Cache::update_kanary`].
    pub fn admit_kanary(&self, kind: KanaryKind, object: &Kanary, part: PartId) -> Result<bool, String> {
        let parsed = self.parse(kind, object)?;
        let (key, uid, version) = (parsed.key.clone(), parsed.uid.clone(), number(&parsed.resource_version));
        let state = &mut *self.lock();
        // A list that is newer than the response would have had the Kanary.
        let listed = state.parts.listed(part, kind);
        if state.parts.is_open(part) && (state.kanaries.contains(&key) || version > listed) {
            state.put_kanary(parsed, Some(Claim { part, version }));
        }
        Ok(state.kanary(&key).is_some_and(|known| known.uid == uid))
    }

    /// Removes a Kanary that left the parts that a watch feeds, unless another watch has reported it elsewhere or later. Returns
    /// whether it was there.
    pub(super) fn kanary_deleted(&self, key: &Key, version: u64, is_fed: impl Fn(PartId) -> bool) -> bool {
        self.lock().kanary_leaves(key, version, is_fed)
    }

    /// Ends a list of the Kanaries of these parts: removes those that it does not contain, and returns them.
    pub(super) fn end_list_of_kanaries(
        &self,
        kind: KanaryKind,
        parts: &[PartId],
        is_listed: impl Fn(&Key) -> bool,
        version: u64,
    ) -> Vec<Key> {
        let state = &mut *self.lock();
        let is_other = |key: &Key| key.kind != kind || is_listed(key);
        let gone = state.kanaries.unlisted(parts, is_other, version);
        for (key, _) in &gone {
            state.kanary_left(key, 0);
        }
        for part in parts {
            state.parts.mark_listed(*part, kind, version);
        }
        gone.into_iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
impl Cache {
    /// Stores a version of a Kanary. Returns its key if the version is new.
    pub(crate) fn put_kanary(&self, kind: KanaryKind, object: &Kanary) -> Result<Option<Key>, String> {
        let parsed = self.parse(kind, object)?;
        Ok(self.lock().put_kanary(parsed, None))
    }

    /// Removes a Kanary.
    pub(crate) fn remove_kanary(&self, key: &Key) {
        self.lock().kanary_left(key, 0);
    }

    /// Every Kanary of a kind.
    pub(crate) fn kanaries(&self, kind: KanaryKind) -> Vec<Key> {
        let mut keys = Vec::new();
        self.each_kanary(|kanary| keys.push(kanary.key.clone()));
        keys.retain(|key| key.kind == kind);
        keys
    }
}
