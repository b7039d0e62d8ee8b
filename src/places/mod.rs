//! Places for canaries, if the number of those that run at the same time is limited.
//!
//! A run asks for a place in its status and starts when the `ConfigMap` [`NAME`] has its request. The leader writes that, over
//! the version that it read, so two leaders together grant no more than one. The start of a run depends on nothing else: without
//! a leader, runs wait. `grant` is pure, `view` is what the leader knows, `leader` watches and writes, and [`Places`] is
//! what every replica knows from its watch of the `ConfigMap`.

pub mod book;
pub mod grant;
pub(crate) mod leader;
mod map;
pub mod view;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kanary_core::{
    Key, ParsedKanary,
    api::{InLine, PlaceState},
    observation::Limited,
};
use kube::ResourceExt;
use tokio::sync::Notify;

pub use self::{
    book::{Book, NAME},
    grant::CanaryLimits,
};
use crate::{cache::number, cluster::clock::Clock, metrics::Metrics, queue::Queue};

/// How long a new `ConfigMap` grants nothing. Meanwhile, replicas report the runs that have started.
const SETTLE: Duration = Duration::from_secs(10);

/// Options for limits.
#[derive(Clone, Debug)]
pub struct PlaceOptions {
    /// The limits.
    pub limits: CanaryLimits,
    /// Namespace of the `ConfigMap`.
    pub namespace: String,
    /// How long a new `ConfigMap` grants nothing. Tests shorten it.
    pub settle: Duration,
}

impl PlaceOptions {
    /// Limits whose places are stored in this namespace.
    #[must_use]
    pub fn new(limits: CanaryLimits, namespace: String) -> Self {
        Self {
            limits,
            namespace,
            settle: SETTLE,
        }
    }
}

/// What a replica knows of the places that were granted.
#[derive(Debug)]
pub struct Places {
    options: PlaceOptions,
    clock: Clock,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Notified when the leader should look again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The newest version that is known, also of a `ConfigMap` that was deleted.
    version: u64,
    /// Shared, because it is large and every look of the leader takes it.
    stored: Option<Arc<Stored>>,
    /// Kanaries of this replica that wait.
    waiting: HashMap<Key, Request>,
    by_uid: HashMap<String, Key>,
    /// Those whose place in the line is not known yet, the oldest request first.
    unplaced: BTreeSet<(i64, Key)>,
}

/// A request that waits.
#[derive(Debug)]
struct Request {
    uid: String,
    requested: i64,
}

/// A `ConfigMap` and its content.
#[derive(Debug)]
struct Stored {
    map: ConfigMap,
    book: Result<Book, String>,
}

impl Stored {
    fn book(&self) -> Option<&Book> {
        self.book.as_ref().ok()
    }
}

impl State {
    fn forget(&mut self, key: &Key) {
        if let Some(request) = self.waiting.remove(key) {
            self.by_uid.remove(&request.uid);
            self.unplaced.remove(&(request.requested, key.clone()));
        }
    }
}

impl Places {
    /// Nothing is known yet, so nothing starts.
    #[must_use]
    pub fn new(options: PlaceOptions, clock: Clock, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Self {
        let limit = options.limits.total.map_or(0, i64::from);
        metrics.places_limit.set(limit);
        Self {
            options,
            clock,
            queue,
            metrics,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Namespace of the `ConfigMap`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.options.namespace
    }

    /// Where the request of a Kanary stands. A Kanary that waits is queued when that changes.
    pub fn look(&self, kanary: &ParsedKanary) -> Limited {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.forget(&kanary.key);
        let book = state.stored.as_deref().and_then(Stored::book);
        let grant = book.and_then(|book| book.granted.get(&kanary.uid));
        let CanaryLimits { total, per_namespace } = self.options.limits;
        let mut limited = Limited {
            total,
            per_namespace,
            granted: grant.and_then(|grant| view::time(grant.requested)),
            line: None,
        };
        let place = kanary.status.place.as_ref();
        let Some(place) = place.filter(|place| place.state == PlaceState::Waiting) else {
            return limited;
        };
        let requested = place.requested_at.as_millisecond();
        if grant.is_some_and(|grant| grant.requested == requested) {
            return limited;
        }
        if place.line.is_none() {
            limited.line = book.and_then(|book| in_line(book, &kanary.uid, requested, self.clock.now()));
            state.unplaced.insert((requested, kanary.key.clone()));
        }
        state.by_uid.insert(kanary.uid.clone(), kanary.key.clone());
        let uid = kanary.uid.clone();
        state.waiting.insert(kanary.key.clone(), Request { uid, requested });
        limited
    }

    /// The number of Kanaries of this replica that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Forgets a Kanary that is not in the cache any more.
    pub fn forget(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// Takes over the `ConfigMap`, unless a newer version is known.
    fn put(&self, map: &ConfigMap) {
        let version = number(&map.resource_version().unwrap_or_default());
        let book = Book::decode(map.data.as_ref().unwrap_or(&std::collections::BTreeMap::new()));
        let mut state = self.lock();
        if version < state.version {
            return;
        }
        state.version = version;
        match &book {
            Ok(book) => {
                self.count(book);
                self.wake(&mut state, book);
            }
            Err(error) => tracing::error!(error, "ConfigMap {NAME} cannot be read: runs wait for their places"),
        }
        let map = map.clone();
        state.stored = Some(Arc::new(Stored { map, book }));
        drop(state);
        self.changed.notify_one();
    }

    /// The `ConfigMap` did not exist in this version.
    fn removed(&self, version: u64) {
        let mut state = self.lock();
        if version >= state.version {
            state.version = version;
            state.stored = None;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Queues the Kanaries that got a place, and those whose place in the line is known now.
    fn wake(&self, state: &mut State, book: &Book) {
        let former = state.stored.as_deref().and_then(Stored::book);
        for (uid, grant) in &book.granted {
            let is_new = former.is_none_or(|former| former.granted.get(uid) != Some(grant));
            if let Some(key) = state.by_uid.get(uid).filter(|_| is_new) {
                self.queue.push(key.clone());
            }
        }
        while let Some(first) = state
            .unplaced
            .first()
            .filter(|(requested, _)| *requested <= book.newest)
        {
            let (_, key) = first.clone();
            state.unplaced.pop_first();
            self.queue.push(key);
        }
    }

    fn count(&self, book: &Book) {
        let granted = i64::try_from(book.granted.len()).unwrap_or(i64::MAX);
        self.metrics.places_granted.set(granted);
    }

    fn stored(&self) -> Option<Arc<Stored>> {
        self.lock().stored.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a request in the line. `None` if the leader may not have seen it yet.
fn in_line(book: &Book, uid: &str, requested: i64, now: Timestamp) -> Option<InLine> {
    let position = book.line.iter().position(|next| next.uid == uid);
    let position = position.and_then(|index| u32::try_from(index + 1).ok());
    let is_behind = requested <= book.newest && book.waiting as usize > book.line.len();
    (position.is_some() || is_behind).then_some(InLine {
        position,
        waiting: book.waiting,
        at: now,
    })
}

#[cfg(test)]
mod tests;
