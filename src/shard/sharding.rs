//! Options for sharing the work among replicas.

use std::{fmt, time::Duration};

use kanary_core::api::Layout;
use kube::Client;

use super::leader::Election;
use crate::cluster::clock::Monotonic;

/// Options for sharing the work among replicas.
#[derive(Clone)]
pub struct Sharding {
    /// A client for Leases only, so that their requests do not queue behind others.
    pub client: Client,
    /// Namespace of the Leases.
    pub namespace: String,
    /// Identity of this replica. Only one process at a time may use it; a restarted process takes over its previous shards.
    pub identity: String,
    /// Hash of this replica's pod template, to prefer new replicas in a rolling update; empty if unknown.
    pub template: String,
    /// How long a session lasts without renewal.
    pub ttl: Duration,
    /// Monotonic time that includes suspend.
    pub time: Monotonic,
    /// Number of shards, if none is stored yet.
    pub shards: Layout,
    /// How the leader is chosen.
    pub election: Election,
}

impl fmt::Debug for Sharding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharding")
            .field("namespace", &self.namespace)
            .field("identity", &self.identity)
            .field("ttl", &self.ttl)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl Sharding {
    /// Interval between session renewals.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.ttl / 5
    }

    /// How long a replica may write after it has sent a renewal.
    #[must_use]
    pub fn right(&self) -> Duration {
        self.ttl.saturating_sub(self.margin())
    }

    /// How much earlier than its session the replica's rights end, to allow for clock drift.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.ttl / 3
    }
}
