//! What is known of the route of a run.

use jiff::Timestamp;
use kanary_core::{
    Key,
    observation::{Endpoints, RouteFound, RouteSeen},
};

use super::Memory;

/// What is known of the route that sends the canary its requests.
#[derive(Debug, Default)]
pub(super) struct KnownRoute {
    pub(super) seen: Option<RouteSeen>,
    /// The addresses of the canary.
    endpoints: Option<Endpoints>,
    /// The epoch under which that is known.
    epoch: Option<i64>,
}

impl Memory {
    /// Drops what is known of a route under another epoch: another replica may have written it since.
    pub fn begin_epoch(&self, key: &Key, epoch: Option<i64>) {
        if let Some(known) = self.lock().get_mut(key).filter(|known| known.route.epoch != epoch) {
            known.kept = None;
            known.route = KnownRoute {
                epoch,
                ..KnownRoute::default()
            };
        }
    }

    /// Records a route that was read, or why there is none. Returns what is known of it now.
    pub fn route_read(&self, key: &Key, found: RouteFound, now: Timestamp) -> RouteSeen {
        let mut memory = self.lock();
        let known = memory.entry(key.clone()).or_default();
        let seen = RouteSeen::next(known.route.seen.as_ref(), found, now);
        known.route.seen = Some(seen.clone());
        seen
    }

    /// Records a route as the API server returned it after a write. `clears` says that the write took everything of the Kanary out.
    pub fn route_written(&self, key: &Key, found: RouteFound, clears: bool, now: Timestamp) {
        let seen = self.route_read(key, found, now);
        if let Some(known) = self.lock().get_mut(key) {
            known.route.seen = Some(RouteSeen {
                cleared: clears,
                ..seen
            });
        }
    }

    /// Records the number of ready addresses of the canary, and a port that ready pods lack. Returns what is known of them now.
    pub fn endpoints_read(&self, key: &Key, found: (usize, Option<String>), now: Timestamp) -> Endpoints {
        let mut memory = self.lock();
        let known = memory.entry(key.clone()).or_default();
        let seen = Endpoints::next(known.route.endpoints.take(), found, now);
        known.route.endpoints = Some(seen.clone());
        seen
    }

    /// Drops what is known of a route after a write that failed: the route has to be read again.
    pub fn forget_route(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.route.seen = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kanary_core::api::{KanaryKind, RouteKind, RouteRef};
    use serde_json::{Value, json};

    use super::*;

    fn key() -> Key {
        Key::at(KanaryKind::Deployment, ("eu".to_owned(), "batman".to_owned()))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn route(generation: i64, seen: i64) -> RouteFound {
        let condition = |name: &str| json!({"type": name, "status": "True", "observedGeneration": seen});
        let route: Value = json!({
            "metadata": {"uid": "r", "namespace": "eu", "generation": generation},
            "spec": {"parentRefs": [{"name": "gw"}]},
            "status": {"parents": [{
                "parentRef": {"name": "gw"}, "conditions": [condition("Accepted"), condition("ResolvedRefs")],
            }]},
        });
        let name = RouteRef {
            kind: RouteKind::Http,
            name: "shop".to_owned(),
        };
        RouteFound::There(name, Arc::new(route))
    }

    #[test]
    fn a_version_of_a_route_is_in_force_since_it_was_first_seen_so() {
        let memory = Memory::default();
        let times = |seen: &RouteSeen| (seen.since, seen.taken);
        assert_eq!(times(&memory.route_read(&key(), route(1, 0), at(1))), (at(1), None));
        assert_eq!(
            times(&memory.route_read(&key(), route(1, 1), at(2))),
            (at(1), Some(at(2)))
        );
        assert_eq!(
            times(&memory.route_read(&key(), route(1, 1), at(3))),
            (at(1), Some(at(2)))
        );
        assert_eq!(times(&memory.route_read(&key(), route(2, 1), at(4))), (at(4), None));
    }

    #[test]
    fn a_route_that_this_controller_cleared_stays_so_until_it_is_written_or_another_one_owns_the_run() {
        let memory = Memory::default();
        let is_cleared = |at| memory.route_read(&key(), route(3, 3), at).cleared;
        memory.begin_epoch(&key(), Some(1));
        assert!(!is_cleared(at(1)));
        memory.begin_epoch(&key(), Some(1));
        memory.route_written(&key(), route(3, 3), true, at(2));
        assert!(is_cleared(at(3)));
        memory.begin_epoch(&key(), Some(2));
        assert!(!is_cleared(at(4)));
        memory.route_written(&key(), route(3, 3), true, at(5));
        memory.route_written(&key(), route(4, 3), false, at(6));
        assert!(!is_cleared(at(7)));
        memory.route_written(&key(), route(4, 3), true, at(8));
        memory.forget_route(&key());
        assert!(!is_cleared(at(9)));
    }

    #[test]
    fn addresses_are_known_since_their_number_is_the_same() {
        let memory = Memory::default();
        let since = |ready, now| memory.endpoints_read(&key(), (ready, None), at(now)).since;
        assert_eq!(
            [since(1, 1), since(2, 2), since(2, 5), since(1, 6)],
            [at(1), at(2), at(2), at(6)]
        );
    }
}
