//! What is known of the route of a run.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{RouteKind, RouteRef},
    route::{self, Standing},
};

/// Pods with ready addresses in the EndpointSlices of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Their number. Pods without a port that the Service sends requests to do not count.
    pub ready: usize,
    /// The `targetPort` that ready pods do not have: the name of a port.
    pub lacking: Option<String>,
    /// Since when there are known to be that many.
    pub since: Timestamp,
}

impl Endpoints {
    /// What is known after `ready` pods were found at `now`, and others that lack a port. `former` was known before.
    #[must_use]
    pub fn next(former: Option<Self>, (ready, lacking): (usize, Option<String>), now: Timestamp) -> Self {
        let since = former
            .filter(|former| former.ready == ready)
            .map_or(now, |former| former.since);
        Self { ready, lacking, since }
    }
}

/// What is known of the route that sends the canary its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSeen {
    /// What was found.
    pub found: RouteFound,
    /// When it was read.
    pub at: Timestamp,
    /// Whether it was read for this decision.
    pub live: bool,
    /// Since when its present version of the spec is known.
    pub since: Timestamp,
    /// Since when gateways are known to have taken that version over.
    pub taken: Option<Timestamp>,
    /// Since when gateways are known to have seen that version, whether or not they accept all of it.
    pub observed: Option<Timestamp>,
    /// Whether this controller took everything of the Kanary out of the route in this run, so that no write of a former owner that
    /// arrives late can apply any more.
    pub cleared: bool,
}

impl RouteSeen {
    /// What is known after `found` was read at `now`. `former` was known before.
    #[must_use]
    pub fn next(former: Option<&Self>, found: RouteFound, now: Timestamp) -> Self {
        let cleared = former.is_some_and(|former| former.cleared && is_same_route(&former.found, &found));
        let former = former.filter(|former| is_same_version(&former.found, &found));
        let standing = match &found {
            RouteFound::There(route, object) => Some(route::standing(route.kind, object)),
            _ => None,
        };
        let is_taken = standing == Some(Standing::Taken);
        let is_observed = matches!(standing, Some(Standing::Taken | Standing::Refused(_)));
        let since = former.map_or(now, |former| former.since);
        let taken = is_taken.then(|| former.and_then(|former| former.taken).unwrap_or(now));
        let observed = is_observed.then(|| former.and_then(|former| former.observed).unwrap_or(now));
        Self {
            found,
            at: now,
            live: false,
            since,
            taken,
            observed,
            cleared,
        }
    }
}

fn is_same_route(former: &RouteFound, now: &RouteFound) -> bool {
    matches!((former, now), (RouteFound::There(one, _), RouteFound::There(other, _)) if one == other)
}

/// Whether a route says the same as before. Each change of what it says has another generation.
fn is_same_version(former: &RouteFound, now: &RouteFound) -> bool {
    let version = |object: &Value| {
        let of = |field: &str| object.pointer(field).cloned();
        (of("/metadata/uid"), of("/metadata/generation"))
    };
    match (former, now) {
        (RouteFound::There(one, former), RouteFound::There(other, now)) => {
            one == other && version(former) == version(now)
        }
        (former, now) => former == now,
    }
}

/// A route, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteFound {
    /// The route.
    There(RouteRef, Arc<Value>),
    /// A route that the spec names, or that was used, does not exist.
    Missing(RouteRef),
    /// No route leads to the production Service.
    Nowhere,
    /// Several routes lead to the production Service.
    Several(Vec<RouteRef>),
    /// The cluster has none of these CRDs.
    NoKind(Vec<RouteKind>),
    /// The API server does not let the controller read it, and its message.
    Forbidden(String),
    /// Routes are off in this installation.
    Disabled,
}
