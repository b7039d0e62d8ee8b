//! The status of a Deployment.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::{ACTOR, Rollout, available, present, size};
use crate::{
    controllers::claim::{second, unless_gone},
    failure::Failure,
};

const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
const FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind)
}

fn clear(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
}

fn says_same(known: &DeploymentCondition, new: &DeploymentCondition) -> bool {
    known.status == new.status && known.reason == new.reason
}

/// Sets a condition unless it is already set to the same values.
fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(known) = find(status, &new.type_) {
        if says_same(known, &new) {
            return;
        }
        if known.status == new.status {
            new.last_transition_time.clone_from(&known.last_transition_time);
        }
    }
    clear(status, &new.type_);
    status.conditions.get_or_insert_default().push(new);
}

fn count(value: i32) -> Option<i32> {
    Some(value).filter(|value| *value != 0)
}

impl Rollout<'_> {
    pub(super) fn condition(&self, kind: &str) -> Option<&DeploymentCondition> {
        find(self.deployment.status.as_ref()?, kind)
    }

    fn new_condition(&self, kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
        let now = second(self.cluster);
        DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(now.clone()),
            last_transition_time: Some(now),
        }
    }

    /// Sets a condition in memory. The next status write stores it.
    pub(super) fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let condition = self.new_condition(kind, status, reason, message);
        let status = self.deployment.status.as_ref();
        if status
            .and_then(|status| find(status, kind))
            .is_some_and(|known| says_same(known, &condition))
        {
            return;
        }
        set(
            Arc::make_mut(&mut self.deployment).status.get_or_insert_default(),
            condition,
        );
    }

    /// The progress deadline does not run while a rollout is paused.
    pub(super) fn note_pause(&mut self) {
        if self.spec.progress_deadline_seconds.is_none() {
            return;
        }
        let reason = self
            .condition(PROGRESSING)
            .and_then(|condition| condition.reason.clone());
        let (paused, noted) = (
            self.spec.paused == Some(true),
            reason.as_deref() == Some("DeploymentPaused"),
        );
        if reason.as_deref() == Some(TIMED_OUT) || paused == noted {
            return;
        }
        let (reason, message) = if paused {
            ("DeploymentPaused", "Deployment is paused")
        } else {
            ("DeploymentResumed", "Deployment is resumed")
        };
        self.set_condition(PROGRESSING, "Unknown", reason, message.to_owned());
    }

    /// The replica counts and the `Available` condition.
    fn calculated(&self) -> DeploymentStatus {
        let known = self.deployment.status.clone().unwrap_or_default();
        let ready = |set: &ReplicaSet| {
            set.status
                .as_ref()
                .and_then(|status| status.ready_replicas)
                .unwrap_or_default()
        };
        let is_available = self.all().map(available).sum::<i32>();
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: count(self.all().map(present).sum()),
            updated_replicas: count(self.new.as_deref().map_or(0, present)),
            ready_replicas: count(self.all().map(ready).sum()),
            available_replicas: count(is_available),
            unavailable_replicas: count((self.all().map(size).sum::<i32>() - is_available).max(0)),
            ..known
        };
        let condition = if is_available >= self.least_available() {
            let message = "Deployment has minimum availability.".to_owned();
            self.new_condition(AVAILABLE, "True", "MinimumReplicasAvailable", message)
        } else {
            let message = "Deployment does not have minimum availability.".to_owned();
            self.new_condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message)
        };
        set(&mut status, condition);
        status
    }

    pub(super) fn write_status(&mut self) -> Result<(), Failure> {
        self.write(self.calculated())
    }

    fn write(&self, status: DeploymentStatus) -> Result<(), Failure> {
        if self.stored.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut written = Deployment::clone(&self.deployment);
        written.status = Some(status);
        unless_gone(self.cluster.update_status(ACTOR, written)).map(|_| ())
    }

    /// Whether every replica has the current template and is available, and no old replica is left.
    fn completes(&self, status: &DeploymentStatus) -> bool {
        let is_wanted = |count: Option<i32>| count.unwrap_or_default() == self.wanted();
        is_wanted(status.updated_replicas)
            && is_wanted(status.replicas)
            && is_wanted(status.available_replicas)
            && status.observed_generation >= self.deployment.metadata.generation
    }

    /// Whether the rollout was complete at the last status write.
    pub(super) fn is_complete(&self) -> bool {
        self.deployment
            .status
            .as_ref()
            .is_some_and(|status| self.completes(status))
    }

    /// Writes the status with the rollout's progress and returns when to check its deadline.
    pub(super) fn write_progress(&mut self) -> Result<Option<Duration>, Failure> {
        let known = self.deployment.status.clone().unwrap_or_default();
        let mut status = self.calculated();
        if self.spec.progress_deadline_seconds.is_none() {
            clear(&mut status, PROGRESSING);
        }
        let reason = find(&known, PROGRESSING).and_then(|condition| condition.reason.as_deref());
        let was_complete = status.replicas == status.updated_replicas && reason == Some(COMPLETE);
        if self.spec.progress_deadline_seconds.is_some() && !was_complete {
            self.judge(&known, &mut status);
        }
        match self.replica_failure() {
            Some(condition) => set(&mut status, condition),
            None => clear(&mut status, FAILURE),
        }
        let wait = self.until_deadline(&status);
        self.write(status)?;
        Ok(wait)
    }

    fn judge(&self, known: &DeploymentStatus, status: &mut DeploymentStatus) {
        let what = match self.new.as_ref().and_then(|new| new.metadata.name.as_ref()) {
            Some(name) => format!("ReplicaSet \"{name}\""),
            None => format!(
                "Deployment \"{}\"",
                self.deployment.metadata.name.as_deref().unwrap_or_default()
            ),
        };
        if self.completes(status) {
            let message = format!("{what} has successfully progressed.");
            set(status, self.new_condition(PROGRESSING, "True", COMPLETE, message));
        } else if progresses(known, status) {
            let message = format!("{what} is progressing.");
            let mut condition = self.new_condition(PROGRESSING, "True", "ReplicaSetUpdated", message);
            // Any progress renews the condition, even if its text stays the same.
            if let Some(known) = find(known, PROGRESSING).filter(|known| known.status == "True") {
                condition.last_transition_time.clone_from(&known.last_transition_time);
            }
            clear(status, PROGRESSING);
            set(status, condition);
        } else if self
            .deadline(status)
            .is_some_and(|deadline| deadline < self.cluster.now())
        {
            let message = format!("{what} has timed out progressing.");
            set(status, self.new_condition(PROGRESSING, "False", TIMED_OUT, message));
        }
    }

    /// When the rollout exceeds its progress deadline.
    fn deadline(&self, status: &DeploymentStatus) -> Option<Timestamp> {
        let condition = find(status, PROGRESSING)?;
        if [Some(COMPLETE), Some(TIMED_OUT)].contains(&condition.reason.as_deref()) {
            return None;
        }
        let seconds = i64::from(self.spec.progress_deadline_seconds?);
        let from = condition.last_update_time.as_ref()?.0;
        from.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn until_deadline(&self, status: &DeploymentStatus) -> Option<Duration> {
        if self.completes(status) {
            return None;
        }
        let left = self.deadline(status)?.duration_since(self.cluster.now());
        Some(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1))
    }

    /// The condition for a ReplicaSet that cannot create its pods.
    fn replica_failure(&self) -> Option<DeploymentCondition> {
        let sets = self.new.iter().chain(&self.old);
        let conditions = sets
            .filter_map(|set| set.status.as_ref()?.conditions.as_ref())
            .flatten();
        let failure = conditions.into_iter().find(|condition| condition.type_ == FAILURE)?;
        Some(DeploymentCondition {
            type_: FAILURE.to_owned(),
            status: failure.status.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            last_update_time: failure.last_transition_time.clone(),
            last_transition_time: failure.last_transition_time.clone(),
        })
    }
}

/// Whether there are more new replicas, fewer old ones, or more that are ready or available.
fn progresses(known: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    let old =
        |status: &DeploymentStatus| status.replicas.unwrap_or_default() - status.updated_replicas.unwrap_or_default();
    status.updated_replicas > known.updated_replicas
        || old(status) < old(known)
        || status.ready_replicas > known.ready_replicas
        || status.available_replicas > known.available_replicas
}
