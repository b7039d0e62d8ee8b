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
        table.remove(&place());
        table.insert(place(), uid.to_owned(), version, thing, None);
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
