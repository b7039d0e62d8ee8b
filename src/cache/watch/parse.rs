//! Parses list and watch responses. An object that cannot be parsed does not affect the others.

use kube::{
    ResourceExt,
    core::{ListMeta, ObjectList, Status, WatchEvent},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cache::{Place, place_of};

/// An object, or the metadata of one that cannot be parsed.
pub(super) type Item<K> = Result<K, Unreadable>;

/// An object that cannot be parsed.
#[derive(Debug)]
pub(super) struct Unreadable {
    place: Place,
    version: String,
    /// The parser's error.
    pub(super) why: serde_json::Error,
}

/// A watch event.
#[derive(Debug)]
pub(super) enum Event<K> {
    /// An object was added or changed.
    Applied(Item<K>),
    /// An object was deleted, or no longer matches the selector.
    Deleted(Item<K>),
    /// All events up to this version have been sent.
    Bookmark(String),
    /// The watch cannot continue.
    Error(Box<Status>),
}

/// The key of an object, and its version.
pub(super) fn address<K: ResourceExt>(item: &Item<K>) -> (Place, String) {
    match item {
        Ok(object) => (place_of(object), object.resource_version().unwrap_or_default()),
        Err(unreadable) => (unreadable.place.clone(), unreadable.version.clone()),
    }
}

/// A page of a list.
pub(super) fn page<K>(text: &str) -> serde_json::Result<(ListMeta, Vec<Item<K>>)>
where
    K: DeserializeOwned + Clone,
{
    if let Ok(list) = serde_json::from_str::<ObjectList<K>>(text) {
        return Ok((list.metadata, list.items.into_iter().map(Ok).collect()));
    }
    let list: ObjectList<Value> = serde_json::from_str(text)?;
    Ok((list.metadata, list.items.iter().map(item).collect()))
}

/// A line of a watch.
pub(super) fn event<K: DeserializeOwned>(line: &[u8]) -> serde_json::Result<Event<K>> {
    let event = match serde_json::from_slice::<WatchEvent<K>>(line) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Event::Applied(Ok(object)),
        Ok(WatchEvent::Deleted(object)) => Event::Deleted(Ok(object)),
        Ok(WatchEvent::Bookmark(bookmark)) => Event::Bookmark(bookmark.metadata.resource_version),
        Ok(WatchEvent::Error(status)) => Event::Error(status),
        Err(_) => match serde_json::from_slice::<WatchEvent<Value>>(line)? {
            WatchEvent::Added(value) | WatchEvent::Modified(value) => Event::Applied(item(&value)),
            WatchEvent::Deleted(value) => Event::Deleted(item(&value)),
            WatchEvent::Bookmark(bookmark) => Event::Bookmark(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => Event::Error(status),
        },
    };
    Ok(event)
}

fn item<K: DeserializeOwned>(value: &Value) -> Item<K> {
    let of = |field: &str| {
        let field = value.get("metadata").and_then(|metadata| metadata.get(field));
        field.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    K::deserialize(value).map_err(|why| Unreadable {
        place: (of("namespace"), of("name")),
        version: of("resourceVersion"),
        why,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn service(name: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": "7"}})
    }

    /// The ports are not a list.
    fn odd(name: &str) -> Value {
        let mut service = service(name);
        service["spec"] = json!({"ports": 3});
        service
    }

    fn place(name: &str) -> (Place, String) {
        (("shop".to_owned(), name.to_owned()), "7".to_owned())
    }

    #[test]
    fn one_unreadable_object_leaves_the_rest_of_a_page() {
        let list = json!({"metadata": {"resourceVersion": "9"}, "items": [service("a"), odd("b"), service("c")]});
        let (meta, items) = page::<Service>(&list.to_string()).unwrap();
        assert_eq!(meta.resource_version.as_deref(), Some("9"));
        let read: Vec<_> = items.iter().map(|item| (address(item), item.is_ok())).collect();
        assert_eq!(read, [(place("a"), true), (place("b"), false), (place("c"), true)]);
    }

    #[test]
    fn a_list_of_nothing_may_be_null() {
        let (_, items) = page::<Service>(r#"{"metadata": {"resourceVersion": "9"}, "items": null}"#).unwrap();
        assert!(items.is_empty());
        assert!(page::<Service>("<html>").is_err());
    }

    #[test]
    fn an_unreadable_object_of_an_event_is_known_by_its_name() {
        let line = |kind: &str, object: Value| json!({"type": kind, "object": object}).to_string();
        let Ok(Event::Applied(item)) = event::<Service>(line("MODIFIED", odd("b")).as_bytes()) else {
            panic!("it was applied");
        };
        assert_eq!((address(&item), item.is_err()), (place("b"), true));
        let Ok(Event::Deleted(item)) = event::<Service>(line("DELETED", odd("b")).as_bytes()) else {
            panic!("it was deleted");
        };
        assert_eq!(address(&item), place("b"));
    }

    #[test]
    fn a_line_that_is_no_event_is_an_error() {
        for line in [
            "",
            "<html>",
            r#"{"type": "ADDED", "obj"#,
            r#"{"type": "NEWS", "object": {}}"#,
        ] {
            assert!(event::<Service>(line.as_bytes()).is_err(), "{line}");
        }
    }
}
