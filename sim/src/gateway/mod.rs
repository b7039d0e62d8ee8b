//! A gateway: it leads requests to pods by HTTPRoutes, GRPCRoutes and VirtualServices, as Envoy and its control plane do.
//!
//! It runs as soon as the CustomResourceDefinition of such a route is installed. The control plane, which is a controller of
//! the cluster, translates a route after [`Settings::latency`] and reports that in the route's status. The proxies follow
//! after [`Settings::delay`]: the status tells that a route was translated, not that it is in force. A route follows all
//! endpoints that the control plane knew before it, but not the other way round.
//!
//! Requests cost nothing while nobody asks about them: the requests of a [`Load`] are led when somebody does, with the routes
//! and endpoints that were in force at the time of each request. The order and the results depend only on the seeds.

mod counts;
pub mod definitions;
pub(crate) mod gateway_api;
pub(crate) mod istio;
mod load;
mod plane;
mod request;
mod series;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod webhook;

use std::{
    ops::{RangeBounds, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use self::plane::{Endpoint, Subsets};
pub use self::{
    counts::Counts,
    load::Load,
    plane::Sessions,
    request::{Lost, Outcome, Reached, Request, SetCookie},
    state::Enforced,
    table::{Destination, Entrance, Mirror, RouteName, Rule, Table},
};
use self::{
    counts::Fact,
    state::{Change, State},
};
use crate::{cluster::Cluster, custom::DEFINITIONS, failure::Failure, store::Place, write::WriteOptions};

/// The kinds of routes.
pub(crate) const ROUTES: [&str; 3] = [
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "virtualservices.networking.istio.io",
];

/// How the gateway behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `controllerName` in the status of routes.
    pub controller: String,
    /// Time from a change of a route to its translation, which the status reports.
    pub latency: RangeInclusive<Duration>,
    /// Time from the translation until the proxies follow.
    pub delay: RangeInclusive<Duration>,
    /// Time from a change of an EndpointSlice until the proxies follow.
    pub endpoints: RangeInclusive<Duration>,
    /// How long a deleted pod still accepts connections, as with a `preStop` hook.
    pub linger: Duration,
    /// How it treats `sessionPersistence`.
    pub sessions: Sessions,
}

impl Default for Settings {
    /// The times of Istio 1.31, as measured.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            controller: "gateway.test/controller".to_owned(),
            latency: ms(15)..=ms(60),
            delay: ms(70)..=ms(120),
            endpoints: ms(100)..=ms(400),
            linger: Duration::from_secs(2),
            sessions: Sessions::Kept,
        }
    }
}

/// A gateway. Clones share the same state.
#[derive(Clone)]
pub struct Gateway {
    cluster: Cluster,
    state: Arc<Mutex<State>>,
}

impl Gateway {
    /// The gateway of a cluster.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
            state: Arc::new(Mutex::new(State::new(cluster.now()))),
        }
    }

    /// The state up to now. Nobody may call the cluster while it is locked.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(self.cluster.now());
        state
    }

    /// Installs the CustomResourceDefinitions of Gateway API.
    ///
    /// # Errors
    ///
    /// Returns the API server's refusal.
    pub fn install_gateway_api(&self) -> Result<(), Failure> {
        self.install(definitions::gateway_api())
    }

    /// Installs the CustomResourceDefinitions of Istio, and the webhook that validates VirtualServices.
    ///
    /// # Errors
    ///
    /// Returns the API server's refusal.
    pub fn install_istio(&self) -> Result<(), Failure> {
        self.install(definitions::istio())?;
        self.settled().has_webhook = true;
        self.cluster.set_policy(webhook::answering());
        Ok(())
    }

    fn install(&self, definitions: Vec<Value>) -> Result<(), Failure> {
        for definition in definitions {
            self.cluster.transact("system:admin", |txn| {
                let resource = txn.state.registry.named(DEFINITIONS).cloned();
                let resource = resource.ok_or_else(|| Failure::not_found(DEFINITIONS, ""))?;
                txn.create(&resource, "", definition, WriteOptions::default())
            })?;
        }
        Ok(())
    }

    /// Changes how it behaves from now on. What is under way keeps its time.
    pub fn set(&self, settings: Settings) {
        self.settled().settings = settings;
    }

    /// How it behaves.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settled().settings.clone()
    }

    /// Stops its control plane like `kill -STOP`, or lets it go on. Meanwhile no route is translated, the proxies follow
    /// neither routes nor endpoints, and a write of a VirtualService fails after the API server's timeout for webhooks.
    pub fn hang(&self, hangs: bool) {
        let mut state = self.settled();
        state.hangs = hangs;
        let has_webhook = state.has_webhook;
        drop(state);
        if has_webhook {
            let webhook = if hangs {
                webhook::hanging()
            } else {
                webhook::answering()
            };
            self.cluster.set_policy(webhook);
        }
    }

    /// Sets the part of a version's answers that are errors, from 0 to 1.
    pub fn set_errors(&self, version: &str, part: f64) {
        self.settled().errors.insert(version.to_owned(), part);
    }

    /// Starts a load.
    pub fn start(&self, load: Load) {
        self.settled().start(load);
    }

    /// Ends a load. Its record stays.
    pub fn stop(&self, load: &str) {
        self.settled().stop(load);
    }

    /// What happened to the requests of a load in a window of time.
    #[must_use]
    pub fn counts(&self, load: &str, window: impl RangeBounds<Timestamp>) -> Counts {
        self.settled().counts(load, window)
    }

    /// Sends one request, which no record contains.
    #[must_use]
    pub fn send(&self, request: &Request) -> Outcome {
        self.settled().send(request)
    }

    /// How requests like this one end, without a session: outcomes, each with its part of the requests, from 0 to 1.
    #[must_use]
    pub fn outcomes(&self, request: &Request) -> Vec<(f64, Result<Reached, Lost>)> {
        self.settled().outcomes(request)
    }

    /// The share of a Service in requests like this one, without a session, from 0 to 1.
    #[must_use]
    pub fn share(&self, request: &Request, service: &Place) -> f64 {
        self.settled().share(request, service)
    }

    /// A route as it is in force. `kind` is like `httproutes.gateway.networking.k8s.io`.
    #[must_use]
    pub fn in_force(&self, kind: &str, place: &Place) -> Option<Arc<Table>> {
        self.settled().in_force(&(kind.into(), place.clone()))
    }

    /// Number of ready endpoints of a Service that are in force.
    #[must_use]
    pub fn endpoints(&self, service: &Place) -> usize {
        self.settled().endpoints(service)
    }

    /// Number of changes that came into force, of routes, subsets, endpoints and pods. As long as it stays the same, so does
    /// everything that requests meet.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.settled().applied
    }

    /// The routes that came into force since the last call, oldest first.
    #[must_use]
    pub fn take_enforced(&self) -> Vec<Enforced> {
        std::mem::take(&mut self.settled().enforced)
    }

    /// How often each fact happened until `at`, over all loads.
    fn facts(&self, at: Timestamp) -> Vec<(Fact, u32)> {
        self.settled().facts(at)
    }
}

/// The control plane's part.
impl Gateway {
    /// Whether it runs.
    pub(crate) fn runs(&self) -> bool {
        self.settled().runs
    }

    /// Starts it. Returns whether it did not run before.
    pub(crate) fn run(&self) -> bool {
        !std::mem::replace(&mut self.settled().runs, true)
    }

    pub(crate) fn hangs(&self) -> bool {
        self.settled().hangs
    }

    /// Brings a route into force after `delay`, or takes it out of force.
    pub(crate) fn enforce(&self, route: RouteName, table: Option<Table>, delay: Duration) {
        let change = Change::Route(route, table.map(Arc::new));
        self.settled().plan(change, delay);
    }

    /// Brings the endpoints of a Service into force after `delay`. A Service that does not exist has none.
    pub(crate) fn set_endpoints(&self, service: Place, endpoints: Option<Vec<Endpoint>>, delay: Duration) {
        self.settled().plan(Change::Endpoints(service, endpoints), delay);
    }

    /// Brings the subsets of a DestinationRule into force after `delay`, or takes them out of force.
    pub(crate) fn set_subsets(&self, rule: Place, subsets: Option<(Place, Subsets)>, delay: Duration) {
        self.settled().plan(Change::Subsets(rule, subsets), delay);
    }

    /// Notes the end of a pod, which accepts no connections after [`Settings::linger`].
    pub(crate) fn close(&self, uid: String) {
        self.settled().close(uid);
    }
}
