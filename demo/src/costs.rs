//! The load that Kanary puts on the API server and Prometheus.

use kanary_sim::server::Entry;

/// Kanary's user name in the API server's audit log.
pub(super) const USER: &str = "system:serviceaccount:kanary:kanary";

/// Requests by Kanary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Costs {
    /// Writes of statuses, canaries and targets.
    pub(super) writes: usize,
    /// Events created.
    pub(super) events: usize,
    /// Deletions and other cleanups after a run ended.
    pub(super) cleanups: usize,
    /// Live reads.
    pub(super) reads: usize,
    /// Queries to Prometheus.
    pub(super) queries: u64,
}

impl Costs {
    /// Counts Kanary's requests in the audit log.
    pub(super) fn count(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| *entry.user == *USER) {
            match (entry.verb, entry.resource.as_str()) {
                ("create" | "update" | "patch", "events") => self.events += 1,
                // Pods that are removed from the production Service.
                ("delete" | "deletecollection", _) | ("patch", "pods") => self.cleanups += 1,
                ("create" | "update" | "patch", _) => self.writes += 1,
                ("get", _) => self.reads += 1,
                _ => {}
            }
        }
    }
}
