//! This replica among the others: keeps its session, and does what [`LeaseTable::plan`] says.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Sharding,
    fence::Fence,
    lease::{self, Read, Session, Shard},
    leases::Leases,
    plan::{LeaseStep, Own},
    serve::Served,
    step::pause,
    table::LeaseTable,
};
use crate::{
    cluster::{clock::Clock, error::retry_after},
    metrics::Metrics,
};

/// Leases that are written at once.
const AT_ONCE: usize = 8;

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
    pub(super) options: Sharding,
    pub(super) leases: Leases,
    pub(super) clock: Clock,
    pub(super) fence: Arc<Fence>,
    pub(super) served: Arc<Served>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) state: Mutex<State>,
    /// Something changed that a plan may follow from.
    pub(super) changed: Arc<Notify>,
    /// The session has news for others.
    pub(super) beat: Notify,
    /// Nothing is renewed or taken any more.
    pub(super) over: CancellationToken,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: LeaseTable,
    /// Our session as it was last written.
    pub(super) session: Session,
    /// When our session began, and when it was last renewed.
    pub(super) since: Duration,
    pub(super) renewed: Duration,
    pub(super) draining: Option<Duration>,
    pub(super) leads_until: Duration,
    /// Why there is no session.
    pub(super) problem: Option<String>,
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
            table: LeaseTable::new(shards),
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
            over: CancellationToken::new(),
        }
    }

    /// Takes in a Lease that was seen.
    pub fn see(&self, lease: &Lease) {
        if let Some(read) = lease::read(lease, self.fence.layout().shards()) {
            self.put(read);
        }
    }

    /// A Lease is gone.
    pub fn lease_removed(&self, name: &str) {
        self.lock().table.remove_named(name);
        self.changed.notify_one();
    }

    pub(super) fn put(&self, read: Read) {
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
        let expired = self.lock().table.expired();
        for session in expired {
            if let Err(error) = self.leases.delete(&session).await {
                tracing::debug!(
                    session = session.identity,
                    error = error.message(),
                    "an old session stays for now"
                );
            }
        }
    }

    /// Acts on the plan, for ever.
    pub(super) async fn act(&self) {
        let mut troubles = 0;
        loop {
            let (steps, wake) = self.plan();
            let idle = steps.is_empty();
            let asked = self.step_all(steps).await;
            self.tell_ready();
            if let Some(asked) = asked {
                troubles += 1;
                self.rest(asked.max(retry_after(troubles, Duration::from_secs(3))))
                    .await;
                continue;
            }
            troubles = 0;
            // What another replica was faster with is looked at again, not at once.
            let most = if idle {
                Duration::from_secs(1)
            } else {
                Duration::from_millis(50)
            };
            let wait = wake.map_or(most, |wake| wake.saturating_sub(self.options.time.now()).min(most));
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// Does these steps. What is taken, or lost, is so at once, though another step hangs. How long to leave the API server
    /// alone, if it asked for that.
    async fn step_all(&self, steps: Vec<LeaseStep>) -> Option<Duration> {
        let steps = stream::iter(steps).map(|step| self.step(step));
        let mut steps = pin!(steps.buffer_unordered(AT_ONCE));
        let mut asked = None;
        loop {
            tokio::select! {
                biased;
                done = steps.next() => match done {
                    Some(done) => asked = asked.max(done.err().and_then(|error| pause(&error))),
                    None => return asked,
                },
                () = self.changed.notified() => {}
            }
            self.settle_now();
        }
    }

    /// Leaves the API server alone, but not what it tells.
    async fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(end) => return,
                () = self.changed.notified() => {}
            }
            self.settle_now();
        }
    }

    fn settle_now(&self) {
        let state = self.lock();
        self.settle(&state, &self.own_of(&state));
    }

    fn own_of(&self, state: &State) -> Own {
        Own {
            session: state.session.holder.clone(),
            since: state.since,
            draining: state.draining.filter(|_| state.session.draining),
            leads: self.options.time.now() < state.leads_until,
            served: self.served.shards(),
            seconds: self.clock.now().as_second(),
        }
    }

    fn plan(&self) -> (Vec<LeaseStep>, Option<Duration>) {
        let now = self.options.time.now();
        let mut state = self.lock();
        let own = self.own_of(&state);
        self.settle(&state, &own);
        let plan = state.table.plan(&own, now);
        let mut steps = plan.steps;
        let again = self.releases_to_repeat(&state, &own, &steps);
        steps.extend(again);
        (steps, plan.wake)
    }

    /// What is being given away and was not yet: a release without an answer is repeated until there is one, because it may
    /// still be carried out. A shard whose epoch was found to be too low is given away with one above all that were given.
    fn releases_to_repeat(&self, state: &State, own: &Own, steps: &[LeaseStep]) -> Vec<LeaseStep> {
        let planned = |index: u16| {
            steps
                .iter()
                .any(|step| matches!(step, LeaseStep::Release(shard) if shard.index == index))
        };
        let giving = self
            .fence
            .owned()
            .into_iter()
            .filter(|(index, owned)| owned.draining && !planned(*index));
        giving
            .filter_map(|(index, _)| state.table.shard(index).filter(|shard| shard.holder == own.session))
            .map(|shard| {
                LeaseStep::Release(Shard {
                    holder: String::new(),
                    epoch: shard.epoch.max(own.seconds),
                    ..shard.clone()
                })
            })
            .collect()
    }

    /// Brings the fence in step with the Leases: what is somebody else's, or of another epoch, is not ours any more; and what
    /// names our session is ours, though the call that took it had no answer.
    fn settle(&self, state: &State, own: &Own) {
        let owned = self.fence.owned();
        for index in 0..self.fence.layout().shards() {
            let shard = state.table.shard(index).filter(|shard| shard.holder == own.session);
            let ours = shard.map(|shard| shard.epoch);
            let held = owned.get(&index).map(|owned| owned.epoch);
            if ours == held {
                continue;
            }
            if let Some(epoch) = held {
                // Of a release the reply may have been lost.
                if owned.get(&index).is_some_and(|owned| owned.draining) {
                    let next = state.table.shard(index).and_then(|shard| shard.next.as_deref());
                    self.released(index, next);
                } else {
                    tracing::warn!(shard = index, epoch, "the shard was taken from this replica");
                    self.fence.give(index);
                    self.metrics.handover("lost");
                }
            }
            if let Some(epoch) = ours {
                self.own(index, epoch);
            }
        }
    }

    fn own(&self, index: u16, epoch: i64) {
        tracing::info!(shard = index, epoch, "shard taken");
        self.served.start(index);
        self.fence.take(index, epoch);
        self.metrics.handover("taken");
        self.served.open(index);
    }

    /// Tells the others which shards could be taken at once, if that is news.
    fn tell_ready(&self) {
        if self.served.ready() != self.lock().session.ready {
            self.beat.notify_one();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
