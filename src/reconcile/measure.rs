//! Measurements: queries run beside the workers, so that a slow Prometheus holds nobody up.

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

/// Measures what turns ask for, and has the Kanary looked at again.
#[derive(Clone)]
pub struct Measurer {
    /// Who is asked.
    pub prometheus: Prometheus,
    /// Takes the results.
    pub memory: Arc<Memory>,
    /// Takes the Kanaries whose results are there.
    pub queue: Arc<Queue>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Measurer {
    /// Runs checks as they come, until nobody sends any more. There is at most one under way for each validation item, so
    /// their number is bounded; how many an endpoint gets at once is up to [`Prometheus`].
    pub async fn run(self, mut checks: mpsc::UnboundedReceiver<Check>) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                // The ended ones first: they are no more than were begun, so they hold nobody up.
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
        // Without an outcome the item would wait for it for ever.
        let sample = judged.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            Sample {
                outcome: Outcome::Error,
                value: None,
                message: "the controller could not judge the answer; its log tells more".to_owned(),
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

/// Asks, and asks for evidence where that is what the answer needs.
async fn judge(prometheus: &Prometheus, check: &Check) -> Sample {
    let Check { query, pods, at, .. } = check;
    if pods.is_empty() {
        // Whatever the answer were, it would be about nobody.
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
