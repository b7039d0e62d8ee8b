//! A stored object: its JSON, and of it what the API server itself looks at.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object as it is stored. The JSON is kept as text, which takes a tenth of the memory of parsed JSON.
#[derive(Clone, Debug)]
pub struct Object {
    /// What the API server looks at.
    pub meta: Meta,
    body: Bytes,
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
    pub fn new(value: &Value) -> Self {
        Self {
            meta: Meta::read(value),
            body: value.to_string().into(),
        }
    }

    /// Its JSON.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its JSON, parsed.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// As a type; `None` if it does not fit, which an object of that kind always does.
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
}

/// A map of strings; what is no string is left out.
#[must_use]
pub fn string_map(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
