//! Metrics in the OpenMetrics format.

mod labels;
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

use self::labels::WRITES;
pub use self::labels::{HandoverLabels, OutcomeLabels, PaceLabels, PhaseLabels, ShardLabels, WatchLabels, WriteLabels};
pub use self::traces::{LossLabels, TraceCounters};
use crate::cluster::{
    clock::until,
    error::{ApiError, Class},
};

/// All metrics of a controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Kanaries by phase, updated on scrape.
    pub kanaries: Family<PhaseLabels, Gauge>,
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
    /// Measurements by outcome: pass, fail, nodata or error.
    pub measurements: Family<OutcomeLabels, Counter>,
    /// Queries that wait for their turn.
    pub queries_waiting: Gauge,
    /// Requests to Prometheus in flight.
    pub queries_in_flight: Gauge,
    /// Seconds that queries waited for their turn.
    pub query_wait: Histogram,
    /// Answers that were given to a query that was not sent by itself.
    pub shared_answers: Counter,
    /// Queries that were joined with others and answered by one request.
    pub joined_queries: Counter,
    /// Circuit breakers of Prometheus servers that hold queries back.
    pub breakers_open: Gauge,
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
    /// Counts spans.
    pub traces: TraceCounters,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kanary");
        let metrics = Self {
            kanaries: Family::default(),
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
            measurements: Family::default(),
            queries_waiting: Gauge::default(),
            queries_in_flight: Gauge::default(),
            query_wait: Histogram::new(exponential_buckets(0.01, 2.0, 12)),
            shared_answers: Counter::default(),
            joined_queries: Counter::default(),
            breakers_open: Gauge::default(),
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
            traces: TraceCounters::default(),
            registry: Registry::default(),
        };
        metrics.create_counters();
        register_queue(&mut registry, &metrics);
        register_work(&mut registry, &metrics);
        register_queries(&mut registry, &metrics);
        register_shards(&mut registry, &metrics);
        register_places(&mut registry, &metrics);
        metrics.traces.register(&mut registry);
        Self { registry, ..metrics }
    }
}

/// Registers the metrics about the queue.
fn register_queue(registry: &mut Registry, metrics: &Metrics) {
    registry.register(
        "queued_keys",
        "Kanaries with a time for the next reconcile",
        metrics.queued.clone(),
    );
    registry.register(
        "due_keys",
        "Kanaries that are due and wait for their reconcile",
        metrics.due.clone(),
    );
    registry.register(
        "queue_wait_seconds",
        "Time from the moment at which a Kanary was due to its reconcile",
        metrics.queue_wait.clone(),
    );
    registry.register(
        "reconciles_in_flight",
        "Reconciles under way, by pace",
        metrics.reconciles.clone(),
    );
    registry.register(
        "slow_reconciles",
        "Reconciles that took longer than half a second",
        metrics.slow_reconciles.clone(),
    );
    registry.register(
        "held_namespaces",
        "How often a namespace had to wait because it had its share of reconciles under way",
        metrics.held_namespaces.clone(),
    );
}

/// Registers the metrics about Kanaries and what is done for them.
fn register_work(registry: &mut Registry, metrics: &Metrics) {
    registry.register("kanaries", "Kanaries by phase", metrics.kanaries.clone());
    registry.register("decisions", "Decisions made", metrics.decisions.clone());
    registry.register(
        "panics",
        "Reconciles that panicked and were backed off",
        metrics.panics.clone(),
    );
    registry.register("writes", "Writes to the API server", metrics.writes.clone());
    registry.register(
        "events_waiting",
        "Events that wait to be sent",
        metrics.events_waiting.clone(),
    );
    registry.register(
        "events_dropped",
        "Events that were dropped because too many waited",
        metrics.events_dropped.clone(),
    );
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
        "Time from the deadline of a run that waits for nothing then to its verdict",
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
}

/// Registers the metrics about queries to Prometheus.
fn register_queries(registry: &mut Registry, metrics: &Metrics) {
    registry.register(
        "queries_waiting",
        "Queries to Prometheus that wait for their turn",
        metrics.queries_waiting.clone(),
    );
    registry.register(
        "queries_in_flight",
        "Requests to Prometheus in flight",
        metrics.queries_in_flight.clone(),
    );
    registry.register(
        "query_wait_seconds",
        "Time that queries to Prometheus waited for their turn",
        metrics.query_wait.clone(),
    );
    registry.register(
        "shared_answers",
        "Queries that were answered by the request of another one",
        metrics.shared_answers.clone(),
    );
    registry.register(
        "joined_queries",
        "Different queries to Prometheus that were answered by one request with others",
        metrics.joined_queries.clone(),
    );
    registry.register(
        "query_breakers_open",
        "Circuit breakers that hold queries to a Prometheus back",
        metrics.breakers_open.clone(),
    );
}

/// Registers the metrics about limits on canaries.
fn register_places(registry: &mut Registry, metrics: &Metrics) {
    registry.register(
        "places_granted",
        "Places of canaries that are granted",
        metrics.places_granted.clone(),
    );
    registry.register(
        "places_waiting",
        "Kanaries of this replica that wait for a place",
        metrics.places_waiting.clone(),
    );
    registry.register(
        "places_limit",
        "Limit on canaries that run at the same time in all namespaces",
        metrics.places_limit.clone(),
    );
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
        "shards",
        "Shards that the replicas divide among themselves",
        metrics.shards.clone(),
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
    /// Creates the counters of all labels: Prometheus does not see the increase of a counter that begins with 1.
    fn create_counters(&self) {
        for labels in WriteLabels::all() {
            drop(self.writes.get_or_create(&labels));
        }
        for phase in [Phase::Succeeded, Phase::Failed, Phase::DeploymentUpdated] {
            drop(self.runs_ended.get_or_create(&PhaseLabels { phase: phase.as_str() }));
        }
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
        if next.completed_at.is_some() && former.completed_at != next.completed_at {
            let labels = PhaseLabels { phase: phase.as_str() };
            self.runs_ended.get_or_create(&labels).inc();
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
