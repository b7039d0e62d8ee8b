//! Measurements: queries run beside the workers, so that a slow Prometheus holds nobody up.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    canary::{
        Key,
        validation::{Outcome, Sample, promql::PromQl},
    },
    metrics,
    prometheus::Prometheus,
    queue::Queue,
    reconcile::Context,
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
    /// The canary's ready pods.
    pub pods: Vec<String>,
    /// The time it is asked for.
    pub at: Timestamp,
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
    let namespace = &check.key.namespace;
    let pods: Vec<&str> = check.pods.iter().map(String::as_str).collect();
    let judged = AssertUnwindSafe(async {
        let answer = prometheus
            .query(namespace, &check.query.endpoint, &check.text, check.at)
            .await;
        check.query.judge(&answer, &pods)
    });
    // Without an outcome the item would wait for it for ever.
    let sample = judged.catch_unwind().await.unwrap_or_else(|_| {
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
    context
        .memory
        .record(&check.key, &check.run, check.index, &check.query, sample, check.at);
    queue.push(check.key);
}
