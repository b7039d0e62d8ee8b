//! Measurements: queries run concurrently with the workers, so that a slow Prometheus does not block them.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use kanary_core::validation::{Answer, Outcome, Sample};
use tokio::{sync::mpsc, task::JoinSet};

use super::{check::Check, memory::Memory};
use crate::{
    metrics::{self, Metrics},
    prometheus::{Prometheus, Reply},
    queue::Queue,
};

/// Runs the queries that reconciles request, and queues the Kanary again.
#[derive(Clone)]
pub struct Measurer {
    /// The Prometheus client.
    pub prometheus: Prometheus,
    /// Stores the results.
    pub memory: Arc<Memory>,
    /// The queue of Kanaries with new results.
    pub queue: Arc<Queue>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

impl Measurer {
    /// Runs checks until the channel is closed. At most one check per validation item is in flight, which bounds their number.
    /// [`Prometheus`] limits how many an endpoint gets at once.
    pub async fn run(self, mut checks: mpsc::UnboundedReceiver<Check>) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                // Handle completed checks first. There are no more of them than were started, so they cannot starve new checks.
                biased;
                Some(_) = under_way.join_next() => {}
                check = checks.recv() => {
                    let Some(check) = check else { return };
                    under_way.spawn(self.clone().measure(check));
                }
            }
        }
    }

    async fn measure(self, check: Check) {
        let judged = AssertUnwindSafe(judge(&self.prometheus, &check)).catch_unwind().await;
        // Without an outcome, the item would wait forever.
        let sample = judged.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            Sample {
                outcome: Outcome::Error,
                value: None,
                message: "the controller could not judge the answer; see its log".to_owned(),
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
        self.memory.record(&check, sample);
        self.queue.push(check.key);
    }
}

/// Runs the query, and the evidence query if the result needs evidence.
async fn judge(prometheus: &Prometheus, check: &Check) -> Sample {
    let Check { query, pods, at, .. } = check;
    if pods.is_empty() {
        // Without pods, no result could be about the canary.
        return query.judge(&Answer::Vector(Vec::new()), None, &[]);
    }
    let ask = async |text| {
        let namespace = &check.key.namespace;
        prometheus.query(namespace, &query.endpoint, text, *at).await
    };
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let Reply { answer, note } = ask(&check.text).await;
    let evidence = match &check.evidence {
        Some(text) if query.wants_evidence(&answer, &pods) => Some(ask(text).await.answer),
        _ => None,
    };
    let mut sample = query.judge(&answer, evidence.as_ref(), &pods);
    if let Some(note) = note {
        sample.message = format!("{} ({note})", sample.message);
    }
    sample
}
