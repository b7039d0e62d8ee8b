//! Writes as the API server performs them: validated, defaulted, versioned and published to watches.

mod delete;
mod generation;
mod naming;
mod parts;
mod review;

pub(crate) use parts::{Parts, unreadable};
use review::check_finalizers;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    admission,
    admit::admit,
    clock::{Clock, second},
    cluster::{Event, State},
    custom::{self, DEFINITIONS, establish},
    failure::{Cause, Failure},
    object::Object,
    patch::keep_times,
    resource::Resource,
    store::Place,
};

/// Options of a write.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the options are independent")]
pub struct WriteOptions {
    /// Whether to skip storing the object.
    pub dry_run: bool,
    /// Whether unknown fields are an error instead of being dropped.
    pub strict: bool,
    /// Whether the object results from a patch.
    pub patched: bool,
    /// Whether the object was serialized from its type, so that it needs no further parsing.
    pub typed: bool,
    /// Whether the change results from the object's `/scale`.
    pub scale: bool,
}

/// The part of an object that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything except the status.
    Whole,
    /// Only the status.
    Status,
    /// Everything including the status, without a new generation: the scheduler's binding of a pod.
    Binding,
}

/// Options of a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Whether to skip the deletion itself.
    pub dry_run: bool,
    /// Precondition: the object's uid.
    pub uid: Option<String>,
    /// Precondition: the object's resource version.
    pub resource_version: Option<String>,
    /// `Foreground` or `Orphan`. Any other value means `Background`.
    pub propagation: Option<String>,
    /// Grace period of a pod, in seconds.
    pub grace: Option<i64>,
}

/// Result of a deletion.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// The object was removed.
    Gone(Arc<Object>),
    /// The object is removed when its finalizers or its grace period end.
    Going(Arc<Object>),
}

/// A transaction of one or more writes under the lock.
pub(crate) struct Txn<'a> {
    pub(crate) state: &'a mut State,
    at: Timestamp,
    actor: &'a str,
}

/// Built-in kinds with a generation that counts changes of the spec.
const COUNTED: [&str; 7] = [
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "pods",
    "endpointslices.discovery.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
];

impl<'a> Txn<'a> {
    pub(crate) fn new(state: &'a mut State, clock: &Clock, actor: &'a str) -> Self {
        Self {
            state,
            at: clock.now(),
            actor,
        }
    }

    /// Creates an object.
    pub(crate) fn create(
        &mut self,
        resource: &Arc<Resource>,
        namespace: &str,
        mut object: Value,
        options: WriteOptions,
    ) -> Result<Arc<Object>, Failure> {
        let name = self.name_new(resource, namespace, &mut object)?;
        self.check_namespace(resource, namespace)?;
        let place = (namespace.to_owned(), name.clone());
        if self.state.store.get(&resource.name, &place).is_some() {
            return Err(Failure::already_exists(&resource.name, &name));
        }
        if resource.status
            && let Some(object) = object.as_object_mut()
        {
            object.remove("status");
        }
        if &*resource.name == DEFINITIONS {
            establish(&mut object, &second(self.at));
        }
        admit(self.state, resource, &mut object, None, options)?;
        self.review("create", resource, "", &place, |state, attempt| {
            admission::review(state, resource, attempt, &mut object, None, options)
        })?;
        let counted = resource.typed.is_none() || COUNTED.contains(&&*resource.name);
        let uid = uuid(&mut self.state.rng);
        let metadata = &mut object["metadata"];
        metadata["uid"] = json!(uid);
        metadata["creationTimestamp"] = json!(second(self.at));
        if counted {
            metadata["generation"] = json!(1);
        }
        for server_side in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            remove(metadata, server_side);
        }
        self.store(resource, object, options.dry_run)
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str) -> Result<(), Failure> {
        if !resource.namespaced {
            return Ok(());
        }
        let place = (String::new(), namespace.to_owned());
        match self.state.store.get("namespaces", &place) {
            None => Err(Failure::not_found("namespaces", namespace)),
            Some(found) if found.meta.deleting => {
                let why = format!(
                    "{} is forbidden: unable to create new content in namespace {namespace} because it is being \
                     terminated",
                    resource.name
                );
                Err(Failure::new(403, "Forbidden", why))
            }
            Some(_) => Ok(()),
        }
    }

    /// Updates an existing object.
    pub(crate) fn update(
        &mut self,
        resource: &Arc<Resource>,
        place: &Place,
        part: Part,
        mut object: Value,
        options: WriteOptions,
    ) -> Result<Arc<Object>, Failure> {
        check_shape(&object)?;
        let live = self.live(resource, place)?;
        let old = live.json();
        check_identity(resource, &live, &Identity::read(&object), options)?;
        if part == Part::Status {
            let fields = old.as_object().into_iter().flatten();
            let fields = fields.filter(|(name, _)| *name != "status");
            let mut whole: Value = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
            whole["status"] = object["status"].take();
            whole["metadata"]["managedFields"] = object["metadata"]["managedFields"].take();
            object = whole;
        } else if resource.status && part == Part::Whole {
            object["status"] = old["status"].clone();
        }
        drop_null(&mut object, "status");
        keep_server_fields(&mut object, &old);
        check_finalizers(resource, &live, &object)?;
        admit(self.state, resource, &mut object, Some(&old), options)?;
        let subresource = part.subresource(options);
        self.review("update", resource, subresource, place, |state, attempt| {
            admission::review(state, resource, attempt, &mut object, Some(&old), options)
        })?;
        if part != Part::Binding && generation::is_raised(resource, &old, &object) {
            object["metadata"]["generation"] = json!(live.meta.generation + 1);
        }
        if object["metadata"]["managedFields"].is_array() {
            keep_times(&old, &mut object);
        }
        if *old == object {
            return Ok(live);
        }
        let finalizers = object["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        // A deleted pod waits for its grace period, although it has no finalizer.
        if live.meta.deleting && finalizers == 0 && !live.meta.finalizers.is_empty() {
            return Ok(self.remove(resource, object));
        }
        self.store(resource, object, options.dry_run)
    }

    pub(crate) fn live(&mut self, resource: &Resource, place: &Place) -> Result<Arc<Object>, Failure> {
        let found = self.state.store.get(&resource.name, place).cloned();
        let found = found.ok_or_else(|| Failure::not_found(&resource.name, &place.1))?;
        self.state.store.look_at(&found);
        Ok(found)
    }

    fn store(&mut self, resource: &Arc<Resource>, mut object: Value, dry_run: bool) -> Result<Arc<Object>, Failure> {
        if dry_run {
            return Ok(Arc::new(Object::new(object)));
        }
        if &*resource.name == DEFINITIONS {
            let served = custom::resources(&object)?;
            self.state
                .registry
                .remove(served.first().map_or("", |resource| &resource.name));
            for resource in served {
                self.state.registry.add(resource);
            }
        }
        object["metadata"]["resourceVersion"] = json!(self.state.store.next_version().to_string());
        Ok(self.put(resource, Object::new(object)))
    }

    fn put(&mut self, resource: &Arc<Resource>, object: Object) -> Arc<Object> {
        let new = Arc::new(object);
        let change = self.state.store.put(&resource.name, new.clone());
        self.notify(resource, change);
        new
    }

    fn remove(&mut self, resource: &Arc<Resource>, mut last: Value) -> Arc<Object> {
        last["metadata"]["resourceVersion"] = json!(self.state.store.next_version().to_string());
        let last = Arc::new(Object::new(last));
        let change = self.state.store.remove(&resource.name, last.clone());
        if &*resource.name == DEFINITIONS {
            self.state.registry.remove(&last.meta.name);
        }
        self.notify(resource, change);
        last
    }

    fn notify(&mut self, resource: &Arc<Resource>, change: crate::store::Change) {
        let event = Event {
            at: self.at,
            actor: self.actor.into(),
            resource: resource.name.clone(),
            change,
        };
        self.state.notify(&event);
        // Only the subscribers of this change still read outdated versions.
        for past in event.change.old.iter().chain(&event.change.last) {
            past.forget();
        }
    }
}

/// The identity of the object in a request body. Missing fields are empty.
struct Identity<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    version: &'a str,
}

impl<'a> Identity<'a> {
    fn read(object: &'a Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        Self {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            version: text("resourceVersion"),
        }
    }
}

fn check_identity(
    resource: &Resource,
    live: &Object,
    given: &Identity<'_>,
    options: WriteOptions,
) -> Result<(), Failure> {
    let name = &live.meta.name;
    if given.name != name {
        let why = format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            given.name
        );
        return Err(Failure::bad_request(why));
    }
    if resource.namespaced && !given.namespace.is_empty() && given.namespace != live.meta.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(why));
    }
    let is_stale = !given.version.is_empty() && given.version != live.meta.resource_version.to_string();
    let is_other = !given.uid.is_empty() && given.uid != live.meta.uid;
    // The uid in an update is a precondition that is checked before the version; in a patch it is an ordinary field.
    if is_other && !options.patched {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            given.uid, live.meta.uid
        );
        return Err(Failure::conflict(&resource.name, name, &why));
    }
    if is_stale {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Failure::conflict(&resource.name, name, why));
    }
    if is_other {
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: \"{}\": field is immutable", given.uid),
            field: "metadata.uid".to_owned(),
        };
        return Err(Failure::invalid(&resource.kind_name(), name, &[cause]));
    }
    Ok(())
}

/// Restores metadata fields that only the API server sets.
fn keep_server_fields(object: &mut Value, old: &Value) {
    for field in [
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ] {
        match old["metadata"].get(field) {
            Some(value) => object["metadata"][field] = value.clone(),
            None => remove(&mut object["metadata"], field),
        }
    }
    if object["metadata"]["managedFields"].is_null() {
        object["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
    }
    drop_null(&mut object["metadata"], "managedFields");
}

fn drop_null(object: &mut Value, field: &str) {
    if object.get(field).is_some_and(Value::is_null) {
        remove(object, field);
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(field);
    }
}

fn check_shape(object: &Value) -> Result<(), Failure> {
    let is_object = |value: Option<&Value>| value.is_some_and(Value::is_object);
    if is_object(Some(object)) && is_object(object.get("metadata")) {
        return Ok(());
    }
    Err(Failure::bad_request(
        "the object provided is unrecognized: it has no metadata",
    ))
}

/// A random uid, version 4.
fn uuid(rng: &mut fastrand::Rng) -> String {
    let bits = (rng.u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts = parts.map(|(from, to)| hex.get(from..to).unwrap_or_default());
    parts.join("-")
}
