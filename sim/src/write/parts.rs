//! Typed writes of the controllers. The object is serialized once, without an intermediate JSON value.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{PersistentVolumeClaim, Pod},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{COUNTED, Identity, Part, Txn, WriteOptions, check_identity};
use crate::{
    admission::{self, Attempt},
    cluster::Typed,
    failure::Failure,
    object::Object,
    resource::Resource,
};

/// A kind that controllers write.
pub(crate) trait Parts: Typed + Clone + PartialEq {
    /// Whether both are equal apart from the metadata and the status.
    fn is_same_spec(&self, other: &Self) -> bool;
    /// Copies the status, if the kind has one.
    fn set_status(&mut self, from: &Self);

    /// Its JSON with sorted field names, the order of all stored objects.
    fn to_text(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

macro_rules! parts {
    ($($kind:ty),*) => {$(
        impl Parts for $kind {
            fn is_same_spec(&self, other: &Self) -> bool {
                self.spec == other.spec
            }

            fn set_status(&mut self, from: &Self) {
                self.status.clone_from(&from.status);
            }
        }
    )*};
}

parts!(
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Pod,
    PersistentVolumeClaim,
    HorizontalPodAutoscaler
);

impl Parts for ControllerRevision {
    fn is_same_spec(&self, other: &Self) -> bool {
        (&self.data, self.revision) == (&other.data, other.revision)
    }

    fn set_status(&mut self, _: &Self) {}
}

impl Parts for EndpointSlice {
    fn is_same_spec(&self, other: &Self) -> bool {
        (&self.address_type, &self.endpoints, &self.ports) == (&other.address_type, &other.endpoints, &other.ports)
    }

    fn set_status(&mut self, _: &Self) {}

    /// The type serializes its fields in a different order.
    fn to_text(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&serde_json::to_value(self)?)
    }
}

impl<'a> Identity<'a> {
    fn of(meta: &'a ObjectMeta) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self {
            name: text(&meta.name),
            namespace: text(&meta.namespace),
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
        }
    }
}

/// The error for a stored object that does not fit its type.
pub(crate) fn unreadable() -> Failure {
    Failure::new(500, "InternalError", "the stored object cannot be decoded")
}

impl Txn<'_> {
    /// Updates an existing object.
    pub(crate) fn rewrite<K: Parts>(
        &mut self,
        resource: &Arc<Resource>,
        part: Part,
        mut object: K,
    ) -> Result<Arc<K>, Failure> {
        let options = WriteOptions {
            typed: true,
            ..WriteOptions::default()
        };
        let meta = object.meta();
        let place = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let live = self.live(resource, &place)?;
        check_identity(resource, &live, &Identity::of(meta), options)?;
        let attempt = Attempt {
            user: self.actor,
            verb: "update",
            resource: &resource.name,
            subresource: part.subresource(options),
            namespace: &place.0,
            name: &place.1,
        };
        let is_reviewed = admission::concerns(self.state, &attempt);
        let ends = live.meta.deleting && meta.finalizers.iter().flatten().next().is_none();
        if is_reviewed || live.meta.managed || ends && !live.meta.finalizers.is_empty() {
            let value = serde_json::to_value(&object).map_err(|error| Failure::bad_request(error.to_string()))?;
            let written = self.update(resource, &place, part, value, options)?;
            return written.typed().ok_or_else(unreadable);
        }
        let old: Arc<K> = live.typed().ok_or_else(unreadable)?;
        match part {
            Part::Whole => object.set_status(&old),
            Part::Status if object.is_same_spec(&old) => object.meta_mut().clone_from(old.meta()),
            Part::Status => {
                let mut whole = K::clone(&old);
                whole.set_status(&object);
                object = whole;
            }
            Part::Binding => {}
        }
        keep_server_fields(object.meta_mut(), old.meta());
        let counted = COUNTED.contains(&&*resource.name) && part == Part::Whole;
        if counted && !object.is_same_spec(&old) {
            object.meta_mut().generation = Some(live.meta.generation + 1);
        }
        if *old == object {
            return Ok(old);
        }
        object.meta_mut().resource_version = Some(self.state.store.next_version().to_string());
        let object = Arc::new(object);
        let text = object
            .to_text()
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        let stored = Object::of(object.clone(), object.meta(), text);
        self.put(resource, stored);
        Ok(object)
    }
}

/// Restores metadata fields that only the API server sets.
fn keep_server_fields(meta: &mut ObjectMeta, old: &ObjectMeta) {
    meta.namespace.clone_from(&old.namespace);
    meta.uid.clone_from(&old.uid);
    meta.creation_timestamp.clone_from(&old.creation_timestamp);
    meta.generation = old.generation;
    meta.resource_version.clone_from(&old.resource_version);
    meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
    meta.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    meta.generate_name.clone_from(&old.generate_name);
}
