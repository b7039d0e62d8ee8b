//! How replicas share the work: what a user says about it.

use std::{fmt, time::Duration};

use kanary_core::api::Layout;
use kube::Client;

use super::leader::Election;
use crate::cluster::clock::Monotonic;

/// How replicas share the work.
#[derive(Clone)]
pub struct Sharding {
    /// For Leases only, so that they do not queue behind other calls.
    pub client: Client,
    /// Where the Leases are.
    pub namespace: String,
    /// Name of this replica: one process at a time may have it, and whoever has it takes up what the former had.
    pub identity: String,
    /// Hash of the pod template that this replica runs, to prefer new ones in a rolling update; empty if unknown.
    pub template: String,
    /// How long a session lasts unrenewed.
    pub ttl: Duration,
    /// Time that goes on while the machine is suspended.
    pub time: Monotonic,
    /// How many shards there are, if nobody said so before.
    pub shards: Layout,
    /// Who advises.
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
    /// How often a session is renewed.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.ttl / 5
    }

    /// How long a replica may write after it sent a renewal.
    #[must_use]
    pub fn right(&self) -> Duration {
        self.ttl.saturating_sub(self.margin())
    }

    /// How much earlier than its session a replica's rights end: room for clocks that do not run alike.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.ttl / 3
    }
}
