//! Which watches a controller has: all of a kind where it is alone; else what every replica needs, and for each shard its own.

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        coordination::v1::Lease,
        core::v1::{Pod, Service},
    },
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::{
    api::{
        Kanary, KanaryKind,
        names::{IS_KANARY, LEASE},
    },
    cache::Cached,
    shard::{Layout, member::Member, serve},
    watch::{self, Pulse, Sink},
};

/// A watch to run.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) pulse: Pulse,
    pub(super) run: BoxFuture<'static, ()>,
}

/// Makes watches.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) client: Client,
    /// Only this namespace.
    pub(super) namespace: Option<String>,
    pub(super) sink: Sink,
}

impl Watcher {
    /// Everything, for a controller that is alone.
    pub(super) fn all(&self) -> Vec<Named> {
        let [deployments, kanaries] = KanaryKind::ALL.map(|kind| self.kanaries(kind, None));
        let ours = Some(format!("{IS_KANARY}=true"));
        vec![
            deployments,
            kanaries,
            self.objects::<Deployment>("deployments", None),
            self.objects::<Service>("services", None),
            self.objects::<HorizontalPodAutoscaler>("horizontalpodautoscalers", None),
            self.objects::<Pod>("pods", ours),
        ]
    }

    /// What every replica needs: targets, which carry no label of ours; Services, any of which may select a canary; and the
    /// Kanaries that have no slot yet.
    pub(super) fn common(&self) -> Vec<Named> {
        let rest = Some(Layout::rest_selector());
        let mut common = vec![
            self.objects::<Deployment>("deployments", Some(format!("{IS_KANARY}!=true"))),
            self.objects::<Service>("services", None),
        ];
        for kind in KanaryKind::ALL {
            let pulse = Pulse::default();
            let watch = watch::strangers(
                kind,
                self.kanary_api(kind),
                rest.clone(),
                self.sink.clone(),
                pulse.clone(),
            );
            common.push(Named {
                name: kind.plural(),
                pulse,
                run: watch.boxed(),
            });
        }
        common
    }

    /// What belongs to a shard, by label.
    pub(super) fn of_shard(&self, layout: Layout, shard: u16) -> serve::Watches {
        let slots = layout.selector(shard);
        let ours = Some(format!("{IS_KANARY}=true,{slots}"));
        let mut watches: Vec<_> = KanaryKind::ALL
            .map(|kind| self.kanaries(kind, Some(slots.clone())))
            .into();
        watches.push(self.objects::<Deployment>("deployments", ours.clone()));
        watches.push(self.objects::<HorizontalPodAutoscaler>("horizontalpodautoscalers", ours.clone()));
        watches.push(self.objects::<Pod>("pods", ours));
        let pulses = watches.iter().map(|named| named.pulse.clone()).collect();
        let runs: Vec<_> = watches.into_iter().map(|named| named.run).collect();
        serve::Watches {
            pulses,
            run: futures::future::join_all(runs).map(drop).boxed(),
        }
    }

    /// The Leases of replicas and shards.
    pub(super) fn leases(&self, client: Client, namespace: &str, member: std::sync::Arc<Member>) -> Named {
        let pulse = Pulse::default();
        let api = Api::<Lease>::namespaced(client, namespace);
        let watch = watch::leases(api, Some(LEASE.to_owned()), member, self.sink.clone(), pulse.clone());
        Named {
            name: "leases",
            pulse,
            run: watch.boxed(),
        }
    }

    fn kanary_api(&self, kind: KanaryKind) -> Api<Kanary> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        }
    }

    fn kanaries(&self, kind: KanaryKind, selector: Option<String>) -> Named {
        let pulse = Pulse::default();
        let watch = watch::kanaries(kind, self.kanary_api(kind), selector, self.sink.clone(), pulse.clone());
        Named {
            name: kind.plural(),
            pulse,
            run: watch.boxed(),
        }
    }

    fn objects<K>(&self, name: &'static str, selector: Option<String>) -> Named
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
        let pulse = Pulse::default();
        let watch = watch::objects(api, selector, self.sink.clone(), pulse.clone());
        Named {
            name,
            pulse,
            run: watch.boxed(),
        }
    }
}
