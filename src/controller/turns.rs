//! The turns: one for each Kanary that is due.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use kanary_core::Key;
use tokio::{task::JoinSet, time::Instant};

use super::Parts;
use crate::{cluster::error::CAP, queue::Queue, reconcile::turn::Context};

/// Starts a turn for each Kanary that the queue yields. Returns if a turn ends in a way that must not happen. No decision is made
/// before every watch has completed its initial list, because objects that are not listed yet would look missing.
pub(super) async fn work(parts: &Parts, turns: &mut JoinSet<()>) {
    for (_, heartbeat) in &parts.watches {
        heartbeat.wait().await;
    }
    loop {
        tokio::select! {
            // Ended turns first: there are no more of them than were started, so they cannot starve new ones.
            biased;
            Some(ended) = turns.join_next() => if ended.is_err() {
                return;
            },
            keys = parts.queue.ready() => for key in keys {
                turns.spawn(turn(parts.context.clone(), parts.queue.clone(), key));
            },
        }
    }
}

/// Reconciles one Kanary and returns it to the queue.
async fn turn(context: Arc<Context>, queue: Arc<Queue>, key: Key) {
    let turn = AssertUnwindSafe(context.reconcile(&key)).catch_unwind();
    let wake = turn.await.unwrap_or_else(|_| {
        context.metrics.panics.inc();
        tracing::error!(key = %key, "a reconcile panicked; retrying");
        Some(Instant::now() + context.memory.back_off(&key, CAP, context.clock.now()) + Duration::from_secs(1))
    });
    queue.done(&key, wake);
}
