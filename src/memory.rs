//! What a controller remembers of a run beside the cluster: measurements, refusals, Events that were said. All of it can
//! be lost: a new owner goes on from the status.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    api::KanaryStatus,
    canary::{
        Canary, Key,
        canary::Spec,
        decision::Notice,
        observation::{Deployment, Observation, Promotion, Refusal},
        status::Phase,
        validation::promql::PromQl,
    },
    error::{ApiError, backoff},
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
    refusal: Option<Refusal>,
    /// Refusals in a row.
    refusals: u32,
    /// Calls in a row that failed for no fault of the user's.
    attempts: u32,
    promotion: Promotion,
    /// This controller gave the run its verdict.
    judged: bool,
    no_former_template: bool,
    said: HashSet<(String, Timestamp)>,
    /// The epoch under which the Kanary was read live, or its status was written: since then nobody else did.
    current: Option<i64>,
    /// Names of objects that a live read found missing; their watch will tell when they come.
    missing: HashSet<String>,
}

impl Remembered {
    /// The target says that this run promoted it: from then on a target that says something else was changed by others. Not
    /// if it has the template from `before`: that is not what this run made of it.
    fn notice_promotion(&mut self, seen: &Observation, before: Option<&String>) {
        let is_promoted = |target: &&Deployment| {
            target.promoted_by.as_ref() == Some(&self.run) && Some(&target.template_hash) != before
        };
        let target = seen.target.as_ref().filter(is_promoted);
        if let (Some(target), false) = (target, matches!(self.promotion, Promotion::Done { .. })) {
            self.promotion = Promotion::Done {
                at: None,
                template_hash: target.template_hash.clone(),
            };
        }
    }
}

impl Memory {
    /// Adds to `seen` what is remembered of the present run. A run that is new here goes on from its status; an item that
    /// asks something else than before starts anew.
    pub fn recall(&self, canary: &Canary, spec: &Spec, seen: &mut Observation) {
        let mut memory = self.lock();
        let known = memory.entry(canary.key.clone()).or_default();
        let run = canary.marker(spec);
        let is_new = known.run != run;
        if is_new {
            *known = Remembered {
                run,
                current: known.current,
                ..Remembered::default()
            };
        }
        if known.promotion == Promotion::NotYet && Phase::of(&canary.status) > Phase::Running && !known.judged {
            // Whoever gave the verdict may have promoted as well, and been overruled since.
            known.promotion = Promotion::Unknown;
        }
        known.notice_promotion(seen, canary.status.target_hash.as_ref());
        let stored = is_new.then_some(canary.status.items.as_slice());
        known.tallies.arrange(&spec.validation.items, stored);
        seen.tallies = known.tallies.present();
        seen.refusal.clone_from(&known.refusal);
        seen.promotion = known.promotion.clone();
        seen.no_former_template = known.no_former_template;
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

    /// The rollout history has nothing to roll back to: it is not read again.
    pub fn mark_no_former_template(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.no_former_template = true;
        }
    }

    /// A query is under way: it is not asked again until it is answered.
    pub fn mark_pending(&self, key: &Key, run: &str, index: usize) {
        if let Some(known) = self.lock().get_mut(key).filter(|known| known.run == run) {
            known.tallies.mark_pending(index);
        }
    }

    /// Records a measurement of the item that stood at `index` when it was asked for, unless the run changed since, or the
    /// item asks something else by now.
    pub fn record(&self, key: &Key, run: &str, index: usize, asked: &PromQl, measured: Measured) {
        if let Some(known) = self.lock().get_mut(key).filter(|known| known.run == run) {
            known.tallies.record(index, asked, measured);
        }
    }

    /// The API server refused a write: it is shown to the user, and tried again ever later, 5 minutes at most.
    pub fn refuse(&self, key: &Key, error: &ApiError, now: Timestamp) {
        let mut memory = self.lock();
        let Some(known) = memory.get_mut(key) else { return };
        let seconds = 1_u64 << known.refusals.min(9);
        known.refusals = known.refusals.saturating_add(1);
        let delay = jiff::SignedDuration::from_secs(i64::try_from(seconds.min(300)).unwrap_or(300));
        known.refusal = Some(Refusal {
            reason: "WriteRefused".to_owned(),
            message: error.message(),
            retry_at: now.checked_add(delay).unwrap_or(now),
        });
    }

    /// How long to wait after a call that failed for no fault of the user's; not much longer than `cap`.
    pub fn back_off(&self, key: &Key, cap: Duration) -> Duration {
        let attempts = {
            let mut memory = self.lock();
            // One whose spec is not valid has no run, and nothing else to remember.
            let known = memory.entry(key.clone()).or_default();
            known.attempts = known.attempts.saturating_add(1);
            known.attempts
        };
        let base = Duration::from_millis(50);
        base / 5 + backoff(attempts, base, cap, fastrand::f64())
    }

    /// The actions of a decision worked.
    pub fn succeeded(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.attempts = 0;
            known.refusals = 0;
            known.refusal = None;
        }
    }

    /// A status was written. (It may be the one that tells of a refusal, which stays.)
    pub fn status_written(&self, key: &Key, status: &KanaryStatus) {
        if let Some(known) = self.lock().get_mut(key) {
            known.attempts = 0;
            known.judged |= Phase::of(status) > Phase::Running;
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
            age < OLD_NEWS && !said.is_some_and(|said| said.contains(&(notice.reason.clone(), notice.at)))
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
        known.said.insert((notice.reason.clone(), notice.at));
    }

    /// Whether a live read of this object is still worth it: none found it missing so far.
    pub fn is_worth_reading(&self, key: &Key, object: &str) -> bool {
        self.lock()
            .get_mut(key)
            .is_none_or(|known| !known.missing.contains(object))
    }

    /// A live read found that this object does not exist.
    pub fn mark_missing(&self, key: &Key, object: String) {
        if let Some(known) = self.lock().get_mut(key) {
            known.missing.insert(object);
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
mod tests {
    use super::*;
    use crate::api::KanaryKind;
    use crate::error::CAP;

    fn batman() -> Key {
        Key {
            kind: KanaryKind::Deployment,
            namespace: "shop".to_owned(),
            name: "batman".to_owned(),
        }
    }

    #[test]
    fn a_kanary_without_a_run_is_tried_again_ever_later() {
        let memory = Memory::default();
        fastrand::seed(1);
        let waited: Duration = (0..20).map(|_| memory.back_off(&batman(), CAP)).sum();
        assert!(waited > Duration::from_secs(30), "{waited:?}");
        memory.status_written(&batman(), &KanaryStatus::default());
        assert!(memory.back_off(&batman(), CAP) <= Duration::from_millis(110));
    }

    /// Batman, whose verdict was stored as good.
    fn succeeded() -> Canary {
        let succeeded = serde_json::json!({
            "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {
                "deploymentName": "myapp",
                "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
            },
            "status": {"conditions": [{
                "type": "Succeeded", "status": "True", "reason": "Valid", "message": "",
                "lastTransitionTime": "2026-11-22T12:00:00Z",
            }]},
        });
        Canary::parse(KanaryKind::Deployment, &serde_json::from_value(succeeded).unwrap()).unwrap()
    }

    #[test]
    fn only_who_stored_the_verdict_knows_that_nobody_promoted_yet() {
        let (canary, mut seen) = (succeeded(), Observation::default());
        let memory = Memory::default();
        memory.recall(&canary, &canary.spec, &mut seen);
        assert_eq!(seen.promotion, Promotion::Unknown);

        let memory = Memory::default();
        memory.back_off(&canary.key, CAP);
        let mut waiting = canary.clone();
        waiting.status = KanaryStatus::default();
        memory.recall(&waiting, &waiting.spec, &mut seen);
        memory.status_written(&canary.key, &canary.status);
        memory.recall(&canary, &canary.spec, &mut seen);
        assert_eq!(seen.promotion, Promotion::NotYet);
    }

    #[test]
    fn what_happened_to_a_kanary_without_a_run_is_said_once() {
        let memory = Memory::default();
        let errored = Notice {
            reason: "Errored".to_owned(),
            note: String::new(),
            warning: true,
            at: Timestamp::UNIX_EPOCH,
        };
        let unsaid = || memory.unsaid(&batman(), vec![errored.clone()], Timestamp::UNIX_EPOCH);
        assert_eq!(unsaid().len(), 1);
        memory.mark_said(&batman(), &errored);
        assert_eq!(unsaid(), []);
    }
}
