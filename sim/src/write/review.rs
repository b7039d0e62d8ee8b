//! Admission of writes, and the rules for finalizers of objects that are being deleted.

use serde_json::Value;

use super::{Part, Txn, WriteOptions};
use crate::{
    admission::{self, Attempt},
    cluster::State,
    failure::{Cause, Failure},
    object::Object,
    resource::Resource,
    store::Place,
};

impl Part {
    /// The subresource that policies see.
    pub(super) fn subresource(self, options: WriteOptions) -> &'static str {
        match self {
            Self::Whole if options.scale => "scale",
            Self::Whole => "",
            Self::Status => "status",
            Self::Binding => "binding",
        }
    }
}

impl Txn<'_> {
    /// Runs admission for a write.
    pub(super) fn review(
        &mut self,
        verb: &'static str,
        resource: &Resource,
        subresource: &str,
        place: &Place,
        look: impl FnOnce(&mut State, &Attempt<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let attempt = Attempt {
            user: self.actor,
            verb,
            resource: &resource.name,
            subresource,
            namespace: &place.0,
            name: &place.1,
        };
        if admission::concerns(self.state, &attempt) {
            look(self.state, &attempt)
        } else {
            Ok(())
        }
    }
}

/// An object that is being deleted cannot get new finalizers.
pub(super) fn check_finalizers(resource: &Resource, live: &Object, new: &Value) -> Result<(), Failure> {
    if !live.meta.deleting {
        return Ok(());
    }
    let finalizers = new["metadata"]["finalizers"].as_array().into_iter().flatten();
    let added: Vec<_> = finalizers
        .filter(|name| !live.meta.finalizers.iter().any(|known| *known == **name))
        .map(ToString::to_string)
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let cause = Cause {
        reason: "FieldValueForbidden",
        message: format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        ),
        field: "metadata.finalizers".to_owned(),
    };
    Err(Failure::invalid(&resource.kind_name(), &live.meta.name, &[cause]))
}
