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

/// One label, `result` or `outcome`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// The value.
    pub result: &'static str,
}

/// Labels of a write.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WriteLabels {
    /// What was written.
    pub write: &'static str,
    /// `ok`, `conflict`, `transient`, `throttled`, `fenced` or `invalid`.
    pub result: &'static str,
}

/// Every kind of write.
const WRITES: [&str; 8] = [
    "create", "scale", "promote", "unlabel", "delete", "status", "event", "label",
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
    /// What is watched.
    pub watch: String,
}

/// Label of a shard.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ShardLabels {
    /// Its number.
    pub shard: u16,
}

/// Label of a handover.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HandoverLabels {
    /// `taken`, `released` or `lost` of a shard; `seized` of a session.
    pub what: &'static str,
}

/// Every metric of a controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Kanaries by phase, set when read.
    pub kanaries: Family<PhaseLabels, Gauge>,
    /// Keys in the queue, set when read.
    pub queued: Gauge,
    /// Decisions that were made.
    pub decisions: Counter,
    /// Reconciles that panicked.
    pub panics: Counter,
    /// Writes by what and how they ended.
    pub writes: Family<WriteLabels, Counter>,
    /// Runs that ended, by phase.
    pub runs_ended: Family<PhaseLabels, Counter>,
    /// Measurements by outcome: pass, fail, nodata or error.
    pub measurements: Family<OutcomeLabels, Counter>,
    /// Seconds from a deadline to the verdict in the status.
    pub verdict_lateness: Histogram,
    /// Watches that had to start anew.
    pub watch_restarts: Counter,
    /// Of them, those that had gone silent.
    pub watch_stalls: Counter,
    /// Seconds since each watch was last heard of, set when read.
    pub watch_age: Family<WatchLabels, Gauge<f64, AtomicU64>>,
    /// Epoch of each shard that this replica owns, set when read.
    pub shard_epoch: Family<ShardLabels, Gauge>,
    /// Shards that this replica owns, set when read.
    pub shards_owned: Gauge,
    /// Seconds for which this replica may write, if its session is not renewed, set when read.
    pub fence_margin: Gauge<f64, AtomicU64>,
    /// Shards and sessions that changed hands here.
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
            "Kanaries with a time at which they are looked at again",
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
            "Watches that had to start anew",
            metrics.watch_restarts.clone(),
        );
        registry.register(
            "watch_stalls",
            "Watches that had to start anew because they had gone silent",
            metrics.watch_stalls.clone(),
        );
        register_shards(&mut registry, &metrics);
        Self { registry, ..metrics }
    }
}

/// What tells who acts on what.
fn register_shards(registry: &mut Registry, metrics: &Metrics) {
    registry.register(
        "watch_age_seconds",
        "Time since each watch was last heard of",
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
    /// A shard or a session changed hands.
    pub fn handover(&self, what: &'static str) {
        self.handovers.get_or_create(&HandoverLabels { what }).inc();
    }

    /// Writes of any kind that this replica had lost the right to, and that did nothing.
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
