//! The session of this replica: begins it, renews it, and begins a new one if other replicas ended it.

use std::{sync::Arc, time::Duration};

use kanary_core::counted;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    leader,
    lease::{Read, Session},
    map,
    member::{Error, Member},
};
use crate::cluster::error::retry_after;

#[cfg(test)]
mod tests;

/// Timeout for releasing shards on shutdown.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(12);

/// Result of a renewal.
#[derive(Debug, PartialEq)]
enum Beat {
    Renewed,
    Again,
    /// The session has ended.
    Over,
}

/// Sessions that this process remembers to have tried to begin: one for each 5 s of the minute that a request may be late.
const TRIED: usize = 32;

impl Member {
    /// Keeps the session, begins a new one if it was lost, and executes the plan, forever.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn run(self: Arc<Self>) -> Error {
        tokio::select! {
            biased;
            () = self.over.cancelled() => std::future::pending().await,
            error = self.live() => error,
        }
    }

    async fn live(&self) -> Error {
        loop {
            self.begin().await;
            tokio::select! {
                biased;
                beaten = self.keep() => {
                    self.fence.clear();
                    if let Err(error) = beaten {
                        return error;
                    }
                }
                () = self.act() => {}
            }
            tracing::error!("another replica ended this session: giving up all shards and starting a new session");
        }
    }

    /// Begins a session, in place of the previous session of this identity.
    async fn begin(&self) {
        let mut attempts = 0;
        loop {
            match self.try_begin().await {
                Ok(()) => return,
                Err(why) => {
                    tracing::warn!(why, "no session yet");
                    self.lock().problem = Some(format!("no session: {why}"));
                }
            }
            attempts += 1;
            sleep(retry_after(attempts, Duration::from_secs(3))).await;
        }
    }

    /// Begins a session, or returns why it could not.
    async fn try_begin(&self) -> Result<(), String> {
        let identity = &self.options.identity;
        if let Some(other) = self.lock().table.counting_otherwise(self.options.time.now()) {
            return Err(format!(
                "{} still runs with {}: replicas with another number would act on the same Kanaries, so scale to 0 \
                 before ConfigMap {} is deleted",
                other.identity,
                counted(other.shards, "shard"),
                map::NAME
            ));
        }
        let former = self.leases.session(identity, self.patience()).await;
        let former = former.map_err(|error| error.message())?;
        let now = self.clock.now();
        let session = Session {
            identity: identity.clone(),
            holder: format!("{identity}/{:016x}", fastrand::u64(..)),
            version: former.and_then(|former| former.version),
            since: now.as_second(),
            renewed: Some(now),
            ttl: i32::try_from(self.options.ttl.as_secs()).unwrap_or(i32::MAX),
            template: self.options.template.clone(),
            shards: self.fence.layout().shards(),
            ..Session::default()
        };
        self.remember(&session.holder);
        let sent = self.options.time.now();
        let session = self.leases.write_session(&session, now, self.patience()).await;
        let session = session.map_err(|error| error.message())?;
        tracing::info!(session = session.holder, "session begun");
        {
            let mut state = self.lock();
            state.session = session.clone();
            (state.since, state.renewed, state.problem) = (sent, sent, None);
            // Replicas whose renewals were missed while there was no session may have been alive.
            state.table.look_anew(sent);
            state.table.put(Read::Session(session), sent);
        }
        self.fence.renew(sent + self.options.right());
        self.changed.notify_one();
        Ok(())
    }

    fn remember(&self, holder: &str) {
        let tried = &mut self.lock().tried;
        tried.push_back(holder.to_owned());
        if tried.len() > TRIED {
            tried.pop_front();
        }
    }

    /// Releases all shards and ends the session. Next owners read a shard before it is released, so that its Kanaries do not
    /// wait.
    pub async fn drain(&self) {
        {
            let mut state = self.lock();
            state.draining = Some(self.options.time.now());
        }
        self.beat.notify_one();
        self.changed.notify_one();
        let start = Instant::now();
        while !self.fence.owned().is_empty() && start.elapsed() < HANDOVER_TIMEOUT {
            sleep(Duration::from_millis(10)).await;
        }
        // A running renewal would find the session ended and begin a new one.
        self.over.cancel();
        // Other replicas may take the remaining shards as soon as the session has ended.
        self.fence.clear();
        self.end().await;
        if self.lock().leads_until > self.options.time.now() {
            leader::step_down(&self.options).await;
        }
    }

    async fn end(&self) {
        let mut session = self.lock().session.clone();
        while !session.holder.is_empty() {
            let ended = session.ended();
            let written = self.leases.write_session(&ended, self.clock.now(), self.patience());
            let Err(error) = written.await else {
                tracing::info!("session ended");
                return;
            };
            let now = self.leases.session(&session.identity, self.patience()).await;
            match now {
                // A renewal was in flight.
                Ok(Some(now)) if error.is_conflict() && now.holder == session.holder => session = now,
                _ => {
                    tracing::warn!(error = error.message(), "could not end the session; it will expire");
                    return;
                }
            }
        }
    }

    /// Timeout of Lease requests.
    pub(super) fn patience(&self) -> Duration {
        self.options.margin().min(Duration::from_secs(5))
    }

    /// Renews the session until it ends.
    async fn keep(&self) -> Result<(), Error> {
        loop {
            let wait = self.options.interval().mul_f64(0.9 + 0.2 * fastrand::f64());
            let next = Instant::now() + wait;
            tokio::select! {
                biased;
                () = self.beat.notified() => {}
                () = sleep_until(next) => {}
            }
            loop {
                match self.renew().await? {
                    Beat::Renewed => break,
                    Beat::Again => sleep(self.options.interval() / 10).await,
                    Beat::Over => return Ok(()),
                }
            }
        }
    }

    async fn renew(&self) -> Result<Beat, Error> {
        let session = self.wanted_session();
        let sent = self.options.time.now();
        let written = self
            .leases
            .write_session(&session, self.clock.now(), self.patience())
            .await;
        let error = match written {
            Ok(written) => {
                self.renewed(written, sent);
                return Ok(Beat::Renewed);
            }
            Err(error) => error,
        };
        tracing::warn!(error = error.message(), margin = ?self.fence.margin(), "the session was not renewed");
        if !error.is_conflict() {
            return Ok(Beat::Again);
        }
        let identity = &self.options.identity;
        match self.leases.session(identity, self.patience()).await {
            Ok(Some(now)) if now.holder == session.holder => {
                // Either our own request whose response was lost, or another client's annotation.
                self.lock().session.version = now.version;
                Ok(Beat::Again)
            }
            // A creation of this process, without an answer, was carried out after others had deleted the Lease.
            Ok(Some(now)) if self.lock().tried.contains(&now.holder) => Ok(Beat::Over),
            Ok(Some(now)) if !now.holder.is_empty() => Err(Error::Identity(identity.clone(), now.holder)),
            Ok(_) => Ok(Beat::Over),
            Err(_) => Ok(Beat::Again),
        }
    }

    fn wanted_session(&self) -> Session {
        let state = self.lock();
        Session {
            draining: state.draining.is_some(),
            ready: self.served.ready(),
            ..state.session.clone()
        }
    }

    fn renewed(&self, written: Session, sent: Duration) {
        self.fence.renew(sent + self.options.right());
        let mut state = self.lock();
        if sent.saturating_sub(state.renewed) > self.options.ttl / 2 {
            state.table.look_anew(sent);
        }
        state.renewed = sent;
        state.session = written.clone();
        state.table.put(Read::Session(written), sent);
    }
}
