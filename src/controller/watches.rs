//! The watches of a controller: all objects of a kind for a single replica, otherwise the common watches plus one set per shard.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        autoscaling::v2::HorizontalPodAutoscaler,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Pod, Service},
    },
};
use kanary_core::api::{
    Kanary, KanaryKind, Layout, WorkloadKind,
    names::{IS_KANARY, LEASE},
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::{Options, feeds};
use crate::{
    cache::{
        Cached, PartId, ScaledObject, for_kind,
        watch::{self, CachePart, Heartbeat, Route, Sink, Watch},
    },
    places::{
        self, Places,
        leader::{Applicants, KanaryFeed, MapFeed},
    },
    shard::{label::SlotLabels, member::Member, serve},
};

/// A watch to run.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) heartbeat: Heartbeat,
    pub(super) run: BoxFuture<'static, ()>,
}

fn named<F>(name: &'static str, watch: impl FnOnce(Heartbeat) -> F) -> Named
where
    F: Future<Output = ()> + Send + 'static,
{
    let heartbeat = Heartbeat::default();
    let run = watch(heartbeat.clone()).boxed();
    Named { name, heartbeat, run }
}

/// Makes watches.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) client: Client,
    /// Only this namespace.
    pub(super) namespace: Option<String>,
    /// Kanaries of these kinds.
    pub(super) kinds: Arc<[KanaryKind]>,
    /// Kinds of targets and canaries.
    pub(super) target_kinds: BTreeSet<WorkloadKind>,
    /// Whether canaries may have ScaledObjects of KEDA.
    pub(super) keda: bool,
    pub(super) sink: Sink,
}

impl Watcher {
    /// Watches for a controller with these options.
    pub(super) fn new(client: &Client, options: &Options, sink: Sink) -> Self {
        Self {
            client: client.clone(),
            namespace: options.namespace.clone(),
            kinds: options.kinds.clone().into(),
            target_kinds: options.target_kinds.clone(),
            keda: options.keda,
            sink,
        }
    }

    /// All watches, for a single replica.
    pub(super) fn all(&self) -> Vec<Named> {
        let one = || Route::one(&self.sink);
        let kanaries = self.kinds.iter().map(|kind| self.kanaries(*kind, one(), None));
        let mut all: Vec<_> = kanaries.collect();
        all.extend(self.workloads(&one, None));
        all.push(self.objects::<Service>("services", one(), None));
        all.push(self.objects::<HorizontalPodAutoscaler>("horizontalpodautoscalers", one(), None));
        if self.keda {
            all.push(self.objects::<ScaledObject>("scaledobjects", one(), None));
        }
        all.push(self.objects::<Pod>("pods", one(), Some(format!("{IS_KANARY}=true"))));
        all
    }

    /// Watches that every replica needs: targets, which carry no Kanary label; Services, because any of them may select a
    /// canary; and Kanaries without a slot.
    pub(super) fn common(&self, labels: &Arc<SlotLabels>) -> Vec<Named> {
        let rest = Some(Layout::rest_selector());
        let one = || Route::one(&self.sink);
        let mut common = self.workloads(&one, Some(&format!("{IS_KANARY}!=true")));
        common.push(self.objects::<Service>("services", one(), None));
        common.extend(self.kinds.iter().map(|&kind| {
            let (api, sink) = (self.kanary_api(kind), self.sink.clone());
            named(kind.resource(), |heartbeat| {
                feeds::strangers((kind, labels.clone()), api, rest.clone(), sink, heartbeat)
            })
        }));
        common
    }

    /// Opens the part of the cache for a shard.
    pub(super) fn part(&self) -> CachePart {
        CachePart::open(&self.sink)
    }

    /// One watch for each kind that feeds these shards, by label selector.
    pub(super) fn of_shards(&self, layout: Layout, shards: &BTreeMap<u16, PartId>) -> serve::Watches {
        let slots = layout.selector(shards.keys().copied());
        let route = Route::Slots(layout, Arc::new(shards.clone()));
        let ours = Some(format!("{IS_KANARY}=true,{slots}"));
        let kanaries = self.kinds.iter();
        let kanaries = kanaries.map(|kind| self.kanaries(*kind, route.clone(), Some(slots.clone())));
        let mut watches: Vec<_> = kanaries.collect();
        watches.extend(self.workloads(&|| route.clone(), ours.as_deref()));
        watches.push(self.objects::<HorizontalPodAutoscaler>("horizontalpodautoscalers", route.clone(), ours.clone()));
        if self.keda {
            watches.push(self.objects::<ScaledObject>("scaledobjects", route.clone(), ours.clone()));
        }
        watches.push(self.objects::<Pod>("pods", route, ours));
        let heartbeats = watches.iter().map(|named| named.heartbeat.clone()).collect();
        let runs: Vec<_> = watches.into_iter().map(|named| named.run).collect();
        serve::Watches {
            heartbeats,
            run: futures::future::join_all(runs).map(drop).boxed(),
        }
    }

    /// The Leases of replicas and shards.
    pub(super) fn leases(&self, client: Client, namespace: &str, member: Arc<Member>) -> Named {
        let api = Api::<Lease>::namespaced(client, namespace);
        let (ours, sink) = (Some(LEASE.to_owned()), self.sink.clone());
        named("leases", |heartbeat| feeds::leases(api, ours, member, sink, heartbeat))
    }

    /// The `ConfigMap` with the places.
    pub(super) fn map_of_places(&self, client: Client, places: Arc<Places>) -> Named {
        let (api, sink) = (
            Api::<ConfigMap>::namespaced(client, places.namespace()),
            self.sink.clone(),
        );
        named("places", |heartbeat| async move {
            watch::follow_one(MapFeed(places), api, places::NAME, sink, heartbeat).await;
        })
    }

    /// All Kanaries, for the leader that grants places.
    pub(super) fn applicants(&self, applicants: &Arc<Applicants>) -> serve::Watches {
        let watches = self.kinds.iter().map(|&kind| {
            let (api, sink, heartbeat) = (self.kanary_api(kind), self.sink.clone(), Heartbeat::default());
            let feed = KanaryFeed {
                kind,
                applicants: applicants.clone(),
            };
            (heartbeat.clone(), watch::follow(feed, api, None, sink, heartbeat))
        });
        let (heartbeats, runs): (Vec<_>, Vec<_>) = watches.unzip();
        serve::Watches {
            heartbeats,
            run: futures::future::join_all(runs).map(drop).boxed(),
        }
    }

    fn kanary_api(&self, kind: KanaryKind) -> Api<Kanary> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        }
    }

    fn kanaries(&self, kind: KanaryKind, route: Route, selector: Option<String>) -> Named {
        let api = self.kanary_api(kind);
        named(kind.resource(), |heartbeat| {
            watch::kanaries(kind, api, self.watch(route, selector, heartbeat))
        })
    }

    /// One watch for each kind of targets and canaries.
    fn workloads(&self, route: &dyn Fn() -> Route, selector: Option<&str>) -> Vec<Named> {
        let kinds = self.target_kinds.iter();
        let watch = |kind: &WorkloadKind| {
            let selector = selector.map(str::to_owned);
            for_kind!(*kind, K => self.objects::<K>(kind.plural(), route(), selector))
        };
        kinds.map(watch).collect()
    }

    fn objects<K>(&self, name: &'static str, route: Route, selector: Option<String>) -> Named
    where
        K: Cached
            + DeserializeOwned
            + Resource<Scope = kube::core::NamespaceResourceScope>
            + k8s_openapi::Resource<Scope = NamespaceResourceScope>
            + Send
            + Sync
            + 'static,
    {
        let api: Api<K> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        named(name, |heartbeat| {
            watch::objects(api, self.watch(route, selector, heartbeat))
        })
    }

    fn watch(&self, route: Route, selector: Option<String>, heartbeat: Heartbeat) -> Watch {
        Watch {
            route,
            selector,
            sink: self.sink.clone(),
            heartbeat,
        }
    }
}
