//! This replica among the others: keeps its session, and does what [`Table::plan`] says.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    fence::{Fence, Monotonic},
    leases::{Failed, Leases},
    lease::{self, Read, Session, Shard},
    plan::{Own, Step},
    serve::Served,
    table::Table,
};
use crate::{clock::Clock, metrics::Metrics};

/// Leases that are written at once.
const AT_ONCE: usize = 8;

/// How long what is under way may take to end when a shard is given away.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How long a replica that ends tries to give its shards away.
const FAREWELL: Duration = Duration::from_secs(12);

/// How replicas share the work.
#[derive(Clone, Debug)]
pub struct Sharding {
    /// For Leases only, so that they do not queue behind other calls.
    pub client: Client,
    /// Where the Leases are.
    pub namespace: String,
    /// Name of this replica: one process at a time may have it, and whoever has it takes up what the former had.
    pub identity: String,
    /// Hash of the pod template that this replica runs, to prefer new ones in a rolling update; empty if unknown.
    pub template: String,
    /// How long a session lasts unrenewed.
    pub ttl: Duration,
    /// Time that goes on while the machine is suspended.
    pub time: Monotonic,
}

impl Sharding {
    /// How often a session is renewed.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.ttl / 5
    }

    /// How much earlier than its session a replica's rights end: room for clocks that do not run alike.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.ttl / 3
    }
}

/// Why a replica cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two processes have one name, and each would take the other's shards.
    #[error("another process runs as {0} (session {1}): give each replica its own --identity")]
    Identity(String, String),
}

/// This replica.
#[derive(Debug)]
pub struct Member {
    options: Sharding,
    leases: Leases,
    clock: Clock,
    fence: Arc<Fence>,
    served: Arc<Served>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Something changed that a plan may follow from.
    changed: Arc<Notify>,
    /// The session has news for others.
    beat: Notify,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// Our session as it was last written.
    session: Session,
    /// When our session began, and when it was last renewed.
    since: Duration,
    renewed: Duration,
    draining: Option<Duration>,
    leads_until: Duration,
    /// Why there is no session.
    problem: Option<String>,
}

/// What became of a renewal.
enum Beat {
    Renewed,
    Again,
    /// The session is over.
    Over,
}

impl Member {
    /// One without a session yet.
    #[must_use]
    pub fn new(
        options: Sharding,
        clock: Clock,
        fence: Arc<Fence>,
        served: Arc<Served>,
        metrics: Arc<Metrics>,
        changed: Arc<Notify>,
    ) -> Self {
        let shards = fence.layout().shards();
        let state = State {
            table: Table::new(shards),
            session: Session::default(),
            since: Duration::ZERO,
            renewed: Duration::ZERO,
            draining: None,
            leads_until: Duration::ZERO,
            problem: Some("no session yet".to_owned()),
        };
        Self {
            leases: Leases::new(options.client.clone(), &options.namespace, shards),
            options,
            clock,
            fence,
            served,
            metrics,
            state: Mutex::new(state),
            changed,
            beat: Notify::new(),
        }
    }

    /// Takes in a Lease that was seen.
    pub fn see(&self, lease: &Lease) {
        if let Some(read) = lease::read(lease, self.fence.layout().shards()) {
            self.put(read);
        }
    }

    /// A Lease is gone.
    pub fn miss(&self, lease: &Lease) {
        if let Some(read) = lease::read(lease, self.fence.layout().shards()) {
            self.lock().table.remove(&read);
            self.changed.notify_one();
        }
    }

    fn put(&self, read: Read) {
        let now = self.options.time.now();
        self.lock().table.put(read, now);
        self.changed.notify_one();
    }

    /// Our session; empty if there is none.
    #[must_use]
    pub fn session(&self) -> String {
        self.lock().session.holder.clone()
    }

    /// Why there is no session, for people.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// This replica leads until then.
    pub fn lead_until(&self, until: Duration) {
        self.lock().leads_until = until;
        self.changed.notify_one();
    }

    /// Deletes what is of no use to anybody.
    pub async fn sweep(&self) {
        let rubbish = self.lock().table.rubbish();
        for session in rubbish {
            if let Err(error) = self.leases.delete(&session).await {
                tracing::debug!(session = session.identity, %error, "an old session stays for now");
            }
        }
    }

    /// Keeps the session, begins a new one when it was lost, and acts on the plan, for ever.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn run(self: Arc<Self>) -> Error {
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
            tracing::error!("the session was ended by others: everything is given up, and a new session begins");
        }
    }

    /// Begins a session, in the place of what this identity had before.
    async fn begin(&self) {
        let mut attempts = 0;
        loop {
            match self.try_begin().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "no session yet");
                    self.lock().problem = Some(format!("no session: {error}"));
                }
            }
            attempts += 1;
            let (base, cap) = (Duration::from_millis(200), Duration::from_secs(3));
            sleep(base + crate::error::backoff(attempts, base, cap, fastrand::f64())).await;
        }
    }

    async fn try_begin(&self) -> Result<(), Failed> {
        let identity = &self.options.identity;
        let former = self.leases.session(identity, self.patience()).await?;
        let now = self.clock.now();
        let session = Session {
            identity: identity.clone(),
            holder: format!("{identity}/{:016x}", fastrand::u64(..)),
            version: former.and_then(|former| former.version),
            since: now.as_second(),
            renewed: Some(now),
            ttl: i32::try_from(self.options.ttl.as_secs()).unwrap_or(i32::MAX),
            template: self.options.template.clone(),
            ..Session::default()
        };
        let sent = self.options.time.now();
        let session = self.leases.write_session(&session, now, self.patience()).await?;
        tracing::info!(session = session.holder, "session begun");
        {
            let mut state = self.lock();
            state.session = session.clone();
            (state.since, state.renewed, state.problem) = (sent, sent, None);
            // Who was not seen while there was no session may have been alive.
            state.table.look_anew(sent);
            state.table.put(Read::Session(session), sent);
        }
        self.fence.renew(sent + self.options.ttl - self.options.margin());
        self.changed.notify_one();
        Ok(())
    }

    fn patience(&self) -> Duration {
        self.options.margin().min(Duration::from_secs(5))
    }

    /// Renews the session until it is over.
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
        tracing::warn!(%error, margin = ?self.fence.margin(), "the session was not renewed");
        if !error.is_conflict() {
            return Ok(Beat::Again);
        }
        let identity = &self.options.identity;
        match self.leases.session(identity, self.patience()).await {
            Ok(Some(now)) if now.holder == session.holder => {
                // Ours from a call that had no answer, or somebody wrote a note on it.
                self.lock().session.version = now.version;
                Ok(Beat::Again)
            }
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
        self.fence.renew(sent + self.options.ttl - self.options.margin());
        let mut state = self.lock();
        if sent.saturating_sub(state.renewed) > self.options.ttl / 2 {
            state.table.look_anew(sent);
        }
        state.renewed = sent;
        state.session = written.clone();
        state.table.put(Read::Session(written), sent);
    }

    /// Acts on the plan, for ever.
    async fn act(&self) {
        loop {
            let (steps, wake) = self.plan();
            let idle = steps.is_empty();
            stream::iter(steps)
                .for_each_concurrent(AT_ONCE, |step| self.step(step))
                .await;
            self.tell_ready();
            // A step that failed is tried again, not at once.
            let most = if idle { Duration::from_secs(1) } else { Duration::from_millis(50) };
            let wait = wake.map_or(most, |wake| wake.saturating_sub(self.options.time.now()).min(most));
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
    }

    fn plan(&self) -> (Vec<Step>, Option<Duration>) {
        let now = self.options.time.now();
        let mut state = self.lock();
        let own = Own {
            session: state.session.holder.clone(),
            since: state.since,
            draining: state.draining,
            leads: now < state.leads_until,
            served: self.served.shards(),
            seconds: self.clock.now().as_second(),
        };
        self.give_up_lost(&state, &own);
        let plan = state.table.plan(&own, now);
        (plan.steps, plan.wake)
    }

    /// What the Leases say is somebody else's, or of another epoch, is not ours any more.
    fn give_up_lost(&self, state: &State, own: &Own) {
        for (index, owned) in self.fence.owned() {
            let shard = state.table.shard(index);
            if !shard.is_some_and(|shard| shard.holder == own.session && shard.epoch == owned.epoch) {
                tracing::warn!(shard = index, epoch = owned.epoch, "the shard was taken from this replica");
                self.fence.give(index);
                self.metrics.handover("lost");
            }
        }
    }

    /// Tells the others which shards could be taken at once, if that is news.
    fn tell_ready(&self) {
        if self.served.ready() != self.lock().session.ready {
            self.beat.notify_one();
        }
    }

    async fn step(&self, step: Step) {
        match step {
            Step::Warm(shard) => self.served.start(shard),
            Step::Cool(shard) => {
                self.fence.give(shard);
                self.served.stop(shard);
            }
            Step::Seize(session) => self.seize(session).await,
            Step::Take(shard) => self.take(shard).await,
            Step::Hint(shard) => {
                if let Ok(written) = self.write(&shard).await {
                    tracing::info!(shard = shard.index, next = shard.next, "a shard is to change its owner");
                    self.put(Read::Shard(written));
                }
            }
            Step::Release(shard) => self.release(shard).await,
        }
    }

    async fn write(&self, shard: &Shard) -> Result<Shard, Failed> {
        self.leases
            .write_shard(shard, self.clock.now(), self.patience())
            .await
    }

    /// Ends the session of a replica that was not seen to renew it, unless it does so in this very moment.
    async fn seize(&self, session: Session) {
        let since_renewal = self.options.time.now().saturating_sub(self.lock().renewed);
        if since_renewal > self.options.ttl / 2 {
            // It may be us who is cut off.
            return;
        }
        match self.leases.session(&session.identity, self.patience()).await {
            Ok(Some(now)) if now.version == session.version => {
                let ended = session.ended();
                if let Ok(ended) = self.leases.write_session(&ended, self.clock.now(), self.patience()).await {
                    tracing::warn!(session = session.holder, "ended the session of a replica that is gone");
                    self.metrics.handover("seized");
                    self.put(Read::Session(ended));
                }
            }
            Ok(Some(now)) => self.put(Read::Session(now)),
            Ok(None) => {
                self.lock().table.remove(&Read::Session(session));
            }
            Err(error) => tracing::debug!(%error, "a session could not be looked at"),
        }
    }

    async fn take(&self, shard: Shard) {
        // Its objects are read while the Lease is written.
        self.served.start(shard.index);
        let taken = match self.write(&shard).await {
            Err(error) if !error.is_answer() => {
                // It may have been carried out all the same.
                let now = self.leases.shard(shard.index, self.patience()).await;
                now.ok().flatten()
            }
            other => other.ok(),
        };
        let Some(taken) = taken else { return };
        let is_ours = taken.holder == shard.holder && taken.epoch == shard.epoch;
        self.put(Read::Shard(taken));
        if is_ours && self.session() == shard.holder {
            tracing::info!(shard = shard.index, epoch = shard.epoch, "shard taken");
            self.fence.take(shard.index, shard.epoch);
            self.metrics.handover("taken");
            self.served.open(shard.index);
        }
    }

    async fn release(&self, shard: Shard) {
        self.fence.drain(shard.index);
        let start = Instant::now();
        while !self.fence.is_quiet(shard.index) && start.elapsed() < LAST_WRITE {
            sleep(Duration::from_millis(5)).await;
        }
        if let Ok(released) = self.write(&shard).await {
            tracing::info!(shard = shard.index, next = shard.next, "shard given away");
            self.fence.give(shard.index);
            self.metrics.handover("released");
            self.put(Read::Shard(released));
        }
    }

    /// Gives every shard away and ends the session. Whoever is to have a shard reads it first, so that nobody waits.
    pub async fn drain(&self) {
        {
            let mut state = self.lock();
            state.draining = Some(self.options.time.now());
        }
        self.beat.notify_one();
        self.changed.notify_one();
        let start = Instant::now();
        while !self.fence.owned().is_empty() && start.elapsed() < FAREWELL {
            sleep(Duration::from_millis(10)).await;
        }
        let session = self.lock().session.clone();
        if session.holder.is_empty() {
            return;
        }
        let ended = self
            .leases
            .write_session(&session.ended(), self.clock.now(), self.patience())
            .await;
        match ended {
            Ok(_) => tracing::info!("session ended"),
            Err(error) => tracing::warn!(%error, "the session is left to end by itself"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
