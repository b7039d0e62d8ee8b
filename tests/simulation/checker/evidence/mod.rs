//! The evidence for verdicts, rebuilt from the cluster's history and from the answers of Prometheus. It shares no logic
//! with the controller, so it checks whether a verdict is true and not only whether it was stored.
//!
//! A status is written with the version of the Kanary that was read, and the canary is read live before it passes. A
//! verdict is therefore false if its spec, or the canary at the time of that read, contradicts it, even with network
//! faults. A replica may learn about everything else with a delay; [`Rough`] has the bounds of that delay.

mod answer;
mod canaries;
mod exposed;
mod kanaries;
mod manual;
mod measured;
mod metrics;
mod placed;
mod promotion;
mod rough;
mod services;
mod spans;
mod template;
mod traffic;
mod verdict;

use std::{collections::BTreeMap, sync::Arc};

use kanary_core::{
    api::KanaryStatus,
    status::{SUCCEEDED, find},
};
use kanary_sim::{cluster::Event, metrics_apis::MetricsApis, object::Object};

use crate::{heard::Heard, target_kinds::TargetKind};

pub(crate) use self::rough::Rough;
pub(super) use self::{
    canaries::is_whole,
    exposed::LEAVING,
    kanaries::{initial_delay, needed, period, target},
    placed::{ordinal, partition},
    services::selects,
    verdict::Write,
};
use self::{
    canaries::{Canary, Pod},
    kanaries::Kanary,
    placed::Placed,
    rough::FAIR,
    services::{Service, Slice},
    verdict::{Finding, Verdict},
};

type Labels = BTreeMap<String, String>;

/// The recorded history of the cluster.
pub(crate) struct Evidence {
    /// Requests of the replicas, recorded by the world.
    pub(crate) heard: Heard,
    /// The answers of the metrics APIs.
    pub(crate) metrics_apis: MetricsApis,
    pub(crate) rough: Rough,
    /// Whether policies of the cluster change writes, so that the stored object differs from the request.
    pub(crate) is_mutated: bool,
    /// Kanaries by UID.
    kanaries: BTreeMap<String, Kanary>,
    /// Canaries by UID.
    canaries: BTreeMap<String, Canary>,
    /// The canary of each of its ReplicaSets, by UID.
    sets: BTreeMap<String, String>,
    /// Runs in place, by the UID of their target.
    placed: BTreeMap<String, Placed>,
    /// Pods of StatefulSets that exist, by UID.
    set_pods: BTreeMap<String, Arc<Object>>,
    /// Pods of canaries and of StatefulSets, by UID.
    pods: BTreeMap<String, Pod>,
    /// Services by name.
    services: BTreeMap<String, Service>,
    /// `EndpointSlice`s by name.
    slices: BTreeMap<String, Slice>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            heard: Heard::new(),
            metrics_apis: MetricsApis::default(),
            rough: Rough::always(),
            is_mutated: false,
            kanaries: BTreeMap::new(),
            canaries: BTreeMap::new(),
            sets: BTreeMap::new(),
            placed: BTreeMap::new(),
            set_pods: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
        }
    }
}

impl Evidence {
    /// Records a change of any object except a Kanary.
    pub(super) fn look(&mut self, event: &Event) {
        match &*event.resource {
            resource if TargetKind::of_resource(resource).is_some() => self.look_at_workload(event),
            "replicasets.apps" => self.look_at_replica_set(event),
            "pods" => self.look_at_pod(event),
            "services" => self.look_at_service(event),
            "endpointslices.discovery.k8s.io" => self.look_at_slice(event),
            _ => {}
        }
    }

    /// Problems with a good verdict that was just stored. If the target was missing and created, the verdict belongs to
    /// no canary.
    pub(super) fn verdict(&self, uid: &str, status: &KanaryStatus, write: &Write) -> Vec<Finding> {
        if find(status, SUCCEEDED).is_some_and(|passed| passed.reason == "TargetCreated") {
            return Vec::new();
        }
        let findings = Verdict::of(self, uid, status, write).map(|verdict| verdict.findings());
        findings.unwrap_or_default()
    }
}
