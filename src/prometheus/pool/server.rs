//! The queries that wait for one server, and their order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Answered, Waiting, rate::Rate, starved::Numbers};

/// Number of queries of a namespace that are considered at a time.
const CONSIDERED: usize = 128;

/// A position in the queue of a namespace: the time by which the answer is due, and the order of arrival.
pub(super) type Position = (Due, u64);

/// A time in microseconds since the pool was created. It may be negative.
pub(super) type Due = i64;

/// The queries of one namespace.
struct Waiters<R: Answered> {
    waiting: BTreeMap<Position, Waiting<R>>,
    /// Up to when the namespace has used its share of the server. While namespaces compete, a query counts as due at this time
    /// at the earliest, so that many urgent queries of one namespace do not delay those of others without end.
    used: Due,
}

impl<R: Answered> Default for Waiters<R> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            used: 0,
        }
    }
}

/// A server: what it does and what waits for it.
pub(super) struct Server<R: Answered> {
    pub(super) rate: Rate,
    pub(super) in_flight: usize,
    /// Maximum number of queries in one request.
    pub(super) width: usize,
    /// When more are tried, after a joined request took too long.
    pub(super) wider: Option<Instant>,
    /// Where it waits for a place of the process.
    pub(super) starved: Numbers,
    /// By namespace. A lane without queries stays while its share is used up.
    lanes: BTreeMap<Arc<str>, Waiters<R>>,
}

impl<R: Answered> Server<R> {
    pub(super) fn new(width: usize) -> Self {
        Self {
            rate: Rate::default(),
            in_flight: 0,
            width,
            wider: None,
            starved: Numbers::new(),
            lanes: BTreeMap::new(),
        }
    }

    pub(super) fn push(&mut self, due: Due, number: u64, waiting: Waiting<R>) {
        let lane = self.lanes.entry(waiting.query.namespace.clone()).or_default();
        lane.waiting.insert((due, number), waiting);
    }

    /// The number of queries that may be in one request now. It doubles once a minute after a joined request took too long.
    pub(super) fn width(&mut self, most: usize, now: Instant) -> usize {
        if self.wider.is_some_and(|wider| wider <= now) {
            self.width = self.width.saturating_mul(2).min(most);
            self.wider = (self.width < most).then(|| now + Duration::from_mins(1));
        }
        self.width
    }

    pub(super) fn waits(&self) -> bool {
        self.lanes.values().any(|lane| !lane.waiting.is_empty())
    }

    /// Whether nothing is lost if the server is forgotten.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0
            && self.starved.is_empty()
            && self.wider.is_none()
            && self.rate.is_idle(now)
            && !self.waits()
    }

    pub(super) fn get(&self, namespace: &str, place: Position) -> Option<&Waiting<R>> {
        self.lanes.get(namespace)?.waiting.get(&place)
    }

    pub(super) fn remove(&mut self, namespace: &str, place: Position) -> Option<Waiting<R>> {
        self.lanes.get_mut(namespace)?.waiting.remove(&place)
    }

    /// The queries in the order in which they should be sent: the earliest deadline first, among namespaces that use no more
    /// than their share.
    pub(super) fn ordered(&self, interval: Duration, now: Due) -> Vec<(Arc<str>, Position)> {
        let cost = self.cost(interval);
        let mut all = Vec::new();
        for (namespace, lane) in &self.lanes {
            let mut used = lane.used.max(now);
            for place in lane.waiting.keys().take(CONSIDERED) {
                all.push((place.0.max(used), *place, namespace));
                used = used.saturating_add(cost);
            }
        }
        all.sort_unstable();
        let place = |(_, place, namespace): (Due, Position, &Arc<str>)| (namespace.clone(), place);
        all.into_iter().map(place).collect()
    }

    /// Charges a namespace for a request.
    pub(super) fn charge(&mut self, namespace: &str, interval: Duration, now: Due) {
        let cost = self.cost(interval);
        if let Some(lane) = self.lanes.get_mut(namespace) {
            lane.used = lane.used.max(now).saturating_add(cost);
        }
        self.lanes.retain(|_, lane| !lane.waiting.is_empty() || lane.used > now);
    }

    /// The time for which a request uses up the share of its namespace.
    fn cost(&self, interval: Duration) -> Due {
        let active = self
            .lanes
            .values()
            .filter(|lane| !lane.waiting.is_empty())
            .count()
            .max(1);
        let interval = Due::try_from(interval.as_micros()).unwrap_or(Due::MAX);
        interval.saturating_mul(Due::try_from(active).unwrap_or(Due::MAX))
    }
}
