//! The known state of the cluster. Watches and responses to our own writes update it, and decisions read it.
//!
//! Responses are included so that a decision is never based on a state older than our own last write. Every look-up and every
//! change costs O(log n), and a look-up for a Kanary only reads objects related to it.

mod index;
mod kanaries;
mod kinds;
mod parts;
mod reach;
mod scaled_object;
mod table;
#[cfg(test)]
mod tests;
mod view;
pub mod watch;
mod workloads;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};

pub(crate) use self::scaled_object::ScaledObject;
pub(crate) use self::table::{Claim, Gone};
pub use self::table::{PartId, Place};
pub(crate) use self::view::PodRow;
pub(crate) use self::workloads::{Revision, Workload, for_kind, template_hash};
use kanary_core::{
    Key, ParsedKanary,
    api::{KanaryKind, WorkloadKind, WorkloadRef},
    decision::ObjectKind,
    observation::{Keda, Observation, Owned, Stray},
    spec::Spec,
};

use self::{
    index::Index,
    parts::OpenParts,
    table::{Store, View},
    view::{KanaryRow, ServiceRow, WorkloadRow},
    workloads::Workloads,
};

/// The known state of the cluster.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Contents>);

#[derive(Debug, Default)]
pub(crate) struct Contents {
    kanaries: Store<KanaryRow, Key>,
    /// The parts that watches may fill.
    parts: OpenParts,
    /// Targets and canaries.
    workloads: Workloads,
    /// Kanaries whose production Service or canary Service has this name.
    by_service: Index<Place, Key>,
    services: Store<ServiceRow>,
    /// Objects owned by a Kanary, by the Kanary's uid.
    owned_by: Index<String, (ObjectKind, Place)>,
    /// Names of Services that Kanary did not create, by the [`digest`](reach::digest) of the first label of their selector. These
    /// must not select a canary.
    production: Index<u64, String>,
    autoscalers: Store<Owned>,
    scaled_objects: Store<Owned>,
    /// Whether the API server does not know ScaledObjects, as their watch found.
    keda_is_missing: bool,
    pods: Store<PodRow>,
    /// Pods whose labels name a Kanary, by name.
    pods_by: Index<Key, String>,
    /// Canary pods by the digest of each label, to find the pods that a changed Service selects.
    labelled: Index<u64, Arc<str>>,
}

/// An object that the cache stores, trimmed to a [`View`].
pub(crate) trait Cached: Resource<DynamicType = ()> + Clone + std::fmt::Debug {
    /// The stored part.
    type View: View;

    /// Trims the object. `None` if the cache does not store it.
    fn view(object: &Self) -> Option<Self::View>;

    /// The table for objects of this kind.
    fn table(state: &mut Contents) -> &mut Store<Self::View>;

    /// Updates the indexes for an object that was added or removed, and returns the affected Kanaries.
    fn touch(state: &mut Contents, place: &Place, view: &Self::View, there: bool) -> Vec<Key>;

    /// Records whether the API server knows the kind, and returns the affected Kanaries. `None` for a kind that every cluster has to
    /// have.
    fn mark_missing(_cache: &Cache, _missing: bool) -> Option<Vec<Key>> {
        None
    }

    /// Stores a version of the object from a response or a live read, and returns the affected Kanaries.
    fn put(cache: &Cache, object: &Self) -> Vec<Key> {
        let view = Self::view(object);
        Self::store(&mut cache.lock(), object, view, None)
    }

    /// Stores a version of the object that a watch reported, as part of `part`, and returns the affected Kanaries. If it belongs
    /// to no part, or the part was closed, it has left the parts that the watch feeds.
    fn report(cache: &Cache, object: &Self, part: Option<PartId>, is_fed: impl Fn(PartId) -> bool) -> Vec<Key> {
        let version = version_of(object);
        let view = Self::view(object);
        let state = &mut *cache.lock();
        let Some(part) = part.filter(|part| state.parts.is_open(*part)) else {
            return Self::leave(state, &place_of(object), version, is_fed);
        };
        Self::store(state, object, view, Some(Claim { part, version }))
    }

    /// Stores a version of the object, and returns the affected Kanaries. The claim is that of the watch that reported it.
    fn store(state: &mut Contents, object: &Self, view: Option<Self::View>, claim: Option<Claim>) -> Vec<Key> {
        let (place, uid, version) = (place_of(object), object.uid().unwrap_or_default(), version_of(object));
        let table = Self::table(state);
        if claim.is_some_and(|claim| table.is_late(&place, claim)) {
            return Vec::new();
        }
        let Some(mut view) = view else {
            // An earlier version may be stored.
            let is_known = table.contains(&place);
            return if is_known {
                Self::take_out(state, &place, Gone::At(version))
            } else {
                Vec::new()
            };
        };
        let is_news = table.is_news(&place, &uid, version, &mut view);
        if let Some(claim) = claim {
            table.claim(&place, claim);
        }
        if !is_news {
            return Vec::new();
        }
        let claim = table.claim_of(&place).or(claim);
        let former = table.remove(&place);
        let mut keys = former.map_or_else(Vec::new, |former| Self::touch(state, &place, &former, false));
        keys.extend(Self::touch(state, &place, &view, true));
        keys.sort();
        keys.dedup();
        Self::table(state).insert(place, uid, version, view, claim);
        keys
    }

    /// Removes an object that left the parts that a watch feeds, unless another watch has reported it elsewhere or later, and
    /// returns the affected Kanaries. A late response with an older version does not bring it back.
    fn leave(state: &mut Contents, place: &Place, version: u64, is_fed: impl Fn(PartId) -> bool) -> Vec<Key> {
        if !Self::table(state).release(place, version, is_fed) {
            return Vec::new();
        }
        Self::take_out(state, place, Gone::At(version))
    }

    /// As [`Cached::leave`], for an object that a watch reported as deleted.
    fn deleted(cache: &Cache, place: &Place, version: u64, is_fed: impl Fn(PartId) -> bool) -> Vec<Key> {
        Self::leave(&mut cache.lock(), place, version, is_fed)
    }

    /// Ends a list of these parts: removes what it does not contain, and returns the affected Kanaries. Also removes objects that
    /// no watch has reported, from a response or a live read, unless they are newer than the list.
    fn end_list(cache: &Cache, parts: &[PartId], is_listed: impl Fn(&Place) -> bool, version: u64) -> Vec<Key> {
        let state = &mut *cache.lock();
        let gone = Self::table(state).unlisted(parts, is_listed, version);
        let gone = gone.iter();
        gone.flat_map(|(place, gone)| Self::take_out(state, place, *gone))
            .collect()
    }

    /// Drops the objects of a part, and returns the affected Kanaries.
    fn drop_part(state: &mut Contents, part: PartId) -> Vec<Key> {
        let places = Self::table(state).of_part(part).into_iter();
        places
            .flat_map(|place| Self::take_out(state, &place, Gone::Unfollowed))
            .collect()
    }

    /// Removes an object that a watch noticed to be gone, and returns the affected Kanaries.
    fn take_out(state: &mut Contents, place: &Place, gone: Gone) -> Vec<Key> {
        let former = Self::table(state).take_out(place, gone);
        former.map_or_else(Vec::new, |view| Self::touch(state, place, &view, false))
    }

    /// Removes this object after the API server reported it as not found. A newer object of the same name stays.
    fn forget(cache: &Cache, place: &Place, uid: &str) {
        let state = &mut *cache.lock();
        if let Some(former) = Self::table(state).remove_object(place, uid) {
            Self::touch(state, place, &former, false);
        }
    }

    /// The stored version of the object with this UID, if it is a number.
    fn known_version(cache: &Cache, place: &Place, uid: &str) -> Option<u64> {
        let version = Self::table(&mut cache.lock()).version_of(place, uid)?;
        Some(version).filter(|version| *version != u64::MAX)
    }

    /// All stored objects of this kind, with their versions.
    #[cfg(test)]
    fn places(cache: &Cache) -> Vec<(Place, u64)> {
        Self::table(&mut cache.lock()).places().collect()
    }
}

/// The key of an object in its table.
pub(crate) fn place_of(object: &impl ResourceExt) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn version_of(object: &impl ResourceExt) -> u64 {
    number(&object.resource_version().unwrap_or_default())
}

/// Resource versions of one kind increase and compare as numbers (KEP-5504). A version that is not a number counts as the
/// newest.
pub(crate) fn number(version: &str) -> u64 {
    version.parse().unwrap_or(u64::MAX)
}

/// A trimmed pod. `None` if it belongs to no workload of a kind that Kanary knows.
pub(crate) fn pod_of(object: &Pod) -> Option<PodRow> {
    view::pod(object)
}

fn keys(index: &Index<Place, Key>, place: &Place) -> Vec<Key> {
    index.of(place).cloned().collect()
}

/// The workloads and Services that a Kanary refers to.
fn interests(key: &Key, spec: &Spec) -> ([(WorkloadKind, Place); 2], Vec<Place>) {
    let place = |name: &String| (key.namespace.clone(), name.clone());
    let workloads = [&spec.target, &spec.canary].map(|workload| (workload.kind, place(&workload.name)));
    let services = spec.service.iter().chain(&spec.kanary_service).map(place).collect();
    (workloads, services)
}

impl Contents {
    /// Objects that a Kanary owns but does not need.
    fn strays(&self, kanary: &ParsedKanary, spec: &Spec) -> Vec<Stray> {
        let owned = self.owned_by.of(&kanary.uid);
        let is_named = |kind: WorkloadKind, name: &String| {
            [&spec.canary, &spec.target]
                .into_iter()
                .any(|workload| (workload.kind, &workload.name) == (kind, name))
        };
        owned
            .filter_map(|(object, place)| {
                let name = &place.1;
                let uid = match object {
                    ObjectKind::Service
                        if Some(name) != spec.kanary_service.as_ref() && !spec.keeps(object.as_str(), name) =>
                    {
                        let owned = &self.services.get(place)?.owned;
                        (!owned.deleting).then_some(&owned.uid)
                    }
                    ObjectKind::Workload(kind) if !is_named(*kind, name) => {
                        let workload = &self.workloads.of(*kind).rows.get(place)?.rest;
                        (!workload.deleting).then_some(&workload.uid)
                    }
                    ObjectKind::HorizontalPodAutoscaler if *name != spec.canary.name => {
                        let owned = self.autoscalers.get(place)?;
                        (!owned.deleting).then_some(&owned.uid)
                    }
                    ObjectKind::ScaledObject if *name != spec.canary.name => {
                        let owned = self.scaled_objects.get(place)?;
                        (!owned.deleting).then_some(&owned.uid)
                    }
                    _ => None,
                };
                Some(Stray {
                    object: *object,
                    name: name.clone(),
                    uid: uid?.clone(),
                })
            })
            .collect()
    }

    /// Updates the objects owned by a Kanary, and adds that Kanary to the affected ones. Its spec may no longer name the object.
    fn enlist_owned(
        &mut self,
        object: ObjectKind,
        place: &Place,
        (owner, owner_name): (Option<&String>, Option<&String>),
        there: bool,
        matters_to: &mut Vec<Key>,
    ) {
        let (Some(owner), Some(owner_name)) = (owner, owner_name) else {
            return;
        };
        self.owned_by.enlist(owner.clone(), (object, place.clone()), there);
        let key = owner_name.split_once('/').and_then(|(kind, name)| {
            let kind = KanaryKind::parse(kind)?;
            Some(Key::at(kind, (place.0.clone(), name.to_owned())))
        });
        let key = key.filter(|key| self.kanary(key).is_some_and(|kanary| kanary.uid == *owner));
        matters_to.extend(key.filter(|key| !matters_to.contains(key)));
    }
}

impl Cache {
    /// Marks an object that we deleted as being deleted, until the watch reports the deletion.
    pub fn mark_deleting(&self, object: ObjectKind, place: &Place, uid: &str) {
        let state = &mut *self.lock();
        match object {
            ObjectKind::Workload(kind) => state.workloads.of_mut(kind).rows.mark_deleting(place, uid),
            ObjectKind::Service => state.services.mark_deleting(place, uid),
            ObjectKind::HorizontalPodAutoscaler => state.autoscalers.mark_deleting(place, uid),
            ObjectKind::ScaledObject => state.scaled_objects.mark_deleting(place, uid),
        }
    }

    /// The observed state around a Kanary. The caller adds measurements and live reads.
    #[must_use]
    pub fn observe(&self, kanary: &ParsedKanary, spec: &Spec) -> Observation {
        let state = &*self.lock();
        let namespace = &kanary.key.namespace;
        let place = |name: &String| (namespace.clone(), name.clone());
        let workload = |named: &WorkloadRef| {
            let rows = &state.workloads.of(named.kind).rows;
            rows.get(&place(&named.name)).map(WorkloadRow::workload)
        };
        let (pods, other_pods) = state.pods(kanary, spec);
        let target = workload(&spec.target);
        let mut canary = workload(&spec.canary);
        if let Some(canary) = &mut canary {
            kanary_core::workload::complete(spec.canary.kind, canary, &pods);
        }
        let template = spec.template.pod_labels();
        let all_pods = pods.iter().chain(&other_pods).map(|pod| &pod.labels);
        let of_target = target.iter().map(|target| &target.pod_labels);
        let own = spec.kanary_service.as_ref();
        let own = own.and_then(|name| state.services.get(&place(name)));
        let production = spec.service.as_ref();
        let production = production.and_then(|name| state.services.get(&place(name)));
        Observation {
            services: state.services_for(namespace, [&template].into_iter().chain(of_target).chain(all_pods)),
            target_is_canary_of: state.canary_of(kanary, &spec.target),
            target,
            pods,
            other_pods,
            service: production.map(|row| row.service(true)),
            kanary_service: own.map(|row| row.owned.clone()),
            kanary_selector: own
                .filter(|row| !row.service.external)
                .map(|row| row.selector.unpack())
                .unwrap_or_default(),
            strays: state.strays(kanary, spec),
            hpa: state.autoscalers.get(&place(&spec.canary.name)).cloned(),
            scaled_object: state.scaled_objects.get(&place(&spec.canary.name)).cloned(),
            keda: if state.keda_is_missing {
                Keda::Missing
            } else {
                Keda::Served
            },
            canary,
            ..Observation::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
