//! Watches: into the cache, and from there to the queue. Each follows one kind, or what a label selector picks of it.

mod claims;
mod follow;
mod heartbeat;
mod parse;
mod share;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use kube::Api;
use serde::de::DeserializeOwned;

pub use self::heartbeat::Heartbeat;
pub(crate) use self::share::Feed;
use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};

use self::{claims::Claims, follow::Follower, share::Share};
use crate::{
    cache::{Cache, Cached, Gone, Place, place_of},
    metrics::Metrics,
    queue::Queue,
};

/// Whether a Kanary is taken into the cache.
pub type Filter = Arc<dyn Fn(KanaryKind, &Kanary) -> bool + Send + Sync>;

/// What watches feed.
#[derive(Clone)]
pub struct Sink {
    /// What is known.
    pub cache: Arc<Cache>,
    /// Who is looked at.
    pub queue: Arc<Queue>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which Kanaries are taken into the cache, where several replicas share them; all if it is `None`.
    pub filter: Option<Filter>,
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
            filter: None,
            claims,
        }
    }
}

/// Watches the objects of one kind that `selector` picks by their labels, all of them if it is `None`, until it is dropped.
///
/// What was known stays while the API server is away. What this watch put into the cache goes when it is dropped.
pub(crate) async fn objects<K>(api: Api<K>, selector: Option<String>, sink: Sink, heartbeat: Heartbeat)
where
    K: Cached + DeserializeOwned + Send + Sync + 'static,
{
    follow(Objects::<K>(PhantomData), api, selector, sink, heartbeat).await;
}

/// Watches what `feed` is about, as far as `selector` picks it by its labels, until it is dropped.
pub(crate) async fn follow<F: Feed>(
    feed: F,
    api: Api<F::Object>,
    selector: Option<String>,
    sink: Sink,
    heartbeat: Heartbeat,
) where
    F::Object: Send + Sync + 'static,
{
    Follower::new(api, selector, Share::new(feed, sink), heartbeat)
        .run()
        .await;
}

/// Watches the Kanaries of one kind that `selector` picks by their labels, all of them if it is `None`, until it is
/// dropped. Then what it put into the cache goes.
pub async fn kanaries(kind: KanaryKind, api: Api<Kanary>, selector: Option<String>, sink: Sink, heartbeat: Heartbeat) {
    follow(Kanaries(kind, sink.filter.clone()), api, selector, sink, heartbeat).await;
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

struct Kanaries(KanaryKind, Option<Filter>);

impl Feed for Kanaries {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        self.0.as_str().into()
    }

    fn put(&self, cache: &Cache, object: &Kanary) -> Vec<Key> {
        if self.1.as_ref().is_some_and(|filter| !filter(self.0, object)) {
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
