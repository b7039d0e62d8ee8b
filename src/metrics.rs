//! Metrics in the OpenMetrics format.

mod conversions;
mod labels;
mod namespaces;
mod queries;
mod register;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use kanary_core::{
    api::{KanaryStatus, Reason},
    status::{self, Phase},
};
use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

pub use self::conversions::ConversionMetrics;
use self::labels::WRITES;
pub use self::labels::{
    HandoverLabels, NamespaceLabels, OutcomeLabels, PaceLabels, PhaseLabels, ShardLabels, WatchLabels, WriteLabels,
};
pub use self::namespaces::{Census, Namespaces};
pub use self::queries::QueryMetrics;
pub use self::traces::{LossLabels, TraceCounters};
use crate::cluster::{
    calls::Calls,
    clock::until,
    error::{ApiError, Class},
};

/// All phases.
const PHASES: [Phase; 5] = [
    Phase::Scheduled,
    Phase::Running,
    Phase::Succeeded,
    Phase::Failed,
    Phase::DeploymentUpdated,
];

/// Upper bounds of the histogram of runs, in seconds: from half a minute to a day.
const RUN_BUCKETS: [f64; 8] = [30.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0];

/// All metrics of a controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Kanaries by phase, updated on scrape.
    pub kanaries: Family<PhaseLabels, Gauge>,
    /// Kanaries by namespace and phase, updated on scrape.
    pub namespaces: Namespaces,
    /// Keys in the queue, updated on scrape.
    pub queued: Gauge,
    /// Keys in the queue that are due, updated on scrape.
    pub due: Gauge,
    /// Seconds from the time at which a key was due to its reconcile.
    pub queue_wait: Histogram,
    /// Reconciles under way, updated on scrape.
    pub reconciles: Family<PaceLabels, Gauge>,
    /// Reconciles that became slow.
    pub slow_reconciles: Counter,
    /// How often a namespace had to wait because it had its share of reconciles under way.
    pub held_namespaces: Counter,
    /// Number of decisions.
    pub decisions: Counter,
    /// Reconciles that panicked.
    pub panics: Counter,
    /// Writes by kind and result.
    pub writes: Family<WriteLabels, Counter>,
    /// Events that wait to be sent, updated on scrape.
    pub events_waiting: Gauge,
    /// Events that were dropped because too many waited.
    pub events_dropped: Counter,
    /// Runs that ended, by phase.
    pub runs_ended: Family<PhaseLabels, Counter>,
    /// Seconds from the start of a run to its end, by phase.
    pub run_duration: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    /// Measurements by outcome: pass, fail, nodata or error.
    pub measurements: Family<OutcomeLabels, Counter>,
    /// Queries to Prometheus.
    pub queries: QueryMetrics,
    /// Requests to the Kubernetes metrics APIs.
    pub metrics_apis: QueryMetrics,
    /// Seconds from a deadline to the verdict in the status, for runs that wait for nothing at their deadline.
    pub verdict_lateness: Histogram,
    /// Places that are granted, by the `ConfigMap` with the places.
    pub places_granted: Gauge,
    /// Kanaries of this replica that wait for a place, updated on scrape.
    pub places_waiting: Gauge,
    /// The limit for all namespaces together, or 0.
    pub places_limit: Gauge,
    /// Watches that were restarted.
    pub watch_restarts: Counter,
    /// Watches that were restarted because they had stalled.
    pub watch_stalls: Counter,
    /// Seconds since the last event or bookmark of each watch, updated on scrape.
    pub watch_age: Family<WatchLabels, Gauge<f64, AtomicU64>>,
    /// Epoch of each shard that this replica owns, updated on scrape.
    pub shard_epoch: Family<ShardLabels, Gauge>,
    /// Number of shards of the fleet, updated on scrape.
    pub shards: Gauge,
    /// Number of shards that this replica owns, updated on scrape.
    pub shards_owned: Gauge,
    /// Seconds for which this replica may still write if its session is not renewed, updated on scrape.
    pub fence_margin: Gauge<f64, AtomicU64>,
    /// Ownership changes of shards and sessions on this replica.
    pub handovers: Family<HandoverLabels, Counter>,
    /// Conversions between versions.
    pub conversions: ConversionMetrics,
    /// Counts spans.
    pub traces: TraceCounters,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&Calls::default())
    }
}

impl Metrics {
    /// Metrics of a controller whose clients count their calls in `calls`.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        let mut registry = Registry::with_prefix("kanary");
        let metrics = Self {
            kanaries: Family::default(),
            namespaces: Namespaces::default(),
            queued: Gauge::default(),
            due: Gauge::default(),
            queue_wait: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            reconciles: Family::default(),
            slow_reconciles: Counter::default(),
            held_namespaces: Counter::default(),
            decisions: Counter::default(),
            panics: Counter::default(),
            writes: Family::default(),
            events_waiting: Gauge::default(),
            events_dropped: Counter::default(),
            runs_ended: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(RUN_BUCKETS)),
            measurements: Family::default(),
            queries: QueryMetrics::default(),
            metrics_apis: QueryMetrics::default(),
            verdict_lateness: Histogram::new(exponential_buckets(0.01, 2.0, 12)),
            places_granted: Gauge::default(),
            places_waiting: Gauge::default(),
            places_limit: Gauge::default(),
            watch_restarts: Counter::default(),
            watch_stalls: Counter::default(),
            watch_age: Family::default(),
            shard_epoch: Family::default(),
            shards: Gauge::default(),
            shards_owned: Gauge::default(),
            fence_margin: Gauge::default(),
            handovers: Family::default(),
            conversions: ConversionMetrics::default(),
            traces: TraceCounters::default(),
            registry: Registry::default(),
        };
        metrics.create_counters();
        register::all(&mut registry, &metrics, calls);
        Self { registry, ..metrics }
    }

    /// Creates the counters of all labels: Prometheus does not see the increase of a counter that begins with 1.
    fn create_counters(&self) {
        for labels in WriteLabels::all() {
            drop(self.writes.get_or_create(&labels));
        }
        for phase in [Phase::Succeeded, Phase::Failed, Phase::DeploymentUpdated] {
            let labels = PhaseLabels { phase: phase.as_str() };
            drop(self.runs_ended.get_or_create(&labels));
            drop(self.run_duration.get_or_create(&labels));
        }
        self.queries.create_counters();
        self.metrics_apis.create_counters();
        for result in ["pass", "fail", "nodata", "error"] {
            drop(self.measurements.get_or_create(&OutcomeLabels { result }));
        }
        for what in ["taken", "released", "lost", "seized"] {
            drop(self.handovers.get_or_create(&HandoverLabels { what }));
        }
    }

    /// Counts what a new status reports. It was decided at the time `decided`, and written at `now`.
    pub fn reported(&self, former: &KanaryStatus, next: &KanaryStatus, decided: Timestamp, now: Timestamp) {
        let phase = Phase::of(next);
        if let Some(end) = next.completed_at.filter(|end| former.completed_at != Some(*end)) {
            let labels = PhaseLabels { phase: phase.as_str() };
            self.runs_ended.get_or_create(&labels).inc();
            if let Some(start) = next.start_time {
                let took = until(start, end).as_secs_f64();
                self.run_duration.get_or_create(&labels).observe(took);
            }
        }
        let judged = matches!(phase, Phase::Succeeded | Phase::Failed) && Phase::of(former) == Phase::Running;
        // Whoever waits for a person or for data is not late.
        let waited = status::find(former, status::RECONCILING).is_none_or(|c| c.reason != Reason::Validating);
        if let Some(late) = next
            .deadline
            .filter(|deadline| judged && !waited && *deadline <= decided)
        {
            self.verdict_lateness.observe(until(late, now).as_secs_f64());
        }
    }

    /// Shows how many Kanaries there are.
    pub fn show_kanaries(&self, census: &Census) {
        for (phase, count) in census.by_phase() {
            let labels = PhaseLabels { phase: phase.as_str() };
            self.kanaries.get_or_create(&labels).set(count);
        }
        self.namespaces.show(census);
    }

    /// Counts a write.
    pub fn wrote<T>(&self, write: &'static str, done: &Result<T, ApiError>) {
        let result = done.as_ref().map_or_else(|error| error.class().as_str(), |_| "ok");
        self.writes.get_or_create(&WriteLabels { write, result }).inc();
    }

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
