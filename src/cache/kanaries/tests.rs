use serde_json::json;

use super::*;

const KIND: KanaryKind = KanaryKind::Deployment;

fn kanary(version: u64) -> Kanary {
    serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": version.to_string()},
        "spec": {"deploymentName": "web"},
    }))
    .unwrap()
}

fn key() -> Key {
    Key::at(KIND, ("shop".to_owned(), "a".to_owned()))
}

/// The version that the cache has.
fn known(cache: &Cache) -> Option<String> {
    cache.kanary(&key()).map(|kanary| kanary.resource_version.clone())
}

fn report(cache: &Cache, version: u64, part: PartId) {
    cache
        .report_kanary(KIND, &kanary(version), part, |fed| fed == part)
        .unwrap();
}

#[test]
fn the_reply_to_a_label_is_stored_before_a_watch_reports_it() {
    let cache = Cache::default();
    let part = cache.open_part();
    assert_eq!(cache.admit_kanary(KIND, &kanary(5), part), Ok(true));
    assert_eq!(known(&cache), Some("5".to_owned()));
    // A list that is older than the reply leaves it, a newer one without it does not.
    cache.end_list_of_kanaries(KIND, &[part], |_| false, 4);
    assert_eq!(known(&cache), Some("5".to_owned()));
    assert_eq!(cache.end_list_of_kanaries(KIND, &[part], |_| false, 5), [key()]);
    assert_eq!(known(&cache), None);
}

#[test]
fn a_late_reply_to_a_label_does_not_bring_a_deleted_kanary_back() {
    let cache = Cache::default();
    let part = cache.open_part();
    report(&cache, 5, part);
    assert!(cache.kanary_deleted(&key(), 7, |fed| fed == part));
    assert_eq!(cache.admit_kanary(KIND, &kanary(5), part), Ok(false));

    // Neither the creation nor the deletion was reported, because the watch listed again.
    let cache = Cache::default();
    let part = cache.open_part();
    cache.end_list_of_kanaries(KIND, &[part], |_| false, 8);
    assert_eq!(cache.admit_kanary(KIND, &kanary(5), part), Ok(false));
    assert_eq!(cache.admit_kanary(KIND, &kanary(9), part), Ok(true));
}

#[test]
fn what_belongs_to_a_closed_part_is_not_stored() {
    let cache = Cache::default();
    let (one, two) = (cache.open_part(), cache.open_part());
    report(&cache, 5, one);
    assert_eq!(cache.close_part(two), []);
    // It moved to the closed part, and both are fed by one watch.
    let moved = cache.report_kanary(KIND, &kanary(6), two, |fed| fed == one || fed == two);
    assert_eq!((moved, known(&cache)), (Ok(Some(key())), None));
    assert_eq!(cache.admit_kanary(KIND, &kanary(7), two), Ok(false));
    report(&cache, 8, one);
    assert_eq!(cache.close_part(one), [key()]);
    assert_eq!(known(&cache), None);
}

#[test]
fn two_watches_of_one_part_report_in_any_order() {
    let cache = Cache::default();
    let part = cache.open_part();
    report(&cache, 7, part);
    // The other watch is late with an earlier version, and with a deletion before the current object.
    report(&cache, 5, part);
    assert_eq!(known(&cache), Some("7".to_owned()));
    assert!(!cache.kanary_deleted(&key(), 6, |fed| fed == part));
    // So is the end of its list.
    assert_eq!(cache.end_list_of_kanaries(KIND, &[part], |_| false, 6), []);
    assert_eq!(known(&cache), Some("7".to_owned()));
    // Both report the deletion.
    assert!(cache.kanary_deleted(&key(), 9, |fed| fed == part));
    assert!(!cache.kanary_deleted(&key(), 9, |fed| fed == part));
    report(&cache, 8, part);
    assert_eq!(known(&cache), None);
}

#[test]
fn versions_share_a_spec_that_stays_the_same() {
    let cache = Cache::default();
    let spec_of = |object: &Kanary| {
        cache.put_kanary(KIND, object).unwrap();
        Arc::clone(&cache.kanary(&key()).unwrap().spec)
    };
    let mut object = kanary(5);
    let first = spec_of(&object);
    object.metadata.resource_version = Some("6".to_owned());
    object.status = Some(json!({"phase": "Running"}));
    assert!(Arc::ptr_eq(&first, &spec_of(&object)));
    // Another Kanary of the same name, and an edit.
    object.metadata.resource_version = Some("7".to_owned());
    object.metadata.uid = Some("v".to_owned());
    let second = spec_of(&object);
    assert!(!Arc::ptr_eq(&first, &second));
    object.metadata.resource_version = Some("8".to_owned());
    object.spec["deploymentName"] = json!("shop");
    assert_eq!(spec_of(&object).target.name, "shop");
}
