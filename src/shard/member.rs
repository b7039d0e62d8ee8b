//! The membership of this replica: keeps its session and executes [`LeaseTable::plan`].

use std::{
    collections::VecDeque,
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

/// Maximum number of concurrent Lease writes.
const AT_ONCE: usize = 8;

/// Why a replica must exit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two processes use the same identity, and each would take the other's shards.
    #[error("another process runs as {0} (session {1}): give each replica its own --identity")]
    Identity(String, String),
}

/// The membership of this replica.
#[derive(Debug)]
pub struct Member {
    pub(super) options: Sharding,
    pub(super) leases: Leases,
    pub(super) clock: Clock,
    pub(super) fence: Arc<Fence>,
    pub(super) served: Arc<Served>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) state: Mutex<State>,
    /// Notified when something changed that affects the plan.
    pub(super) changed: Arc<Notify>,
    /// Notified when the session has changes to publish.
    pub(super) beat: Notify,
    /// Cancelled when nothing may be renewed or taken any more.
    pub(super) over: CancellationToken,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: LeaseTable,
    /// This replica's session as last written.
    pub(super) session: Session,
    /// The last sessions that this process tried to begin: a request without an answer may be carried out much later.
    pub(super) tried: VecDeque<String>,
    /// When the session began, and when it was last renewed.
    pub(super) since: Duration,
    pub(super) renewed: Duration,
    pub(super) draining: Option<Duration>,
    pub(super) leads_until: Duration,
    /// Why there is no session.
    pub(super) problem: Option<String>,
}

impl Member {
    /// A membership without a session.
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
            tried: VecDeque::new(),
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

    /// Records a Lease from a watch.
    pub fn see(&self, lease: &Lease) {
        if let Some(read) = lease::read(lease, self.fence.layout().shards()) {
            self.put(read);
        }
    }

    /// Records that a Lease was deleted.
    pub fn lease_removed(&self, name: &str) {
        self.lock().table.remove_named(name);
        self.changed.notify_one();
    }

    pub(super) fn put(&self, read: Read) {
        let now = self.options.time.now();
        self.lock().table.put(read, now);
        self.changed.notify_one();
    }

    /// This replica's session; empty if it has none.
    #[must_use]
    pub fn session(&self) -> String {
        self.lock().session.holder.clone()
    }

    /// Why there is no session, for display.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// This replica leads until `until`.
    pub fn lead_until(&self, until: Duration) {
        self.lock().leads_until = until;
        self.changed.notify_one();
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.options.time.now() < self.lock().leads_until
    }

    /// Deletes sessions that are no longer needed.
    pub async fn sweep(&self) {
        let expired = self.lock().table.expired();
        for session in expired {
            if let Err(error) = self.leases.delete(&session).await {
                tracing::debug!(
                    session = session.identity,
                    error = error.message(),
                    "could not delete an old session; retrying later"
                );
            }
        }
    }

    /// Executes the plan, forever.
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
            // If another replica was faster, check again later instead of immediately.
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

    /// Executes the steps concurrently. The result of a step takes effect immediately, even if another step hangs. Returns how
    /// long to pause if the API server asked for it.
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

    /// Pauses requests to the API server, but still processes its events.
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

    /// Releases to repeat: a release without a response is retried until there is one, because the API server may still execute
    /// it. A shard whose epoch was too low is released with an epoch above all previous ones.
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

    /// Updates the fence from the Leases. A shard with another owner or epoch is removed. A shard whose Lease names this session
    /// is added, even if the response to the request that took it was lost.
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
                // The response to a release may have been lost.
                if owned.get(&index).is_some_and(|owned| owned.draining) {
                    let next = state.table.shard(index).and_then(|shard| shard.next.as_deref());
                    self.released(index, next);
                } else {
                    tracing::warn!(shard = index, epoch, "lost the shard to another replica");
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

    /// Publishes which shards this replica could take immediately, if that has changed.
    fn tell_ready(&self) {
        if self.served.ready() != self.lock().session.ready {
            self.beat.notify_one();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
