//! The cluster components other than the API server: kube-controller-manager, the scheduler and the kubelets.
//!
//! All controllers run in one task, one object at a time, in an order that depends only on the cluster's seed.

mod autoscaler;
mod behaviour;
mod claim;
mod daemon_set;
mod deployment;
mod endpoints;
mod garbage;
mod gateway;
mod history;
mod index;
mod namespace;
mod notice;
mod pod;
mod queue;
mod quota;
mod replica_set;
mod stateful_set;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

pub use self::behaviour::{Behaviour, ByImage, Fate, LABEL, Metrics, UNREADY};
use self::{
    index::{ByLabel, Selectors},
    queue::Queue,
};
use crate::{
    cluster::{Cluster, Event},
    failure::Failure,
    gateway::Gateway,
    store::{Place, ResourceName},
};

/// An object in the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Deployment(Place),
    ReplicaSet(Place),
    StatefulSet(Place),
    DaemonSet(Place),
    Pod(Place, pod::Step),
    Endpoints(Place),
    Autoscaler(Place),
    Garbage(ResourceName, Place),
    Namespace(String),
    Quota(Place),
    Route(ResourceName, Place),
    Gateway(Place),
}

/// All controllers and their state.
struct Controllers {
    cluster: Cluster,
    gateway: Gateway,
    behaviour: Behaviour,
    queue: Queue<Key>,
    deployments: Selectors,
    replica_sets: Selectors,
    stateful_sets: Selectors,
    daemon_sets: Selectors,
    services: Selectors,
    pods: ByLabel,
    live: garbage::Live,
    autoscalers: autoscaler::Memories,
    /// Namespaces that are being deleted.
    terminating: BTreeSet<String>,
    quotas: BTreeSet<Place>,
    routes: gateway::References,
    /// Number of pod IPs allocated so far.
    addresses: u32,
}

/// Runs the controllers of a cluster, with the control plane of its gateway, until the future is dropped.
pub async fn run(cluster: Cluster, gateway: Gateway, behaviour: Behaviour) {
    let mut events = cluster.events();
    let mut controllers = Controllers::new(cluster, gateway, behaviour);
    controllers.notice_present();
    loop {
        while let Ok(event) = events.try_recv() {
            controllers.notice(&event.resource, &event.change);
        }
        controllers.wait(&mut events).await;
        if controllers.queue.next().is_some_and(|at| at <= Instant::now()) {
            controllers.work();
            // Let other tasks run between any two objects.
            tokio::task::yield_now().await;
        }
    }
}

impl Controllers {
    fn new(cluster: Cluster, gateway: Gateway, behaviour: Behaviour) -> Self {
        Self {
            cluster,
            gateway,
            behaviour,
            queue: Queue::new(),
            deployments: Selectors::default(),
            replica_sets: Selectors::default(),
            stateful_sets: Selectors::default(),
            daemon_sets: Selectors::default(),
            services: Selectors::default(),
            pods: ByLabel::default(),
            live: garbage::Live::default(),
            autoscalers: autoscaler::Memories::default(),
            terminating: BTreeSet::new(),
            quotas: BTreeSet::new(),
            routes: gateway::References::new(),
            addresses: 0,
        }
    }

    /// Waits for a change or until the first key is due.
    async fn wait(&mut self, events: &mut UnboundedReceiver<Event>) {
        let event = match self.queue.next() {
            Some(at) => tokio::select! {
                biased;
                event = events.recv() => event,
                () = sleep_until(at) => None,
            },
            None => events.recv().await,
        };
        if let Some(event) = event {
            self.notice(&event.resource, &event.change);
        }
    }

    /// Processes the first key.
    fn work(&mut self) {
        let Some(key) = self.queue.pop() else { return };
        match self.sync(&key) {
            Ok(next) => {
                self.queue.succeeded(&key);
                if let Some(wait) = next {
                    self.queue.add(key, Instant::now() + wait);
                }
            }
            Err(failure) => {
                tracing::debug!(?key, %failure, "reconciliation failed, retrying");
                let wait = self.queue.failed(&key);
                self.queue.add(key, Instant::now() + wait);
            }
        }
    }

    fn sync(&mut self, key: &Key) -> Result<Option<Duration>, Failure> {
        match key {
            Key::Deployment(place) => deployment::sync(&self.cluster, place),
            Key::ReplicaSet(place) => replica_set::sync(&self.cluster, place),
            Key::StatefulSet(place) => stateful_set::sync(&self.cluster, place),
            Key::DaemonSet(place) => daemon_set::sync(&self.cluster, place),
            Key::Pod(place, step) => {
                let addresses = &mut self.addresses;
                let address = || {
                    *addresses += 1;
                    let [_, high, middle, low] = addresses.to_be_bytes();
                    format!("10.{}.{middle}.{low}", 128 | (high & 127))
                };
                pod::step(&self.cluster, &self.behaviour, place, *step, address).map(|()| None)
            }
            Key::Endpoints(place) => endpoints::sync(&self.cluster, &self.pods, place).map(|()| None),
            Key::Autoscaler(place) => autoscaler::sync(&self.cluster, &self.behaviour, &mut self.autoscalers, place),
            Key::Garbage(resource, place) => {
                for (resource, place) in garbage::sync(&self.cluster, &self.live, resource, place)? {
                    self.soon(Key::Garbage(resource, place));
                }
                Ok(None)
            }
            Key::Namespace(name) => namespace::sync(&self.cluster, name).map(|()| None),
            Key::Quota(place) => quota::sync(&self.cluster, place).map(|()| None),
            Key::Route(resource, place) => {
                let route = (resource.clone(), place.clone());
                gateway::sync(&self.cluster, &self.gateway, &mut self.routes, &route)
            }
            Key::Gateway(place) => gateway::sync_gateway(&self.cluster, &self.gateway, place),
        }
    }

    /// Queues a key after the usual lag.
    fn soon(&mut self, key: Key) {
        let lag = pod::between(&self.cluster, &self.behaviour.lag);
        self.queue.add(key, Instant::now() + lag);
    }
}
