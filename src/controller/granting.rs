//! Limits on canaries: the places, their watch, and the leader that grants them.

use std::sync::Arc;

use kube::Client;

use super::{
    Options, Parts, Tasks, spawn,
    watches::{Named, Watcher},
};
use crate::{
    cache::watch::Heartbeat,
    metrics::Metrics,
    places::{Places, leader::Leader},
    queue::Queue,
};

/// The places, if the number of canaries is limited.
pub(super) fn places(options: &Options, queue: &Arc<Queue>, metrics: &Arc<Metrics>) -> Option<Arc<Places>> {
    let limits = options.places.clone()?;
    let clock = options.clock.clone();
    Some(Arc::new(Places::new(limits, clock, queue.clone(), metrics.clone())))
}

impl Parts {
    /// Starts the watch of the places, and the leader that grants them. Only runs that have not started wait for them.
    pub(super) fn grant(
        &self,
        watcher: &Watcher,
        client: Client,
        tasks: &mut Tasks,
    ) -> Option<(&'static str, Heartbeat)> {
        let places = self.context.places.clone()?;
        let Named { name, heartbeat, run } = watcher.map_of_places(client.clone(), places.clone());
        spawn(tasks, name, run);
        let (member, watcher) = (self.member.clone(), watcher.clone());
        let leader = Leader {
            places,
            client,
            map: heartbeat.clone(),
            leads: Box::new(move || member.as_ref().is_none_or(|member| member.leads())),
            watch: Box::new(move |applicants| watcher.applicants(&applicants)),
        };
        spawn(tasks, "places", leader.run());
        Some((name, heartbeat))
    }
}
