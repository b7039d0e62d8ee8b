//! Watches: a stream of JSON lines, one for each event.

use std::{collections::VecDeque, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Body, Request,
    call::Call,
    read::{Selection, check_version},
    respond::{View, json as respond},
};
use crate::{cluster::Cluster, failure::Failure, object::Object, store::Change};

/// Interval of bookmarks in an idle watch.
const BOOKMARK: Duration = Duration::from_mins(1);

/// Default timeout of a watch.
const LONGEST: Duration = Duration::from_hours(1);

/// Number of changes read at once.
const BATCH: usize = 500;

struct Watcher {
    cluster: Cluster,
    view: View,
    selection: Selection,
    resource: crate::store::ResourceName,
    /// Changes up to this version have been sent.
    version: u64,
    changed: Arc<Notify>,
    lines: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    over: bool,
}

pub(crate) fn watch(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let selection = Selection::of(call)?;
    let timeout = call
        .query
        .number("timeoutSeconds")?
        .map_or(LONGEST, Duration::from_secs);
    let mut state = cluster.lock();
    check_version(&call.query, state.store.version())?;
    let from = call.query.number("resourceVersion")?.unwrap_or_default();
    let initial = call.query.is_true("sendInitialEvents");
    let now = Instant::now();
    let mut watcher = Watcher {
        cluster: cluster.clone(),
        view: View::of(call, request),
        resource: call.resource.name.clone(),
        version: if from == 0 || initial {
            state.store.version()
        } else {
            from
        },
        changed: state.store.changed(&call.resource.name),
        lines: VecDeque::new(),
        bookmarks: call.query.is_true("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARK,
        end: now + timeout,
        over: false,
        selection,
    };
    if from == 0 || initial {
        let objects: Vec<_> = state
            .store
            .list(&call.resource.name, call.namespace.as_deref())
            .cloned()
            .collect();
        drop(state);
        watcher.send_initial(&objects, initial);
    } else {
        drop(state);
    }
    let mut response = respond(200, Bytes::new());
    let lines = stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(line)), watcher))
    });
    *response.body_mut() = StreamBody::new(lines).boxed_unsync();
    Ok(response)
}

impl Watcher {
    fn send_initial(&mut self, objects: &[Arc<Object>], marked: bool) {
        for object in objects {
            if self.selection.picks(object) {
                self.send("ADDED", object);
            }
        }
        if marked {
            self.send_bookmark(true);
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.lines.is_empty() {
                return Some(self.take_lines());
            }
            if self.over {
                return None;
            }
            let changed = self.changed.clone();
            let mut changed = pin!(changed.notified());
            // Registers the waiter, so that it misses no later change.
            changed.as_mut().enable();
            if self.read() {
                continue;
            }
            tokio::select! {
                biased;
                () = sleep_until(self.end) => self.over = true,
                () = changed => {}
                () = sleep_until(self.next_bookmark), if self.bookmarks => self.send_bookmark(false),
            }
        }
    }

    /// Reads the next changes. Returns whether there were any.
    fn read(&mut self) -> bool {
        let state = self.cluster.lock();
        let (changes, latest) = (
            state.store.since(&self.resource, self.version, BATCH),
            state.store.version(),
        );
        drop(state);
        let Some(changes) = changes else {
            let why = Failure::expired(format!("too old resource version: {} ({latest})", self.version));
            self.lines
                .push_back(line("ERROR", why.to_status().to_string().as_bytes()));
            self.over = true;
            return true;
        };
        for change in &changes {
            self.send_change(change);
        }
        self.version = changes.last().map_or(latest, |change| change.version);
        !changes.is_empty()
    }

    /// Sends an event for a change. An object that starts to match the selection is `ADDED`; one that no longer matches
    /// is `DELETED`.
    fn send_change(&mut self, change: &Change) {
        let was = change.old.as_ref().is_some_and(|object| self.selection.picks(object));
        let present = change.new.as_ref().filter(|object| self.selection.picks(object));
        match (was, present, &change.new, &change.last, &change.old) {
            (true, Some(new), ..) => self.send("MODIFIED", new),
            (false, Some(new), ..) => self.send("ADDED", new),
            (true, None, None, Some(last), _) => self.send("DELETED", last),
            // The last state that matched the selection, with the version of the change.
            (true, None, Some(_), _, Some(old)) => {
                let mut value = old.value();
                value["metadata"]["resourceVersion"] = json!(change.version.to_string());
                self.send("DELETED", &Object::new(value));
            }
            _ => {}
        }
    }

    fn send(&mut self, kind: &str, object: &Object) {
        let body = self.view.watched(&self.cluster, object);
        self.lines.push_back(line(kind, &body));
    }

    fn send_bookmark(&mut self, initial_end: bool) {
        self.next_bookmark = Instant::now() + BOOKMARK;
        let mut bookmark = self.view.bookmark(self.version);
        if initial_end {
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.lines.push_back(line("BOOKMARK", bookmark.to_string().as_bytes()));
    }

    fn take_lines(&mut self) -> Bytes {
        if self.lines.len() == 1 {
            return self.lines.pop_front().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.lines.iter().map(Bytes::len).sum());
        for line in self.lines.drain(..) {
            all.put(line);
        }
        all.freeze()
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + 40);
    line.put(&b"{\"type\":\""[..]);
    line.put(kind.as_bytes());
    line.put(&b"\",\"object\":"[..]);
    line.put(object);
    line.put(&b"}\n"[..]);
    line.freeze()
}
