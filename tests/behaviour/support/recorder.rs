//! Records every change to the objects of a kind, in order.

use std::sync::Arc;

use futures::StreamExt;
use kube::{
    Api,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use super::{Kind, again, status::version, waited};

/// A state of an object.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Whether the object was deleted; `object` is then its last state.
    pub(crate) deleted: bool,
    /// Resource version, which orders states across all kinds.
    pub(crate) version: u64,
    /// The object.
    pub(crate) object: Value,
}

/// A recording, which continues until it is dropped.
#[derive(Debug)]
pub(crate) struct Recording {
    kind: Kind,
    seen: Arc<watch::Sender<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Recording {
    /// Starts recording.
    pub(crate) async fn start(api: Api<DynamicObject>, kind: Kind) -> Self {
        let list = again(async || api.list(&ListParams::default()).await).await;
        let list = list.expect("the kind can be listed");
        let from = list.metadata.resource_version.expect("a list has a resource version");
        let params = WatchParams::default().timeout(290);
        let stream = again(async || api.watch(&params, &from).await).await;
        let stream = stream.expect("the kind can be watched");
        let seen = Arc::new(watch::Sender::new(Vec::new()));
        let record = seen.clone();
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                let (deleted, object) = match event.expect("a recording is shorter than a watch") {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (false, object),
                    WatchEvent::Deleted(object) => (true, object),
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(error) => panic!("the watch ended: {error:?}"),
                };
                let object = serde_json::to_value(object).expect("an object is JSON");
                let version = version(&object);
                record.send_modify(|seen| {
                    seen.push(Seen {
                        deleted,
                        version,
                        object,
                    });
                });
            }
        });
        Self { kind, seen, task }
    }

    /// All states so far of the objects that `which` selects.
    pub(crate) fn all(&self, which: impl Fn(&Value) -> bool) -> Vec<Seen> {
        let seen = self.seen.borrow();
        seen.iter().filter(|seen| which(&seen.object)).cloned().collect()
    }

    /// All states so far of the object `name`.
    pub(crate) fn of(&self, name: &str) -> Vec<Seen> {
        self.all(|object| object["metadata"]["name"] == name)
    }

    /// Waits until the recording has reached this state of an object.
    pub(crate) async fn reached(&self, object: &Value) {
        let reached = version(object);
        self.first("the recording is up to date", |seen| seen.version >= reached)
            .await;
    }

    /// Waits for the first state that `which` selects, including earlier ones.
    pub(crate) async fn first(&self, what: &str, which: impl Fn(&Seen) -> bool) -> Seen {
        let show = || format!("{} states of {}", self.seen.borrow().len(), self.kind.plural);
        let mut seen = self.seen.subscribe();
        let there = waited(what, show, seen.wait_for(|seen| seen.iter().any(&which))).await;
        let there = there.expect("the sender is in self");
        let first = there.iter().find(|seen| which(seen));
        first.expect("the state was just found").clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.task.abort();
    }
}
