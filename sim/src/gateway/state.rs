//! The state of the gateway, which advances when somebody looks at it.

use std::{collections::BTreeMap, ops::RangeBounds, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Settings,
    counts::{Counts, Fact},
    load::{Load, Running, Ways},
    plane::{Endpoint, Plane, Subsets},
    request::{Lost, Outcome, Reached, Request},
    table::{RouteName, Table, find},
};
use crate::store::Place;

/// A route that came into force.
#[derive(Clone, Debug)]
pub struct Enforced {
    /// When the proxies followed.
    pub at: Timestamp,
    /// Its name.
    pub route: RouteName,
    /// The route, or `None` if it is no longer in force.
    pub table: Option<Arc<Table>>,
}

/// What the proxies will follow.
#[derive(Debug)]
pub(super) enum Change {
    Route(RouteName, Option<Arc<Table>>),
    Endpoints(Place, Option<Vec<Endpoint>>),
    /// Of a DestinationRule.
    Subsets(Place, Option<(Place, Subsets)>),
}

impl Change {
    /// Whether both are about the same thing.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Route(one, _), Self::Route(other, _)) => one == other,
            (Self::Endpoints(one, _), Self::Endpoints(other, _)) | (Self::Subsets(one, _), Self::Subsets(other, _)) => {
                one == other
            }
            _ => false,
        }
    }
}

/// Things by their time, and by their order within the same time.
type Timeline<T> = BTreeMap<(Timestamp, u64), T>;

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) runs: bool,
    pub(super) hangs: bool,
    pub(super) has_webhook: bool,
    pub(super) errors: BTreeMap<String, f64>,
    pub(super) enforced: Vec<Enforced>,
    plane: Plane,
    loads: BTreeMap<String, Running>,
    changes: Timeline<Change>,
    /// Pods that accept no connections from then on.
    closing: Timeline<String>,
    planned: u64,
    /// Number of changes that came into force.
    pub(super) applied: u64,
    now: Timestamp,
    /// For single requests.
    rng: fastrand::Rng,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            settings: Settings::default(),
            runs: false,
            hangs: false,
            has_webhook: false,
            errors: BTreeMap::new(),
            enforced: Vec::new(),
            plane: Plane::default(),
            loads: BTreeMap::new(),
            changes: Timeline::new(),
            closing: Timeline::new(),
            planned: 0,
            applied: 0,
            now,
            rng: fastrand::Rng::with_seed(0),
        }
    }

    /// Advances to `now`: everything happens at its time.
    pub(super) fn settle(&mut self, now: Timestamp) {
        let now = now.max(self.now);
        loop {
            let change = self
                .changes
                .first_key_value()
                .map(|(key, _)| *key)
                .filter(|_| !self.hangs);
            let closing = self.closing.first_key_value().map(|(key, _)| *key);
            let first = change.into_iter().chain(closing).min();
            let Some(first) = first.filter(|(at, _)| *at <= now) else {
                break;
            };
            // What was held back by a control plane that hung comes late.
            self.advance(first.0.max(self.now));
            self.applied += 1;
            if let Some(uid) = self.closing.remove(&first) {
                self.plane.closed.insert(uid);
            }
            if let Some(change) = self.changes.remove(&first) {
                self.apply(change);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, to: Timestamp) {
        let ways = Ways {
            plane: &self.plane,
            sessions: self.settings.sessions,
            errors: &self.errors,
        };
        for load in self.loads.values_mut() {
            load.run(ways, to);
        }
        self.now = to;
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Route(route, table) => {
                match &table {
                    Some(table) => self.plane.routes.insert(route.clone(), table.clone()),
                    None => self.plane.routes.remove(&route),
                };
                let at = self.now;
                self.enforced.push(Enforced { at, route, table });
            }
            Change::Subsets(rule, subsets) => {
                match subsets {
                    Some(subsets) => self.plane.subsets.insert(rule, subsets),
                    None => self.plane.subsets.remove(&rule),
                };
            }
            Change::Endpoints(service, endpoints) => {
                match endpoints {
                    Some(endpoints) => self.plane.endpoints.insert(service, endpoints),
                    None => self.plane.endpoints.remove(&service),
                };
                let known = self.plane.endpoints.values().flatten();
                let known: std::collections::BTreeSet<_> = known.map(|endpoint| &endpoint.uid).collect();
                self.plane.closed.retain(|uid| known.contains(uid));
            }
        }
    }

    /// Plans a change. Changes of the same thing keep their order, and a route follows all endpoints and subsets that were known
    /// before it, as in the protocol of Envoy.
    pub(super) fn plan(&mut self, change: Change, delay: Duration) {
        let is_route = matches!(change, Change::Route(..));
        let first = self.changes.iter().filter(|(_, planned)| match planned {
            Change::Endpoints(..) | Change::Subsets(..) if is_route => true,
            planned => planned.is_like(&change),
        });
        let last = first.map(|((at, _), _)| *at).max().unwrap_or(self.now);
        let key = self.key(self.after(delay).max(last));
        self.changes.insert(key, change);
    }

    pub(super) fn close(&mut self, uid: String) {
        let key = self.key(self.after(self.settings.linger));
        self.closing.insert(key, uid);
    }

    fn after(&self, delay: Duration) -> Timestamp {
        self.now.checked_add(delay).unwrap_or(Timestamp::MAX)
    }

    fn key(&mut self, at: Timestamp) -> (Timestamp, u64) {
        self.planned += 1;
        (at, self.planned)
    }

    pub(super) fn start(&mut self, load: Load) {
        self.loads.insert(load.name.clone(), Running::new(load, self.now));
    }

    pub(super) fn stop(&mut self, load: &str) {
        if let Some(running) = self.loads.get_mut(load) {
            running.end(self.now);
        }
    }

    pub(super) fn counts(&self, load: &str, window: impl RangeBounds<Timestamp>) -> Counts {
        let load = self.loads.get(load);
        load.map(|load| load.facts.counts(window)).unwrap_or_default()
    }

    pub(super) fn facts(&self, until: Timestamp) -> Vec<(Fact, u32)> {
        let facts = self.loads.values().flat_map(|load| load.facts.within(..=until));
        facts.map(|(fact, count)| (fact.clone(), count)).collect()
    }

    pub(super) fn send(&mut self, request: &Request) -> Outcome {
        self.plane.lead(request, self.settings.sessions, &mut self.rng)
    }

    pub(super) fn outcomes(&self, request: &Request) -> Vec<(f64, Result<Reached, Lost>)> {
        self.plane.outcomes(request)
    }

    pub(super) fn share(&self, request: &Request, service: &Place) -> f64 {
        let routes = self.plane.routes.iter().map(|(name, table)| (name, &**table));
        find(routes, request).map_or(0.0, |(_, _, rule)| rule.share(service))
    }

    pub(super) fn in_force(&self, route: &RouteName) -> Option<Arc<Table>> {
        self.plane.routes.get(route).cloned()
    }

    pub(super) fn endpoints(&self, service: &Place) -> usize {
        self.plane.endpoints.get(service).map_or(0, Vec::len)
    }
}
