//! Executes the steps of a plan: reads and writes Leases, and applies the responses.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    lease::{self, Read, Session, Shard},
    member::Member,
    plan::LeaseStep,
};
use crate::cluster::error::{ApiError, Class};

/// How long a release waits for writes in flight.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Upper limit for a pause that the API server asks for, because shards without an owner wait meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Member {
    /// Executes a step.
    pub(super) async fn step(&self, step: LeaseStep) -> Result<(), ApiError> {
        match step {
            LeaseStep::Warm(shard) => self.served.start(shard),
            // The shard may have become ours in the meantime.
            LeaseStep::Cool(shard) if self.fence.owned().contains_key(&shard) => {}
            LeaseStep::Cool(shard) => self.served.stop(shard),
            LeaseStep::Seize(session) => self.seize(session).await?,
            LeaseStep::Look(session) => {
                let live = self.leases.session(lease::identity(&session), self.patience()).await?;
                self.lock().table.look(&session, live, self.options.time.now());
                self.changed.notify_one();
            }
            LeaseStep::Take(shard) => self.take(shard).await?,
            LeaseStep::Hint(shard) => {
                let written = self.write(&shard).await?;
                tracing::info!(
                    shard = shard.index,
                    next = shard.next,
                    "proposed a new owner for the shard"
                );
                self.put(Read::Shard(written));
            }
            LeaseStep::Release(shard) => self.release(shard).await?,
        }
        Ok(())
    }

    async fn write(&self, shard: &Shard) -> Result<Shard, ApiError> {
        let written = self.leases.write_shard(shard, self.clock.now(), self.patience()).await;
        if written.as_ref().is_err_and(ApiError::is_conflict) {
            // The known version is stale, and the watch that should report the new one may be stalled.
            match self.leases.shard(shard.index, self.patience()).await? {
                Some(now) => self.put(Read::Shard(now)),
                None => self.lease_removed(&lease::shard_name(self.fence.layout().shards(), shard.index)),
            }
        }
        written
    }

    /// Ends the session of a replica that was not seen to renew it, unless it is renewed at the same time.
    async fn seize(&self, session: Session) -> Result<(), ApiError> {
        let since_renewal = self.options.time.now().saturating_sub(self.lock().renewed);
        if since_renewal > self.options.ttl / 2 {
            // This replica may be the one that is disconnected.
            return Ok(());
        }
        match self.leases.session(&session.identity, self.patience()).await? {
            Some(now) if now.version == session.version => {
                let ended = session.ended();
                let ended = self.leases.write_session(&ended, self.clock.now(), self.patience());
                let ended = ended.await?;
                tracing::warn!(session = session.holder, "ended the session of a replica that is gone");
                self.metrics.handover("seized");
                self.put(Read::Session(ended));
            }
            Some(now) => self.put(Read::Session(now)),
            None => self.lease_removed(&lease::session_name(&session.identity)),
        }
        Ok(())
    }

    async fn take(&self, shard: Shard) -> Result<(), ApiError> {
        // Start reading its objects while the Lease is written.
        self.served.start(shard.index);
        let taken = match self.write(&shard).await {
            Err(error) if !error.is_answer() => {
                // The request may have been executed despite the error.
                self.leases.shard(shard.index, self.patience()).await?
            }
            other => Some(other?),
        };
        // The table decides whether the shard is ours, as for Leases from the watch.
        if let Some(taken) = taken {
            self.put(Read::Shard(taken));
        }
        Ok(())
    }

    async fn release(&self, shard: Shard) -> Result<(), ApiError> {
        self.fence.drain(shard.index);
        let start = Instant::now();
        while !self.fence.is_quiet(shard.index) && start.elapsed() < LAST_WRITE {
            sleep(Duration::from_millis(5)).await;
        }
        let released = self.write(&shard).await?;
        self.released(shard.index, shard.next.as_deref());
        self.put(Read::Shard(released));
        Ok(())
    }

    /// Records that a shard was released. The watch may report it before the response arrives.
    pub(super) fn released(&self, index: u16, next: Option<&str>) {
        if self.fence.give(index) {
            tracing::info!(shard = index, next, "shard given away");
            self.metrics.handover("released");
        }
    }
}

/// How long to pause after an error; `None` if another replica was only faster.
pub(super) fn pause(error: &ApiError) -> Option<Duration> {
    let asked = match error.class() {
        Class::Conflict => return None,
        Class::Throttled(asked) => asked.min(LONGEST_PAUSE),
        Class::Fenced | Class::Invalid | Class::Transient => Duration::ZERO,
    };
    tracing::warn!(error = error.message(), "a Lease request failed; retrying later");
    Some(asked)
}
