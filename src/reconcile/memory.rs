//! What a controller remembers of a run beside the cluster: measurements, refusals, Events that were said. All of it can
//! be lost: a new owner goes on from the status.

mod attempts;
mod leaving;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kanary_core::{
    Key, ParsedKanary,
    api::{EventReason, KanaryStatus},
    decision::{Action, Notice},
    observation::{Created, Deployment, Observation, Promotion, Ways},
    spec::Spec,
    status::{Phase, traffic_lost_since},
    validation::Sample,
};

use self::attempts::Attempts;
use crate::{
    cluster::error::{ApiError, backoff},
    reconcile::check::Check,
};

mod tallies;

pub use tallies::Measured;
use tallies::Tallies;

/// An Event older than this is history: a controller that starts does not say it again.
const OLD_NEWS: Duration = Duration::from_mins(10);

/// What is remembered, by Kanary.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    run: String,
    tallies: Tallies,
    /// uid of the canary that the tallies are about.
    canary: Option<String>,
    /// Since when it has not been available.
    down_since: Option<Timestamp>,
    /// The canary as the API server answered its creation.
    created: Option<Created>,
    writes: Attempts,
    /// Calls in a row that failed for no fault of the user's.
    attempts: u32,
    promotion: Promotion,
    /// This controller gave the run its verdict.
    judged: bool,
    /// The API server refused to have our ownership of the target's fields handed over.
    keeps_ownership: bool,
    /// Until then no pod is made the Kanary's own.
    adopt_after: Option<Timestamp>,
    /// Ways out of production that failed.
    ways: Ways,
    /// The pods of the run were read live after its verdict.
    pods_confirmed: bool,
    said: HashSet<(EventReason, Timestamp)>,
    /// The epoch under which the Kanary was read live, or its status was written: since then nobody else did.
    current: Option<i64>,
    /// Names of objects that a live read found missing, and since when; their watch will tell when they come.
    missing: HashMap<String, Timestamp>,
}

impl Remembered {
    /// Measurements are about one canary, and only while it is available and gets its traffic are they for it.
    fn notice_canary(&mut self, canary: &Deployment, is_new: bool, status: &KanaryStatus) {
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

    /// Since when a live read found the target missing. That is forgotten once it is there, and during a pause.
    fn target_missing(&mut self, forget: bool, target: &str) -> Option<Timestamp> {
        let object = object::<k8s_openapi::api::apps::v1::Deployment>(target);
        if forget {
            self.missing.remove(&object);
        }
        self.missing.get(&object).copied()
    }
}

/// How an object is called by which it is remembered that it is missing.
pub(crate) fn object<K: kube::Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}/{name}", K::kind(&()))
}

impl Memory {
    /// Adds to `seen` what is remembered of the present run. A run that is new here goes on from its status; an item that
    /// asks something else than before starts anew.
    pub fn recall(&self, kanary: &ParsedKanary, spec: &Spec, seen: &mut Observation) {
        let mut memory = self.lock();
        let known = memory.entry(kanary.key.clone()).or_default();
        let run = kanary.marker(spec);
        let is_new = known.run != run;
        if is_new {
            *known = Remembered {
                run,
                current: known.current,
                ..Remembered::default()
            };
        }
        if known.promotion == Promotion::NotYet && Phase::of(&kanary.status) > Phase::Running && !known.judged {
            // Whoever gave the verdict may have promoted as well, and been overruled since.
            known.promotion = Promotion::Unknown;
        }
        seen.target_missing_since = known.target_missing(seen.target.is_some() || spec.paused, &spec.target);
        let stored = is_new.then_some(kanary.status.items.as_slice());
        known.tallies.arrange(&spec.validation.items, stored);
        if let Some(made) = seen
            .canary
            .as_ref()
            .filter(|made| kanary.has(spec, made, known.created.as_ref()))
        {
            known.notice_canary(made, is_new, &kanary.status);
        }
        seen.created.clone_from(&known.created);
        seen.tallies = known.tallies.present();
        seen.refusal.clone_from(&known.writes.refusal);
        seen.promotion = known.promotion.clone();
        seen.keeps_ownership = known.keeps_ownership;
        seen.adopt_after = known.adopt_after;
        seen.ways = known.ways.clone();
        seen.pods_confirmed = known.pods_confirmed;
    }

    /// A promotion is about to be made: until there is a reply, it may have been. The former state is handed back.
    pub fn begin_promotion(&self, key: &Key) -> Promotion {
        let mut memory = self.lock();
        let promotion = memory.get_mut(key).map(|known| &mut known.promotion);
        promotion.map_or(Promotion::Unknown, |known| std::mem::replace(known, Promotion::Unknown))
    }

    /// What came of a promotion.
    pub fn set_promotion(&self, key: &Key, promotion: Promotion) {
        if let Some(known) = self.lock().get_mut(key) {
            known.promotion = promotion;
        }
    }

    /// The API server refuses to have our ownership of the target's fields handed over: it is not asked again.
    pub fn keep_ownership(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.keeps_ownership = true;
        }
    }

    /// A pod could not be made the Kanary's own: that is not tried again before this time.
    pub fn put_off_adoption(&self, key: &Key, until: Option<Timestamp>) {
        if let Some(known) = self.lock().get_mut(key) {
            known.adopt_after = until;
        }
    }

    /// A query is under way: it is not asked again until it is answered.
    pub fn mark_pending(&self, key: &Key, run: &str, index: usize) {
        if let Some(known) = self.lock().get_mut(key).filter(|known| known.run == run) {
            known.tallies.mark_pending(index);
        }
    }

    /// Records a measurement of the item that stood at its index when it was asked for, unless the run or the canary changed
    /// since, or the item asks something else by now. Whether or not it counts, it is waited for no longer.
    pub fn record(&self, check: &Check, sample: Sample) {
        let mut memory = self.lock();
        let Some(known) = memory.get_mut(&check.key).filter(|known| known.run == check.run) else {
            // What is waited for was forgotten with the run.
            return;
        };
        if known.canary.as_ref() != Some(&check.canary) {
            known.tallies.discard(check.index, &check.query);
            return;
        }
        let measured = Measured {
            sample,
            at: check.at,
            pods: check.pods.clone(),
            is_down: known.down_since.is_some_and(|since| since <= check.at),
        };
        known.tallies.record(check.index, &check.query, measured);
    }

    /// The canary was created, and the API server answered this.
    pub fn set_created(&self, key: &Key, created: Created) {
        if let Some(known) = self.lock().get_mut(key) {
            known.created = Some(created);
        }
    }

    /// The API server refused a call: it is shown to the user, and tried again ever later, 5 minutes at most.
    pub fn refuse(&self, key: &Key, error: &ApiError, now: Timestamp) {
        self.with_attempts(key, |attempts| attempts.refuse(error, now));
    }

    /// An action failed: if that goes on, it is shown to the user as well.
    pub fn failed(&self, key: &Key, error: &ApiError, now: Timestamp) {
        self.with_attempts(key, |attempts| attempts.fail(error, now));
    }

    /// An action worked.
    pub fn done(&self, key: &Key, action: &Action, now: Timestamp) {
        self.with_attempts(key, |attempts| attempts.done(action, now));
    }

    /// Whether an action is to wait, because somebody undid it each time: then it is shown to the user.
    pub fn is_undone(&self, key: &Key, action: &Action, now: Timestamp) -> bool {
        self.with_attempts(key, |attempts| attempts.is_undone(action, now))
    }

    /// Whether a refusal is new, so that the user is to be told at once.
    pub fn has_news(&self, key: &Key) -> bool {
        self.with_attempts(key, Attempts::take_news)
    }

    /// Decisions about this Kanary do not come to rest: how long to leave it alone.
    pub fn restless(&self, key: &Key) -> Duration {
        self.with_attempts(key, Attempts::restless)
    }

    /// They did.
    pub fn came_to_rest(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.writes.came_to_rest();
        }
    }

    fn with_attempts<T>(&self, key: &Key, change: impl FnOnce(&mut Attempts) -> T) -> T {
        change(&mut self.lock().entry(key.clone()).or_default().writes)
    }

    /// How long to wait after a call that failed for no fault of the user's; not much longer than `cap`, and than 2 s while a
    /// write fails of which the user is not told yet.
    pub fn back_off(&self, key: &Key, cap: Duration) -> Duration {
        let (attempts, cap) = {
            let mut memory = self.lock();
            // One whose spec is not valid has no run, and nothing else to remember.
            let known = memory.entry(key.clone()).or_default();
            known.attempts = known.attempts.saturating_add(1);
            let untold = known.writes.is_untold();
            (
                known.attempts,
                if untold { cap.min(Duration::from_secs(2)) } else { cap },
            )
        };
        let base = Duration::from_millis(50);
        base / 5 + backoff(attempts, base, cap, fastrand::f64())
    }

    /// The actions of a decision worked.
    pub fn succeeded(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.attempts = 0;
            known.writes.succeed();
        }
    }

    /// A status was written over `former`. (It may be the one that tells of a refusal, which stays. But what was refused
    /// before a verdict does not hold up what follows it.)
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

    /// Whether all that a former owner wrote is known, because the Kanary was read or written since this epoch began.
    pub fn is_current(&self, key: &Key, epoch: i64) -> bool {
        self.lock().get(key).is_some_and(|known| known.current == Some(epoch))
    }

    /// The Kanary was read or written under this epoch.
    pub fn mark_current(&self, key: &Key, epoch: i64) {
        if let Some(known) = self.lock().get_mut(key) {
            known.current = Some(epoch);
        }
    }

    /// Of these facts, the ones that are news: not said before, and not old.
    pub fn unsaid(&self, key: &Key, notices: Vec<Notice>, now: Timestamp) -> Vec<Notice> {
        let memory = self.lock();
        let said = memory.get(key).map(|known| &known.said);
        let is_news = |notice: &Notice| {
            let age = Duration::try_from(now.duration_since(notice.at)).unwrap_or_default();
            age < OLD_NEWS && !said.is_some_and(|said| said.contains(&(notice.reason, notice.at)))
        };
        notices.into_iter().filter(is_news).collect()
    }

    /// A fact was said.
    pub fn mark_said(&self, key: &Key, notice: &Notice) {
        let mut memory = self.lock();
        let known = memory.entry(key.clone()).or_default();
        // Facts of a run are few; a Kanary that keeps erring must not grow for ever.
        if known.said.len() > 64 {
            known.said.clear();
        }
        known.said.insert((notice.reason, notice.at));
    }

    /// Whether a live read of this object is still worth it: none found it missing so far.
    pub fn is_worth_reading(&self, key: &Key, object: &str) -> bool {
        self.lock()
            .get_mut(key)
            .is_none_or(|known| !known.missing.contains_key(object))
    }

    /// A live read found that this object does not exist. Since when that is known.
    pub fn mark_missing(&self, key: &Key, object: String, now: Timestamp) -> Timestamp {
        let mut memory = self.lock();
        let known = memory.get_mut(key);
        known.map_or(now, |known| *known.missing.entry(object).or_insert(now))
    }

    /// An object may be there after all: the call that creates it failed, and may have been carried out all the same.
    pub fn unmark_missing(&self, key: &Key, object: &str) {
        if let Some(known) = self.lock().get_mut(key) {
            known.missing.remove(object);
        }
    }

    /// The Kanary is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
