//! Shard owners over time, recorded from the Leases, and writes by replicas that did not own the shard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kanary::shard::lease::{self, Read};
use kanary_core::api::{Layout, Slot, names::LEASE};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::task::JoinHandle;

use super::Request;

/// Records Leases until it is dropped.
#[derive(Debug)]
pub(crate) struct Owners {
    layout: Layout,
    history: Arc<Mutex<History>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct History {
    shards: BTreeMap<u16, Vec<Owner>>,
    /// Ended sessions, and when the end was observed.
    over: BTreeMap<String, Timestamp>,
    /// Holders of the sessions, by name of the session Lease.
    sessions: BTreeMap<String, String>,
    /// Periods in which changes may have been missed.
    gaps: Vec<(Timestamp, Timestamp)>,
    heard: Option<Timestamp>,
}

#[derive(Debug)]
struct Owner {
    /// `<identity>/<boot>`, or empty for none.
    session: String,
    /// When the replica wrote the Lease. It did not own the shard before.
    since: Timestamp,
    /// When the change was observed. The former owner does not own the shard after it.
    seen: Timestamp,
}

/// Writes of replicas, by ownership.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Number of writes by a replica that owned the shard.
    pub(crate) inside: usize,
    /// Number of writes while Leases could not be watched.
    pub(crate) unknown: usize,
    /// Writes by a replica that did not own the shard, each with the owners of the shard as text.
    pub(crate) outside: Vec<(Request, String)>,
}

impl Owners {
    /// Starts recording.
    pub(crate) fn watch(leases: Api<Lease>, layout: Layout) -> Self {
        let history = Arc::new(Mutex::new(History::default()));
        let record = history.clone();
        let task = tokio::spawn(async move {
            let ours = watcher::Config::default().labels(LEASE);
            let mut events = std::pin::pin!(watcher(leases, ours).default_backoff());
            while let Some(event) = events.next().await {
                // An error starts a gap, which ends with the next list.
                if let Ok(event) = event {
                    record.lock().unwrap().take(event, layout);
                }
            }
        });
        Self { layout, history, task }
    }

    /// Checks the writes that succeeded. `target` returns an object's target, which determines its shard.
    pub(crate) fn judge(&self, requests: &[Request], target: impl Fn(&Request) -> (String, String)) -> Judged {
        let history = self.history.lock().unwrap();
        let mut judged = Judged::default();
        for request in requests
            .iter()
            .filter(|request| request.is_write() && request.is_done())
        {
            let (namespace, name) = target(request);
            let shard = self.layout.shard_of(Slot::of(&namespace, &name));
            let during_gap = |(from, to): &(Timestamp, Timestamp)| request.answered >= *from && request.at <= *to;
            if history.gaps.iter().any(during_gap) {
                judged.unknown += 1;
            } else if history.may_have_owned(shard, request) {
                judged.inside += 1;
            } else {
                let owners = history.shards.get(&shard);
                let owners = format!("in shard {shard} of {owners:?}");
                judged.outside.push((request.clone(), owners));
            }
        }
        judged
    }

    /// Number of ownership changes of shards.
    pub(crate) fn handovers(&self) -> usize {
        let history = self.history.lock().unwrap();
        let taken = |owners: &Vec<Owner>| owners.iter().filter(|owner| !owner.session.is_empty()).count();
        history.shards.values().map(taken).sum()
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl History {
    fn take(&mut self, event: Event<Lease>, layout: Layout) {
        let now = Timestamp::now();
        match event {
            // A list does not show the changes since the last watch.
            Event::Init => return,
            Event::InitApply(lease) => return self.put(&lease, layout, now),
            Event::InitDone => self.gaps.extend(self.heard.map(|heard| (heard, now))),
            Event::Apply(lease) => self.put(&lease, layout, now),
            Event::Delete(lease) => {
                let ended = self.sessions.remove(&lease.name_any());
                self.over.extend(ended.map(|session| (session, now)));
            }
        }
        self.heard = Some(now);
    }

    fn put(&mut self, lease: &Lease, layout: Layout, seen: Timestamp) {
        match lease::read(lease, layout.shards()) {
            Some(Read::Shard(shard)) => {
                let owners = self.shards.entry(shard.index).or_default();
                if owners.last().is_none_or(|owner| owner.session != shard.holder) {
                    let since = lease.spec.as_ref().and_then(|spec| spec.acquire_time.as_ref());
                    owners.push(Owner {
                        session: shard.holder,
                        since: since.expect("a Lease has an acquireTime").0,
                        seen,
                    });
                }
            }
            Some(Read::Session(session)) => {
                let former = self.sessions.insert(lease.name_any(), session.holder.clone());
                let over = former.filter(|former| *former != session.holder);
                self.over.extend(over.map(|former| (former, seen)));
            }
            None => {}
        }
    }

    /// Whether the replica may have owned the shard when it sent the request.
    fn may_have_owned(&self, shard: u16, request: &Request) -> bool {
        let owners = self.shards.get(&shard).map_or(&[][..], Vec::as_slice);
        owners.iter().enumerate().any(|(index, owner)| {
            let next = owners.get(index + 1);
            let identity = lease::identity(&owner.session);
            !identity.is_empty()
                && request.agent.ends_with(&format!("({identity})"))
                && owner.since <= request.answered
                && next.is_none_or(|next| request.at <= next.seen)
                && self.over.get(&owner.session).is_none_or(|over| request.at <= *over)
        })
    }
}
