//! State about a failed canary that is removed from production.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use kanary_core::{
    Key,
    decision::{Action, ObjectKind},
    observation::{Attempt, Ways},
};

use super::Memory;
use crate::cluster::error::{ApiError, Class};

fn way<'a>(ways: &'a mut Ways, action: &Action) -> Option<&'a mut Option<Attempt>> {
    match action {
        Action::Unlabel { .. } => Some(&mut ways.labels),
        // Without its ScaledObject, a canary stays at 0.
        Action::Delete {
            object: ObjectKind::ScaledObject,
            ..
        }
        | Action::ScaleCanary { .. } => Some(&mut ways.scale),
        Action::Delete { .. } => Some(&mut ways.deletion),
        _ => None,
    }
}

impl Memory {
    /// Records a failed write, begun at `began`, that should remove a canary from production.
    pub fn could_not_leave(&self, key: &Key, action: &Action, error: &ApiError, began: Timestamp, now: Timestamp) {
        let mut memory = self.lock();
        let Some(known) = memory.get_mut(key) else { return };
        let Some(attempt) = way(&mut known.ways, action) else {
            return;
        };
        let refused = error.class() == Class::Invalid;
        match attempt {
            Some(attempt) => {
                attempt.last = now.max(attempt.last);
                attempt.times = attempt.times.saturating_add(1);
                attempt.refused |= refused;
            }
            None => {
                *attempt = Some(Attempt {
                    first: began,
                    last: now.max(began),
                    times: 1,
                    refused,
                    message: error.message(),
                });
            }
        }
    }

    /// Records that an action removed the canary from production.
    pub fn left(&self, key: &Key, action: &Action) {
        let mut memory = self.lock();
        let ways = memory.get_mut(key).map(|known| &mut known.ways);
        if let Some(attempt) = ways.and_then(|ways| way(ways, action)) {
            *attempt = None;
        }
    }

    /// Records that the pods of the run were read live.
    pub fn mark_pods_confirmed(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.pods_confirmed = true;
        }
    }
}
