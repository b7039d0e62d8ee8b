//! The kinds that the cache keeps.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{DaemonSet as KubeDaemonSet, Deployment as KubeDeployment, StatefulSet as KubeStatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod as KubePod, Service as KubeService},
};
use kanary_core::{Key, decision::ObjectKind, observation::Owned};

use super::{
    Cache, Cached, Contents, Place, Workload, keys,
    reach::digest,
    scaled_object::ScaledObject,
    table::Store,
    view::{self, PodRow, ServiceRow, WorkloadRow},
};

/// Targets and canaries: each kind with the function that trims it.
macro_rules! workloads {
    ($($K:ty => $trimmed:path,)+) => {
        $(impl Cached for $K {
            type View = WorkloadRow;

            fn view(object: &Self) -> Option<WorkloadRow> {
                Some($trimmed(object).into())
            }

            fn table(state: &mut Contents) -> &mut Store<WorkloadRow> {
                &mut state.workloads.of_mut(Self::KIND).rows
            }

            fn touch(state: &mut Contents, place: &Place, row: &WorkloadRow, there: bool) -> Vec<Key> {
                state.touch_workload(Self::KIND, place, row, there)
            }
        })+
    };
}

workloads! {
    KubeDeployment => view::deployment,
    KubeStatefulSet => view::stateful_set,
    KubeDaemonSet => view::daemon_set,
}

impl Cached for KubeService {
    type View = ServiceRow;

    fn view(object: &Self) -> Option<ServiceRow> {
        Some(view::service(object))
    }

    fn table(state: &mut Contents) -> &mut Store<ServiceRow> {
        &mut state.services
    }

    fn touch(state: &mut Contents, place: &Place, row: &ServiceRow, there: bool) -> Vec<Key> {
        let first = row.selector.entries().next().filter(|_| !row.is_kanary);
        if let Some((label, value)) = first {
            let selected = digest(&place.0, label, value);
            state.production.enlist(selected, place.1.clone(), there);
        }
        let mut keys = keys(&state.by_service, place);
        let owner = (row.owned.owner.as_ref(), row.owned.owner_name.as_ref());
        state.enlist_owned(ObjectKind::Service, place, owner, there, &mut keys);
        if let Some((label, value)) = first {
            keys.extend(state.canaries_with(&place.0, label, value));
        }
        keys
    }
}

impl Cached for HorizontalPodAutoscaler {
    type View = Owned;

    fn view(object: &Self) -> Option<Owned> {
        let of = &object.spec.scale_target_ref;
        let scales = view::scales(of.api_version.as_deref().unwrap_or_default(), &of.kind, &of.name);
        Some(Owned {
            scales: Some(scales),
            ..view::owned(&object.metadata)
        })
    }

    fn table(state: &mut Contents) -> &mut Store<Owned> {
        &mut state.autoscalers
    }

    fn touch(state: &mut Contents, place: &Place, view: &Owned, there: bool) -> Vec<Key> {
        let mut keys = state.workloads.named(place);
        let owner = (view.owner.as_ref(), view.owner_name.as_ref());
        state.enlist_owned(ObjectKind::HorizontalPodAutoscaler, place, owner, there, &mut keys);
        keys
    }
}

impl Cached for ScaledObject {
    type View = Owned;

    fn view(object: &Self) -> Option<Owned> {
        Some(Owned {
            scales: object.scales(),
            ..view::owned(&object.metadata)
        })
    }

    fn table(state: &mut Contents) -> &mut Store<Owned> {
        &mut state.scaled_objects
    }

    fn touch(state: &mut Contents, place: &Place, view: &Owned, there: bool) -> Vec<Key> {
        let mut keys = state.workloads.named(place);
        let owner = (view.owner.as_ref(), view.owner_name.as_ref());
        state.enlist_owned(ObjectKind::ScaledObject, place, owner, there, &mut keys);
        keys
    }

    fn mark_missing(cache: &Cache, missing: bool) -> Option<Vec<Key>> {
        let state = &mut *cache.lock();
        let is_news = std::mem::replace(&mut state.keda_is_missing, missing) != missing;
        let kanaries = state.kanaries.views().map(|row| &row.0).filter(|_| is_news);
        let concerned = kanaries.filter(|kanary| kanary.spec.scale.autoscaler() == Some(ObjectKind::ScaledObject));
        Some(concerned.map(|kanary| kanary.key.clone()).collect())
    }
}

impl Cached for KubePod {
    type View = PodRow;

    fn view(object: &Self) -> Option<PodRow> {
        view::pod(object)
    }

    fn table(state: &mut Contents) -> &mut Store<PodRow> {
        &mut state.pods
    }

    fn touch(state: &mut Contents, place: &Place, row: &PodRow, there: bool) -> Vec<Key> {
        let (namespace, name) = place;
        let shared: Arc<str> = name.as_str().into();
        for (label, value) in row.labels.entries() {
            let labelled = digest(namespace, label, value);
            state.labelled.enlist(labelled, Arc::clone(&shared), there);
        }
        let mut keys = Vec::new();
        if let Some(workload) = &row.workload {
            let of_kind = state.workloads.of_mut(workload.kind);
            let workload = (namespace.clone(), workload.name.clone());
            keys.extend(self::keys(&of_kind.named, &workload));
            of_kind.pods.enlist(workload, name.clone(), there);
        }
        if let Some((kind, kanary)) = &row.kanary {
            let key = Key::at(*kind, (namespace.clone(), kanary.clone()));
            keys.extend(Some(&key).filter(|key| state.kanaries.contains(key)).cloned());
            state.pods_by.enlist(key, name.clone(), there);
        }
        keys
    }
}
