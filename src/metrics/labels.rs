//! Labels of metrics. None has an unbounded number of values.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;

use crate::cluster::error::Class;

/// Label of a result or an outcome.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// The value.
    pub result: &'static str,
}

/// Labels of a write.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WriteLabels {
    /// Kind of write.
    pub write: &'static str,
    /// `ok`, or a [`Class`] of errors.
    pub result: &'static str,
}

/// Label of a phase.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct PhaseLabels {
    /// Scheduled, Running, Succeeded, Failed or DeploymentUpdated.
    pub phase: &'static str,
}

/// Labels of Kanaries of a namespace.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct NamespaceLabels {
    /// The namespace. It is not called `namespace`, which is the one of the pod that is scraped.
    pub kanary_namespace: String,
    /// As in [`PhaseLabels`].
    pub phase: &'static str,
}

/// Label of a reconcile under way.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct PaceLabels {
    /// `prompt`, or `slow` after half a second.
    pub pace: &'static str,
}

/// Label of a watch.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WatchLabels {
    /// Name of the watch.
    pub watch: String,
}

/// Label of a shard.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ShardLabels {
    /// Number of the shard.
    pub shard: u16,
}

/// Label of a change of ownership.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HandoverLabels {
    /// `taken`, `released` or `lost` for a shard, `seized` for a session.
    pub what: &'static str,
}

/// Every kind of write.
pub(super) const WRITES: [&str; 17] = [
    "adopt",
    "create",
    "delete",
    "dry-run",
    "event",
    "hand-over",
    "hold",
    "keep",
    "label",
    "place",
    "promote",
    "release",
    "route",
    "scale",
    "status",
    "unlabel",
    "update",
];

/// Every result of a request to Prometheus.
pub(super) const QUERIES: [&str; 6] = ["ok", "down", "slow", "rejected", "refused", "unusable"];

/// Every result of a write.
const RESULTS: [&str; 6] = [
    "ok",
    Class::Conflict.as_str(),
    Class::Transient.as_str(),
    Class::Throttled(Duration::ZERO).as_str(),
    Class::Fenced.as_str(),
    Class::Invalid.as_str(),
];

impl WriteLabels {
    /// Every kind of write with every result.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        WRITES
            .into_iter()
            .flat_map(|write| RESULTS.map(|result| Self { write, result }))
    }
}
