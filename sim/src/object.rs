//! A stored object: its JSON, and the metadata that the API server itself uses.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A stored object. The JSON is kept as text, which takes a tenth of the memory of parsed JSON.
#[derive(Debug)]
pub struct Object {
    /// Metadata for the API server.
    pub meta: Meta,
    body: Bytes,
    parsed: Mutex<Parsed>,
}

/// Parsed forms of an object. They are kept only for recently used objects, which have many readers.
#[derive(Debug, Default)]
struct Parsed {
    is_recent: bool,
    json: Option<Arc<Value>>,
    typed: Option<Arc<dyn Any + Send + Sync>>,
}

/// Metadata of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Version of its last change.
    pub resource_version: u64,
    /// Generation of its spec.
    pub generation: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Owner references.
    pub owners: Vec<Owner>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Whether it has managedFields.
    pub managed: bool,
}

/// An owner reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Kind, such as `ReplicaSet`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Whether it is the controller.
    pub controller: bool,
    /// `blockOwnerDeletion`: in a foreground deletion, the owner waits for this object.
    pub blocks: bool,
}

impl Object {
    /// Creates an object from valid JSON.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self {
            meta: Meta::read(&value),
            // This is faster than `Display`, and serialization of a `Value` cannot fail.
            body: serde_json::to_vec(&value).unwrap_or_default().into(),
            parsed: Mutex::new(Parsed {
                is_recent: true,
                json: Some(Arc::new(value)),
                typed: None,
            }),
        }
    }

    /// Creates an object from a valid typed object and its JSON.
    pub(crate) fn of<K: Send + Sync + 'static>(object: Arc<K>, meta: &ObjectMeta, text: Vec<u8>) -> Self {
        Self {
            meta: Meta::of(meta),
            body: text.into(),
            parsed: Mutex::new(Parsed {
                is_recent: true,
                json: None,
                typed: Some(object),
            }),
        }
    }

    fn parsed(&self) -> MutexGuard<'_, Parsed> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps parsed forms from now on. Returns `false` if it already did.
    pub(crate) fn remember(&self) -> bool {
        !std::mem::replace(&mut self.parsed().is_recent, true)
    }

    /// Drops the parsed forms.
    pub(crate) fn forget(&self) {
        *self.parsed() = Parsed::default();
    }

    /// The JSON text.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The parsed JSON.
    #[must_use]
    pub fn json(&self) -> Arc<Value> {
        if let Some(json) = &self.parsed().json {
            return json.clone();
        }
        let json: Arc<Value> = Arc::new(self.parse().unwrap_or_default());
        let mut parsed = self.parsed();
        if parsed.is_recent {
            parsed.json = Some(json.clone());
        }
        json
    }

    /// A copy of the parsed JSON, to be changed.
    #[must_use]
    pub fn value(&self) -> Value {
        Arc::unwrap_or_clone(self.json())
    }

    /// Parses the object as its type. Returns `None` if it does not fit, which does not happen for the object's own kind.
    #[must_use]
    pub fn typed<K: DeserializeOwned + Send + Sync + 'static>(&self) -> Option<Arc<K>> {
        let known = self.parsed().typed.clone();
        if let Some(Ok(known)) = known.map(Arc::downcast) {
            return Some(known);
        }
        let typed: Arc<K> = Arc::new(self.parse()?);
        let mut parsed = self.parsed();
        if parsed.is_recent {
            parsed.typed = Some(typed.clone());
        }
        Some(typed)
    }

    /// Parses a part of the object, without caching.
    #[must_use]
    pub fn parse<K: DeserializeOwned>(&self) -> Option<K> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Meta {
    fn read(value: &Value) -> Self {
        let metadata = &value["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| metadata[name].as_array().into_iter().flatten();
        Self {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            resource_version: text("resourceVersion").parse().unwrap_or_default(),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            labels: string_map(&metadata["labels"]),
            owners: list("ownerReferences").map(Owner::read).collect(),
            finalizers: list("finalizers")
                .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
                .collect(),
            deleting: metadata["deletionTimestamp"].is_string(),
            managed: metadata["managedFields"].is_array(),
        }
    }

    /// Metadata of a typed object.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
            resource_version: text(&meta.resource_version).parse().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            owners: meta.owner_references.iter().flatten().map(Owner::of).collect(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            managed: meta.managed_fields.is_some(),
        }
    }

    /// The controller reference.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }
}

impl Owner {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self {
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            controller: value["controller"] == true,
            blocks: value["blockOwnerDeletion"] == true,
        }
    }

    fn of(owner: &OwnerReference) -> Self {
        Self {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: owner.controller == Some(true),
            blocks: owner.block_owner_deletion == Some(true),
        }
    }
}

/// A map of strings. Other values are left out.
#[must_use]
pub fn string_map(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
