//! The reconcile of one Kanary: observe, decide, act, write the status, and return when to reconcile again.

mod ask;
mod leaving;
mod target;
mod write;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use kanary_core::{
    Key, ParsedKanary,
    api::{KanaryStatus, WorkloadKind},
    decide::disown,
    decision::{Action, Decision, Need},
    observation::Observation,
    status,
};
use kube::Client;
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument;

use crate::{
    cache::Cache,
    cluster::{
        clock::{Clock, until},
        error::{ApiError, CAP, CAP_OF_SILENCE, Class},
    },
    metrics::Metrics,
    places::Places,
    reconcile::{
        act::Writer,
        check::Check,
        events::{Announcement, Events},
        memory::Memory,
        observe::Observer,
        traced::{self, Place, Write},
    },
    shard::{Fence, Right},
    traces::Traces,
};

/// The pure function from observations to actions.
pub type Decide = fn(&ParsedKanary, &Observation, Timestamp) -> Decision;

/// Everything that a reconcile needs.
pub struct Context {
    /// The client for live reads.
    pub client: Client,
    /// The writer.
    pub writer: Writer,
    /// The cache.
    pub cache: Arc<Cache>,
    /// The state of runs in memory.
    pub memory: Arc<Memory>,
    /// The cluster's time.
    pub clock: Clock,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Takes Events.
    pub events: Arc<Events>,
    /// Receives queries that are due.
    pub checks: mpsc::UnboundedSender<Check>,
    /// The decision function.
    pub decide: Decide,
    /// The Kanaries that this replica owns.
    pub fence: Arc<Fence>,
    /// Places for canaries, if they are limited.
    pub places: Option<Arc<Places>>,
    /// How long proxies may need to follow a route. `None` if routes are off.
    pub routes: Option<Duration>,
    /// Kinds of targets that are on.
    pub kinds: BTreeSet<WorkloadKind>,
    /// Whether canaries may have ScaledObjects of KEDA.
    pub keda: bool,
    /// Takes the spans of runs.
    pub traces: Traces,
}

/// A decision may request more reads after it has seen the first ones. No decision needs more rounds than this.
const READS: usize = 6;

/// Maximum number of consecutive iterations without a pause. A decision that never settles must not block a worker.
const TURNS: usize = 12;

impl Context {
    /// Reconciles one Kanary. Returns when to reconcile again without an event.
    pub async fn reconcile(&self, key: &Key) -> Option<Instant> {
        for _ in 0..TURNS {
            let Some(slot) = self.cache.kanary(key).map(|kanary| kanary.slot) else {
                self.memory.forget(key);
                self.places.iter().for_each(|places| places.forget(key));
                return None;
            };
            // Another replica owns its shard, or the shard is being released. The new owner reconciles the Kanary.
            let Some(right) = self.fence.begin(slot) else {
                // A late session renewal may still succeed.
                let ours = self.fence.holds(slot);
                return ours.then(|| Instant::now() + Duration::from_secs(1));
            };
            // The right says which version the cache has at least, so the version is taken after it.
            let Some(kanary) = self.cache.kanary(key).filter(|kanary| kanary.slot == slot) else {
                continue;
            };
            let log = traced::log_context(&self.traces, &kanary.uid, &kanary.status);
            match self.turn(&kanary, right).instrument(log).await {
                Ok(Next::Again) => {}
                Ok(Next::At(at)) => {
                    self.memory.came_to_rest(key);
                    return at.map(|at| self.instant(at));
                }
                Err(error) => return Some(self.after(&kanary, &error)),
            }
        }
        let delay = self.memory.restless(key);
        tracing::error!(key = %key, ?delay, "decisions did not settle; backing off");
        Some(Instant::now() + delay)
    }

    fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + until(self.clock.now(), at)
    }

    async fn turn(&self, kanary: &ParsedKanary, right: Right) -> Result<Next, ApiError> {
        let now = self.clock.now();
        self.trace_unconfirmed(kanary, right);
        if right.epoch.is_some() && kanary.status.epoch > right.epoch && kanary.has_forged_epoch(now) {
            let decision = Decision {
                status: disown(kanary, now),
                ..Decision::default()
            };
            return self.apply(kanary, &Observation::default(), decision, now, right).await;
        }
        let observer = Observer {
            client: &self.client,
            cache: &self.cache,
            memory: &self.memory,
            places: self.places.as_deref(),
            routes: self.routes,
            kinds: &self.kinds,
            keda: self.keda,
        };
        self.memory.begin_epoch(&kanary.key, right.epoch);
        let mut seen = observer.observe(kanary, &kanary.spec, now).await?;
        // Read the clock again: the reads took time, and their responses may have corrected the clock.
        let mut now = self.clock.now();
        let mut decision = (self.decide)(kanary, &seen, now);
        for _ in 0..READS {
            let Some(need) = decision.needs else { break };
            if need == Need::LiveKanary && self.refresh(&observer, kanary, right).await? {
                return Ok(Next::Again);
            }
            if need == Need::SameTemplate {
                Box::pin(self.compare(kanary, &mut seen, right)).await?;
            } else {
                observer.provide(kanary, &kanary.spec, need, &mut seen, now).await?;
            }
            now = self.clock.now();
            decision = (self.decide)(kanary, &seen, now);
        }
        self.metrics.decisions.inc();
        if !decision.actions.is_empty() && !self.is_current(kanary, right) {
            if self.refresh(&observer, kanary, right).await? {
                return Ok(Next::Again);
            }
            now = self.clock.now();
            decision = (self.decide)(kanary, &seen, now);
            if decision.needs.is_some() {
                return Ok(Next::Again);
            }
        }
        self.apply(kanary, &seen, decision, now, right).await
    }

    /// Whether the Kanary was read under this epoch. The watch of a new owner may not have received the last writes of the
    /// former owner. A status write would then be refused, but an action would not. So the Kanary is read before the first
    /// action under an epoch, unless all Kanaries of the shard have been listed since.
    fn is_current(&self, kanary: &ParsedKanary, right: Right) -> bool {
        let is_current = |epoch| self.memory.is_current(&kanary.key, epoch);
        right.listed || right.epoch.is_none_or(is_current)
    }

    /// Reads a Kanary live. Returns whether it has changed.
    async fn refresh(&self, observer: &Observer<'_>, kanary: &ParsedKanary, right: Right) -> Result<bool, ApiError> {
        let is_another = observer.refresh(kanary).await?;
        self.mark_current(kanary, right);
        Ok(is_another)
    }

    /// Records that the newest version of a Kanary is known, including all writes before the epoch.
    fn mark_current(&self, kanary: &ParsedKanary, right: Right) {
        if let Some(epoch) = right.epoch {
            self.memory.mark_current(&kanary.key, epoch);
        }
    }

    async fn apply(
        &self,
        kanary: &ParsedKanary,
        seen: &Observation,
        decision: Decision,
        now: Timestamp,
        right: Right,
    ) -> Result<Next, ApiError> {
        if decision.leaves {
            if let Err((action, error)) = Box::pin(self.leave(kanary, &decision, now, right)).await {
                if error.class() == Class::Fenced {
                    return Err(error);
                }
                // A failed canary does not wait: the next decision sees the failure and uses another way.
                tracing::warn!(
                    key = %kanary.key,
                    error = error.message(),
                    "could not take a canary out of production; trying another way"
                );
                let (key, ended) = (&kanary.key, self.clock.now());
                self.memory.could_not_leave(key, action, &error, now, ended);
                return Ok(Next::Again);
            }
        } else {
            for action in &decision.actions {
                if self.memory.is_undone(&kanary.key, action, now) {
                    // Decide again, with the failure recorded.
                    return Ok(Next::Again);
                }
                let sent = Box::pin(self.act(kanary, action, now, right));
                let done = self
                    .write(kanary, right, Write::of(kanary, label(action), action), sent)
                    .await;
                if let Err(error) = &done {
                    self.memory.failed(&kanary.key, error, &self.clock);
                }
                done?;
                self.memory.done(&kanary.key, action, now);
                tracing::debug!(key = %kanary.key, action = label(action), "done");
            }
        }
        if !decision.actions.is_empty() {
            self.memory.succeeded(&kanary.key);
        }
        if let Some(status) = &decision.status
            && !Box::pin(self.keep(kanary, status, now, right)).await?
        {
            let delay = self.memory.restless(&kanary.key);
            tracing::error!(
                key = %kanary.key, ?delay,
                "the API server did not store the status as it was written: apply the CRDs of this version of kanary"
            );
            return Ok(Next::At(now.checked_add(delay).ok()));
        }
        self.ask(kanary, seen, &decision, now, right);
        if !decision.actions.is_empty() || decision.status.is_some() {
            return Ok(Next::Again);
        }
        self.announce(kanary, now, right);
        Ok(Next::At(decision.wake))
    }

    /// Writes the status. Returns whether the API server stored it as written.
    async fn keep(
        &self,
        kanary: &ParsedKanary,
        status: &KanaryStatus,
        now: Timestamp,
        right: Right,
    ) -> Result<bool, ApiError> {
        // Announce the notices of the stored status before new ones replace them.
        self.announce(kanary, now, right);
        let write = Write {
            label: "status",
            object: (kanary.key.kind.id(), &kanary.key.name),
            status: Some(status),
        };
        let sent = self.writer.write_status(kanary, status, right, now);
        let done = self.write(kanary, right, write, sent).await;
        if self.traces.are_on() && done.as_ref().is_err_and(|error| error.class() == Class::Transient) {
            // It may have been stored all the same.
            self.memory.set_unconfirmed(&kanary.key, &kanary.status);
        }
        let is_kept = done?;
        traced::ended(&self.traces, kanary, (&kanary.status, status), right);
        self.memory.status_written(&kanary.key, &kanary.status, status);
        if is_kept {
            self.mark_current(kanary, right);
            let log = traced::log_context(&self.traces, &kanary.uid, status);
            log.in_scope(|| report(kanary, status));
            self.metrics.reported(&kanary.status, status, now, self.clock.now());
        }
        Ok(is_kept)
    }

    /// Sends the spans of what a status ended whose write was not answered.
    fn trace_unconfirmed(&self, kanary: &ParsedKanary, right: Right) {
        if self.traces.are_on()
            && let Some(former) = self.memory.take_unconfirmed(&kanary.key)
        {
            traced::ended(&self.traces, kanary, (&former, &kanary.status), right);
        }
    }

    /// Announces the notices of the stored status. Events are for users; nothing depends on them.
    fn announce(&self, kanary: &ParsedKanary, now: Timestamp, right: Right) {
        let notices = status::notices_of(kanary);
        for notice in self.memory.unannounced(&kanary.key, notices, now) {
            self.memory.mark_announced(&kanary.key, &notice);
            self.events.push(Announcement {
                key: kanary.key.clone(),
                uid: kanary.uid.clone(),
                notice,
                right,
                trace: Place::of(&self.traces, kanary, &kanary.status, right),
            });
        }
    }

    /// The retry policy: when to retry after an error of each class.
    fn after(&self, kanary: &ParsedKanary, error: &ApiError) -> Instant {
        let key = &kanary.key;
        let delay = match error.class() {
            Class::Conflict | Class::Transient | Class::Throttled(_) if self.memory.has_news(key) => {
                tracing::warn!(key = %key, error = error.message(), "a request keeps failing");
                Duration::ZERO
            }
            Class::Conflict => self.memory.back_off(key, CAP, self.clock.now()),
            Class::Throttled(delay) => delay,
            Class::Fenced => {
                tracing::info!(key = %key, error = error.message(), "leaving the Kanary to the replica that owns it");
                // If only the session renewal was late, the shard is still ours.
                Duration::from_secs(1)
            }
            Class::Transient => {
                // Retries do not burden an API server that does not respond, and verdicts are overdue when it recovers, so the
                // cap is short. A request that hangs while others are answered occupies the API server.
                let cap = if error.is_silence(&self.clock) {
                    CAP_OF_SILENCE
                } else {
                    CAP
                };
                let delay = self.memory.back_off(key, cap, self.clock.now());
                tracing::warn!(key = %key, error = error.message(), ?delay, "a request failed; retrying");
                delay
            }
            Class::Invalid => {
                tracing::warn!(key = %key, error = error.message(), "the API server refused a request");
                self.memory.refuse(key, error, self.clock.now());
                Duration::ZERO
            }
        };
        Instant::now() + delay
    }
}

enum Next {
    /// Something was done: observe the result.
    Again,
    /// Nothing to do until then.
    At(Option<Timestamp>),
}

fn label(action: &Action) -> &'static str {
    match action {
        Action::Create { .. } => "create",
        Action::ScaleCanary { .. } => "scale",
        Action::PlaceCanary { .. } => "place",
        Action::SetTemplate(_) => "promote",
        Action::Update(_) => "update",
        Action::HandOver { .. } => "hand-over",
        Action::Unlabel { .. } => "unlabel",
        Action::Adopt { .. } => "adopt",
        Action::Delete { .. } => "delete",
        Action::Hold { .. } | Action::HoldInPlace => "hold",
        Action::Release | Action::ReleaseInPlace => "release",
        Action::SetRoute { .. } => "route",
        Action::Keep(_) => "keep",
    }
}

/// Logs one line for each phase change.
fn report(kanary: &ParsedKanary, next: &KanaryStatus) {
    let (from, to) = (&kanary.status.report.status, &next.report.status);
    if from == to && kanary.status.run == next.run {
        return;
    }
    let condition = status::find(next, to);
    let Key { kind, namespace, name } = &kanary.key;
    tracing::info!(
        kind = %kind,
        namespace,
        name,
        from,
        to,
        run = next.run_number(),
        reason = condition.map(|c| c.reason.as_str()),
        detail = condition.map(|c| c.message.as_str()),
        "phase changed"
    );
}

#[cfg(test)]
mod tests;
