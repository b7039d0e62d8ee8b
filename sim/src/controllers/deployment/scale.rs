//! Scaling of a Deployment whose number of replicas changes.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{
    Rollout, available,
    revision::{DESIRED, MOST},
    size,
};
use crate::failure::Failure;

fn number(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

impl Rollout<'_> {
    /// Whether an active ReplicaSet was sized for a different number of replicas.
    pub(super) fn is_scaling(&self) -> bool {
        let mut active = self.all().filter(|set| size(set) > 0);
        active.any(|set| number(set, DESIRED).is_some_and(|desired| desired != self.wanted()))
    }

    /// Distributes the new number of replicas.
    pub(super) fn scale(&mut self) -> Result<(), Failure> {
        let active: Vec<_> = (0..self.old.len())
            .filter(|index| self.old.get(*index).is_some_and(|set| is_active(set)))
            .collect();
        let new_is_active = self.new.as_deref().is_some_and(is_active);
        match (active.as_slice(), new_is_active) {
            ([], _) if self.new.is_some() => self.scale_new_to(self.wanted()).map(|_| ()),
            ([], _) if self.old.is_empty() => Ok(()),
            ([], _) => self.scale_old_to(self.old.len() - 1, self.wanted()).map(|_| ()),
            ([one], false) => self.scale_old_to(*one, self.wanted()).map(|_| ()),
            (many, _) if self.is_saturated() => many
                .iter()
                .try_for_each(|index| self.scale_old_to(*index, 0).map(|_| ())),
            _ if self.is_rolling() => self.scale_in_proportion(),
            _ => Ok(()),
        }
    }

    fn is_saturated(&self) -> bool {
        self.new.as_ref().is_some_and(|new| {
            let wanted = self.wanted();
            size(new) == wanted && number(new, DESIRED) == Some(wanted) && available(new) == wanted
        })
    }

    /// Distributes added or removed replicas over the active ReplicaSets in proportion to their sizes.
    fn scale_in_proportion(&mut self) -> Result<(), Failure> {
        let sets = self.old.iter().chain(&self.new);
        let mut sets: Vec<_> = sets.filter(|set| is_active(set)).cloned().collect();
        let allowed = if self.wanted() > 0 { self.most() } else { 0 };
        let change = allowed - sets.iter().map(|set| size(set)).sum::<i32>();
        // The largest ReplicaSet goes first. Among equal sizes, the newest goes first when scaling up, the oldest when
        // scaling down.
        if change > 0 {
            sets.reverse();
        }
        sets.sort_by_key(|set| std::cmp::Reverse(size(set)));
        let mut left = change;
        let mut sizes = Vec::new();
        for set in &sets {
            let share = if left == 0 { 0 } else { self.share(set) };
            let share = if change > 0 { share.min(left) } else { share.max(left) };
            left -= share;
            sizes.push(size(set) + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + left).max(0);
        }
        for (set, replicas) in sets.iter().zip(sizes) {
            let resized = self.resized(set, replicas)?;
            let known = self.old.iter_mut().chain(&mut self.new);
            for known in known.filter(|known| known.metadata.uid == resized.metadata.uid) {
                *known = resized.clone();
            }
        }
        Ok(())
    }

    /// A ReplicaSet's proportional share of the change.
    fn share(&self, set: &ReplicaSet) -> i32 {
        if self.wanted() == 0 {
            return -size(set);
        }
        let before = number(set, MOST).filter(|most| *most != 0);
        let before = before.or(self.deployment.status.as_ref().and_then(|status| status.replicas));
        match before {
            None | Some(0) => 0,
            Some(before) => rounded(i64::from(size(set)) * i64::from(self.most()), i64::from(before)) - size(set),
        }
    }
}

fn is_active(set: &ReplicaSet) -> bool {
    size(set) > 0
}

/// `of / by` for non-negative numbers, rounded half up.
fn rounded(of: i64, by: i64) -> i32 {
    i32::try_from((2 * of + by) / (2 * by)).unwrap_or(i32::MAX)
}
