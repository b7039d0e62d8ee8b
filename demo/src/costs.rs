//! What Kanary costs the API server and Prometheus.

use kanary_sim::server::Entry;

/// Who Kanary is to the API server.
pub(super) const USER: &str = "system:serviceaccount:kanary:kanary";

/// Calls of Kanary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Costs {
    /// Statuses, canaries and targets that were written.
    pub(super) writes: usize,
    /// Events.
    pub(super) events: usize,
    /// What was taken away after the end of a run.
    pub(super) cleanups: usize,
    /// Objects that were read live.
    pub(super) reads: usize,
    /// Queries to Prometheus.
    pub(super) queries: u64,
}

impl Costs {
    /// Counts requests of Kanary among what was asked of the API server.
    pub(super) fn count(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| *entry.user == *USER) {
            match (entry.verb, entry.resource.as_str()) {
                ("create" | "update" | "patch", "events") => self.events += 1,
                // Pods that leave the production Service.
                ("delete" | "deletecollection", _) | ("patch", "pods") => self.cleanups += 1,
                ("create" | "update" | "patch", _) => self.writes += 1,
                ("get", _) => self.reads += 1,
                _ => {}
            }
        }
    }
}
