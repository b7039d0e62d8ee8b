//! Removes a failed canary from production, several pods at a time.

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    decision::{Action, Decision},
};

use super::{Context, label};
use crate::{cluster::error::ApiError, reconcile::traced::Write, shard::Right};

/// How many pods are removed from production concurrently.
const TOGETHER: usize = 16;

impl Context {
    /// Removes pods from production concurrently. The first write that fails stops the rest.
    pub(super) async fn leave<'a>(
        &self,
        kanary: &ParsedKanary,
        decision: &'a Decision,
        now: Timestamp,
        right: Right,
    ) -> Result<(), (&'a Action, ApiError)> {
        let mut under_way = FuturesUnordered::new();
        for action in &decision.actions {
            under_way.push(self.leave_by(kanary, action, now, right));
            if under_way.len() >= TOGETHER {
                under_way.next().await.unwrap_or(Ok(()))?;
            }
        }
        while let Some(done) = under_way.next().await {
            done?;
        }
        Ok(())
    }

    async fn leave_by<'a>(
        &self,
        kanary: &ParsedKanary,
        action: &'a Action,
        now: Timestamp,
        right: Right,
    ) -> Result<(), (&'a Action, ApiError)> {
        let sent = Box::pin(self.act(kanary, action, now, right));
        let done = self
            .write(kanary, right, Write::of(kanary, label(action), action), sent)
            .await;
        done.map_err(|error| (action, error))?;
        tracing::debug!(key = %kanary.key, action = label(action), "done");
        self.memory.left(&kanary.key, action);
        Ok(())
    }
}
