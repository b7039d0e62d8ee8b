//! Given and generated names of new objects.

use serde_json::{Value, json};

use super::{Txn, check_shape, remove};
use crate::{
    failure::{Cause, Failure},
    names::name_problem,
    resource::Resource,
};

impl Txn<'_> {
    pub(super) fn name_new(
        &mut self,
        resource: &Resource,
        namespace: &str,
        object: &mut Value,
    ) -> Result<String, Failure> {
        check_shape(object)?;
        let metadata = &mut object["metadata"];
        let version = metadata["resourceVersion"].as_str().unwrap_or_default();
        if !version.is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Failure::new(500, "InternalError", why));
        }
        let generate = metadata["generateName"].as_str().unwrap_or_default().to_owned();
        let mut name = metadata["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() && !generate.is_empty() {
            let suffix = suffix(&mut self.state.rng);
            name = generate.chars().take(58).chain(suffix.chars()).collect();
        }
        let invalid = |message: &str, reason: &'static str, field: &str| {
            let cause = Cause {
                reason,
                message: message.to_owned(),
                field: field.to_owned(),
            };
            Failure::invalid(&resource.kind_name(), &name, &[cause])
        };
        if name.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(invalid(why, "FieldValueRequired", "metadata.name"));
        }
        let is_label = ["services", "namespaces"].contains(&&*resource.name);
        // Names of roles may contain colons.
        if resource.group != "rbac.authorization.k8s.io"
            && let Some(why) = name_problem(&name, is_label)
        {
            let why = format!("Invalid value: \"{name}\": {why}");
            return Err(invalid(&why, "FieldValueInvalid", "metadata.name"));
        }
        let given = metadata["namespace"].as_str().unwrap_or_default();
        if !given.is_empty() && given != namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        metadata["name"] = json!(name);
        if resource.namespaced {
            metadata["namespace"] = json!(namespace);
        } else {
            remove(metadata, "namespace");
        }
        Ok(name)
    }
}

/// The random suffix of a generated name.
pub(crate) fn suffix(rng: &mut fastrand::Rng) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let one = || letters.get(rng.usize(..letters.len())).copied().map(char::from);
    std::iter::repeat_with(one).take(5).flatten().collect()
}
