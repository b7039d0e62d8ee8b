//! Objects by kind, and a log of their changes for watches. The store corresponds to etcd and the watch cache.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;

use crate::object::Object;

/// `deployments.apps`, or `pods` in the core group.
pub type ResourceName = Arc<str>;

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Place = (String, String);

/// Number of objects whose parsed form is cached.
const RECENT: usize = 4096;

/// A change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Resource version of the change.
    pub version: u64,
    /// State before the change.
    pub old: Option<Arc<Object>>,
    /// State after the change, or `None` for a deletion.
    pub new: Option<Arc<Object>>,
    /// For a deletion: the last state, with the version of the deletion.
    pub last: Option<Arc<Object>>,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    version: u64,
    kinds: BTreeMap<ResourceName, OfKind>,
    /// Objects by the uid of an owner.
    children: HashMap<String, BTreeSet<(ResourceName, Place)>>,
    /// Recently used objects, whose parsed form is cached.
    recent: VecDeque<Arc<Object>>,
    /// Maximum length of the log of each kind.
    history: usize,
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct OfKind {
    objects: BTreeMap<Place, Arc<Object>>,
    /// Objects without a controller.
    uncontrolled: BTreeSet<Place>,
    /// Index of the labels that selectors have used: values, and the objects with each value.
    labelled: BTreeMap<String, HashMap<String, BTreeSet<Place>>>,
    log: VecDeque<Change>,
    /// Version of the last change that was removed from the log.
    compacted: u64,
    /// Waiters are woken in FIFO order, so that runs with the same seed produce the same history.
    changed: Arc<Notify>,
}

impl OfKind {
    /// Builds the index of a label.
    fn index(&mut self, label: &str) {
        let mut index = HashMap::<String, BTreeSet<Place>>::new();
        for (place, object) in &self.objects {
            if let Some(value) = object.meta.labels.get(label) {
                index.entry(value.clone()).or_default().insert(place.clone());
            }
        }
        self.labelled.insert(label.to_owned(), index);
    }

    /// Updates the indexes for a changed object.
    fn relabel(&mut self, place: &Place, old: Option<&Object>, new: Option<&Object>) {
        for (label, index) in &mut self.labelled {
            let value = |object: Option<&Object>| object.and_then(|object| object.meta.labels.get(label).cloned());
            let (former, present) = (value(old), value(new));
            if former == present {
                continue;
            }
            if let Some(former) = former
                && let Some(places) = index.get_mut(&former)
            {
                places.remove(place);
                if places.is_empty() {
                    index.remove(&former);
                }
            }
            if let Some(present) = present {
                index.entry(present).or_default().insert(place.clone());
            }
        }
    }
}

impl Store {
    /// Creates an empty store that keeps the last `history` changes of each kind for watches.
    #[must_use]
    pub fn new(history: usize) -> Self {
        Self {
            version: 1,
            kinds: BTreeMap::new(),
            children: HashMap::new(),
            recent: VecDeque::new(),
            history,
        }
    }

    /// Resource version of the last change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Resource version of the next change.
    #[must_use]
    pub fn next_version(&self) -> u64 {
        self.version + 1
    }

    /// Returns an object.
    #[must_use]
    pub fn get(&self, resource: &str, place: &Place) -> Option<&Arc<Object>> {
        self.kinds.get(resource)?.objects.get(place)
    }

    /// The objects of a kind in a namespace, or in all namespaces, sorted by name.
    pub fn list<'a>(&'a self, resource: &str, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Object>> {
        let from = (namespace.unwrap_or_default().to_owned(), String::new());
        let objects = self.kinds.get(resource).map(|kind| kind.objects.range(from..));
        objects
            .into_iter()
            .flatten()
            .take_while(move |(place, _)| namespace.is_none_or(|namespace| place.0 == namespace))
            .map(|(_, object)| object)
    }

    /// Candidates for objects of a kind with all of these labels, sorted by name. The result may contain other objects;
    /// it is as small as the indexes allow.
    pub fn labelled(&mut self, resource: &str, labels: &[(&str, &str)]) -> Vec<Arc<Object>> {
        let Some(kind) = self.kinds.get_mut(resource) else {
            return Vec::new();
        };
        for (label, _) in labels {
            if !kind.labelled.contains_key(*label) {
                kind.index(label);
            }
        }
        let places = labels.iter().map(|(label, value)| kind.labelled[*label].get(*value));
        let fewest = places.min_by_key(|places| places.map_or(0, BTreeSet::len)).flatten();
        let objects = fewest.into_iter().flatten().filter_map(|place| kind.objects.get(place));
        objects.cloned().collect()
    }

    /// The objects of a kind in a namespace that have no controller.
    pub fn uncontrolled<'a>(&'a self, resource: &str, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        let kind = self.kinds.get(resource);
        let from = (namespace.to_owned(), String::new());
        let places = kind.map(|kind| kind.uncontrolled.range(from..));
        places
            .into_iter()
            .flatten()
            .take_while(move |place| place.0 == namespace)
            .filter_map(move |place| kind?.objects.get(place))
    }

    /// The objects with an owner reference to this uid, sorted by kind and name.
    pub fn children<'a>(&'a self, owner: &str) -> impl Iterator<Item = (&'a ResourceName, &'a Arc<Object>)> {
        let places = self.children.get(owner).into_iter().flatten();
        places.filter_map(|(resource, place)| Some((resource, self.get(resource, place)?)))
    }

    /// All kinds that have or had an object.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceName> {
        self.kinds.keys()
    }

    /// Creates or replaces an object, whose version must be [`Store::next_version`].
    pub fn put(&mut self, resource: &ResourceName, new: Arc<Object>) -> Change {
        let place = (new.meta.namespace.clone(), new.meta.name.clone());
        let old = self.get(resource, &place).cloned();
        self.reindex(resource, &place, old.as_deref(), Some(&new));
        self.of_kind(resource).objects.insert(place, new.clone());
        self.make_recent(new.clone());
        self.append(
            resource,
            Change {
                version: new.meta.resource_version,
                old,
                new: Some(new),
                last: None,
            },
        )
    }

    /// Removes an object. `last` is its last state with [`Store::next_version`].
    pub fn remove(&mut self, resource: &ResourceName, last: Arc<Object>) -> Change {
        let place = (last.meta.namespace.clone(), last.meta.name.clone());
        let old = self.of_kind(resource).objects.remove(&place);
        self.reindex(resource, &place, old.as_deref(), None);
        self.append(
            resource,
            Change {
                version: last.meta.resource_version,
                old,
                new: None,
                last: Some(last),
            },
        )
    }

    /// Caches the parsed form of an object, because further readers are likely.
    pub(crate) fn look_at(&mut self, object: &Arc<Object>) {
        if object.remember() {
            self.make_recent(object.clone());
        }
    }

    fn make_recent(&mut self, object: Arc<Object>) {
        self.recent.push_back(object);
        if self.recent.len() > RECENT
            && let Some(former) = self.recent.pop_front()
        {
            former.forget();
        }
    }

    fn append(&mut self, resource: &ResourceName, change: Change) -> Change {
        self.version = change.version;
        let history = self.history;
        let kind = self.of_kind(resource);
        kind.log.push_back(change.clone());
        while kind.log.len() > history {
            kind.compacted = kind.log.pop_front().map_or(kind.compacted, |change| change.version);
        }
        kind.changed.notify_waiters();
        change
    }

    fn of_kind(&mut self, resource: &ResourceName) -> &mut OfKind {
        self.kinds.entry(resource.clone()).or_default()
    }

    fn reindex(&mut self, resource: &ResourceName, place: &Place, old: Option<&Object>, new: Option<&Object>) {
        let owners = |object: Option<&Object>| object.map(|object| object.meta.owners.clone()).unwrap_or_default();
        let (former, present) = (owners(old), owners(new));
        if former != present {
            for owner in former {
                if let Some(children) = self.children.get_mut(&owner.uid) {
                    children.remove(&(resource.clone(), place.clone()));
                    if children.is_empty() {
                        self.children.remove(&owner.uid);
                    }
                }
            }
            for owner in present {
                let children = self.children.entry(owner.uid).or_default();
                children.insert((resource.clone(), place.clone()));
            }
        }
        let uncontrolled = new.is_some_and(|object| object.meta.controller().is_none());
        let kind = self.of_kind(resource);
        kind.relabel(place, old, new);
        if uncontrolled {
            kind.uncontrolled.insert(place.clone());
        } else {
            kind.uncontrolled.remove(place);
        }
    }

    /// The changes of a kind after `version`, up to `limit`. Returns `None` if the log no longer contains all of them.
    #[must_use]
    pub fn since(&self, resource: &str, version: u64, limit: usize) -> Option<Vec<Change>> {
        let Some(kind) = self.kinds.get(resource) else {
            return Some(Vec::new());
        };
        if version < kind.compacted {
            return None;
        }
        let from = kind.log.partition_point(|change| change.version <= version);
        Some(kind.log.range(from..).take(limit).cloned().collect())
    }

    /// A notification for changes of a kind.
    pub fn changed(&mut self, resource: &ResourceName) -> Arc<Notify> {
        self.of_kind(resource).changed.clone()
    }

    /// Drops the log: a watch that has not seen the last change of its kind must list again.
    pub fn compact(&mut self) {
        for kind in self.kinds.values_mut() {
            kind.compacted = kind.log.back().map_or(kind.compacted, |change| change.version);
            kind.log.clear();
        }
    }
}
