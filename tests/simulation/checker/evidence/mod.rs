//! What verdicts rest on, rebuilt from the cluster's history and from what Prometheus answered, by code that shares nothing
//! with the controller: whether a verdict was true, and not only stored.
//!
//! A status is written on top of the version of the Kanary that was read, and the canary is read live before it passes. So a
//! verdict is held to be false if its spec, or the canary when it was read, speaks against it, in any network faults. Of all else a
//! replica may be told late: [`Rough`] says how late.

mod answer;
mod canaries;
mod exposed;
mod kanaries;
mod measured;
mod promotion;
mod rough;
mod services;
mod spans;
mod template;
mod traffic;
mod verdict;
mod words;

use std::collections::BTreeMap;

use kanary_core::{
    api::KanaryStatus,
    status::{SUCCEEDED, find},
};
use kanary_sim::cluster::Event;

use crate::heard::Heard;

pub(crate) use self::rough::Rough;
use self::{
    canaries::{Canary, Pod},
    kanaries::Kanary,
    rough::FAIR,
    services::{Service, Slice},
    verdict::{Finding, Verdict},
};
pub(super) use self::{
    kanaries::{initial_delay, needed, period},
    services::selects,
    verdict::Write,
};

type Labels = BTreeMap<String, String>;

/// What is kept of the cluster's history.
pub(crate) struct Evidence {
    /// What replicas asked, told by the world.
    pub(crate) heard: Heard,
    pub(crate) rough: Rough,
    /// Policies of the cluster change what is written, so that what is stored is not what was sent.
    pub(crate) is_mutated: bool,
    /// Kanaries by uid.
    kanaries: BTreeMap<String, Kanary>,
    /// Canaries by uid.
    canaries: BTreeMap<String, Canary>,
    /// The canary of each ReplicaSet, by uid.
    sets: BTreeMap<String, String>,
    /// Pods of canaries, by uid.
    pods: BTreeMap<String, Pod>,
    /// Services by name.
    services: BTreeMap<String, Service>,
    /// Slices of endpoints by name.
    slices: BTreeMap<String, Slice>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            heard: Heard::new(),
            rough: Rough::always(),
            is_mutated: false,
            kanaries: BTreeMap::new(),
            canaries: BTreeMap::new(),
            sets: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
        }
    }
}

impl Evidence {
    /// Takes in a change of anything but a Kanary.
    pub(super) fn look(&mut self, event: &Event) {
        match &*event.resource {
            "deployments.apps" => self.look_at_deployment(event),
            "replicasets.apps" => self.look_at_replica_set(event),
            "pods" => self.look_at_pod(event),
            "services" => self.look_at_service(event),
            "endpointslices.discovery.k8s.io" => self.look_at_slice(event),
            _ => {}
        }
    }

    /// What is wrong with a good verdict that was stored just now. That of a target that was missing, and so was created, is
    /// about no canary.
    pub(super) fn verdict(&self, uid: &str, status: &KanaryStatus, write: &Write) -> Vec<Finding> {
        if find(status, SUCCEEDED).is_some_and(|passed| passed.reason == "TargetCreated") {
            return Vec::new();
        }
        let findings = Verdict::of(self, uid, status, write).map(|verdict| verdict.findings());
        findings.unwrap_or_default()
    }
}
