//! Metrics in the OpenMetrics format. No label has an unbounded number of values.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

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
    /// `ok`, `conflict`, `transient`, `throttled`, `fenced` or `invalid`.
    pub result: &'static str,
}

/// Every kind of write.
const WRITES: [&str; 11] = [
    "adopt",
    "create",
    "delete",
    "dry-run",
    "event",
    "hand-over",
    "label",
    "promote",
    "scale",
    "status",
    "unlabel",
];

/// Label of a phase.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct PhaseLabels {
    /// Scheduled, Running, Succeeded, Failed or DeploymentUpdated.
    pub phase: &'static str,
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

/// All metrics of a controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Kanaries by phase, updated on scrape.
    pub kanaries: Family<PhaseLabels, Gauge>,
    /// Keys in the queue, updated on scrape.
    pub queued: Gauge,
    /// Number of decisions.
    pub decisions: Counter,
    /// Reconciles that panicked.
    pub panics: Counter,
    /// Writes by kind and result.
    pub writes: Family<WriteLabels, Counter>,
    /// Runs that ended, by phase.
    pub runs_ended: Family<PhaseLabels, Counter>,
    /// Measurements by outcome: pass, fail, nodata or error.
    pub measurements: Family<OutcomeLabels, Counter>,
    /// Seconds from a deadline to the verdict in the status.
    pub verdict_lateness: Histogram,
    /// Watches that were restarted.
    pub watch_restarts: Counter,
    /// Watches that were restarted because they had stalled.
    pub watch_stalls: Counter,
    /// Seconds since the last event or bookmark of each watch, updated on scrape.
    pub watch_age: Family<WatchLabels, Gauge<f64, AtomicU64>>,
    /// Epoch of each shard that this replica owns, updated on scrape.
    pub shard_epoch: Family<ShardLabels, Gauge>,
    /// Number of shards that this replica owns, updated on scrape.
    pub shards_owned: Gauge,
    /// Seconds for which this replica may still write if its session is not renewed, updated on scrape.
    pub fence_margin: Gauge<f64, AtomicU64>,
    /// Ownership changes of shards and sessions on this replica.
    pub handovers: Family<HandoverLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kanary");
        let metrics = Self {
            kanaries: Family::default(),
            queued: Gauge::default(),
            decisions: Counter::default(),
            panics: Counter::default(),
            writes: Family::default(),
            runs_ended: Family::default(),
            measurements: Family::default(),
            verdict_lateness: Histogram::new(exponential_buckets(0.01, 2.0, 12)),
            watch_restarts: Counter::default(),
            watch_stalls: Counter::default(),
            watch_age: Family::default(),
            shard_epoch: Family::default(),
            shards_owned: Gauge::default(),
            fence_margin: Gauge::default(),
            handovers: Family::default(),
            registry: Registry::default(),
        };
        registry.register("kanaries", "Kanaries by phase", metrics.kanaries.clone());
        registry.register(
            "queued_keys",
            "Kanaries with a time for the next reconcile",
            metrics.queued.clone(),
        );
        registry.register("decisions", "Decisions made", metrics.decisions.clone());
        registry.register(
            "panics",
            "Reconciles that panicked and were backed off",
            metrics.panics.clone(),
        );
        registry.register("writes", "Writes to the API server", metrics.writes.clone());
        registry.register(
            "runs_ended",
            "Runs that reached a final phase",
            metrics.runs_ended.clone(),
        );
        registry.register(
            "measurements",
            "Measurements of validation items",
            metrics.measurements.clone(),
        );
        registry.register(
            "verdict_lateness_seconds",
            "Time from a run's deadline to its verdict",
            metrics.verdict_lateness.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches that were restarted",
            metrics.watch_restarts.clone(),
        );
        registry.register(
            "watch_stalls",
            "Watches that were restarted because they had stalled",
            metrics.watch_stalls.clone(),
        );
        register_shards(&mut registry, &metrics);
        Self { registry, ..metrics }
    }
}

/// Registers the metrics about shards, sessions and watches.
fn register_shards(registry: &mut Registry, metrics: &Metrics) {
    registry.register(
        "watch_age_seconds",
        "Time since the last event or bookmark of each watch",
        metrics.watch_age.clone(),
    );
    registry.register(
        "shard_epoch",
        "Epoch of each shard that this replica owns",
        metrics.shard_epoch.clone(),
    );
    registry.register(
        "shards_owned",
        "Shards that this replica owns",
        metrics.shards_owned.clone(),
    );
    registry.register(
        "fence_margin_seconds",
        "How long this replica may write if its session is not renewed",
        metrics.fence_margin.clone(),
    );
    registry.register(
        "handovers",
        "Shards that were taken, released or lost, and sessions that were seized, by this replica",
        metrics.handovers.clone(),
    );
}

impl Metrics {
    /// Counts a change of ownership.
    pub fn handover(&self, what: &'static str) {
        self.handovers.get_or_create(&HandoverLabels { what }).inc();
    }

    /// Number of writes of all kinds that were fenced off and had no effect.
    #[must_use]
    pub fn writes_refused(&self) -> u64 {
        let fenced = WRITES.map(|write| WriteLabels {
            write,
            result: Class::Fenced.as_str(),
        });
        let counted = fenced.iter().filter_map(|labels| self.writes.get(labels));
        counted.map(|count| count.get()).sum()
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n"),
        }
    }
}
