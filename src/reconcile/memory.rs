//! State of a run that is kept in memory only: measurements, refusals, created Events. All of it may be lost: a new owner
//! continues from the status.

mod announced;
mod attempts;
mod kept;
mod leaving;
mod missing;
mod outage;
mod revised;
mod route;
mod track;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kanary_core::{
    Key, ParsedKanary,
    api::{EventReason, KanaryStatus, Tracks, WorkloadRef},
    decision::Action,
    observation::{Created, KeptSeen, Observation, Promotion, Ways, Workload},
    spec::Spec,
    status::{Phase, traffic_lost_since},
    validation::Sample,
};

use self::{attempts::Attempts, route::KnownRoute};
use crate::{
    cluster::{
        clock::Clock,
        error::{ApiError, backoff},
    },
    reconcile::check::Check,
};

mod tallies;

pub use tallies::Measured;
use tallies::Tallies;

/// In-memory state by Kanary. Boxed, because up to half of a hash table is empty.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Box<Remembered>>>);

#[derive(Debug, Default)]
struct Remembered {
    run: String,
    tallies: Tallies,
    /// uid of the canary that was measured.
    canary: Option<String>,
    /// Since when it has been unavailable.
    down_since: Option<Timestamp>,
    /// The canary as returned by the API server on creation.
    created: Option<Created>,
    /// The objects of both tracks after the last write, if the canary exists between runs.
    tracks: Option<Box<Tracks>>,
    writes: Attempts,
    /// Consecutive requests that failed with temporary errors.
    attempts: u32,
    promotion: Promotion,
    /// This controller gave the verdict for the run.
    judged: bool,
    /// The API server refused to transfer our ownership of the target's fields.
    keeps_ownership: bool,
    /// No pod is adopted before this time.
    adopt_after: Option<Timestamp>,
    /// Failed attempts to remove the canary from production.
    ways: Ways,
    /// The canary is known not to be available since then, if its status has no times.
    unavailable: Option<Timestamp>,
    /// Pods of the target that run the template in place, as they were last read.
    revised: Option<Box<revised::Revised>>,
    /// The pods of the run were read live after the verdict.
    pods_confirmed: bool,
    announced: HashSet<(EventReason, Timestamp)>,
    /// The epoch under which this replica last read the Kanary live or wrote its status. No other replica has written since
    /// then.
    current: Option<i64>,
    route: KnownRoute,
    /// The objects that a front end keeps beyond its runs. Boxed, because other Kanaries have none.
    kept: Option<Box<KeptSeen>>,
    /// The status before one whose write was not answered, if traces are collected.
    unconfirmed: Option<Box<KanaryStatus>>,
    /// Names of objects that a live read did not find, and since when. Their watch reports when they appear.
    missing: HashMap<String, Timestamp>,
}

impl Remembered {
    /// Drops measurements of another canary, or from before the canary became unavailable or its traffic changed.
    fn notice_canary(&mut self, canary: &Workload, is_new: bool, status: &KanaryStatus) {
        let known = if is_new {
            status.canary_uid.as_ref()
        } else {
            self.canary.as_ref()
        };
        if known.is_some_and(|known| *known != canary.uid) {
            self.tallies.forget();
        }
        self.canary = Some(canary.uid.clone());
        let down_since = match canary.available_since {
            Some(_) => None,
            None => Some(canary.unavailable_since.unwrap_or(canary.created)),
        };
        let down_since = [down_since, traffic_lost_since(status)].into_iter().flatten().min();
        if let (Some(since), None) = (down_since, self.down_since) {
            self.tallies.forget_good(since);
        }
        self.down_since = down_since;
    }

    /// Since when a live read has not found the target. The time is reset when the target exists, and during a pause.
    fn target_missing(&mut self, forget: bool, target: &WorkloadRef) -> Option<Timestamp> {
        let object = target.key();
        if forget {
            self.missing.remove(&object);
        }
        self.missing.get(&object).copied()
    }
}

/// The key under which a missing object is recorded.
pub(crate) fn object<K: kube::Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}/{name}", K::kind(&()))
}

impl Memory {
    /// Adds the in-memory state of the current run to `seen`. A run that is new to this controller continues from its status. An
    /// item whose check has changed starts from zero.
    pub fn recall(&self, kanary: &ParsedKanary, spec: &Spec, seen: &mut Observation) {
        let mut memory = self.lock();
        let known = memory.entry(kanary.key.clone()).or_default();
        let run = kanary.marker(spec);
        let is_new = known.run != run;
        if is_new {
            **known = Remembered {
                run,
                current: known.current,
                route: std::mem::take(&mut known.route),
                tracks: std::mem::take(&mut known.tracks),
                ..Remembered::default()
            };
        }
        if known.promotion == Promotion::NotYet && Phase::of(&kanary.status) > Phase::Running && !known.judged {
            // The previous owner may have promoted after the verdict, and the promotion may have been overwritten since.
            known.promotion = Promotion::Unknown;
        }
        seen.target_missing_since = known.target_missing(seen.target.is_some() || spec.paused, &spec.target);
        let stored = is_new.then_some(kanary.status.items.as_slice());
        known.tallies.arrange(&spec.validation.items, stored);
        if let Some(since) = kanary.status.traffic.as_ref().and_then(|traffic| traffic.since) {
            known.tallies.begin(since, is_new);
        }
        seen.route.clone_from(&known.route.seen);
        seen.kept = known.kept.as_deref().cloned();
        if let Some(made) = seen
            .canary
            .as_ref()
            .filter(|made| kanary.has(spec, made, known.created.as_ref()))
        {
            known.notice_canary(made, is_new, &kanary.status);
        }
        seen.created.clone_from(&known.created);
        seen.tracks = known.tracks.as_deref().cloned().unwrap_or_default();
        seen.tallies = known.tallies.present();
        seen.refusal.clone_from(&known.writes.refusal);
        seen.promotion = known.promotion.clone();
        seen.keeps_ownership = known.keeps_ownership;
        seen.adopt_after = known.adopt_after;
        seen.ways = known.ways.clone();
        seen.pods_confirmed = known.pods_confirmed;
    }

    /// Records that a promotion starts: until its response arrives, it may have taken effect. Returns the previous state.
    pub fn begin_promotion(&self, key: &Key) -> Promotion {
        let mut memory = self.lock();
        let promotion = memory.get_mut(key).map(|known| &mut known.promotion);
        promotion.map_or(Promotion::Unknown, |known| std::mem::replace(known, Promotion::Unknown))
    }

    /// Records the result of a promotion.
    pub fn set_promotion(&self, key: &Key, promotion: Promotion) {
        if let Some(known) = self.lock().get_mut(key) {
            known.promotion = promotion;
        }
    }

    /// Records that the API server refused to transfer our ownership of the target's fields. It is not tried again.
    pub fn keep_ownership(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.keeps_ownership = true;
        }
    }

    /// Records that a pod could not be adopted. Adoption is not tried again before `until`.
    pub fn put_off_adoption(&self, key: &Key, until: Option<Timestamp>) {
        if let Some(known) = self.lock().get_mut(key) {
            known.adopt_after = until;
        }
    }

    /// Records that a query is in flight. It is not sent again until it completes.
    pub fn mark_pending(&self, key: &Key, run: &str, index: usize) {
        if let Some(known) = self.lock().get_mut(key).filter(|known| known.run == run) {
            known.tallies.mark_pending(index);
        }
    }

    /// Records a measurement for the item that was at its index when the query was sent. It does not count if the run, the
    /// canary or the item's check has changed since. In any case the item no longer waits for it. Returns whether the run and the
    /// canary are still the same.
    pub fn record(&self, check: &Check, sample: Sample, at: Timestamp) -> bool {
        let mut memory = self.lock();
        let Some(known) = memory.get_mut(&check.key).filter(|known| known.run == check.run) else {
            // The item was dropped with its run.
            return false;
        };
        if known.canary.as_ref() != Some(&check.canary) {
            known.tallies.discard(check.index, check.question.terms());
            return false;
        }
        let measured = Measured {
            sample,
            at,
            pods: check.pods.clone(),
            is_down: known.down_since.is_some_and(|since| since <= at),
        };
        known.tallies.record(check.index, check.question.terms(), measured);
        true
    }

    /// Records the canary as returned by the API server on creation.
    pub fn set_created(&self, key: &Key, created: Created) {
        if let Some(known) = self.lock().get_mut(key) {
            known.created = Some(created);
        }
    }

    /// Records a refused request. It is reported to the user and retried with backoff, at most 5 minutes.
    pub fn refuse(&self, key: &Key, error: &ApiError, now: Timestamp) {
        self.with_attempts(key, |attempts| attempts.refuse(error, now));
    }

    /// Records a failed action. If it keeps failing, it is reported to the user.
    pub fn failed(&self, key: &Key, error: &ApiError, clock: &Clock) {
        let is_silence = error.is_silence(clock);
        self.with_attempts(key, |attempts| attempts.fail(error, is_silence, clock.now()));
    }

    /// Records a successful action.
    pub fn done(&self, key: &Key, action: &Action, now: Timestamp) {
        self.with_attempts(key, |attempts| attempts.done(action, now));
    }

    /// Whether an action must wait, because it was undone each time. This is then reported to the user.
    pub fn is_undone(&self, key: &Key, action: &Action, now: Timestamp) -> bool {
        self.with_attempts(key, |attempts| attempts.is_undone(action, now))
    }

    /// Whether there is a new refusal that must be reported immediately.
    pub fn has_news(&self, key: &Key) -> bool {
        self.with_attempts(key, Attempts::take_news)
    }

    /// Records that consecutive decisions did not settle. Returns the backoff.
    pub fn restless(&self, key: &Key) -> Duration {
        self.with_attempts(key, Attempts::restless)
    }

    /// Records that decisions have settled.
    pub fn came_to_rest(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.writes.came_to_rest();
        }
    }

    fn with_attempts<T>(&self, key: &Key, change: impl FnOnce(&mut Attempts) -> T) -> T {
        change(&mut self.lock().entry(key.clone()).or_default().writes)
    }

    /// The backoff after a temporary error: not much longer than `cap`, and not much longer than 2 s while a write that began to fail
    /// within the last minute has not been reported to the user yet.
    pub fn back_off(&self, key: &Key, cap: Duration, now: Timestamp) -> Duration {
        let (attempts, cap) = {
            let mut memory = self.lock();
            // A Kanary with an invalid spec has no run and no other state here.
            let known = memory.entry(key.clone()).or_default();
            known.attempts = known.attempts.saturating_add(1);
            let is_unreported = known.writes.is_unreported(now);
            (
                known.attempts,
                if is_unreported {
                    cap.min(Duration::from_secs(2))
                } else {
                    cap
                },
            )
        };
        let base = Duration::from_millis(50);
        base / 5 + backoff(attempts, base, cap, fastrand::f64())
    }

    /// Records that the actions of a decision succeeded.
    pub fn succeeded(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.attempts = 0;
            known.writes.succeed();
        }
    }

    /// Records that a dry run was answered.
    pub fn answered(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.attempts = 0;
            known.writes.answered();
        }
    }

    /// Records that a status was written over `former`. It may be the status that reports a refusal, which stays. A refusal from
    /// before a verdict is cleared, so that it does not delay what follows the verdict.
    pub fn status_written(&self, key: &Key, former: &KanaryStatus, status: &KanaryStatus) {
        if let Some(known) = self.lock().get_mut(key) {
            known.attempts = 0;
            let ended = Phase::of(status) > Phase::Running;
            known.judged |= ended;
            if ended && Phase::of(former) != Phase::of(status) {
                known.writes.succeed();
            }
        }
    }

    /// Records that the write of a status over `former` was not answered.
    pub fn set_unconfirmed(&self, key: &Key, former: &KanaryStatus) {
        if let Some(known) = self.lock().get_mut(key) {
            known.unconfirmed.get_or_insert_with(|| Box::new(former.clone()));
        }
    }

    /// The status before a write that was not answered. It is returned once.
    pub fn take_unconfirmed(&self, key: &Key) -> Option<Box<KanaryStatus>> {
        self.lock().get_mut(key)?.unconfirmed.take()
    }

    /// Whether all writes of a former owner are known, because the Kanary was read or written under this epoch.
    pub fn is_current(&self, key: &Key, epoch: i64) -> bool {
        self.lock().get(key).is_some_and(|known| known.current == Some(epoch))
    }

    /// Records that the Kanary was read or written under this epoch.
    pub fn mark_current(&self, key: &Key, epoch: i64) {
        self.lock().entry(key.clone()).or_default().current = Some(epoch);
    }

    /// Drops the state of a Kanary that is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Box<Remembered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
