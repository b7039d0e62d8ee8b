//! Watches that feed the shards instead of the cache.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use k8s_openapi::api::coordination::v1::Lease;
use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};
use kube::Api;

use crate::{
    cache::{
        Cache, Place, place_of,
        watch::{Feed, Heartbeat, Sink, follow},
    },
    shard::{label::SlotLabels, member::Member},
};

/// Watches Kanaries without a valid slot label, until it is dropped. Only their label is written.
pub(super) async fn strangers(
    (kind, labels): (KanaryKind, Arc<SlotLabels>),
    api: Api<Kanary>,
    selector: Option<String>,
    sink: Sink,
    heartbeat: Heartbeat,
) {
    let feed = Strangers {
        kind,
        labels,
        reported: BTreeSet::new(),
    };
    follow(feed, api, selector, sink, heartbeat).await;
}

struct Strangers {
    kind: KanaryKind,
    labels: Arc<SlotLabels>,
    reported: BTreeSet<Place>,
}

impl Feed for Strangers {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        format!("{} without a slot", self.kind).into()
    }

    fn applied(&mut self, _: &Cache, object: &Kanary) -> Vec<Key> {
        self.reported.insert(place_of(object));
        self.labels.check(self.kind, object);
        Vec::new()
    }

    fn deleted(&mut self, _: &Cache, place: &Place, _: u64) -> Vec<Key> {
        self.reported.remove(place);
        self.labels.forget_slotless(&Key::at(self.kind, place.clone()));
        Vec::new()
    }

    fn listed(&mut self, _: &Cache, listed: &BTreeSet<Place>, _: u64) -> Vec<Key> {
        let (labels, kind) = (&self.labels, self.kind);
        for place in self.reported.extract_if(.., |place| !listed.contains(place)) {
            labels.forget_slotless(&Key::at(kind, place));
        }
        Vec::new()
    }
}

/// Watches the Leases of replicas and shards, until it is dropped.
pub(super) async fn leases(
    api: Api<Lease>,
    selector: Option<String>,
    member: Arc<Member>,
    sink: Sink,
    heartbeat: Heartbeat,
) {
    let reported = BTreeSet::new();
    follow(Leases { member, reported }, api, selector, sink, heartbeat).await;
}

struct Leases {
    member: Arc<Member>,
    reported: BTreeSet<Place>,
}

impl Feed for Leases {
    type Object = Lease;

    fn kind(&self) -> Cow<'static, str> {
        "Lease".into()
    }

    fn applied(&mut self, _: &Cache, lease: &Lease) -> Vec<Key> {
        self.reported.insert(place_of(lease));
        self.member.see(lease);
        Vec::new()
    }

    fn deleted(&mut self, _: &Cache, place: &Place, _: u64) -> Vec<Key> {
        self.reported.remove(place);
        self.member.lease_removed(&place.1);
        Vec::new()
    }

    fn listed(&mut self, _: &Cache, listed: &BTreeSet<Place>, _: u64) -> Vec<Key> {
        let member = &self.member;
        for (_, name) in self.reported.extract_if(.., |place| !listed.contains(place)) {
            member.lease_removed(&name);
        }
        Vec::new()
    }
}
