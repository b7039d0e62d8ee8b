//! Watches: one for each kind, into the cache, and from there to the queue.

use std::{collections::HashSet, fmt::Debug, pin::pin, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::SetOnce;

use crate::{
    api::{Kanary, KanaryKind},
    cache::{Cache, Cached, place_of},
    canary::Key,
    metrics::Metrics,
    queue::Queue,
};

/// What a watch feeds.
#[derive(Clone)]
pub struct Sink {
    /// What is known.
    pub cache: Arc<Cache>,
    /// Who is looked at.
    pub queue: Arc<Queue>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Whether a watch has listed everything once.
#[derive(Clone, Debug, Default)]
pub struct Synced(Arc<SetOnce<()>>);

impl Synced {
    /// Whether it has.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.initialized()
    }

    /// Waits until it has.
    pub async fn wait(&self) {
        self.0.wait().await;
    }

    fn set(&self) {
        // A watch that starts anew lists again.
        let _again = self.0.set(());
    }
}

/// Watches the objects of one kind until the program ends. What was known stays while the API server is away.
pub(crate) async fn objects<K>(api: Api<K>, config: watcher::Config, sink: Sink, synced: Synced)
where
    K: Cached + Resource + DeserializeOwned + Debug + Send + 'static,
{
    let mut listed = HashSet::new();
    let kind = K::kind(&());
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        let touched = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(place_of(&object));
                K::put(&sink.cache, &object)
            }
            Ok(Event::InitDone) => {
                let gone = K::places(&sink.cache)
                    .into_iter()
                    .filter(|place| !listed.contains(place));
                let touched = gone.flat_map(|place| K::remove(&sink.cache, &place)).collect();
                listed = HashSet::new();
                synced.set();
                touched
            }
            Ok(Event::Apply(object)) => K::put(&sink.cache, &object),
            Ok(Event::Delete(object)) => K::remove(&sink.cache, &place_of(&object)),
            Err(error) => {
                restarted(&sink, &kind, &error);
                continue;
            }
        };
        for key in touched {
            sink.queue.push(key);
        }
    }
}

fn restarted(sink: &Sink, kind: &str, error: &watcher::Error) {
    sink.metrics.watch_restarts.inc();
    if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error
        && status.code == 404
    {
        tracing::warn!(
            kind,
            "the API server does not know this kind: `kanary crds | kubectl apply -f -` installs it"
        );
        return;
    }
    tracing::warn!(kind, %error, "a watch starts anew");
}

/// Watches the Kanaries of one kind until the program ends.
pub async fn kanaries(kind: KanaryKind, api: Api<Kanary>, sink: Sink, synced: Synced) {
    let mut listed = HashSet::new();
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(key_of(kind, &object));
                put(kind, &object, &sink);
            }
            Ok(Event::InitDone) => {
                for key in sink
                    .cache
                    .kanaries(kind)
                    .into_iter()
                    .filter(|key| !listed.contains(key))
                {
                    remove(key, &sink);
                }
                listed = HashSet::new();
                synced.set();
            }
            Ok(Event::Apply(object)) => put(kind, &object, &sink),
            Ok(Event::Delete(object)) => remove(key_of(kind, &object), &sink),
            Err(error) => restarted(&sink, kind.as_str(), &error),
        }
    }
}

fn key_of(kind: KanaryKind, object: &Kanary) -> Key {
    let (namespace, name) = place_of(object);
    Key { kind, namespace, name }
}

fn put(kind: KanaryKind, object: &Kanary, sink: &Sink) {
    match sink.cache.put_kanary(kind, object) {
        Ok(Some(key)) => sink.queue.push(key),
        Ok(None) => {}
        Err(error) => {
            let key = key_of(kind, object);
            tracing::error!(key = %key, error, "an object is left alone, because it cannot be read");
        }
    }
}

fn remove(key: Key, sink: &Sink) {
    sink.cache.remove_kanary(&key);
    sink.queue.push(key);
}
