//! Metrics about conversions of Kanaries between versions.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::OutcomeLabels;

/// Counts conversions. Clones have the same counts.
#[derive(Clone, Debug)]
pub struct ConversionMetrics {
    /// Requests by result: converted, failed (an object can't be converted) or refused (no request for a conversion).
    pub requests: Family<OutcomeLabels, Counter>,
    /// Seconds from a request to its answer.
    pub duration: Histogram,
    /// When the certificate expires, in seconds since 1970. 0 without a certificate.
    pub expires: Gauge,
}

impl Default for ConversionMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Histogram::new(exponential_buckets(0.001, 4.0, 7)),
            expires: Gauge::default(),
        }
    }
}

impl ConversionMetrics {
    /// Counts a request.
    pub fn answered(&self, result: &'static str, took: Duration) {
        self.requests.get_or_create(&OutcomeLabels { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for result in ["converted", "failed", "refused"] {
            drop(self.requests.get_or_create(&OutcomeLabels { result }));
        }
        registry.register(
            "conversion_requests",
            "Requests to convert Kanaries between versions",
            self.requests.clone(),
        );
        registry.register(
            "conversion_duration_seconds",
            "Time from a request to convert Kanaries to its answer",
            self.duration.clone(),
        );
        registry.register(
            "conversion_certificate_expiry_timestamp_seconds",
            "Time at which the certificate of the conversion webhook expires, in seconds since 1970; 0 without one",
            self.expires.clone(),
        );
    }
}
