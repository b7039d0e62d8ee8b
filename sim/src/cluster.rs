//! The cluster's state behind one lock, with typed access for the controllers.

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

/// A cluster. Clones share the same state.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    clock: Clock,
    state: Mutex<State>,
}

/// State behind the lock.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) rng: fastrand::Rng,
    /// Number of cluster IPs allocated so far.
    pub(crate) addresses: u32,
    /// Paginated lists in progress, by their continue token.
    pub(crate) rests: BTreeMap<u64, Rest>,
    pub(crate) last_rest: u64,
    pub(crate) policies: Policies,
    hooks: Vec<Hook>,
    listeners: Vec<mpsc::UnboundedSender<Event>>,
}

/// A change, as reported to subscribers.
#[derive(Clone, Debug)]
pub struct Event {
    /// Time of the change.
    pub at: Timestamp,
    /// User who made the change.
    pub actor: Arc<str>,
    /// The resource, such as `deployments.apps`.
    pub resource: ResourceName,
    /// The change.
    pub change: Change,
}

/// A function that is called for every change, in order, before any subscriber receives it. It must not call the cluster.
pub type Hook = Box<dyn FnMut(&Event) + Send>;

/// Options of a new cluster.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Start time of the clock.
    pub start: Timestamp,
    /// Seed for names, uids and delays. Runs with the same seed produce the same history.
    pub seed: u64,
    /// Number of changes of each kind that a watch can resume from.
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

/// A built-in kind with its Rust type.
pub trait Typed: Kind<DynamicType = ()> + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<K: Kind<DynamicType = ()> + Serialize + DeserializeOwned + Send + Sync + 'static> Typed for K {}

/// The resource name, such as `deployments.apps`.
#[must_use]
pub fn name_of<K: Typed>() -> ResourceName {
    match K::group(&()).as_ref() {
        "" => K::plural(&()).as_ref().into(),
        group => format!("{}.{group}", K::plural(&())).into(),
    }
}

impl Cluster {
    /// Creates a cluster that contains only its namespaces, without controllers and without a server.
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
            debug_assert!(made.is_some_and(|made| made.is_ok()), "namespace {name} can be created");
        }
        cluster
    }

    /// The cluster's current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The cluster's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Draws from the cluster's random number generator.
    pub fn chance<T>(&self, take: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        take(&mut self.lock().rng)
    }

    /// Calls `hook` for every change from now on.
    pub fn on_change(&self, hook: Hook) {
        self.lock().hooks.push(hook);
    }

    /// Subscribes to every change from now on.
    #[must_use]
    pub fn events(&self) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().listeners.push(sender);
        receiver
    }

    /// Runs a policy on every write from now on. It replaces a policy with the same name.
    pub fn set_policy(&self, policy: Policy) {
        self.lock().policies.set(policy);
    }

    /// Removes a policy, if it exists.
    pub fn remove_policy(&self, name: &str) {
        self.lock().policies.remove(name);
    }

    /// How long policies delay a write.
    pub(crate) fn delay(&self, attempt: &Attempt<'_>) -> Duration {
        self.lock().policies.delay(attempt)
    }

    /// Drops the log of changes, so that watches that are behind must list again.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a transaction as `actor` while the cluster is locked.
    pub(crate) fn transact<T>(&self, actor: &str, act: impl FnOnce(&mut Txn<'_>) -> T) -> T {
        let mut state = self.lock();
        act(&mut Txn::new(&mut state, &self.0.clock, actor))
    }

    /// Returns an object.
    #[must_use]
    pub fn get<K: Typed>(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let place = (namespace.to_owned(), name.to_owned());
        let mut state = self.lock();
        let object = state.store.get(&name_of::<K>(), &place)?.clone();
        state.store.look_at(&object);
        drop(state);
        object.typed()
    }

    /// The objects of a kind in a namespace, or in all namespaces, sorted by name.
    #[must_use]
    pub fn list<K: Typed>(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        let objects = self.objects(&name_of::<K>(), namespace);
        objects.iter().filter_map(|object| object.typed()).collect()
    }

    /// Like [`Cluster::list`], but unparsed.
    #[must_use]
    pub fn objects(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.lock().store.list(resource, namespace).cloned().collect()
    }

    /// Returns one object, unparsed.
    #[must_use]
    pub fn object(&self, resource: &str, place: &Place) -> Option<Arc<Object>> {
        self.lock().store.get(resource, place).cloned()
    }

    /// The objects with an owner reference to this uid.
    #[must_use]
    pub fn children(&self, owner_uid: &str) -> Vec<(ResourceName, Arc<Object>)> {
        let state = self.lock();
        let children = state.store.children(owner_uid);
        children
            .map(|(resource, object)| (resource.clone(), object.clone()))
            .collect()
    }

    /// The children of one kind. They are kept parsed because a controller reads them.
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

    /// The objects of a kind with an owner reference to this uid, sorted by name.
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
    /// Returns the API server's refusal.
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

    /// Replaces an object except for its status. If the object has a resourceVersion, the write fails with a conflict
    /// when the stored object has changed. The object is not validated: the controllers only write objects that they read
    /// before.
    ///
    /// # Errors
    ///
    /// Returns the API server's refusal.
    pub(crate) fn update<K: Parts>(&self, actor: &str, object: K) -> Result<Arc<K>, Failure> {
        self.update_part(actor, object, Part::Whole)
    }

    /// Replaces an object's status. If the object has a resourceVersion, the write fails with a conflict when the stored
    /// object has changed.
    ///
    /// # Errors
    ///
    /// Returns the API server's refusal.
    pub(crate) fn update_status<K: Parts>(&self, actor: &str, object: K) -> Result<Arc<K>, Failure> {
        self.update_part(actor, object, Part::Status)
    }

    /// Replaces an object including its status, as the scheduler's binding does.
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
    /// Returns the API server's refusal.
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
    /// Passes a change on to all hooks and subscribers.
    pub(crate) fn notify(&mut self, event: &Event) {
        for hook in &mut self.hooks {
            hook(event);
        }
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }
}
