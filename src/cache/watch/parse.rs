//! Parses list and watch responses. An object that cannot be parsed does not affect the others.
//!
//! `serde_json` refuses to parse more than 127 levels of nesting, and API servers accept many more in a field whose schema is open. So
//! nothing here parses a whole object that somebody else may have nested so deeply; what `serde_json` skips has no limit.

use kube::{
    ResourceExt,
    core::{ListMeta, ObjectList, Status, WatchEvent},
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{
    cache::{Place, place_of},
    json::structure,
};

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

/// The part of an object that says which one it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Identity,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Identity {
    namespace: String,
    name: String,
    resource_version: String,
}

impl Named {
    fn unreadable(self, why: serde_json::Error) -> Unreadable {
        let Identity {
            namespace,
            name,
            resource_version,
        } = self.metadata;
        Unreadable {
            place: (namespace, name),
            version: resource_version,
            why,
        }
    }
}

/// A page of a list.
pub(super) fn page<K>(text: &str) -> serde_json::Result<(ListMeta, Vec<Item<K>>)>
where
    K: DeserializeOwned + Clone,
{
    let why = match serde_json::from_str::<ObjectList<K>>(text) {
        Ok(list) => return Ok((list.metadata, list.items.into_iter().map(Ok).collect())),
        Err(why) => why,
    };
    let list: ObjectList<IgnoredAny> = serde_json::from_str(text)?;
    let items = items(text);
    if items.len() != list.items.len() {
        return Err(why);
    }
    let items: serde_json::Result<_> = items.into_iter().map(item).collect();
    Ok((list.metadata, items?))
}

/// A line of a watch.
pub(super) fn event<K: DeserializeOwned>(line: &[u8]) -> serde_json::Result<Event<K>> {
    let event = match serde_json::from_slice::<WatchEvent<K>>(line) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Event::Applied(Ok(object)),
        Ok(WatchEvent::Deleted(object)) => Event::Deleted(Ok(object)),
        Ok(WatchEvent::Bookmark(bookmark)) => Event::Bookmark(bookmark.metadata.resource_version),
        Ok(WatchEvent::Error(status)) => Event::Error(status),
        Err(why) => match serde_json::from_slice::<WatchEvent<Named>>(line)? {
            WatchEvent::Added(named) | WatchEvent::Modified(named) => Event::Applied(Err(named.unreadable(why))),
            WatchEvent::Deleted(named) => Event::Deleted(Err(named.unreadable(why))),
            WatchEvent::Bookmark(bookmark) => Event::Bookmark(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => Event::Error(status),
        },
    };
    Ok(event)
}

fn item<K: DeserializeOwned>(text: &str) -> serde_json::Result<Item<K>> {
    match serde_json::from_str(text) {
        Ok(object) => Ok(Ok(object)),
        Err(why) => Ok(Err(serde_json::from_str::<Named>(text)?.unreadable(why))),
    }
}

/// The texts of the items of a list, which is valid JSON.
fn items(list: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), None);
    let (mut depth, mut string) = (0_usize, None);
    let mut name = "";
    for (at, byte) in structure(list) {
        match byte {
            b'"' => match string.take() {
                None => string = Some(at + 1),
                Some(begin) if depth == 1 => name = list.get(begin..at).unwrap_or_default(),
                Some(_) => {}
            },
            b'{' | b'[' => {
                depth += 1;
                if depth == 2 && byte == b'[' && name == "items" {
                    start = Some(at + 1);
                }
            }
            b'}' | b']' => {
                if depth == 2
                    && let Some(begin) = start.take()
                {
                    found.extend(list.get(begin..at).filter(|last| !last.trim().is_empty()));
                }
                depth = depth.saturating_sub(1);
            }
            b',' if depth == 2 => {
                if let Some(begin) = start {
                    found.extend(list.get(begin..at));
                    start = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kanary_core::api::Kanary;
    use serde_json::{Value, json};

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

    /// A text that no parser with a limit reads.
    fn deep(name: &str) -> String {
        let value = format!("{}{}", "{\"a\": ".repeat(400), "[1, \"]},{\\\"\"]") + &"}".repeat(400);
        let metadata = json!({"name": name, "namespace": "shop", "resourceVersion": "7"});
        format!(r#"{{"spec": {{"template": {{"spec": {value}}}}}, "metadata": {metadata}}}"#)
    }

    #[test]
    fn an_object_that_is_nested_too_deeply_leaves_the_rest_of_a_page() {
        let (one, deep, two) = (service("a"), deep("b"), service("c"));
        for list in [
            format!(r#"{{"metadata": {{"resourceVersion": "9"}}, "items": [{one}, {deep},{two}]}}"#),
            format!(
                r#"{{"items": [ {one},{deep} ,{two} ], "x": [1, {{"items": [2]}}], "metadata": {{"resourceVersion": "9"}}}}"#
            ),
        ] {
            let (meta, items) = page::<Kanary>(&list).unwrap();
            assert_eq!(meta.resource_version.as_deref(), Some("9"));
            let read: Vec<_> = items.iter().map(|item| (address(item), item.is_ok())).collect();
            assert_eq!(
                read,
                [(place("a"), true), (place("b"), false), (place("c"), true)],
                "{list}"
            );
        }
        let line = format!(r#"{{"type": "ADDED", "object": {deep}}}"#);
        let Ok(Event::Applied(item)) = event::<Kanary>(line.as_bytes()) else {
            panic!("it was applied");
        };
        assert_eq!((address(&item), item.is_err()), (place("b"), true));
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
