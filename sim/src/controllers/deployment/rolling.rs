//! The steps of a rolling update, and the scaling of a single ReplicaSet.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{
    ACTOR, Rollout, available,
    revision::{DESIRED, MOST},
    size,
};
use crate::failure::Failure;

impl Rollout<'_> {
    /// The allowed size of the newest ReplicaSet, which has `now` replicas.
    pub(super) fn size_of_new(&self, now: i32) -> i32 {
        if !self.is_rolling() {
            return self.wanted();
        }
        let room = self.most() - self.all().map(size).sum::<i32>();
        if room <= 0 {
            return now;
        }
        now + room.min(self.wanted() - now)
    }

    /// Scales up the newest ReplicaSet as far as the surge allows. Returns whether it changed.
    pub(super) fn scale_new(&mut self) -> Result<bool, Failure> {
        let Some(now) = self.new.as_deref().map(size) else {
            return Ok(false);
        };
        let to = if now > self.wanted() {
            self.wanted()
        } else {
            self.size_of_new(now)
        };
        self.scale_new_to(to)
    }

    /// Scales down the old ReplicaSets as far as enough pods are available. Returns whether any changed.
    pub(super) fn scale_old(&mut self) -> Result<bool, Failure> {
        if self.old.iter().map(|set| size(set)).sum::<i32>() == 0 {
            return Ok(false);
        }
        let total = self.all().map(size).sum::<i32>();
        let missing = self.new.as_ref().map_or(0, |new| size(new) - available(new));
        let most = total - self.least_available() - missing;
        if most <= 0 {
            return Ok(false);
        }
        let unhealthy = self.scale_unhealthy(most)?;
        let healthy = self.scale_healthy()?;
        Ok(unhealthy || healthy)
    }

    /// Removes up to `most` unavailable pods first.
    fn scale_unhealthy(&mut self, most: i32) -> Result<bool, Failure> {
        let mut down = 0;
        for index in 0..self.old.len() {
            let Some(set) = self.old.get(index) else { break };
            let (now, ready) = (size(set), available(set));
            let less = (most - down).min(now - ready);
            if less > 0 && self.scale_old_to(index, now - less)? {
                down += less;
            }
        }
        Ok(down > 0)
    }

    fn scale_healthy(&mut self) -> Result<bool, Failure> {
        let mut spare = self.all().map(available).sum::<i32>() - self.least_available();
        let mut scaled = false;
        for index in 0..self.old.len() {
            let Some(now) = self.old.get(index).map(|set| size(set)) else {
                break;
            };
            let less = spare.min(now);
            if less > 0 && self.scale_old_to(index, now - less)? {
                spare -= less;
                scaled = true;
            }
        }
        Ok(scaled)
    }

    pub(super) fn scale_new_to(&mut self, replicas: i32) -> Result<bool, Failure> {
        let Some(new) = self.new.as_ref().filter(|new| size(new) != replicas) else {
            return Ok(false);
        };
        self.new = Some(self.resized(new, replicas)?);
        Ok(true)
    }

    pub(super) fn scale_old_to(&mut self, index: usize, replicas: i32) -> Result<bool, Failure> {
        let Some(set) = self.old.get(index).filter(|set| size(set) != replicas) else {
            return Ok(false);
        };
        let resized = self.resized(set, replicas)?;
        if let Some(set) = self.old.get_mut(index) {
            *set = resized;
        }
        Ok(true)
    }

    /// Writes a ReplicaSet's size and the desired-replicas annotation.
    pub(super) fn resized(&self, set: &Arc<ReplicaSet>, replicas: i32) -> Result<Arc<ReplicaSet>, Failure> {
        let mut resized = ReplicaSet::clone(set);
        let annotations = resized.metadata.annotations.get_or_insert_default();
        annotations.insert(DESIRED.to_owned(), self.wanted().to_string());
        annotations.insert(MOST.to_owned(), self.most().to_string());
        if let Some(spec) = &mut resized.spec {
            spec.replicas = Some(replicas);
        }
        if resized == **set {
            return Ok(set.clone());
        }
        self.cluster.update(ACTOR, resized)
    }
}
