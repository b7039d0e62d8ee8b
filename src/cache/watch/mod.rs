//! Watches: update the cache and queue the affected Kanaries. Each watch follows one kind, optionally with a label selector.

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

/// Decides whether a Kanary is stored in the cache.
pub type Filter = Arc<dyn Fn(KanaryKind, &Kanary) -> bool + Send + Sync>;

/// Where watches deliver their objects.
#[derive(Clone)]
pub struct Sink {
    /// The cache to update.
    pub cache: Arc<Cache>,
    /// The queue of affected Kanaries.
    pub queue: Arc<Queue>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Which Kanaries are stored in the cache, if several replicas share them; `None` stores all.
    pub filter: Option<Filter>,
    /// Which watch put which object into the cache.
    claims: Arc<Claims>,
}

impl Sink {
    /// One sink for all watches that feed the same cache.
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

/// Watches the objects of one kind that match `selector`, or all objects if it is `None`, until it is dropped.
///
/// Objects stay in the cache while the API server is unreachable. The objects that this watch stored are removed when it is
/// dropped.
pub(crate) async fn objects<K>(api: Api<K>, selector: Option<String>, sink: Sink, heartbeat: Heartbeat)
where
    K: Cached + DeserializeOwned + Send + Sync + 'static,
{
    follow(Objects::<K>(PhantomData), api, selector, sink, heartbeat).await;
}

/// Watches the objects of `feed` that match `selector`, until it is dropped.
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

/// Watches the Kanaries of one kind that match `selector`, or all of them if it is `None`, until it is dropped. Then the
/// Kanaries that it stored are removed from the cache.
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
                tracing::error!(key = %key, error, "ignoring an object that cannot be parsed");
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
        // Responses to writes update known Kanaries and do not add new ones.
        Vec::new()
    }
}
