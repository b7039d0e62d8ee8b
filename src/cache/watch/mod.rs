//! Watches: into the cache, and from there to the queue. Each follows one kind, or what a label selector picks of it.

mod claims;
mod follow;
mod parse;
mod pulse;
mod share;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde::de::DeserializeOwned;

pub use self::pulse::Pulse;
use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};

use self::{
    claims::Claims,
    follow::Follower,
    share::{Feed, Share},
};
use crate::{
    cache::{Cache, Cached, Gone, Place, place_of},
    metrics::Metrics,
    reconcile::queue::Queue,
    shard::{label::Labels, member::Member},
};

/// What watches feed.
#[derive(Clone)]
pub struct Sink {
    /// What is known.
    pub cache: Arc<Cache>,
    /// Who is looked at.
    pub queue: Arc<Queue>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Checks the labels of Kanaries, where several replicas share them.
    pub labels: Option<Arc<Labels>>,
    /// Which watch put what into the cache.
    claims: Arc<Claims>,
}

impl Sink {
    /// One for all watches that feed the same cache.
    #[must_use]
    pub fn new(cache: Arc<Cache>, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Self {
        let claims = Arc::default();
        Self {
            cache,
            queue,
            metrics,
            labels: None,
            claims,
        }
    }
}

/// Watches the objects of one kind that `selector` picks by their labels, all of them if it is `None`, until it is dropped.
///
/// What was known stays while the API server is away. What this watch put into the cache goes when it is dropped.
pub(crate) async fn objects<K>(api: Api<K>, selector: Option<String>, sink: Sink, pulse: Pulse)
where
    K: Cached + DeserializeOwned + Send + Sync + 'static,
{
    let share = Share::new(Objects::<K>(PhantomData), sink);
    Follower::new(api, selector, share, pulse).run().await;
}

/// Watches the Kanaries of one kind that `selector` picks by their labels, all of them if it is `None`, until it is
/// dropped. Then what it put into the cache goes.
pub async fn kanaries(kind: KanaryKind, api: Api<Kanary>, selector: Option<String>, sink: Sink, pulse: Pulse) {
    let share = Share::new(Kanaries(kind, sink.labels.clone()), sink);
    Follower::new(api, selector, share, pulse).run().await;
}

struct Objects<K>(PhantomData<K>);

impl<K> Feed for Objects<K>
where
    K: Cached + DeserializeOwned,
{
    type Object = K;

    fn kind(&self) -> Cow<'static, str> {
        K::kind(&())
    }

    fn put(&self, cache: &Cache, object: &K) -> Vec<Key> {
        K::put(cache, object)
    }

    fn remove(&self, cache: &Cache, place: &Place, gone: Gone) -> Vec<Key> {
        K::remove(cache, place, gone)
    }

    fn all(&self, cache: &Cache) -> Vec<(Place, u64)> {
        K::places(cache)
    }
}

struct Kanaries(KanaryKind, Option<Arc<Labels>>);

impl Feed for Kanaries {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        self.0.as_str().into()
    }

    fn put(&self, cache: &Cache, object: &Kanary) -> Vec<Key> {
        if self.1.as_ref().is_some_and(|labels| !labels.check(self.0, object)) {
            return self.remove(cache, &place_of(object), Gone::Unfollowed);
        }
        match cache.put_kanary(self.0, object) {
            Ok(news) => Vec::from_iter(news),
            Err(error) => {
                let key = Key::at(self.0, place_of(object));
                tracing::error!(key = %key, error, "an object is left alone, because it cannot be read");
                Vec::new()
            }
        }
    }

    fn remove(&self, cache: &Cache, place: &Place, _: Gone) -> Vec<Key> {
        let key = Key::at(self.0, place.clone());
        cache.remove_kanary(&key);
        vec![key]
    }

    fn all(&self, _: &Cache) -> Vec<(Place, u64)> {
        // Replies to writes change Kanaries that are known, and bring no others.
        Vec::new()
    }
}

/// Watches Kanaries whose slot is missing or no slot, until it is dropped: their labels are to be written, nothing else.
pub(crate) async fn strangers(kind: KanaryKind, api: Api<Kanary>, selector: Option<String>, sink: Sink, pulse: Pulse) {
    let share = Share::new(Strangers(kind, sink.labels.clone()), sink);
    Follower::new(api, selector, share, pulse).run().await;
}

struct Strangers(KanaryKind, Option<Arc<Labels>>);

impl Feed for Strangers {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        format!("{} without a slot", self.0).into()
    }

    fn put(&self, _: &Cache, object: &Kanary) -> Vec<Key> {
        if let Some(labels) = &self.1 {
            labels.check(self.0, object);
        }
        Vec::new()
    }

    fn remove(&self, _: &Cache, place: &Place, _: Gone) -> Vec<Key> {
        if let Some(labels) = &self.1 {
            labels.forget_slotless(&Key::at(self.0, place.clone()));
        }
        Vec::new()
    }

    fn all(&self, _: &Cache) -> Vec<(Place, u64)> {
        Vec::new()
    }
}

/// Watches the Leases of replicas and shards, until it is dropped.
pub(crate) async fn leases(api: Api<Lease>, selector: Option<String>, member: Arc<Member>, sink: Sink, pulse: Pulse) {
    Follower::new(api, selector, Share::new(Leases(member), sink), pulse)
        .run()
        .await;
}

struct Leases(Arc<Member>);

impl Feed for Leases {
    type Object = Lease;

    fn kind(&self) -> Cow<'static, str> {
        "Lease".into()
    }

    fn put(&self, _: &Cache, lease: &Lease) -> Vec<Key> {
        self.0.see(lease);
        Vec::new()
    }

    fn remove(&self, _: &Cache, (_, name): &Place, _: Gone) -> Vec<Key> {
        self.0.miss(name);
        Vec::new()
    }

    fn all(&self, _: &Cache) -> Vec<(Place, u64)> {
        Vec::new()
    }
}
