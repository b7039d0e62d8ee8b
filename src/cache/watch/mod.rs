//! Watches: update the cache and queue the affected Kanaries. Each watch follows one kind, optionally with a label selector,
//! and feeds one or more parts of the cache.

mod feed;
mod follow;
mod heartbeat;
mod parse;
mod route;
#[cfg(test)]
mod tests;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};
use kube::Api;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) use self::feed::Feed;
use self::{
    feed::{Kanaries, Objects, Share},
    follow::{Follower, WatchSelector},
};
pub use self::{
    heartbeat::Heartbeat,
    route::{CachePart, Route},
};
use crate::{
    cache::{Cache, Cached},
    metrics::Metrics,
    queue::Queue,
};

/// Decides whether a Kanary is stored in the cache.
pub type Filter = Arc<dyn Fn(KanaryKind, &Kanary) -> bool + Send + Sync>;

/// Whether the response to a write of a Kanary is about to queue it.
pub type Awaited = Arc<dyn Fn(&Key) -> bool + Send + Sync>;

/// How long a Kanary waits for the response to a write that is about to queue it.
const REPLY: Duration = Duration::from_secs(1);

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
    /// Kanaries that are not queued at once, because a response will, which tells more than an event. `None` if there are none.
    pub awaited: Option<Awaited>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

impl Sink {
    /// One sink for all watches that feed the same cache.
    #[must_use]
    pub fn new(cache: Arc<Cache>, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Self {
        Self {
            cache,
            queue,
            metrics,
            filter: None,
            awaited: None,
        }
    }

    /// Queues Kanaries.
    fn push(&self, keys: Vec<Key>) {
        for key in keys {
            if self.awaited.as_ref().is_some_and(|awaited| awaited(&key)) {
                self.queue.push_at(key, Instant::now() + REPLY);
            } else {
                self.queue.push(key);
            }
        }
    }
}

/// A watch: where its objects go, its label selector (all objects if it is `None`), and its heartbeat.
pub struct Watch {
    /// The parts of the cache that it feeds.
    pub route: Route,
    /// Its label selector, or `None` for all objects.
    pub selector: Option<String>,
    /// Where it delivers its objects.
    pub sink: Sink,
    /// Its heartbeat.
    pub heartbeat: Heartbeat,
}

/// Watches the objects of one kind until it is dropped. They stay in the cache while the API server is unreachable, and until
/// their part is dropped.
pub(crate) async fn objects<K>(api: Api<K>, watch: Watch)
where
    K: Cached + DeserializeOwned + Send + Sync + 'static,
{
    let feed = Objects::<K>(watch.route, PhantomData);
    follow(feed, api, watch.selector, watch.sink, watch.heartbeat).await;
}

/// Watches the Kanaries of one kind until it is dropped, like the watches of other objects.
pub async fn kanaries(kind: KanaryKind, api: Api<Kanary>, watch: Watch) {
    let feed = Kanaries {
        kind,
        route: watch.route,
        filter: watch.sink.filter.clone(),
    };
    follow(feed, api, watch.selector, watch.sink, watch.heartbeat).await;
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
    let selector = WatchSelector {
        labels: selector,
        fields: None,
    };
    Follower::new(api, selector, Share::new(feed, sink), heartbeat)
        .run()
        .await;
}

/// Watches the object of this name, until it is dropped.
pub(crate) async fn follow_one<F: Feed>(feed: F, api: Api<F::Object>, name: &str, sink: Sink, heartbeat: Heartbeat)
where
    F::Object: Send + Sync + 'static,
{
    let selector = WatchSelector {
        labels: None,
        fields: Some(format!("metadata.name={name}")),
    };
    Follower::new(api, selector, Share::new(feed, sink), heartbeat)
        .run()
        .await;
}
