//! Objects of one kind, by namespace and name: the newest known version of each.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// Lifetime of a tombstone. It is much longer than the timeout of a request, so no older response can arrive afterwards.
const TOMBSTONE_LIFETIME: Duration = Duration::from_mins(1);

/// Namespace and name.
pub type Place = (String, String);

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

/// Objects of one kind, trimmed to `V`.
#[derive(Debug)]
pub(crate) struct Store<V> {
    rows: BTreeMap<Place, Row<V>>,
    /// Tombstones: the version and the time of each deletion.
    gone: BTreeMap<Place, (u64, Instant)>,
    /// Tombstones by time, for their expiry.
    deleted: VecDeque<(Instant, Place)>,
}

#[derive(Debug)]
struct Row<V> {
    uid: String,
    version: u64,
    view: V,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
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

impl<V: View> Store<V> {
    /// Whether a version from a watch or a response is new.
    ///
    /// It is not if a newer version is stored, or if the object was deleted after this version, because responses and watch
    /// events may arrive out of order. An object that we deleted stays marked as being deleted until it is gone.
    pub(super) fn is_news(&mut self, place: &Place, uid: &str, version: u64, view: &mut V) -> bool {
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

    /// Stores a new version.
    pub(super) fn insert(&mut self, place: Place, uid: String, version: u64, view: V) {
        self.rows.insert(place, Row { uid, version, view });
    }

    /// The newest known version of the object with this UID.
    pub(super) fn version(&self, place: &Place, uid: &str) -> Option<u64> {
        self.rows.get(place).filter(|row| row.uid == uid).map(|row| row.version)
    }

    /// Removes an object and returns it.
    pub(super) fn remove(&mut self, place: &Place) -> Option<V> {
        self.rows.remove(place).map(|row| row.view)
    }

    /// Removes and returns an object after a watch noticed that it is gone, unless the stored version is newer.
    pub(super) fn take_out(&mut self, place: &Place, gone: Gone) -> Option<V> {
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

    fn add_tombstone(&mut self, place: &Place, at: u64) {
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
    pub(super) fn remove_object(&mut self, place: &Place, uid: &str) -> Option<V> {
        self.rows.get(place).filter(|row| row.uid == uid)?;
        self.remove(place)
    }

    /// Marks the object with this uid as being deleted, after our own deletion, until the watch reports that it is gone.
    pub(super) fn mark_deleting(&mut self, place: &Place, uid: &str) {
        if let Some(row) = self.rows.get_mut(place).filter(|row| row.uid == uid)
            && let Some(deleting) = row.view.deleting_mut()
        {
            *deleting = true;
        }
    }

    /// Returns an object.
    #[must_use]
    pub(super) fn get(&self, place: &Place) -> Option<&V> {
        self.rows.get(place).map(|row| &row.view)
    }

    /// All keys, with the stored version of each.
    pub(super) fn places(&self) -> impl Iterator<Item = (Place, u64)> {
        self.rows.iter().map(|(place, row)| (place.clone(), row.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Clone, Copy)]
    struct Thing(i32, bool);

    impl View for Thing {
        fn deleting_mut(&mut self) -> Option<&mut bool> {
            Some(&mut self.1)
        }
    }

    fn place() -> Place {
        ("ns".to_owned(), "a".to_owned())
    }

    fn put(table: &mut Store<Thing>, uid: &str, version: u64, mut thing: Thing) -> bool {
        let news = table.is_news(&place(), uid, version, &mut thing);
        if news {
            table.insert(place(), uid.to_owned(), version, thing);
        }
        news
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let mut table = Store::default();
        assert!(put(&mut table, "u", 5, Thing(5, false)));
        assert!(!put(&mut table, "u", 4, Thing(4, false)));
        assert_eq!(table.get(&place()), Some(&Thing(5, false)));
    }

    #[test]
    fn an_older_object_never_replaces_a_newer_one_of_its_name() {
        let mut table = Store::default();
        assert!(put(&mut table, "v", 6, Thing(6, false)));
        assert!(!put(&mut table, "u", 5, Thing(5, false)));
        assert_eq!(table.get(&place()), Some(&Thing(6, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_is_not_brought_back_by_a_late_reply() {
        let mut table = Store::default();
        put(&mut table, "u", 5, Thing(5, false));
        assert!(table.take_out(&place(), Gone::At(7)).is_some());
        assert!(!put(&mut table, "u", 5, Thing(5, false)));
        // The object moved from one watch's selector to another's, or was recreated under the same name.
        assert!(put(&mut table, "u", 7, Thing(7, false)));

        assert!(table.take_out(&place(), Gone::At(9)).is_some());
        tokio::time::sleep(TOMBSTONE_LIFETIME).await;
        assert!(
            put(&mut table, "u", 5, Thing(5, false)),
            "a reply cannot arrive this late"
        );
        table.take_out(&("ns".to_owned(), "b".to_owned()), Gone::At(10));
        assert_eq!(
            (table.gone.len(), table.deleted.len()),
            (1, 1),
            "expired tombstones are removed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_list_does_not_have_may_come_back_from_another_watch() {
        let mut table = Store::default();
        put(&mut table, "u", 5, Thing(5, false));
        assert!(table.take_out(&place(), Gone::Unlisted(20)).is_some());
        assert!(!put(&mut table, "u", 5, Thing(5, false)), "a late reply");
        assert!(put(&mut table, "u", 6, Thing(6, false)), "another watch selects it now");
        assert!(table.take_out(&place(), Gone::Unfollowed).is_some());
        assert!(put(&mut table, "u", 6, Thing(6, false)));
    }

    #[test]
    fn a_late_deletion_does_not_take_what_is_newer() {
        let mut table = Store::default();
        put(&mut table, "v", 12, Thing(12, false));
        assert!(table.take_out(&place(), Gone::At(10)).is_none());
        assert!(table.take_out(&place(), Gone::Unlisted(11)).is_none());
        assert_eq!(table.get(&place()), Some(&Thing(12, false)));
    }

    #[test]
    fn another_object_of_the_same_name_replaces_the_former_one() {
        let mut table = Store::default();
        put(&mut table, "u", 5, Thing(5, false));
        table.mark_deleting(&place(), "u");
        assert!(put(&mut table, "v", 6, Thing(6, false)));
        assert_eq!(table.get(&place()), Some(&Thing(6, false)));
    }

    #[test]
    fn what_we_deleted_stays_marked_through_late_events() {
        let mut table = Store::default();
        put(&mut table, "u", 5, Thing(5, false));
        table.mark_deleting(&place(), "u");
        put(&mut table, "u", 6, Thing(5, false));
        assert_eq!(table.get(&place()), Some(&Thing(5, true)));
    }

    #[test]
    fn a_version_that_says_nothing_new_changes_nothing() {
        let mut table = Store::default();
        put(&mut table, "u", 5, Thing(5, false));
        assert!(!put(&mut table, "u", 6, Thing(5, false)));
    }
}
