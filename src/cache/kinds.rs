//! The kinds that the cache keeps.

use k8s_openapi::api::{
    apps::v1::Deployment as KubeDeployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod as KubePod, Service as KubeService},
};
use kanary_core::{
    Key,
    decision::ObjectKind,
    observation::{Deployment, Owned},
};

use super::{
    Cached, Contents, Place, enlist, keys,
    table::Store,
    view::{self, PodRow, ServiceRow},
};

impl Cached for KubeDeployment {
    type View = Deployment;

    fn view(object: &Self) -> Option<Deployment> {
        Some(view::deployment(object))
    }

    fn table(state: &mut Contents) -> &mut Store<Deployment> {
        &mut state.deployments
    }

    fn touch(state: &mut Contents, place: &Place, view: &Deployment, there: bool) -> Vec<Key> {
        let mut keys = keys(&state.by_deployment, place);
        let owner = (view.owner.as_ref(), view.owner_name.as_ref());
        state.enlist_owned(ObjectKind::Deployment, place, owner, there, &mut keys);
        keys
    }
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
        let first = row.service.selector.first_key_value().filter(|_| !row.is_kanary);
        if let Some((label, value)) = first {
            let (namespace, name) = place.clone();
            let selected = (namespace, label.clone(), value.clone());
            enlist(&mut state.production, selected, name, there);
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
        Some(view::autoscaler(object))
    }

    fn table(state: &mut Contents) -> &mut Store<Owned> {
        &mut state.autoscalers
    }

    fn touch(state: &mut Contents, place: &Place, view: &Owned, there: bool) -> Vec<Key> {
        let mut keys = keys(&state.by_deployment, place);
        let owner = (view.owner.as_ref(), view.owner_name.as_ref());
        state.enlist_owned(ObjectKind::HorizontalPodAutoscaler, place, owner, there, &mut keys);
        keys
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
        for (label, value) in &row.pod.labels {
            let labelled = (namespace.clone(), label.clone(), value.clone());
            enlist(&mut state.labelled, labelled, name.clone(), there);
        }
        let mut keys = Vec::new();
        if let Some(deployment) = &row.deployment {
            let deployment = (namespace.clone(), deployment.clone());
            keys.extend(self::keys(&state.by_deployment, &deployment));
            enlist(&mut state.pods_of, deployment, name.clone(), there);
        }
        if let Some((kind, kanary)) = &row.kanary {
            let key = Key::at(*kind, (namespace.clone(), kanary.clone()));
            keys.extend(Some(&key).filter(|key| state.kanaries.contains(key)).cloned());
            enlist(&mut state.pods_by, key, name.clone(), there);
        }
        keys
    }
}
