//! Measurements: queries run concurrently with the workers, so that a slow server does not block them.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use jiff::Timestamp;
use kanary_core::{
    trace::TraceParent,
    validation::{
        Answer, Outcome, Sample,
        metric::{Metric, MetricAnswer, PodSelector, Scope},
        promql::PromQl,
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument;

use super::{
    check::{Check, Question},
    memory::Memory,
    traced::{Measuring, log_context_of},
};
use crate::{
    metrics::{self, Metrics},
    metrics_apis::{Asker, Measurement, MetricsApis},
    prometheus::{Prometheus, Reply, When},
    queue::Queue,
    traces::{KeyValue, Traces},
};

/// Why a metric item is not measured if the metrics APIs are off.
const OFF: &str = "the metrics APIs are off in this installation: start the controller with --metrics-apis (in the chart \
                   metricsAPIs.enabled), or use promQL";

/// Runs the queries that reconciles request, and queues the Kanary again.
#[derive(Clone)]
pub struct Measurer {
    /// The Prometheus client.
    pub prometheus: Prometheus,
    /// The client of the Kubernetes metrics APIs, if they are on.
    pub metrics_apis: Option<MetricsApis>,
    /// Stores the results.
    pub memory: Arc<Memory>,
    /// The queue of Kanaries with new results.
    pub queue: Arc<Queue>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Takes the spans of measurements.
    pub traces: Traces,
}

impl Measurer {
    /// Runs checks until the channel is closed. At most one check per validation item is in flight, which bounds their number.
    /// [`Prometheus`] and [`MetricsApis`] limit how many a server gets at once.
    pub async fn run(self, mut checks: mpsc::UnboundedReceiver<Check>) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                // Handle completed checks first. There are no more of them than were started, so they cannot starve new checks.
                biased;
                Some(_) = under_way.join_next() => {}
                check = checks.recv() => {
                    let Some(check) = check else { return };
                    let log = log_context_of(check.trace.map(|trace| trace.parent().trace));
                    under_way.spawn(self.clone().measure(check).instrument(log));
                }
            }
        }
    }

    async fn measure(self, check: Check) {
        let begun = self.traces.now();
        let judged = AssertUnwindSafe(self.judge(&check)).catch_unwind().await;
        // Without an outcome, the item would wait forever.
        let Judged { sample, at, sent_by } = judged.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            let sample = Sample {
                outcome: Outcome::Error,
                value: None,
                message: "the controller could not judge the answer; see its log".to_owned(),
            };
            Judged {
                sample,
                at: check.when.at,
                sent_by: None,
            }
        });
        let result = match sample.outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::NoData => "nodata",
            Outcome::Error | Outcome::Invalid => "error",
        };
        self.metrics
            .measurements
            .get_or_create(&metrics::OutcomeLabels { result })
            .inc();
        tracing::debug!(key = %check.key, item = check.index, result, message = sample.message, "measured");
        let times = begun.zip(self.traces.now());
        let span = check.trace.zip(times).and_then(|(trace, times)| {
            // The span is made first, because the memory takes the sample.
            trace.span(&check, (&sample, result, at), sent_by, times)
        });
        let counts = self.memory.record(&check, sample, at);
        if let Some(mut span) = span {
            span.attributes.push(KeyValue::new("kanary.counts", counts));
            self.traces.send(span);
        }
        self.queue.push(check.key);
    }
}

/// The result of a measurement.
struct Judged {
    sample: Sample,
    /// The evaluation time.
    at: Timestamp,
    /// The measurement whose request brought the answer, if traces are collected.
    sent_by: Option<TraceParent>,
}

impl Measurer {
    async fn judge(&self, check: &Check) -> Judged {
        match &check.question {
            Question::PromQl { query, text, evidence } => {
                query_prometheus(&self.prometheus, check, query, (text, evidence.as_deref())).await
            }
            Question::Metric { metric, pods, since } => {
                ask_metrics_api(self.metrics_apis.as_ref(), check, metric, (pods, *since)).await
            }
        }
    }
}

/// Asks a metrics API for the values of a metric.
async fn ask_metrics_api(
    apis: Option<&MetricsApis>,
    check: &Check,
    metric: &Metric,
    (pods, since): (&PodSelector, Timestamp),
) -> Judged {
    let [ready, all] =
        [&check.pods, &check.all_pods].map(|pods| pods.iter().map(String::as_str).collect::<BTreeSet<_>>());
    let scope = |pods, now| Scope { pods, since, now };
    let unasked = |answer, pods| Judged {
        sample: metric.judge(&answer, &scope(pods, check.when.at)),
        at: check.when.at,
        sent_by: None,
    };
    let Some(apis) = apis else {
        return unasked(MetricAnswer::Rejected(OFF.to_owned()), ready);
    };
    if all.is_empty() {
        return unasked(MetricAnswer::Values(Vec::new()), all);
    }
    let asker = Asker {
        namespace: &check.key.namespace,
        pods,
        parent: check.trace.as_ref().map(Measuring::parent),
    };
    let Measurement { answer, at, sent_by } = apis.ask(asker, metric, check.when).await;
    let now = apis.now();
    let is_partial = all.len() > ready.len();
    let mut sample = metric.judge(&answer, &scope(ready, now));
    if sample.outcome != Outcome::Fail && is_partial {
        sample = worse(sample, || metric.judge(&answer, &scope(all, now)));
    }
    Judged { sample, at, sent_by }
}

/// A pod that is not ready proves nothing good, but a bad result about it counts.
fn worse(of_ready: Sample, of_all: impl FnOnce() -> Sample) -> Sample {
    let of_all = of_all();
    if of_all.outcome == Outcome::Fail {
        of_all
    } else {
        of_ready
    }
}

/// Runs the query, and the evidence query if the result needs evidence.
async fn query_prometheus(
    prometheus: &Prometheus,
    check: &Check,
    query: &PromQl,
    (text, evidence): (&str, Option<&str>),
) -> Judged {
    let when = &check.when;
    let [ready, all] = [&check.pods, &check.all_pods].map(|pods| pods.iter().map(String::as_str).collect::<Vec<_>>());
    if all.is_empty() {
        // Without pods, no result could be about the canary.
        return Judged {
            sample: query.judge(&Answer::Vector(Vec::new()), None, &[]),
            at: when.at,
            sent_by: None,
        };
    }
    let parent = check.trace.as_ref().map(Measuring::parent);
    let ask = async |text, when| {
        let namespace = &check.key.namespace;
        prometheus.query(parent, namespace, &query.endpoint, text, when).await
    };
    let Reply {
        answer,
        note,
        at,
        sent_by,
    } = ask(text, *when).await;
    let evidence = match evidence {
        Some(text) if query.wants_evidence(&answer, &ready) => {
            let when = When {
                due: when.due,
                ..When::exactly(at)
            };
            Some(ask(text, when).await.answer)
        }
        _ => None,
    };
    let mut sample = query.judge(&answer, evidence.as_ref(), &ready);
    if sample.outcome != Outcome::Fail && all.len() > ready.len() {
        sample = worse(sample, || query.judge(&answer, None, &all));
    }
    if let Some(note) = note {
        sample.message = format!("{} ({note})", sample.message);
    }
    Judged { sample, at, sent_by }
}
