//! Starts to send traces.

use std::sync::Arc;

use super::{Tasks, spawn};
use crate::{
    cluster::clock::Clock,
    metrics::Metrics,
    traces::{TraceOptions, Traces},
};

/// Starts the exporter, if traces are collected.
pub(super) fn start(options: Option<TraceOptions>, clock: &Clock, metrics: &Arc<Metrics>, tasks: &mut Tasks) -> Traces {
    let Some(options) = options else {
        return Traces::default();
    };
    let (traces, exporter) = Traces::new(options, clock.clone(), metrics.clone());
    spawn(tasks, "traces", exporter.run());
    traces
}
