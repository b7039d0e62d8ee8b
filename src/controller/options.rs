//! Options of a controller.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use kanary_core::{
    api::{KanaryKind, WorkloadKind},
    decide,
};

use crate::{
    cluster::{calls::Calls, clock::Clock},
    places,
    prometheus::{Allow, Budget, Transport},
    reconcile::turn::Decide,
    shard::Sharding,
    traces::TraceOptions,
    webhook::WebhookOptions,
};

/// Options of a controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace to serve, or all namespaces if `None`.
    pub namespace: Option<String>,
    /// The kinds to serve, whose CRDs must exist.
    pub kinds: Vec<KanaryKind>,
    /// Address of `/livez`, `/readyz` and `/metrics`; `None` disables the admin server. Port 0 selects a free port.
    pub admin_addr: Option<SocketAddr>,
    /// The cluster's time. A client created with this clock ([`crate::cluster::client`]) synchronizes it with the API server's
    /// clock.
    pub clock: Clock,
    /// The calls of the clients that were created with them.
    pub calls: Calls,
    /// Name of this replica, for Events.
    pub instance: String,
    /// HTTP transport for queries to Prometheus.
    pub prometheus: Transport,
    /// Limits of the queries to Prometheus.
    pub queries: Budget,
    /// The Prometheus servers that Kanaries may name.
    pub allow: Allow,
    /// The decision function. Only simulations replace it, with a faulty one, to prove that they detect the fault.
    pub decide: Decide,
    /// Limits on canaries that run at the same time. `None` if there are none.
    pub places: Option<places::PlaceOptions>,
    /// How replicas share the work. `None` if this is the only replica, which the user must ensure.
    pub sharding: Option<Sharding>,
    /// How long proxies may need to follow a route after gateways have taken it over. `None` turns routes off.
    pub routes: Option<Duration>,
    /// Kinds of targets that Kanaries may have. The objects of other kinds are not watched.
    pub target_kinds: BTreeSet<WorkloadKind>,
    /// Whether canaries may have ScaledObjects of KEDA. Otherwise these are not watched.
    pub keda: bool,
    /// Whether Kanaries may ask the Kubernetes metrics APIs.
    pub metrics_apis: bool,
    /// How Kanaries are converted between versions. `None` turns the webhook off.
    pub conversion: Option<WebhookOptions>,
    /// Where traces are sent. `None` collects none.
    pub traces: Option<TraceOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            kinds: KanaryKind::ALWAYS.to_vec(),
            admin_addr: None,
            clock: Clock::default(),
            calls: Calls::default(),
            instance: String::new(),
            prometheus: Transport::default(),
            queries: Budget::default(),
            allow: Allow::default(),
            decide,
            places: None,
            sharding: None,
            routes: None,
            target_kinds: [WorkloadKind::Deployment].into(),
            keda: false,
            metrics_apis: false,
            conversion: None,
            traces: None,
        }
    }
}
