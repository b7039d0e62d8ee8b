//! Metrics about queries to servers of one kind.

use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{OutcomeLabels, labels::QUERIES};

/// Counts queries of one kind. Clones have the same counts.
#[derive(Clone, Debug)]
pub struct QueryMetrics {
    /// Queries that wait for their turn.
    pub waiting: Gauge,
    /// Requests in flight.
    pub in_flight: Gauge,
    /// Seconds that queries waited for their turn.
    pub wait: Histogram,
    /// Requests by result.
    pub requests: Family<OutcomeLabels, Counter>,
    /// Seconds from a request to the end of its answer.
    pub duration: Histogram,
    /// Queries that were not sent because of a circuit breaker.
    pub held: Counter,
    /// Answers that were given to a query that was not sent by itself.
    pub shared: Counter,
    /// Queries that were joined with others and answered by one request.
    pub joined: Counter,
    /// Circuit breakers that hold queries back.
    pub breakers_open: Gauge,
}

impl Default for QueryMetrics {
    fn default() -> Self {
        Self {
            waiting: Gauge::default(),
            in_flight: Gauge::default(),
            wait: Histogram::new(exponential_buckets(0.01, 2.0, 12)),
            requests: Family::default(),
            duration: Histogram::new(exponential_buckets(0.005, 4.0, 7)),
            held: Counter::default(),
            shared: Counter::default(),
            joined: Counter::default(),
            breakers_open: Gauge::default(),
        }
    }
}

impl QueryMetrics {
    /// Creates the counters of all results.
    pub(super) fn create_counters(&self) {
        for result in QUERIES {
            drop(self.requests.get_or_create(&OutcomeLabels { result }));
        }
    }

    /// Registers the metrics about requests to the Kubernetes metrics APIs.
    pub(super) fn register_metrics_apis(&self, registry: &mut Registry) {
        registry.register(
            "metrics_api_requests_waiting",
            "Requests to Kubernetes metrics APIs that wait for their turn",
            self.waiting.clone(),
        );
        registry.register(
            "metrics_api_requests_in_flight",
            "Requests to Kubernetes metrics APIs in flight",
            self.in_flight.clone(),
        );
        registry.register(
            "metrics_api_wait_seconds",
            "Time that requests to Kubernetes metrics APIs waited for their turn",
            self.wait.clone(),
        );
        registry.register(
            "metrics_api_requests",
            "Requests to Kubernetes metrics APIs that ended",
            self.requests.clone(),
        );
        registry.register(
            "metrics_api_request_duration_seconds",
            "Time from a request to a Kubernetes metrics API to the end of its answer",
            self.duration.clone(),
        );
        registry.register(
            "metrics_api_requests_held",
            "Requests to Kubernetes metrics APIs that a circuit breaker held back",
            self.held.clone(),
        );
        registry.register(
            "metrics_api_shared_answers",
            "Requests to Kubernetes metrics APIs that were answered by that of another one",
            self.shared.clone(),
        );
        registry.register(
            "metrics_api_breakers_open",
            "Circuit breakers that hold requests to a Kubernetes metrics API back",
            self.breakers_open.clone(),
        );
    }

    /// Registers the metrics about queries to Prometheus.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "queries_waiting",
            "Queries to Prometheus that wait for their turn",
            self.waiting.clone(),
        );
        registry.register(
            "queries_in_flight",
            "Requests to Prometheus in flight",
            self.in_flight.clone(),
        );
        registry.register(
            "query_wait_seconds",
            "Time that queries to Prometheus waited for their turn",
            self.wait.clone(),
        );
        registry.register(
            "query_requests",
            "Requests to Prometheus that ended",
            self.requests.clone(),
        );
        registry.register(
            "query_request_duration_seconds",
            "Time from a request to Prometheus to the end of its answer",
            self.duration.clone(),
        );
        registry.register(
            "queries_held",
            "Queries that were not sent because a circuit breaker held them back",
            self.held.clone(),
        );
        registry.register(
            "shared_answers",
            "Queries that were answered by the request of another one",
            self.shared.clone(),
        );
        registry.register(
            "joined_queries",
            "Different queries to Prometheus that were answered by one request with others",
            self.joined.clone(),
        );
        registry.register(
            "query_breakers_open",
            "Circuit breakers that hold queries to a Prometheus back",
            self.breakers_open.clone(),
        );
    }
}
