//! Watches of the load generator. The time of an event is when it arrived here.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use http::Request;
use jiff::Timestamp;
use kanary_core::api::names::{GROUP, VERSION};
use kube::core::WatchEvent;
use serde::Deserialize;
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    api::{Api, Metadata, Object},
    board::{Board, Kind},
};

/// Watches of Deployments and Kanaries. They end when this is dropped.
pub(crate) struct Watches {
    tasks: Vec<AbortHandle>,
    breaks: Arc<AtomicUsize>,
}

impl Watches {
    /// Watches all objects of the namespaces of `boards`.
    pub(crate) fn start(api: &Api, boards: &[Arc<Board>]) -> Self {
        let breaks: Arc<AtomicUsize> = Arc::default();
        let kanaries = format!("/apis/{GROUP}/{VERSION}/kanarydeployments");
        let kinds = [
            (Kind::Deployment, "/apis/apps/v1/deployments".to_owned()),
            (Kind::Kanary, kanaries),
        ];
        let follow = |(kind, path)| {
            let watch = Watch {
                api: api.clone(),
                kind,
                path,
                boards: boards.to_vec(),
                breaks: breaks.clone(),
            };
            tokio::spawn(watch.follow()).abort_handle()
        };
        let tasks = kinds.into_iter().map(follow).collect();
        Self { tasks, breaks }
    }

    /// How many times a watch broke and all objects were listed again, with the time of the list.
    pub(crate) fn breaks(&self) -> usize {
        self.breaks.load(Ordering::Relaxed)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Watch {
    api: Api,
    kind: Kind,
    path: String,
    boards: Vec<Arc<Board>>,
    breaks: Arc<AtomicUsize>,
}

#[derive(Deserialize)]
struct List {
    metadata: Metadata,
    items: Vec<Object>,
}

impl Watch {
    async fn follow(self) {
        loop {
            if let Err(error) = self.until_it_breaks().await {
                eprintln!("loadtest: watch of {}: {error}", self.path);
            }
            self.breaks.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn until_it_breaks(&self) -> kube::Result<()> {
        let list: List = self.api.get(&self.path).await?;
        self.take(&list.items);
        let mut version = list.metadata.resource_version;
        loop {
            let query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=1800";
            let path = format!("{}?{query}&resourceVersion={version}", self.path);
            let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
            let events = self.api.client().request_events::<Object>(request).await?;
            let mut events = std::pin::pin!(events);
            // The API server ends a watch from time to time. Then it continues where it was.
            while let Some(event) = events.try_next().await? {
                let at = Timestamp::now();
                let object = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        self.with(&object, |board| board.saw(self.kind, &object, at));
                        object
                    }
                    WatchEvent::Deleted(object) => {
                        self.with(&object, |board| board.lost(self.kind, &object.metadata.name, at));
                        object
                    }
                    WatchEvent::Bookmark(bookmark) => {
                        version = bookmark.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(error) => return Err(kube::Error::Api(error)),
                };
                version = object.metadata.resource_version;
            }
        }
    }

    fn with(&self, object: &Object, tell: impl Fn(&Board)) {
        let mut boards = self.boards.iter();
        if let Some(board) = boards.find(|board| board.namespace == object.metadata.namespace) {
            tell(board);
        }
    }

    fn take(&self, items: &[Object]) {
        let at = Timestamp::now();
        for board in &self.boards {
            let ours = items.iter().filter(|item| item.metadata.namespace == board.namespace);
            let mut names = BTreeSet::new();
            for item in ours {
                board.saw(self.kind, item, at);
                names.insert(item.metadata.name.clone());
            }
            board.listed(self.kind, &names, at);
        }
    }
}
