//! Metrics about the export of traces.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Why a span was lost.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LossLabels {
    /// `full`, `refused` or `stopping`.
    pub reason: &'static str,
}

/// Counts spans: each one is exported or dropped.
#[derive(Debug, Default)]
pub struct TraceCounters {
    /// Spans that the collector accepted.
    pub exported: Counter,
    /// Spans that were lost, by reason.
    pub dropped: Family<LossLabels, Counter>,
    /// Requests to the collector that failed. Their spans are sent again, and dropped in the end.
    pub failed: Counter,
}

impl TraceCounters {
    /// Counts spans that were lost.
    pub fn dropped(&self, reason: &'static str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        self.dropped.get_or_create(&LossLabels { reason }).inc_by(spans);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for reason in ["full", "refused", "stopping"] {
            self.dropped(reason, 0);
        }
        registry.register(
            "trace_spans_exported",
            "Spans that the collector accepted",
            self.exported.clone(),
        );
        registry.register("trace_spans_dropped", "Spans that were lost", self.dropped.clone());
        registry.register(
            "trace_exports_failed",
            "Requests to the collector that failed",
            self.failed.clone(),
        );
    }
}
