//! The cluster's state behind one lock, and typed access to it for the controllers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Resource as Kind;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use crate::{
    admission::{Attempt, Policies, Policy},
    clock::Clock,
    failure::Failure,
    object::Object,
    resource::{Registry, Resource},
    server::Rest,
    store::{Change, Place, ResourceName, Store},
    write::{DeleteOptions, Part, Parts, Txn, WriteOptions, unreadable},
};

/// A cluster. Clones are the same one.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    clock: Clock,
    state: Mutex<State>,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) rng: fastrand::Rng,
    /// Cluster IPs that were given out.
    pub(crate) addresses: u32,
    /// Lists under way, by their continue token.
    pub(crate) rests: BTreeMap<u64, Rest>,
    pub(crate) last_rest: u64,
    pub(crate) policies: Policies,
    hooks: Vec<Hook>,
    listeners: Vec<mpsc::UnboundedSender<Event>>,
}

/// A change, for whoever looks on.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who wrote.
    pub actor: Arc<str>,
    /// `deployments.apps`.
    pub resource: ResourceName,
    /// What changed.
    pub change: Change,
}

/// Called for every change, in order, before anybody else sees it. It must not call the cluster.
pub type Hook = Box<dyn FnMut(&Event) + Send>;

/// How a cluster is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What its clock shows at first.
    pub start: Timestamp,
    /// Of names, uids and delays: one seed gives one history.
    pub seed: u64,
    /// Changes of each kind that watches can go back.
    pub history: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            start: Timestamp::UNIX_EPOCH,
            seed: 0,
            history: 5000,
        }
    }
}

/// A built-in kind as its type.
pub trait Typed: Kind<DynamicType = ()> + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<K: Kind<DynamicType = ()> + Serialize + DeserializeOwned + Send + Sync + 'static> Typed for K {}

/// `deployments.apps`.
#[must_use]
pub fn name_of<K: Typed>() -> ResourceName {
    match K::group(&()).as_ref() {
        "" => K::plural(&()).as_ref().into(),
        group => format!("{}.{group}", K::plural(&())).into(),
    }
}

impl Cluster {
    /// An empty cluster but for its namespaces: without controllers, and without a server.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let state = State {
            store: Store::new(options.history),
            registry: Registry::built_in(),
            rng: fastrand::Rng::with_seed(options.seed),
            addresses: 0,
            rests: BTreeMap::new(),
            last_rest: 0,
            policies: Policies::default(),
            hooks: Vec::new(),
            listeners: Vec::new(),
        };
        let cluster = Self(Arc::new(Inner {
            clock: Clock::starting_at(options.start),
            state: Mutex::new(state),
        }));
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = serde_json::json!({"metadata": {"name": name}});
            let made = cluster.transact("system:apiserver", |txn| {
                let resource = txn.state.registry.named("namespaces").cloned();
                resource.map(|resource| txn.create(&resource, "", namespace, WriteOptions::default()))
            });
            debug_assert!(made.is_some_and(|made| made.is_ok()), "an empty cluster takes {name}");
        }
        cluster
    }

    /// The cluster's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The cluster's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Takes from the cluster's source of chance.
    pub fn chance<T>(&self, take: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        take(&mut self.lock().rng)
    }

    /// Calls `hook` for every change from now on.
    pub fn on_change(&self, hook: Hook) {
        self.lock().hooks.push(hook);
    }

    /// Every change from now on.
    #[must_use]
    pub fn events(&self) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().listeners.push(sender);
        receiver
    }

    /// Has a policy look at every write from now on, in the place of one of its name.
    pub fn set_policy(&self, policy: Policy) {
        self.lock().policies.set(policy);
    }

    /// Takes a policy away again, if it is there.
    pub fn remove_policy(&self, name: &str) {
        self.lock().policies.remove(name);
    }

    /// How long policies hold up a write.
    pub(crate) fn delay(&self, attempt: &Attempt<'_>) -> Duration {
        self.lock().policies.delay(attempt)
    }

    /// Forgets the log of changes: watches that are behind must list again.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something as `actor`, while nobody else does anything.
    pub(crate) fn transact<T>(&self, actor: &str, act: impl FnOnce(&mut Txn<'_>) -> T) -> T {
        let mut state = self.lock();
        act(&mut Txn::new(&mut state, &self.0.clock, actor))
    }

    /// An object.
    #[must_use]
    pub fn get<K: Typed>(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let place = (namespace.to_owned(), name.to_owned());
        let mut state = self.lock();
        let object = state.store.get(&name_of::<K>(), &place)?.clone();
        state.store.look_at(&object);
        drop(state);
        object.typed()
    }

    /// The objects of a kind in a namespace, or all of them, by name.
    #[must_use]
    pub fn list<K: Typed>(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        let objects = self.objects(&name_of::<K>(), namespace);
        objects.iter().filter_map(|object| object.typed()).collect()
    }

    /// The same, unparsed.
    #[must_use]
    pub fn objects(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.lock().store.list(resource, namespace).cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn object(&self, resource: &str, place: &Place) -> Option<Arc<Object>> {
        self.lock().store.get(resource, place).cloned()
    }

    /// What names this owner.
    #[must_use]
    pub fn children(&self, owner_uid: &str) -> Vec<(ResourceName, Arc<Object>)> {
        let state = self.lock();
        let children = state.store.children(owner_uid);
        children
            .map(|(resource, object)| (resource.clone(), object.clone()))
            .collect()
    }

    /// Of a kind only, which somebody will look into.
    pub(crate) fn children_of_kind(&self, owner_uid: &str, kind: &str) -> Vec<Arc<Object>> {
        let mut state = self.lock();
        let children = state.store.children(owner_uid);
        let children = children.filter(|(resource, _)| &***resource == kind);
        let children: Vec<_> = children.map(|(_, object)| object.clone()).collect();
        for child in &children {
            state.store.look_at(child);
        }
        children
    }

    /// The objects of a kind that name this owner, by name.
    #[must_use]
    pub fn owned<K: Typed>(&self, owner_uid: &str) -> Vec<Arc<K>> {
        let children = self.children_of_kind(owner_uid, &name_of::<K>());
        children.iter().filter_map(|object| object.typed()).collect()
    }

    /// The objects of a kind in a namespace that have no controller, unparsed.
    #[must_use]
    pub fn uncontrolled(&self, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        self.lock().store.uncontrolled(resource, namespace).cloned().collect()
    }

    /// Creates an object.
    ///
    /// # Errors
    ///
    /// As the API server.
    pub fn create<K: Typed>(&self, actor: &str, object: &K) -> Result<Arc<K>, Failure> {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let value = serde_json::to_value(object).map_err(|error| Failure::bad_request(error.to_string()))?;
        let resource = self.served(&name_of::<K>())?;
        let options = WriteOptions {
            typed: true,
            ..WriteOptions::default()
        };
        let created = self.transact(actor, |txn| txn.create(&resource, &namespace, value, options))?;
        created.typed().ok_or_else(unreadable)
    }

    /// Writes all of an object but its status; on top of its resourceVersion, if it has one. It is not checked: a
    /// controller that read it changes nothing that could be wrong.
    ///
    /// # Errors
    ///
    /// As the API server.
    pub(crate) fn update<K: Parts>(&self, actor: &str, object: K) -> Result<Arc<K>, Failure> {
        self.update_part(actor, object, Part::Whole)
    }

    /// Writes an object's status; on top of its resourceVersion, if it has one.
    ///
    /// # Errors
    ///
    /// As the API server.
    pub(crate) fn update_status<K: Parts>(&self, actor: &str, object: K) -> Result<Arc<K>, Failure> {
        self.update_part(actor, object, Part::Status)
    }

    /// Writes all of an object with its status, as a scheduler's binding does.
    pub(crate) fn bind<K: Parts>(&self, actor: &str, object: K) -> Result<Arc<K>, Failure> {
        self.update_part(actor, object, Part::Binding)
    }

    fn update_part<K: Parts>(&self, actor: &str, object: K, part: Part) -> Result<Arc<K>, Failure> {
        let resource = self.served(&name_of::<K>())?;
        self.transact(actor, |txn| txn.rewrite(&resource, part, object))
    }

    /// Deletes an object of any kind.
    ///
    /// # Errors
    ///
    /// As the API server.
    pub fn delete(&self, actor: &str, resource: &str, place: &Place, options: &DeleteOptions) -> Result<(), Failure> {
        let resource = self.served(resource)?;
        self.transact(actor, |txn| txn.delete(&resource, place, options).map(|_| ()))
    }

    fn served(&self, resource: &str) -> Result<Arc<Resource>, Failure> {
        let known = self.lock().registry.named(resource).cloned();
        known.ok_or_else(|| Failure::new(404, "NotFound", "the server could not find the requested resource"))
    }
}

impl State {
    /// Tells everybody about a change.
    pub(crate) fn tell(&mut self, event: &Event) {
        for hook in &mut self.hooks {
            hook(event);
        }
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }
}
