//! Measurements: queries run beside the workers, so that a slow Prometheus holds nobody up.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use jiff::Timestamp;
use kanary_core::{
    Key,
    validation::{Answer, Outcome, Sample, promql::PromQl},
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    metrics,
    prometheus::{Prometheus, Reply},
    reconcile::{queue::Queue, turn::Context},
};

/// A query that is due.
#[derive(Clone, Debug)]
pub struct Check {
    /// Whose.
    pub key: Key,
    /// Of which run.
    pub run: String,
    /// Of which validation item.
    pub index: usize,
    /// The item.
    pub query: PromQl,
    /// The query's text, filled in.
    pub text: String,
    /// The text of the query for evidence, for an item that needs it.
    pub evidence: Option<String>,
    /// The canary's ready pods.
    pub pods: Vec<String>,
    /// The time it is asked for.
    pub at: Timestamp,
    /// uid of the canary.
    pub canary: String,
}

/// Runs checks as they come. There is at most one under way for each validation item, so their number is bounded; how
/// many an endpoint gets at once is up to [`Prometheus`].
pub async fn run(
    context: Arc<Context>,
    queue: Arc<Queue>,
    prometheus: Prometheus,
    mut checks: mpsc::UnboundedReceiver<Check>,
) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            // The ended ones first: they are no more than were begun, so they hold nobody up.
            biased;
            Some(_) = under_way.join_next() => {}
            check = checks.recv() => {
                let Some(check) = check else { return };
                under_way.spawn(measure(context.clone(), queue.clone(), prometheus.clone(), check));
            }
        }
    }
}

async fn measure(context: Arc<Context>, queue: Arc<Queue>, prometheus: Prometheus, check: Check) {
    let judged = AssertUnwindSafe(judge(&prometheus, &check)).catch_unwind().await;
    // Without an outcome the item would wait for it for ever.
    let sample = judged.unwrap_or_else(|_| {
        context.metrics.panics.inc();
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
    context
        .metrics
        .measurements
        .get_or_create(&metrics::Outcome { result })
        .inc();
    tracing::debug!(key = %check.key, item = check.index, result, message = sample.message, "measured");
    context.memory.record(&check, sample);
    queue.push(check.key);
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
