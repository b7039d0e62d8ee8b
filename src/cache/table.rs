//! Objects of one kind, by namespace and name: the newest known version of each, and which part of the cache it belongs to.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// Lifetime of a tombstone. It is much longer than the timeout of a request, so no older response can arrive afterwards.
const TOMBSTONE_LIFETIME: Duration = Duration::from_mins(1);

/// Namespace and name.
pub type Place = (String, String);

/// A part of the cache that can be dropped and filled by itself: the objects of one shard, or of one watch that is not about a
/// shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartId(pub(super) u64);

/// A watch has reported an object. Several watches may feed one part, and an object whose labels change moves from one part to
/// another. Their streams are not synchronized: what one watch has stored must not be removed by a late event of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// The part that the object belongs to.
    pub(crate) part: PartId,
    /// The latest version that was reported.
    pub(crate) version: u64,
}

impl Claim {
    /// The claim after this one was reported too.
    fn and(self, next: Self) -> Self {
        let version = if self.part == next.part {
            self.version.max(next.version)
        } else {
            next.version
        };
        Self { version, ..next }
    }
}

/// How a watch noticed that an object is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gone {
    /// A deletion event, with its version; also when an object no longer matches the watch's selector.
    At(u64),
    /// An object that the watch had reported is missing from a list of this version.
    Unlisted(u64),
    /// The watch stopped following the object, or never followed it.
    Unfollowed,
}

/// Objects of one kind, trimmed to `V`, by `P`.
#[derive(Debug)]
pub(crate) struct Store<V, P = Place> {
    /// Boxed, because the nodes of the tree are half empty.
    rows: BTreeMap<P, Box<Row<V>>>,
    /// The objects of each part. `None` has those that only responses and live reads have reported so far.
    parts: BTreeMap<Option<PartId>, BTreeSet<P>>,
    /// Tombstones: the version and the time of each deletion.
    gone: BTreeMap<P, (u64, Instant)>,
    /// Tombstones by time, for their expiry.
    deleted: VecDeque<(Instant, P)>,
}

#[derive(Debug)]
struct Row<V> {
    uid: String,
    version: u64,
    view: V,
    claim: Option<Claim>,
}

impl<V, P> Default for Store<V, P> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            parts: BTreeMap::new(),
            gone: BTreeMap::new(),
            deleted: VecDeque::new(),
        }
    }
}

/// Behaviour of a stored view.
pub(crate) trait View: PartialEq {
    /// The flag for an object that is being deleted.
    fn deleting_mut(&mut self) -> Option<&mut bool>;

    /// Copies what only an observer of the earlier version can know.
    fn inherit(&mut self, _former: &Self) {}
}

impl<V: View, P: Ord + Clone> Store<V, P> {
    /// Whether a version from a watch or a response is new.
    ///
    /// It is not if a newer version is stored, or if the object was deleted after this version, because responses and watch
    /// events may arrive out of order. An object that we deleted stays marked as being deleted until it is gone.
    pub(super) fn is_news(&mut self, place: &P, uid: &str, version: u64, view: &mut V) -> bool {
        let gone = self
            .gone
            .get(place)
            .filter(|(_, deleted)| deleted.elapsed() < TOMBSTONE_LIFETIME);
        if gone.is_some_and(|(gone, _)| version < *gone) {
            return false;
        }
        let Some(row) = self.rows.get_mut(place) else {
            return true;
        };
        if version < row.version {
            return false;
        }
        if row.uid != uid {
            return true;
        }
        if let (Some(true), Some(deleting)) = (row.view.deleting_mut().copied(), view.deleting_mut()) {
            *deleting = true;
        }
        view.inherit(&row.view);
        row.version = version;
        row.view != *view
    }

    /// Whether an event of a watch is late, because the object has moved to another part since.
    pub(super) fn is_late(&self, place: &P, claim: Claim) -> bool {
        let held = self.claim_of(place);
        held.is_some_and(|held| held.part != claim.part && held.version > claim.version)
    }

    /// Which part an object belongs to, if a watch has reported it.
    pub(super) fn claim_of(&self, place: &P) -> Option<Claim> {
        self.rows.get(place).and_then(|row| row.claim)
    }

    /// Records that a watch has reported the stored object, whatever its version.
    pub(super) fn claim(&mut self, place: &P, claim: Claim) {
        if let Some(row) = self.rows.get_mut(place) {
            let former = row.claim;
            row.claim = Some(former.map_or(claim, |held| held.and(claim)));
            if former.map(|held| held.part) != Some(claim.part) {
                self.enlist(former, place, false);
                self.enlist(Some(claim), place, true);
            }
        }
    }

    /// A watch has reported that an object left the parts that it feeds. Returns whether the object was in one of them; it is in
    /// no part then.
    pub(super) fn release(&mut self, place: &P, version: u64, is_fed: impl Fn(PartId) -> bool) -> bool {
        let held = self.claim_of(place);
        let is_released = held.is_some_and(|held| is_fed(held.part) && held.version <= version);
        if is_released {
            self.unclaim(place);
        }
        is_released
    }

    fn unclaim(&mut self, place: &P) {
        if let Some(former) = self.rows.get_mut(place).and_then(|row| row.claim.take()) {
            self.enlist(Some(former), place, false);
            self.enlist(None, place, true);
        }
    }

    /// The objects that a list of these parts should have contained and did not, and how each is gone. Also those that no watch
    /// has reported, unless they are newer than the list. Objects that `is_listed` are not considered.
    pub(super) fn unlisted(
        &mut self,
        parts: &[PartId],
        is_listed: impl Fn(&P) -> bool,
        version: u64,
    ) -> Vec<(P, Gone)> {
        let of = |part| self.parts.get(&part).into_iter().flatten();
        // Another watch of the same part, or a response, may have reported a newer object.
        let is_gone =
            |place: &&P| !is_listed(place) && self.claim_of(place).is_some_and(|held| held.version <= version);
        let missed: Vec<_> = parts
            .iter()
            .flat_map(|part| of(Some(*part)))
            .filter(is_gone)
            .cloned()
            .collect();
        let is_older = |place: &&P| self.rows.get(*place).is_some_and(|row| row.version <= version);
        let stray: Vec<_> = of(None)
            .filter(|place| !is_listed(place))
            .filter(is_older)
            .cloned()
            .collect();
        for place in &missed {
            self.unclaim(place);
        }
        let missed = missed.into_iter().map(|place| (place, Gone::Unlisted(version)));
        // This watch may not select the object at all, and the watch that does may report it later.
        missed
            .chain(stray.into_iter().map(|place| (place, Gone::Unfollowed)))
            .collect()
    }

    /// The objects of a part.
    pub(super) fn of_part(&self, part: PartId) -> Vec<P> {
        self.parts.get(&Some(part)).into_iter().flatten().cloned().collect()
    }

    fn enlist(&mut self, claim: Option<Claim>, place: &P, there: bool) {
        let part = claim.map(|claim| claim.part);
        if there {
            self.parts.entry(part).or_default().insert(place.clone());
        } else if let Some(members) = self.parts.get_mut(&part) {
            members.remove(place);
            if members.is_empty() {
                self.parts.remove(&part);
            }
        }
    }

    /// Stores a new version of an object that is not there.
    pub(super) fn insert(&mut self, place: P, uid: String, version: u64, view: V, claim: Option<Claim>) {
        self.enlist(claim, &place, true);
        let row = Row {
            uid,
            version,
            view,
            claim,
        };
        self.rows.insert(place, Box::new(row));
    }

    /// The newest known version of the object with this UID.
    pub(super) fn version_of(&self, place: &P, uid: &str) -> Option<u64> {
        self.rows.get(place).filter(|row| row.uid == uid).map(|row| row.version)
    }

    /// Removes an object and returns it.
    pub(super) fn remove(&mut self, place: &P) -> Option<V> {
        let row = self.rows.remove(place)?;
        self.enlist(row.claim, place, false);
        Some(row.view)
    }

    /// Removes and returns an object after a watch noticed that it is gone, unless the stored version is newer.
    pub(super) fn take_out(&mut self, place: &P, gone: Gone) -> Option<V> {
        let known = self.rows.get(place).map(|row| row.version);
        match gone {
            Gone::At(version) | Gone::Unlisted(version) if known.is_some_and(|known| known > version) => return None,
            Gone::At(version) => self.add_tombstone(place, version),
            // The tombstone does not use the list's version, because the object may still exist and be reported by another
            // watch.
            Gone::Unlisted(_) => self.add_tombstone(place, known.map_or(0, |known| known.saturating_add(1))),
            Gone::Unfollowed => {}
        }
        self.remove(place)
    }

    fn add_tombstone(&mut self, place: &P, at: u64) {
        while let Some((deleted, place)) = self
            .deleted
            .front()
            .filter(|(deleted, _)| deleted.elapsed() >= TOMBSTONE_LIFETIME)
        {
            if self.gone.get(place).is_some_and(|(_, again)| again == deleted) {
                self.gone.remove(place);
            }
            self.deleted.pop_front();
        }
        let now = Instant::now();
        self.gone.insert(place.clone(), (at, now));
        self.deleted.push_back((now, place.clone()));
    }

    /// Removes the object with this uid and returns it.
    pub(super) fn remove_object(&mut self, place: &P, uid: &str) -> Option<V> {
        self.rows.get(place).filter(|row| row.uid == uid)?;
        self.remove(place)
    }

    /// Marks the object with this uid as being deleted, after our own deletion, until the watch reports that it is gone.
    pub(super) fn mark_deleting(&mut self, place: &P, uid: &str) {
        if let Some(row) = self.rows.get_mut(place).filter(|row| row.uid == uid)
            && let Some(deleting) = row.view.deleting_mut()
        {
            *deleting = true;
        }
    }

    /// Returns an object.
    #[must_use]
    pub(super) fn get(&self, place: &P) -> Option<&V> {
        self.rows.get(place).map(|row| &row.view)
    }

    /// The stored version of an object.
    pub(super) fn version(&self, place: &P) -> Option<u64> {
        self.rows.get(place).map(|row| row.version)
    }

    /// Whether there is an object.
    pub(super) fn contains(&self, place: &P) -> bool {
        self.rows.contains_key(place)
    }

    /// All objects.
    pub(super) fn views(&self) -> impl Iterator<Item = &V> {
        self.rows.values().map(|row| &row.view)
    }

    /// All keys, with the stored version of each.
    #[cfg(test)]
    pub(super) fn places(&self) -> impl Iterator<Item = (P, u64)> {
        self.rows.iter().map(|(place, row)| (place.clone(), row.version))
    }
}
