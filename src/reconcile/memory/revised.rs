//! Pods of a target that run the template in place.

use jiff::Timestamp;
use kanary_core::{
    Key,
    observation::{RevisedPods, SetRevision},
};

use super::Memory;
use crate::cache::PodRow;

/// The pods as they were last read.
#[derive(Debug)]
pub(super) struct Revised {
    revision: SetRevision,
    at: Timestamp,
    pods: Vec<PodRow>,
}

impl Memory {
    /// The pods as they were last read.
    pub fn revised(&self, key: &Key) -> Option<RevisedPods> {
        let known = self.lock();
        let revised = known.get(key)?.revised.as_ref()?;
        Some(RevisedPods {
            revision: revised.revision.clone(),
            at: revised.at,
            pods: revised.pods.iter().map(PodRow::pod).collect(),
        })
    }

    /// Records the pods that were read at `at`.
    pub(in crate::reconcile) fn set_revised(
        &self,
        key: &Key,
        revision: SetRevision,
        at: Timestamp,
        mut pods: Vec<PodRow>,
    ) {
        if let Some(known) = self.lock().get_mut(key) {
            for former in known.revised.iter().flat_map(|former| &former.pods) {
                for pod in &mut pods {
                    pod.follow(former);
                }
            }
            known.revised = Some(Box::new(Revised { revision, at, pods }));
        }
    }
}
