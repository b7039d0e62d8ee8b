//! What one watch has in the cache: the one fold over what lists and watches tell.

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

/// A kind of objects, and how the cache takes them.
pub(crate) trait Feed {
    /// What the API server sends.
    type Object: Resource + DeserializeOwned + Clone;

    /// For people, and to tell it from others.
    fn kind(&self) -> Cow<'static, str>;

    /// Takes in a version of an object; the Kanaries that it matters to.
    fn put(&self, cache: &Cache, object: &Self::Object) -> Vec<Key>;

    /// The object is gone; the Kanaries that it matters to.
    fn remove(&self, cache: &Cache, place: &Place, gone: Gone) -> Vec<Key>;

    /// Everything that the cache has of this kind, with its version, if others than watches bring new objects.
    fn all(&self, cache: &Cache) -> Vec<(Place, u64)>;
}

/// What one watch has in the cache. It goes with the watch.
pub(super) struct Share<F: Feed> {
    feed: F,
    pub(super) sink: Sink,
    watch: u64,
    /// How many lists were begun.
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

    /// A list begins: everything that is there will be applied.
    pub(super) fn begin_list(&mut self) {
        self.lists += 1;
    }

    /// An object is there.
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
                // It has moved on to another watch, and this one is late.
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
            tracing::error!(%kind, namespace, name, %error, "an object is left alone, because it cannot be read");
        }
    }

    /// An object is gone, or is no longer selected.
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

    /// A list has ended: what was here and was not listed is gone. So is what nobody watches, brought by the reply to a
    /// write or by a live read, unless that was after the list.
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
            // This watch may not select it at all, and another may be late to tell of it.
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
