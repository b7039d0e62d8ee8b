//! Counts each write, and adds it to the trace of the run.

use kanary_core::ParsedKanary;

use super::Context;
use crate::{
    cluster::error::ApiError,
    reconcile::traced::{self, Place, Write},
    shard::Right,
};

impl Context {
    /// Waits for a write that is sent, and reports how it ended.
    pub(super) async fn write<T>(
        &self,
        kanary: &ParsedKanary,
        right: Right,
        write: Write<'_>,
        sent: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let begun = self.traces.now();
        let done = sent.await;
        self.metrics.wrote(write.label, &done);
        let place = Place::of(&self.traces, kanary, &kanary.status, right);
        if let Some((place, begun)) = place.zip(begun) {
            traced::wrote(&self.traces, place, write, begun, done.as_ref().err());
        }
        done
    }
}
