//! What a watch does with the objects that it receives.

use std::{borrow::Cow, collections::BTreeSet, marker::PhantomData};

use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use super::{
    Filter, Sink,
    parse::{Item, address},
    route::Route,
};
use crate::cache::{Cache, Cached, Place, number, place_of};

/// A kind of objects, and what happens to them. A feed is not shared: each watch has its own.
pub(crate) trait Feed {
    /// The type that the API server sends.
    type Object: kube::Resource + DeserializeOwned + Clone;

    /// Name of the kind, for logs.
    fn kind(&self) -> Cow<'static, str>;

    /// Handles an object that was added or changed, and returns the affected Kanaries.
    fn applied(&mut self, cache: &Cache, object: &Self::Object) -> Vec<Key>;

    /// Handles an object that was deleted or no longer matches the selector, as of this version, and returns the affected
    /// Kanaries.
    fn deleted(&mut self, cache: &Cache, place: &Place, version: u64) -> Vec<Key>;

    /// Handles the end of a list of this version: other objects than `listed` do not exist. Returns the affected Kanaries.
    fn listed(&mut self, cache: &Cache, listed: &BTreeSet<Place>, version: u64) -> Vec<Key>;

    /// Handles that the API server does not know the kind, and returns the affected Kanaries. `None` if every cluster has to have it.
    fn missing(&mut self, _cache: &Cache) -> Option<Vec<Key>> {
        None
    }
}

/// Applies lists and events of one watch.
pub(super) struct Share<F: Feed> {
    feed: F,
    pub(super) sink: Sink,
    /// What the current list has contained so far.
    listed: BTreeSet<Place>,
}

impl<F: Feed> Share<F> {
    pub(super) fn new(feed: F, sink: Sink) -> Self {
        Self {
            feed,
            sink,
            listed: BTreeSet::new(),
        }
    }

    pub(super) fn kind(&self) -> Cow<'static, str> {
        self.feed.kind()
    }

    /// Records that the API server does not know the kind. Returns whether a cluster may lack it.
    pub(super) fn missing(&mut self) -> bool {
        let keys = self.feed.missing(&self.sink.cache);
        let is_optional = keys.is_some();
        self.sink.push(keys.unwrap_or_default());
        is_optional
    }

    /// Starts a list, which will contain every object that exists.
    pub(super) fn begin_list(&mut self) {
        self.listed.clear();
    }

    /// Stores an object of a list.
    pub(super) fn list(&mut self, item: &Item<F::Object>) {
        self.listed.insert(address(item).0);
        self.applied(item);
    }

    /// Stores an object.
    pub(super) fn applied(&mut self, item: &Item<F::Object>) {
        match item {
            Ok(object) => {
                let keys = self.feed.applied(&self.sink.cache, object);
                self.sink.push(keys);
            }
            Err(unreadable) => {
                let (namespace, name) = address(item).0;
                let (kind, error) = (self.kind(), &unreadable.why);
                tracing::error!(%kind, namespace, name, %error, "ignoring an object that cannot be parsed");
            }
        }
    }

    /// Removes an object that was deleted or no longer matches the selector.
    pub(super) fn deleted(&mut self, item: &Item<F::Object>) {
        let (place, version) = address(item);
        let keys = self.feed.deleted(&self.sink.cache, &place, number(&version));
        self.sink.push(keys);
    }

    /// Ends a list.
    pub(super) fn end_list(&mut self, version: &str) {
        let listed = std::mem::take(&mut self.listed);
        let keys = self.feed.listed(&self.sink.cache, &listed, number(version));
        self.sink.push(keys);
    }
}

/// Objects that the cache stores.
pub(super) struct Objects<K>(pub(super) Route, pub(super) PhantomData<K>);

impl<K> Feed for Objects<K>
where
    K: Cached + DeserializeOwned,
{
    type Object = K;

    fn kind(&self) -> Cow<'static, str> {
        K::kind(&())
    }

    fn applied(&mut self, cache: &Cache, object: &K) -> Vec<Key> {
        let part = self.0.part_of(object.labels());
        K::report(cache, object, part, |part| self.0.feeds(part))
    }

    fn deleted(&mut self, cache: &Cache, place: &Place, version: u64) -> Vec<Key> {
        K::deleted(cache, place, version, |part| self.0.feeds(part))
    }

    fn listed(&mut self, cache: &Cache, listed: &BTreeSet<Place>, version: u64) -> Vec<Key> {
        let mut keys = K::end_list(cache, &self.0.parts(), |place| listed.contains(place), version);
        keys.extend(K::mark_missing(cache, false).unwrap_or_default());
        keys
    }

    fn missing(&mut self, cache: &Cache) -> Option<Vec<Key>> {
        K::mark_missing(cache, true)
    }
}

/// Kanaries of one kind.
pub(super) struct Kanaries {
    pub(super) kind: KanaryKind,
    pub(super) route: Route,
    pub(super) filter: Option<Filter>,
}

impl Feed for Kanaries {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        self.kind.id().into()
    }

    fn applied(&mut self, cache: &Cache, object: &Kanary) -> Vec<Key> {
        let part = self.route.part_of(object.labels());
        let is_ours = |_: &_| self.filter.as_ref().is_none_or(|filter| filter(self.kind, object));
        let Some(part) = part.filter(is_ours) else {
            let version = object.resource_version().unwrap_or_default();
            return self.deleted(cache, &place_of(object), number(&version));
        };
        match cache.report_kanary(self.kind, object, part, |part| self.route.feeds(part)) {
            Ok(news) => Vec::from_iter(news),
            Err(error) => {
                let key = Key::at(self.kind, place_of(object));
                tracing::error!(key = %key, error, "ignoring an object that cannot be parsed");
                Vec::new()
            }
        }
    }

    fn deleted(&mut self, cache: &Cache, place: &Place, version: u64) -> Vec<Key> {
        let key = Key::at(self.kind, place.clone());
        let left = cache.kanary_deleted(&key, version, |part| self.route.feeds(part));
        Vec::from_iter(left.then_some(key))
    }

    fn listed(&mut self, cache: &Cache, listed: &BTreeSet<Place>, version: u64) -> Vec<Key> {
        let is_listed = |key: &Key| listed.contains(&(key.namespace.clone(), key.name.clone()));
        cache.end_list_of_kanaries(self.kind, &self.route.parts(), is_listed, version)
    }
}
