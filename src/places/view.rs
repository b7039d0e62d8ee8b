//! All Kanaries as far as the leader needs them: who asks for a place, and who has one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use kanary_core::{
    Key,
    api::{Kanary, KanaryKind, PlaceState, RunPlace},
};
use kube::ResourceExt;
use serde::Deserialize;
use serde_json::Value;

use super::book::Grant;

/// How much waiting a step of the priority is worth, in milliseconds.
const STEP: i64 = 600_000;

/// A Kanary and its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// `metadata.uid`.
    pub uid: String,
    /// `spec.priority`.
    pub priority: i32,
    /// Its last request and the state of that. `None` if it never asked.
    pub request: Option<(i64, PlaceState)>,
    /// Whether it could start: it waits, and neither is something else in the way nor is it paused or being deleted.
    pub is_ready: bool,
    /// Whether its run has ended.
    pub has_ended: bool,
}

impl Applicant {
    /// Reads what is needed of a Kanary. `None` if it has no uid.
    #[must_use]
    pub fn of(object: &Kanary) -> Option<Self> {
        let status = |field: &str| object.status.as_ref().and_then(|status| status.get(field));
        let place = status("place").and_then(|place| RunPlace::deserialize(place).ok());
        let spec = |field: &str| object.spec.get(field);
        let priority = spec("priority").and_then(Value::as_i64).unwrap_or_default();
        let is_paused = spec("paused") == Some(&Value::Bool(true));
        let deleting = object.metadata.deletion_timestamp.is_some();
        Some(Self {
            uid: object.uid()?,
            priority: i32::try_from(priority.clamp(-100, 100)).unwrap_or_default(),
            is_ready: place.as_ref().is_some_and(|place| place.blocked_at.is_none()) && !is_paused && !deleting,
            request: place.map(|place| (place.requested_at.as_millisecond(), place.state)),
            has_ended: status("completedAt").is_some_and(|at| !at.is_null()),
        })
    }

    /// Whether this proves that a granted request does not count any more. What an older version of the Kanary shows proves
    /// nothing: requests have ever later times, and one that ended or was given up stays so.
    #[must_use]
    pub fn releases(&self, grant: &Grant) -> bool {
        self.request.is_some_and(|(requested, state)| {
            requested > grant.requested
                || (requested == grant.requested && (self.has_ended || state == PlaceState::Left))
        })
    }

    /// Whether its run has started and has not ended.
    fn is_active(&self) -> bool {
        !self.has_ended && matches!(self.request, Some((_, PlaceState::Taken)))
    }

    /// Its turn, if it waits: the lowest comes first. A fixed head start for each step of the priority is the same as a
    /// priority that grows while it waits, and needs no clock.
    fn turn(&self) -> Option<(i64, i64)> {
        match self.request {
            Some((requested, PlaceState::Waiting)) if self.is_ready && !self.has_ended => {
                Some((requested.saturating_sub(i64::from(self.priority) * STEP), requested))
            }
            _ => None,
        }
    }
}

/// All Kanaries, indexed by what matters.
#[derive(Clone, Debug, Default)]
pub struct View {
    applicants: BTreeMap<Key, Applicant>,
    by_uid: HashMap<String, Key>,
    line: BTreeSet<((i64, i64), String)>,
    active: BTreeSet<String>,
    /// Kanaries that were seen and do not exist any more.
    gone: HashSet<String>,
}

impl View {
    /// Stores a Kanary. Returns whether anything has changed.
    pub fn put(&mut self, key: Key, applicant: Applicant) -> bool {
        if self.applicants.get(&key) == Some(&applicant) {
            return false;
        }
        self.remove(&key);
        if let Some(turn) = applicant.turn() {
            self.line.insert((turn, applicant.uid.clone()));
        }
        if applicant.is_active() {
            self.active.insert(applicant.uid.clone());
        }
        self.gone.remove(&applicant.uid);
        self.by_uid.insert(applicant.uid.clone(), key.clone());
        self.applicants.insert(key, applicant);
        true
    }

    /// Removes a Kanary that does not exist any more.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(former) = self.applicants.remove(key) else {
            return false;
        };
        if let Some(turn) = former.turn() {
            self.line.remove(&(turn, former.uid.clone()));
        }
        self.active.remove(&former.uid);
        self.by_uid.remove(&former.uid);
        self.gone.insert(former.uid);
        true
    }

    /// Removes the Kanaries of a kind that are not listed.
    pub fn retain(&mut self, kind: KanaryKind, listed: impl Fn(&Key) -> bool) {
        let left = self.applicants.keys().filter(|key| key.kind == kind && !listed(key));
        for key in left.cloned().collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    /// A Kanary by its uid.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Applicant> {
        self.applicants.get(self.by_uid.get(uid)?)
    }

    /// Whether it existed and does not exist any more.
    #[must_use]
    pub fn is_gone(&self, uid: &str) -> bool {
        self.gone.contains(uid)
    }

    /// Forgets Kanaries that are gone, except those that matter.
    pub fn forget_gone(&mut self, matters: impl Fn(&str) -> bool) {
        self.gone.retain(|uid| matters(uid));
    }

    /// Those that wait, in order.
    pub fn line(&self) -> impl Iterator<Item = (&Key, &Applicant)> {
        self.line.iter().filter_map(|(_, uid)| {
            let key = self.by_uid.get(uid)?;
            Some((key, self.applicants.get(key)?))
        })
    }

    /// Kanaries whose run has started and has not ended, by their uid.
    pub fn active(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.active
            .iter()
            .filter_map(|uid| Some((self.by_uid.get(uid)?, uid.as_str())))
    }
}

/// A request as a time.
#[must_use]
pub fn time(millis: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok()
}
