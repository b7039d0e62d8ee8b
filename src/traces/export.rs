//! Sends spans to the collector, in batches.

use std::{mem, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use opentelemetry_sdk::trace::SpanData;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::Collector;
use crate::metrics::Metrics;

/// Maximum number of spans in a batch.
const BATCH: usize = 512;

/// How long a batch waits for more spans. A replica that is killed loses the spans of about this time.
const GATHER: Duration = Duration::from_millis(200);

/// Timeout of a request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses before a batch is sent again. After the last one it is dropped.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Sends the spans of one [`super::Traces`].
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    queue: mpsc::Receiver<SpanData>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    all_sent: Arc<Notify>,
    /// Whether the last request failed, so that an outage is logged once.
    failing: bool,
}

/// Why a request failed.
struct Failed {
    why: String,
    /// Whether the collector may have the spans all the same.
    unknown: bool,
}

impl Exporter {
    pub(super) fn new(
        collector: Collector,
        queue: mpsc::Receiver<SpanData>,
        metrics: Arc<Metrics>,
        (stop, all_sent): (CancellationToken, Arc<Notify>),
    ) -> Self {
        Self {
            collector,
            queue,
            metrics,
            stop,
            all_sent,
            failing: false,
        }
    }

    /// Sends spans until [`super::Traces::finish`] is called and all are sent.
    pub async fn run(mut self) {
        loop {
            let batch = self.next().await;
            if batch.is_empty() {
                break;
            }
            self.send(batch).await;
        }
        self.all_sent.notify_one();
    }

    /// The next batch. It is empty if there will be none.
    async fn next(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = self.queue.recv_many(&mut batch, BATCH) => {}
            () = self.stop.cancelled() => {}
        }
        let full = Instant::now() + GATHER;
        while batch.len() < BATCH && !self.stop.is_cancelled() {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                () = sleep_until(full) => break,
                () = self.stop.cancelled() => {}
                taken = self.queue.recv_many(&mut batch, room) => if taken == 0 {
                    break;
                },
            }
        }
        if self.stop.is_cancelled() {
            // Nothing is added any more, and what is there can be read at once.
            self.queue.close();
            while batch.len() < BATCH
                && let Ok(span) = self.queue.try_recv()
            {
                batch.push(span);
            }
        }
        batch
    }

    /// Sends a batch, again if that fails, and drops it in the end.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let number = batch.len();
        for pause in PAUSES.map(Some).into_iter().chain([None]) {
            let Err(Failed { why, unknown }) = self.attempt(batch.clone()).await else {
                self.metrics
                    .traces
                    .exported
                    .inc_by(u64::try_from(number).unwrap_or(u64::MAX));
                if mem::take(&mut self.failing) {
                    tracing::info!("the collector of traces takes spans again");
                }
                return;
            };
            self.metrics.traces.failed.inc();
            if !mem::replace(&mut self.failing, true) {
                tracing::warn!(error = why, "the collector of traces does not take spans");
            }
            // Spans that arrive twice are shown twice.
            let Some(pause) = pause.filter(|_| !unknown && !self.stop.is_cancelled()) else {
                break;
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
        let reason = if self.stop.is_cancelled() {
            "stopping"
        } else {
            "refused"
        };
        self.metrics.traces.dropped(reason, number);
    }

    async fn attempt(&self, batch: Vec<SpanData>) -> Result<(), Failed> {
        let send = AssertUnwindSafe(async { (self.collector.0)(batch).await }).catch_unwind();
        match timeout(TIMEOUT, send).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(why))) => Err(Failed { why, unknown: false }),
            Ok(Err(_)) => Err(Failed {
                why: "the exporter panicked; see above".to_owned(),
                unknown: true,
            }),
            Err(_) => Err(Failed {
                why: format!("no answer within {} s", TIMEOUT.as_secs()),
                unknown: true,
            }),
        }
    }
}
