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
    /// The labels of the pod.
    pub(crate) labels: BTreeMap<String, String>,
}

/// The subsets of a Service, each with the labels of its pods.
pub(crate) type Subsets = BTreeMap<String, BTreeMap<String, String>>;

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
    /// The Service and its subsets of each DestinationRule.
    pub(super) subsets: BTreeMap<Place, (Place, Subsets)>,
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
                .filter_map(|service| self.reach(service, None, rng).ok())
                .collect(),
            cookies,
        }
    }

    /// Leads a request for which there is no route. Inside the mesh, it goes to the Service.
    fn unrouted(&self, request: &Request, rng: &mut fastrand::Rng) -> Outcome {
        let service = service_of(&request.host, "").filter(|_| request.gateway.is_none());
        Outcome {
            rule: None,
            answer: service.map_or(Err(Lost::NoRoute), |service| self.reach(&service, None, rng)),
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
        let answer = chosen.map_or(Err(Lost::NoService), |to| match &to.service {
            Some(service) => self.reach(service, to.subset.as_deref(), rng),
            None => Err(Lost::NoService),
        });
        let cookies = chosen.map(|to| to.cookies.clone()).filter(|_| answer.is_ok());
        (answer, cookies.unwrap_or_default())
    }

    /// Chooses a pod of a Service, or of a subset of it.
    fn reach(&self, service: &Place, subset: Option<&str>, rng: &mut fastrand::Rng) -> Result<Reached, Lost> {
        let endpoints = self.pods(service, subset)?;
        let endpoint = rng.choice(endpoints).ok_or(Lost::NoEndpoint)?;
        self.connect(service, endpoint)
    }

    /// The pods of a Service, or of a subset of it, which a DestinationRule has to declare.
    fn pods(&self, service: &Place, subset: Option<&str>) -> Result<Vec<&Endpoint>, Lost> {
        let all = self.endpoints.get(service).ok_or(Lost::NoService)?;
        let Some(subset) = subset else {
            return Ok(all.iter().collect());
        };
        let mut rules = self.subsets.values().filter(|(of, _)| of == service);
        let labels = rules
            .find_map(|(_, subsets)| subsets.get(subset))
            .ok_or(Lost::NoService)?;
        let has = |endpoint: &&Endpoint| {
            labels
                .iter()
                .all(|(name, value)| endpoint.labels.get(name) == Some(value))
        };
        Ok(all.iter().filter(has).collect())
    }

    /// How requests like this one end, without a session: outcomes, each with its part of the requests, from 0 to 1.
    pub(super) fn outcomes(&self, request: &Request) -> Vec<(f64, Result<Reached, Lost>)> {
        let routes = self.routes.iter().map(|(name, table)| (name, &**table));
        let Some((_, _, rule)) = find(routes, request) else {
            let service = service_of(&request.host, "").filter(|_| request.gateway.is_none());
            return service.map_or_else(
                || vec![(1.0, Err(Lost::NoRoute))],
                |service| self.spread(1.0, &service, None),
            );
        };
        let total = f64::from(rule.total());
        let weighted = rule.destinations.iter().filter(|to| to.weight > 0);
        let parts = weighted.flat_map(|to| {
            let part = f64::from(to.weight) / total;
            match &to.service {
                Some(service) => self.spread(part, service, to.subset.as_deref()),
                None => vec![(part, Err(Lost::NoService))],
            }
        });
        let outcomes: Vec<_> = parts.collect();
        if outcomes.is_empty() {
            return vec![(1.0, Err(Lost::NoService))];
        }
        outcomes
    }

    /// A part of the requests, spread over the pods of a Service or of a subset.
    fn spread(&self, part: f64, service: &Place, subset: Option<&str>) -> Vec<(f64, Result<Reached, Lost>)> {
        let pods = match self.pods(service, subset) {
            Ok(pods) if pods.is_empty() => return vec![(part, Err(Lost::NoEndpoint))],
            Ok(pods) => pods,
            Err(lost) => return vec![(part, Err(lost))],
        };
        let each = part / f64::from(u32::try_from(pods.len()).unwrap_or(u32::MAX));
        pods.into_iter()
            .map(|endpoint| (each, self.connect(service, endpoint)))
            .collect()
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
