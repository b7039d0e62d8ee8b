//! The leader grants places. It watches all Kanaries while it leads, and writes the `ConfigMap` when a place becomes free or the
//! line changes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};
use kube::Client;
use tokio::time::{Instant, sleep};

use super::{
    Places, Stored,
    book::{Book, Grant, NAME},
    grant,
    map::Map,
    view::{Applicant, View},
};
use crate::{
    cache::{
        Cache, Place, place_of,
        watch::{Feed, Heartbeat},
    },
    cluster::{
        clock::until,
        error::{ApiError, Class, retry_after},
    },
    shard::serve::Watches,
};

/// Interval between looks at the leadership.
const LOOK: Duration = Duration::from_secs(1);

/// Pause between two writes, and as much again for each thousand places.
const PACE: Duration = Duration::from_millis(200);

/// How long a granted place may belong to a Kanary that the leader does not see. Then the leader lists all Kanaries again.
const UNKNOWN: Duration = Duration::from_mins(1);

/// Whether this replica leads.
pub(crate) type Leads = Box<dyn Fn() -> bool + Send + Sync>;

/// Opens the watches of all Kanaries.
pub(crate) type OpenWatches = Box<dyn Fn(Arc<Applicants>) -> Watches + Send + Sync>;

/// The Kanaries that the leader sees.
pub(crate) struct Applicants {
    places: Arc<Places>,
    view: Mutex<View>,
}

impl Applicants {
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the Kanaries of a kind.
pub(crate) struct KanaryFeed {
    pub(crate) kind: KanaryKind,
    pub(crate) applicants: Arc<Applicants>,
}

impl Feed for KanaryFeed {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        format!("{} for places", self.kind).into()
    }

    fn applied(&mut self, _: &Cache, object: &Kanary) -> Vec<Key> {
        if let Some(applicant) = Applicant::of(object)
            && self
                .applicants
                .lock()
                .put(Key::at(self.kind, place_of(object)), applicant)
        {
            self.applicants.places.changed.notify_one();
        }
        Vec::new()
    }

    fn deleted(&mut self, _: &Cache, place: &Place, _: u64) -> Vec<Key> {
        if self.applicants.lock().remove(&Key::at(self.kind, place.clone())) {
            self.applicants.places.changed.notify_one();
        }
        Vec::new()
    }

    fn listed(&mut self, _: &Cache, listed: &BTreeSet<Place>, _: u64) -> Vec<Key> {
        let is_listed = |key: &Key| listed.contains(&(key.namespace.clone(), key.name.clone()));
        self.applicants.lock().retain(self.kind, is_listed);
        self.applicants.places.changed.notify_one();
        Vec::new()
    }
}

/// Follows the `ConfigMap`.
pub(crate) struct MapFeed(pub(crate) Arc<Places>);

impl Feed for MapFeed {
    type Object = ConfigMap;

    fn kind(&self) -> Cow<'static, str> {
        format!("ConfigMap {NAME}").into()
    }

    fn applied(&mut self, _: &Cache, map: &ConfigMap) -> Vec<Key> {
        self.0.put(map);
        Vec::new()
    }

    fn deleted(&mut self, _: &Cache, _: &Place, version: u64) -> Vec<Key> {
        self.0.removed(version);
        Vec::new()
    }

    fn listed(&mut self, _: &Cache, listed: &BTreeSet<Place>, version: u64) -> Vec<Key> {
        if listed.is_empty() {
            self.0.removed(version);
        }
        Vec::new()
    }
}

/// Grants places while this replica leads.
pub(crate) struct Leader {
    pub(crate) places: Arc<Places>,
    pub(crate) client: Client,
    /// Liveness of the watch of the `ConfigMap`.
    pub(crate) map: Heartbeat,
    pub(crate) leads: Leads,
    pub(crate) watch: OpenWatches,
}

/// A term: what the leader knows since it lists all Kanaries.
struct Term {
    applicants: Arc<Applicants>,
    /// Places that were granted before the lists began.
    before: BTreeMap<String, Grant>,
    /// Places of Kanaries that are not seen, and since when.
    unknown: BTreeMap<String, (Grant, Instant)>,
}

/// What became of a look.
enum Look {
    /// There is nothing to do.
    Rest,
    /// A book with this number of places was written.
    Wrote(usize),
    /// The Kanaries have to be listed again.
    ListAgain,
}

impl Leader {
    /// Runs forever.
    pub(crate) async fn run(self) {
        let map = Map::new(self.client.clone(), &self.places.options.namespace);
        self.map.wait().await;
        loop {
            if !(self.leads)() {
                sleep(LOOK).await;
                continue;
            }
            let applicants = Arc::new(Applicants {
                places: self.places.clone(),
                view: Mutex::default(),
            });
            let stored = self.places.stored();
            let before = stored.as_deref().and_then(Stored::book).cloned().unwrap_or_default();
            let term = Term {
                applicants: applicants.clone(),
                before: before.granted,
                unknown: BTreeMap::new(),
            };
            let watches = (self.watch)(applicants);
            tokio::select! {
                biased;
                () = watches.run => {}
                () = self.lead(&map, term, &watches.heartbeats) => {}
            }
        }
    }

    /// Grants places until this replica does not lead any more, or has to list all Kanaries again.
    async fn lead(&self, map: &Map, mut term: Term, heartbeats: &[Heartbeat]) {
        let mut failures = 0;
        while (self.leads)() {
            if !heartbeats.iter().all(Heartbeat::get) {
                self.rest().await;
                continue;
            }
            match self.look(map, &mut term).await {
                Ok(Look::Rest) => {
                    failures = 0;
                    self.rest().await;
                }
                Ok(Look::Wrote(places)) => {
                    failures = 0;
                    let thousands = u32::try_from(places / 1000).unwrap_or(u32::MAX);
                    sleep(PACE.saturating_mul(thousands.saturating_add(1))).await;
                }
                Ok(Look::ListAgain) => return,
                Err(error) => {
                    failures += 1;
                    if error.class() != Class::Conflict {
                        tracing::warn!(error = error.message(), "could not write the places; retrying");
                    }
                    sleep(retry_after(failures, Duration::from_secs(5))).await;
                    // The reply may be lost, and the watch may be behind.
                    if let Ok(Some(current)) = map.read().await {
                        self.places.put(&current);
                    }
                }
            }
        }
    }

    /// Waits for a change, but not for longer than a leader may lead without knowing.
    async fn rest(&self) {
        tokio::select! {
            biased;
            () = self.places.changed.notified() => {}
            () = sleep(LOOK) => {}
        }
    }

    /// Writes the next content of the `ConfigMap`, if it differs.
    async fn look(&self, map: &Map, term: &mut Term) -> Result<Look, ApiError> {
        let Some(stored) = self.places.stored() else {
            let created = map.write(None, &Book::default()).await?;
            self.places.put(&created);
            return Ok(Look::Wrote(0));
        };
        let Some(book) = stored.book() else {
            return Ok(Look::Rest);
        };
        let next = {
            let mut view = term.applicants.lock();
            view.forget_gone(|uid| book.granted.contains_key(uid));
            let is_gone = |uid: &str, grant: &Grant| view.is_gone(uid) || term.before.get(uid) == Some(grant);
            grant::next(
                book,
                &view,
                is_gone,
                self.places.options.limits,
                self.is_settled(&stored),
            )
        };
        if term.is_confused(&next) {
            return Ok(Look::ListAgain);
        }
        if next == *book {
            return Ok(Look::Rest);
        }
        let written = map.write(Some(&stored.map), &next).await?;
        self.places.put(&written);
        Ok(Look::Wrote(next.granted.len()))
    }

    /// Whether the `ConfigMap` is old enough to grant places.
    fn is_settled(&self, stored: &Stored) -> bool {
        let created = stored.map.metadata.creation_timestamp.as_ref();
        let settled = created.and_then(|created| created.0.checked_add(self.places.options.settle).ok());
        settled.is_none_or(|settled| until(self.places.clock.now(), settled).is_zero())
    }
}

impl Term {
    /// Whether a place has belonged for too long to a Kanary that this leader has never seen. Another leader granted it to one
    /// that had been deleted before this leader's lists.
    fn is_confused(&mut self, book: &Book) -> bool {
        let view = self.applicants.lock();
        let unseen = book.granted.iter().filter(|(uid, _)| view.get(uid).is_none());
        let since = |(uid, grant): (&String, &Grant)| {
            let known = self.unknown.get(uid).filter(|(former, _)| former == grant);
            let since = known.map_or_else(Instant::now, |(_, since)| *since);
            (uid.clone(), (grant.clone(), since))
        };
        let unknown = unseen.map(since).collect();
        drop(view);
        self.unknown = unknown;
        self.unknown.values().any(|(_, since)| since.elapsed() >= UNKNOWN)
    }
}
