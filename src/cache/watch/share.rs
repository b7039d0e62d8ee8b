//! The part of the cache that one watch owns. Applies lists and watch events to it.

use std::borrow::Cow;

use kanary_core::Key;
use kube::Resource;
use serde::de::DeserializeOwned;

use super::{
    Sink,
    claims::{Claim, Name},
    parse::{Item, address},
};
use crate::cache::{Cache, Gone, Place, number};

/// A kind of objects, and how they are stored in the cache.
pub(crate) trait Feed {
    /// The type that the API server sends.
    type Object: Resource + DeserializeOwned + Clone;

    /// Name of the kind, for logs and claims.
    fn kind(&self) -> Cow<'static, str>;

    /// Stores a version of an object, and returns the affected Kanaries.
    fn put(&self, cache: &Cache, object: &Self::Object) -> Vec<Key>;

    /// Removes an object, and returns the affected Kanaries.
    fn remove(&self, cache: &Cache, place: &Place, gone: Gone) -> Vec<Key>;

    /// All cached objects of this kind with their versions, if other sources than watches add objects.
    fn all(&self, cache: &Cache) -> Vec<(Place, u64)>;
}

/// The part of the cache that one watch owns. It is removed with the watch.
pub(super) struct Share<F: Feed> {
    feed: F,
    pub(super) sink: Sink,
    watch: u64,
    /// Number of lists that were started.
    lists: u64,
}

impl<F: Feed> Share<F> {
    pub(super) fn new(feed: F, sink: Sink) -> Self {
        let watch = sink.claims.enlist();
        Self {
            feed,
            sink,
            watch,
            lists: 0,
        }
    }

    pub(super) fn kind(&self) -> Cow<'static, str> {
        self.feed.kind()
    }

    /// Starts a list, which will apply every object that exists.
    pub(super) fn begin_list(&mut self) {
        self.lists += 1;
    }

    /// Stores an object.
    pub(super) fn applied(&self, item: &Item<F::Object>) {
        let (place, version) = address(item);
        let claim = Claim {
            watch: self.watch,
            version: number(&version),
            list: self.lists,
        };
        let keys = {
            let mut claims = self.sink.claims.lock();
            let name: Name = (self.kind(), place);
            let former = claims.get(&name);
            if former.is_some_and(|former| former.watch != self.watch && former.version > claim.version) {
                // The object has moved to another watch, and this event is late.
                return;
            }
            claims.insert(name, claim);
            match item {
                Ok(object) => self.feed.put(&self.sink.cache, object),
                Err(_) => Vec::new(),
            }
        };
        self.push(keys);
        if let Err(unreadable) = item {
            let (namespace, name) = address(item).0;
            let (kind, error) = (self.kind(), &unreadable.why);
            tracing::error!(%kind, namespace, name, %error, "ignoring an object that cannot be parsed");
        }
    }

    /// Removes an object that was deleted or no longer matches the selector.
    pub(super) fn deleted(&self, item: &Item<F::Object>) {
        let keys = {
            let mut claims = self.sink.claims.lock();
            let (place, version) = address(item);
            let name: Name = (self.kind(), place);
            if claims.get(&name).is_none_or(|claim| claim.watch != self.watch) {
                return;
            }
            claims.remove(&name);
            self.feed.remove(&self.sink.cache, &name.1, Gone::At(number(&version)))
        };
        self.push(keys);
    }

    /// Ends a list: removes objects that this watch had stored and that were not listed. Also removes objects that no watch has
    /// reported, from a response or a live read, unless they are newer than the list.
    pub(super) fn end_list(&self, version: &str) {
        let (kind, version) = (self.kind(), number(version));
        let keys: Vec<_> = {
            let mut claims = self.sink.claims.lock();
            let is_gone = |name: &Name, claim: &Claim| name.0 == kind && self.holds(claim) && claim.list != self.lists;
            let unlisted = claims.extract_if(.., |name, claim| is_gone(name, claim));
            let unlisted = unlisted.map(|((_, place), _)| (place, Gone::Unlisted(version)));
            let mut gone: Vec<_> = unlisted.collect();
            let others = self.feed.all(&self.sink.cache).into_iter();
            let stray = others.filter(|(_, known)| *known <= version).map(|(place, _)| place);
            let stray = stray.filter(|place| !claims.contains_key(&(kind.clone(), place.clone())));
            // This watch may not select the object at all, and the watch that does may report it later.
            gone.extend(stray.map(|place| (place, Gone::Unfollowed)));
            let gone = gone.iter();
            gone.flat_map(|(place, gone)| self.feed.remove(&self.sink.cache, place, *gone))
                .collect()
        };
        self.push(keys);
    }

    fn holds(&self, claim: &Claim) -> bool {
        claim.watch == self.watch
    }

    fn push(&self, keys: Vec<Key>) {
        for key in keys {
            self.sink.queue.push(key);
        }
    }
}

impl<F: Feed> Drop for Share<F> {
    fn drop(&mut self) {
        let keys: Vec<_> = {
            let mut claims = self.sink.claims.lock();
            let mine = claims.extract_if(.., |_, claim| self.holds(claim));
            mine.flat_map(|((_, place), _)| self.feed.remove(&self.sink.cache, &place, Gone::Unfollowed))
                .collect()
        };
        self.push(keys);
    }
}
