//! Follows the pods of a cluster: a pod that runs gets a socket, and one that is gone loses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{Config, Event, watcher},
};
use tokio::sync::mpsc;
use tokio::{net::TcpListener, task::AbortHandle};

use super::{Counters, Server, pod};

/// How long to wait until an address is tried again that another pod still has.
const AGAIN: Duration = Duration::from_millis(50);

/// A pod that has an address.
#[derive(Debug)]
enum Served {
    /// It waits for its address.
    Binding(AbortHandle),
    /// It answers, and whether it was told to end.
    Answering(Server, bool),
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Self::Binding(task) = self {
            task.abort();
        }
    }
}

type Bound = (String, Pod, TcpListener);

#[derive(Debug)]
struct Pods {
    served: BTreeMap<String, Served>,
    counters: Counters,
    bound: mpsc::UnboundedSender<Bound>,
}

/// Answers for all pods of the cluster, for ever.
pub async fn serve_all(client: Client, counters: Counters) {
    let (bound, mut sockets) = mpsc::unbounded_channel();
    let mut pods = Pods {
        served: BTreeMap::new(),
        counters,
        bound,
    };
    let mut events = std::pin::pin!(watcher(Api::all(client), Config::default()));
    let mut listed = BTreeSet::new();
    loop {
        let event = tokio::select! {
            Some(bound) = sockets.recv() => {
                pods.bound(bound);
                continue;
            }
            Some(event) = events.next() => event,
            else => return,
        };
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(key(&pod));
                pods.apply(&pod);
            }
            // What is missing in a list was deleted while nobody watched.
            Ok(Event::InitDone) => pods.served.retain(|key, _| listed.contains(key)),
            Ok(Event::Apply(pod)) => pods.apply(&pod),
            Ok(Event::Delete(pod)) => drop(pods.served.remove(&key(&pod))),
            Err(error) => eprintln!("the watch of pods failed and is restarted: {error}"),
        }
    }
}

fn key(pod: &Pod) -> String {
    pod.uid().unwrap_or_default()
}

impl Pods {
    fn apply(&mut self, pod: &Pod) {
        let deleted = pod.metadata.deletion_timestamp.is_some();
        match self.served.get_mut(&key(pod)) {
            Some(Served::Answering(server, told)) => {
                server.behave(pod::behaviour(pod));
                if deleted && !std::mem::replace(told, true) {
                    server.close();
                }
            }
            Some(Served::Binding(_)) => {}
            None if deleted => {}
            None => {
                if let Some(address) = pod::address(pod) {
                    let task = tokio::spawn(bind(address.into(), pod.clone(), self.bound.clone()));
                    self.served.insert(key(pod), Served::Binding(task.abort_handle()));
                }
            }
        }
    }

    fn bound(&mut self, (key, pod, listener): Bound) {
        if let Some(served) = self.served.get_mut(&key) {
            let server = Server::start(
                listener,
                pod::identity(&pod),
                pod::behaviour(&pod),
                self.counters.clone(),
            );
            *served = Served::Answering(server, false);
        }
    }
}

/// Binds the address of a pod as soon as it is free.
async fn bind(address: SocketAddr, pod: Pod, bound: mpsc::UnboundedSender<Bound>) {
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => eprintln!("{address} is not free yet: {error}"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    // The receiver ends with the process.
    let _ = bound.send((key(&pod), pod, listener));
}
