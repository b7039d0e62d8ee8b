//! Watches that feed the shards instead of the cache.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::api::coordination::v1::Lease;
use kanary_core::{
    Key,
    api::{Kanary, KanaryKind},
};
use kube::Api;

use crate::{
    cache::{
        Cache, Gone, Place,
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
    follow(Strangers(kind, labels), api, selector, sink, heartbeat).await;
}

struct Strangers(KanaryKind, Arc<SlotLabels>);

impl Feed for Strangers {
    type Object = Kanary;

    fn kind(&self) -> Cow<'static, str> {
        format!("{} without a slot", self.0).into()
    }

    fn put(&self, _: &Cache, object: &Kanary) -> Vec<Key> {
        self.1.check(self.0, object);
        Vec::new()
    }

    fn remove(&self, _: &Cache, place: &Place, _: Gone) -> Vec<Key> {
        self.1.forget_slotless(&Key::at(self.0, place.clone()));
        Vec::new()
    }

    fn all(&self, _: &Cache) -> Vec<(Place, u64)> {
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
    follow(Leases(member), api, selector, sink, heartbeat).await;
}

struct Leases(Arc<Member>);

impl Feed for Leases {
    type Object = Lease;

    fn kind(&self) -> Cow<'static, str> {
        "Lease".into()
    }

    fn put(&self, _: &Cache, lease: &Lease) -> Vec<Key> {
        self.0.see(lease);
        Vec::new()
    }

    fn remove(&self, _: &Cache, (_, name): &Place, _: Gone) -> Vec<Key> {
        self.0.lease_removed(name);
        Vec::new()
    }

    fn all(&self, _: &Cache) -> Vec<(Place, u64)> {
        Vec::new()
    }
}
