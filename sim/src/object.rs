//! A stored object: its JSON, and of it what the API server itself looks at.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object as it is stored. The JSON is kept as text, which takes a tenth of the memory of parsed JSON.
#[derive(Debug)]
pub struct Object {
    /// What the API server looks at.
    pub meta: Meta,
    body: Bytes,
    parsed: Mutex<Parsed>,
}

/// What an object was parsed to. Only of recent objects, which many look at, is it kept.
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
    /// Its uid.
    pub uid: String,
    /// Of its last change.
    pub resource_version: u64,
    /// Of its spec.
    pub generation: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its owners.
    pub owners: Vec<Owner>,
    /// What has to happen before it goes.
    pub finalizers: Vec<String>,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// Who owns its fields is kept.
    pub managed: bool,
}

/// An ownerReference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `ReplicaSet`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// It is the controller.
    pub controller: bool,
    /// It waits for this object when it is deleted in the foreground.
    pub blocks: bool,
}

impl Object {
    /// From JSON that has been checked.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self {
            meta: Meta::read(&value),
            // Faster than its Display, and no JSON cannot be written.
            body: serde_json::to_vec(&value).unwrap_or_default().into(),
            parsed: Mutex::new(Parsed {
                is_recent: true,
                json: Some(Arc::new(value)),
                typed: None,
            }),
        }
    }

    /// From an object that has been checked, and its JSON.
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

    /// Keeps from now on what it is parsed to; says whether it did not before.
    pub(crate) fn remember(&self) -> bool {
        !std::mem::replace(&mut self.parsed().is_recent, true)
    }

    /// Keeps its text alone.
    pub(crate) fn forget(&self) {
        *self.parsed() = Parsed::default();
    }

    /// Its JSON.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its JSON, parsed.
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

    /// Its JSON, parsed, to be changed.
    #[must_use]
    pub fn value(&self) -> Value {
        Arc::unwrap_or_clone(self.json())
    }

    /// As a type; `None` if it does not fit, which an object of that kind always does.
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

    /// Parts of it, as a type that has no others.
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

    /// From an object's type.
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

    /// The owner that manages it.
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

/// A map of strings; what is no string is left out.
#[must_use]
pub fn string_map(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
