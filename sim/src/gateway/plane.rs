//! What the gateway follows: routes and endpoints that are in force. Leading a request is a pure function of these, of the
//! request and of random numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    request::{Lost, Outcome, Reached, Request, SetCookie},
    table::{Destination, RouteName, Rule, Table, find, service_of},
};
use crate::store::Place;

/// A ready endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) pod: String,
    pub(crate) uid: String,
    /// The tag of the pod's image.
    pub(crate) version: String,
}

/// How a gateway treats sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// A session stays with its Service as long as the rule names it, even with weight 0, as GEP-1619 demands.
    Kept,
    /// A session leaves a Service whose weight is 0, as with Envoy Gateway.
    LeaveAtZero,
    /// `sessionPersistence` is accepted and has no effect, as with istiod.
    Ignored,
}

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Plane {
    pub(super) routes: BTreeMap<RouteName, Arc<Table>>,
    /// The ready endpoints of each Service that exists.
    pub(super) endpoints: BTreeMap<Place, Vec<Endpoint>>,
    /// Uids of pods that accept no connections any more.
    pub(super) closed: BTreeSet<String>,
}

impl Plane {
    /// Leads a request to a pod.
    pub(super) fn lead(&self, request: &Request, sessions: Sessions, rng: &mut fastrand::Rng) -> Outcome {
        let routes = self.routes.iter().map(|(name, table)| (name, &**table));
        let Some((name, index, rule)) = find(routes, request) else {
            return self.unrouted(request, rng);
        };
        let held = rule.session.as_ref().filter(|_| sessions != Sessions::Ignored);
        let (answer, mut cookies) = match self.resume(rule, request, sessions) {
            Some((reached, cookies)) => (Ok(reached), cookies),
            None => self.choose(rule, rng),
        };
        if let (Some(cookie), Ok(reached)) = (held, &answer) {
            cookies.push(SetCookie {
                name: cookie.clone(),
                value: format!("{}/{}", reached.service.1, reached.pod),
                max_age: None,
            });
        }
        let copies = rule.mirrors.iter().filter(|mirror| rng.f64() * 100.0 < mirror.percent);
        let copies: Vec<_> = copies.map(|mirror| mirror.service.clone()).collect();
        Outcome {
            rule: Some((name.clone(), index)),
            answer,
            mirrored: copies
                .iter()
                .filter_map(|service| self.reach(service, rng).ok())
                .collect(),
            cookies,
        }
    }

    /// Leads a request for which there is no route. Inside the mesh, it goes to the Service.
    fn unrouted(&self, request: &Request, rng: &mut fastrand::Rng) -> Outcome {
        let service = service_of(&request.host, "").filter(|_| request.gateway.is_none());
        Outcome {
            rule: None,
            answer: service.map_or(Err(Lost::NoRoute), |service| self.reach(&service, rng)),
            mirrored: Vec::new(),
            cookies: Vec::new(),
        }
    }

    /// The pod of a request's session, or another pod of its Service if that one is gone.
    fn resume(&self, rule: &Rule, request: &Request, sessions: Sessions) -> Option<(Reached, Vec<SetCookie>)> {
        let value = request.cookies.get(rule.session.as_ref()?)?;
        let (service, pod) = value.split_once('/')?;
        let stays = |to: &&Destination| {
            let is_it = to.service.as_ref().is_some_and(|(_, name)| name == service);
            is_it && (to.weight > 0 || sessions == Sessions::Kept)
        };
        let destination = rule.destinations.iter().find(stays)?;
        let service = destination.service.as_ref()?;
        let endpoints = self.endpoints.get(service).filter(|_| sessions != Sessions::Ignored)?;
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.pod == pod)
            .or(endpoints.first())?;
        let reached = self.connect(service, endpoint).ok()?;
        Some((reached, destination.cookies.clone()))
    }

    /// Chooses a destination by weight, and one of its pods.
    fn choose(&self, rule: &Rule, rng: &mut fastrand::Rng) -> (Result<Reached, Lost>, Vec<SetCookie>) {
        let total = rule.total();
        if total == 0 {
            return (Err(Lost::NoService), Vec::new());
        }
        let mut left = rng.u32(..total);
        let chosen = rule.destinations.iter().find(|to| {
            let is_it = left < to.weight;
            left = left.saturating_sub(to.weight);
            is_it
        });
        let service = chosen.and_then(|to| to.service.as_ref());
        let answer = service.map_or(Err(Lost::NoService), |service| self.reach(service, rng));
        let cookies = chosen.map(|to| to.cookies.clone()).filter(|_| answer.is_ok());
        (answer, cookies.unwrap_or_default())
    }

    /// Chooses a pod of a Service.
    fn reach(&self, service: &Place, rng: &mut fastrand::Rng) -> Result<Reached, Lost> {
        let endpoints = self.endpoints.get(service).ok_or(Lost::NoService)?;
        let endpoint = rng.choice(endpoints).ok_or(Lost::NoEndpoint)?;
        self.connect(service, endpoint)
    }

    fn connect(&self, service: &Place, endpoint: &Endpoint) -> Result<Reached, Lost> {
        if self.closed.contains(&endpoint.uid) {
            return Err(Lost::Refused);
        }
        Ok(Reached {
            service: service.clone(),
            pod: endpoint.pod.clone(),
            version: endpoint.version.clone(),
        })
    }
}
