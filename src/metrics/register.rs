//! The names and descriptions of all metrics.

use prometheus_client::registry::Registry;

use super::Metrics;
use crate::cluster::calls::Calls;

/// Registers all metrics.
pub(super) fn all(registry: &mut Registry, metrics: &Metrics, calls: &Calls) {
    register_queue(registry, metrics);
    register_work(registry, metrics);
    register_calls(registry, calls);
    metrics.queries.register(registry);
    metrics.metrics_apis.register_metrics_apis(registry);
    register_shards(registry, metrics);
    register_places(registry, metrics);
    metrics.conversions.register(registry);
    metrics.traces.register(registry);
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
    registry.register(
        "namespace_kanaries",
        "Kanaries by namespace and phase",
        metrics.namespaces.kanaries.clone(),
    );
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
        "run_duration_seconds",
        "Time from the start of a run to its end",
        metrics.run_duration.clone(),
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

/// Registers the metrics about calls to the API server.
fn register_calls(registry: &mut Registry, calls: &Calls) {
    registry.register(
        "api_requests",
        "Requests to the API server that ended",
        calls.ended.clone(),
    );
    registry.register(
        "api_request_duration_seconds",
        "Time from a request to the API server to its response",
        calls.duration.clone(),
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
