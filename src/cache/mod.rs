//! What is known of the cluster: fed by watches and by the replies to our own writes, read by decisions.
//!
//! Replies go in as well, so that a decision never rests on a cluster older than our own last write. Every look-up and
//! every change costs O(log n); only what a Kanary names is ever looked at for it.

mod table;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{
    apps::v1::Deployment as KubeDeployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod as KubePod, Service as KubeService},
};
use kube::{Resource, ResourceExt};

pub use self::table::Place;
use self::{
    table::{Table, View},
    view::{PodRow, ServiceRow},
};
use crate::{
    api::{Kanary, KanaryKind, names::RUN},
    canary::{
        Canary, Key,
        canary::Spec,
        decision::ObjectKind,
        labels::Labels,
        observation::{Deployment, Observation, Owned},
    },
};

/// What is known of the cluster.
#[derive(Debug, Default)]
pub struct Cache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    kanaries: HashMap<Key, Arc<Canary>>,
    /// Which Kanaries have a Deployment of this name as their target or canary.
    by_deployment: HashMap<Place, BTreeSet<Key>>,
    /// Which Kanaries have a Service of this name as the production Service or the canary's own.
    by_service: HashMap<Place, BTreeSet<Key>>,
    deployments: Table<Deployment>,
    services: Table<ServiceRow>,
    /// Names of the Services of a namespace that are not ours: what a canary must not be selected by.
    production: HashMap<String, BTreeSet<String>>,
    autoscalers: Table<Owned>,
    pods: Table<PodRow>,
    /// Names of the pods of a Deployment.
    pods_of: HashMap<Place, BTreeSet<String>>,
}

/// An object that the cache keeps.
pub trait Cached: Resource<DynamicType = ()> + Clone + std::fmt::Debug {
    /// Takes in a version of the object; the Kanaries that it matters to.
    fn put(cache: &Cache, object: &Self) -> Vec<Key>;
    /// The object is gone; the Kanaries that it matters to.
    fn remove(cache: &Cache, place: &Place) -> Vec<Key>;
    /// Every place that has such an object.
    fn places(cache: &Cache) -> Vec<Place>;
}

fn place_of(object: &impl ResourceExt) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Resource versions of one object grow, and compare as numbers (KEP-5504). One that is no number counts as the newest.
fn version_of(object: &impl ResourceExt) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or(u64::MAX)
}

fn put<K, V: View>(table: &mut Table<V>, object: &K, view: V) -> bool
where
    K: ResourceExt,
{
    let uid = object.uid().unwrap_or_default();
    table.put(place_of(object), &uid, version_of(object), view)
}

fn keys(index: &HashMap<Place, BTreeSet<Key>>, place: &Place) -> Vec<Key> {
    index.get(place).into_iter().flatten().cloned().collect()
}

impl Cached for KubeDeployment {
    fn put(cache: &Cache, object: &Self) -> Vec<Key> {
        let view = view::deployment(object);
        let state = &mut *cache.lock();
        let changed = put(&mut state.deployments, object, view);
        if changed {
            keys(&state.by_deployment, &place_of(object))
        } else {
            Vec::new()
        }
    }

    fn remove(cache: &Cache, place: &Place) -> Vec<Key> {
        let state = &mut *cache.lock();
        state.deployments.remove(place);
        keys(&state.by_deployment, place)
    }

    fn places(cache: &Cache) -> Vec<Place> {
        cache.lock().deployments.places().cloned().collect()
    }
}

impl Cached for KubeService {
    fn put(cache: &Cache, object: &Self) -> Vec<Key> {
        let view = view::service(object);
        let state = &mut *cache.lock();
        let (namespace, name) = place_of(object);
        if view.is_kanary {
            state.forget_production(&namespace, &name);
        } else {
            state.production.entry(namespace).or_default().insert(name);
        }
        let changed = put(&mut state.services, object, view);
        if changed {
            keys(&state.by_service, &place_of(object))
        } else {
            Vec::new()
        }
    }

    fn remove(cache: &Cache, place: &Place) -> Vec<Key> {
        let state = &mut *cache.lock();
        state.services.remove(place);
        state.forget_production(&place.0, &place.1);
        keys(&state.by_service, place)
    }

    fn places(cache: &Cache) -> Vec<Place> {
        cache.lock().services.places().cloned().collect()
    }
}

impl Cached for HorizontalPodAutoscaler {
    fn put(cache: &Cache, object: &Self) -> Vec<Key> {
        let state = &mut *cache.lock();
        let changed = put(&mut state.autoscalers, object, view::autoscaler(object));
        if changed {
            keys(&state.by_deployment, &place_of(object))
        } else {
            Vec::new()
        }
    }

    fn remove(cache: &Cache, place: &Place) -> Vec<Key> {
        let state = &mut *cache.lock();
        state.autoscalers.remove(place);
        keys(&state.by_deployment, place)
    }

    fn places(cache: &Cache) -> Vec<Place> {
        cache.lock().autoscalers.places().cloned().collect()
    }
}

impl Cached for KubePod {
    fn put(cache: &Cache, object: &Self) -> Vec<Key> {
        let Some(row) = view::pod(object) else {
            return Vec::new();
        };
        let (namespace, name) = place_of(object);
        let deployment = (namespace, row.deployment.clone());
        let state = &mut *cache.lock();
        state.pods_of.entry(deployment.clone()).or_default().insert(name);
        let changed = put(&mut state.pods, object, row);
        if changed {
            keys(&state.by_deployment, &deployment)
        } else {
            Vec::new()
        }
    }

    fn remove(cache: &Cache, place: &Place) -> Vec<Key> {
        let state = &mut *cache.lock();
        let Some(row) = state.pods.remove(place) else {
            return Vec::new();
        };
        let deployment = (place.0.clone(), row.deployment);
        if let Some(pods) = state.pods_of.get_mut(&deployment) {
            pods.remove(&place.1);
            if pods.is_empty() {
                state.pods_of.remove(&deployment);
            }
        }
        keys(&state.by_deployment, &deployment)
    }

    fn places(cache: &Cache) -> Vec<Place> {
        cache.lock().pods.places().cloned().collect()
    }
}

/// The names that a Kanary is interested in.
fn interests(key: &Key, spec: &Spec) -> (Vec<Place>, Vec<Place>) {
    let place = |name: &String| (key.namespace.clone(), name.clone());
    let deployments = vec![place(&spec.target), place(&spec.canary)];
    let services = spec.service.iter().chain(&spec.kanary_service).map(place).collect();
    (deployments, services)
}

impl State {
    fn forget_production(&mut self, namespace: &str, name: &str) {
        if let Some(names) = self.production.get_mut(namespace) {
            names.remove(name);
            if names.is_empty() {
                self.production.remove(namespace);
            }
        }
    }

    /// Selectors of the Services of a namespace that are not ours.
    fn production_selectors(&self, namespace: &String) -> Vec<Labels> {
        let names = self.production.get(namespace).into_iter().flatten();
        names
            .filter_map(|name| self.services.get(&(namespace.clone(), name.clone())))
            .map(|row| row.service.selector.clone())
            .collect()
    }

    fn index(&mut self, canary: &Canary, add: bool) {
        let Ok(spec) = &canary.spec else { return };
        let (deployments, services) = interests(&canary.key, spec);
        let maps = deployments
            .into_iter()
            .map(|place| (true, place))
            .chain(services.into_iter().map(|place| (false, place)));
        for (is_deployment, place) in maps {
            let index = if is_deployment {
                &mut self.by_deployment
            } else {
                &mut self.by_service
            };
            if add {
                index.entry(place).or_default().insert(canary.key.clone());
            } else if let Some(keys) = index.get_mut(&place) {
                keys.remove(&canary.key);
                if keys.is_empty() {
                    index.remove(&place);
                }
            }
        }
    }
}

impl Cache {
    /// Takes in a version of a Kanary. Whether that is news.
    ///
    /// # Errors
    ///
    /// The object cannot be read at all, and what was known of it stays. See [`Canary::parse`].
    pub fn put_kanary(&self, kind: KanaryKind, object: &Kanary) -> Result<Option<Key>, String> {
        let canary = Canary::parse(kind, object)?;
        let state = &mut *self.lock();
        let former = state.kanaries.get(&canary.key).cloned();
        if let Some(former) = former {
            let number = |canary: &Canary| canary.resource_version.parse::<u64>().unwrap_or(u64::MAX);
            let same = former.uid == canary.uid;
            if same && (number(&canary) < number(&former) || canary.resource_version == former.resource_version) {
                return Ok(None);
            }
            state.index(&former, false);
        }
        state.index(&canary, true);
        let key = canary.key.clone();
        state.kanaries.insert(key.clone(), Arc::new(canary));
        Ok(Some(key))
    }

    /// A Kanary is gone.
    pub fn remove_kanary(&self, key: &Key) {
        let state = &mut *self.lock();
        if let Some(former) = state.kanaries.remove(key) {
            state.index(&former, false);
        }
    }

    /// A Kanary.
    #[must_use]
    pub fn kanary(&self, key: &Key) -> Option<Arc<Canary>> {
        self.lock().kanaries.get(key).cloned()
    }

    /// Every Kanary of a kind.
    #[must_use]
    pub fn kanaries(&self, kind: KanaryKind) -> Vec<Key> {
        self.lock()
            .kanaries
            .keys()
            .filter(|key| key.kind == kind)
            .cloned()
            .collect()
    }

    /// Calls `visit` with every Kanary.
    pub fn each_kanary(&self, mut visit: impl FnMut(&Canary)) {
        self.lock().kanaries.values().for_each(|canary| visit(canary));
    }

    /// We deleted an object: it counts as going until the watch says that it is gone.
    pub fn mark_deleting(&self, object: ObjectKind, place: &Place, uid: &str) {
        let state = &mut *self.lock();
        match object {
            ObjectKind::Deployment => state.deployments.mark_deleting(place, uid),
            ObjectKind::Service => state.services.mark_deleting(place, uid),
            ObjectKind::HorizontalPodAutoscaler => state.autoscalers.mark_deleting(place, uid),
        }
    }

    /// What is known of the cluster around a Kanary; measurements and live reads are the caller's to add.
    #[must_use]
    pub fn observe(&self, canary: &Canary, spec: &Spec) -> Observation {
        let state = &*self.lock();
        let namespace = &canary.key.namespace;
        let place = |name: &String| (namespace.clone(), name.clone());
        let canary_place = place(&spec.canary);
        let run = canary.run(spec);
        let pods = state.pods_of.get(&canary_place).into_iter().flatten();
        let pods = pods
            .filter_map(|name| state.pods.get(&place(name)))
            .filter(|row| row.pod.labels.get(RUN) == Some(&run))
            .map(|row| row.pod.clone())
            .collect();
        let canary_view = state.deployments.get(&canary_place).cloned();
        let creating = canary_view.is_none() && !spec.in_production();
        Observation {
            target: state.deployments.get(&place(&spec.target)).cloned(),
            pods,
            service: spec
                .service
                .as_ref()
                .and_then(|name| Some(state.services.get(&place(name))?.service.clone())),
            // Only a canary that is about to be created has to know what it must not match.
            selectors: if creating {
                state.production_selectors(namespace)
            } else {
                Vec::new()
            },
            kanary_service: spec
                .kanary_service
                .as_ref()
                .and_then(|name| Some(state.services.get(&place(name))?.owned.clone())),
            hpa: state.autoscalers.get(&canary_place).cloned(),
            canary: canary_view,
            ..Observation::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
