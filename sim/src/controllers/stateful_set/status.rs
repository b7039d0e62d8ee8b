//! The status of a StatefulSet.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::StatefulSetStatus, core::v1::Pod};

use super::{Sync, identity};
use crate::controllers::claim::{available_in, ready_since};

impl Sync<'_> {
    /// The status, and the time until it changes without an event.
    pub(super) fn status(&self) -> (StatefulSetStatus, Option<Duration>) {
        let pods = || self.pods.values().map(|pod| &**pod);
        let count = |is: &dyn Fn(&Pod) -> bool| i32::try_from(pods().filter(|pod| is(pod)).count()).unwrap_or(i32::MAX);
        let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        let of = |revision: &String| count(&|pod| stays(pod) && identity::revision(pod) == Some(revision));
        let (updated, ready) = (of(&self.revisions.update), count(&|pod| ready_since(pod).is_some()));
        let replicas = count(&|_| true);
        let (mut current, mut current_revision) = (of(&self.revisions.current), self.revisions.current.clone());
        let all = self.wanted();
        if self.partition().is_some() && [updated, ready, replicas] == [all; 3] {
            current = updated;
            current_revision.clone_from(&self.revisions.update);
        }
        let some = |number: i32| Some(number).filter(|number| *number != 0);
        let status = StatefulSetStatus {
            replicas,
            ready_replicas: some(ready),
            available_replicas: Some(count(&|pod| self.is_available(pod))),
            current_replicas: some(current),
            updated_replicas: some(updated),
            current_revision: Some(current_revision),
            update_revision: Some(self.revisions.update.clone()),
            observed_generation: self.set.metadata.generation,
            collision_count: Some(0),
            conditions: None,
        };
        let waits = pods().filter_map(|pod| available_in(self.cluster, pod, self.spec.min_ready_seconds));
        (status, waits.filter(|wait| !wait.is_zero()).min())
    }
}
