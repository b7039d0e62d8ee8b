//! Pods of a target that run the template in place.

use kanary_core::{Key, observation::RevisedPods};

use super::Memory;

impl Memory {
    /// The pods as they were last read.
    pub fn revised(&self, key: &Key) -> Option<RevisedPods> {
        self.lock().get(key)?.revised.clone()
    }

    /// Records the pods that were read.
    pub fn set_revised(&self, key: &Key, pods: RevisedPods) {
        if let Some(known) = self.lock().get_mut(key) {
            known.revised = Some(pods);
        }
    }
}
