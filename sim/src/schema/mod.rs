//! The structural schema of a CustomResourceDefinition, enforced as in kube-apiserver.
//!
//! A write goes through [`Schema::prune`], then [`Schema::default`], then [`Schema::validate`].

mod cel_functions;
mod cel_value;
mod check;
mod format;
mod invariants;
mod node;
mod path;
mod prune;
mod rule;
mod rules;
mod scalar;
#[cfg(test)]
mod tests;
mod wording;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::failure::Cause;
use node::Node;
use path::Path;

/// The compiled schema of one version of a CustomResourceDefinition.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Arc<Node>,
}

/// Number of compiled schemas in the cache.
const REMEMBERED: usize = 32;

/// Errors that prevent the evaluation of CEL rules, because the rules may rely on the invalid part.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

impl Schema {
    /// Compiles an `openAPIV3Schema`.
    ///
    /// # Errors
    ///
    /// Returns the problem with the schema: a pattern or a rule that does not compile, or an unknown type.
    pub fn compile(open_api_v3_schema: &Value) -> Result<Self, String> {
        // Simulations of many clusters use the same kinds in all of them.
        static COMPILED: Mutex<BTreeMap<String, Schema>> = Mutex::new(BTreeMap::new());
        let text = open_api_v3_schema.to_string();
        let compiled = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled().get(&text) {
            return Ok(known.clone());
        }
        let mut root = Node::compile(open_api_v3_schema, "openAPIV3Schema")?;
        root.resource = true;
        let schema = Self { root: Arc::new(root) };
        let mut compiled = compiled();
        if compiled.len() >= REMEMBERED {
            compiled.clear();
        }
        compiled.insert(text, schema.clone());
        Ok(schema)
    }

    /// Removes unknown fields and returns their paths, sorted: `spec.foo`, `spec.items[0].bar`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut gone = Vec::new();
        prune::prune(object, Some(&self.root), &mut String::new(), &mut gone);
        gone.sort();
        gone
    }

    /// Sets defaults, and removes nulls from fields that are not nullable.
    pub fn default(&self, object: &mut Value) {
        prune::drop_nulls(object, &self.root);
        prune::default(object, &self.root);
    }

    /// Validates `new`, which replaces `old`. Errors in unchanged parts are ignored (ratcheting).
    #[must_use]
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = check::check(&self.root, new, old);
        causes.extend(invariants::embedded(&self.root, new));
        causes.extend(invariants::lists(&self.root, new, old));
        if causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
            let why = "some validation rules were not checked because the object was invalid; \
                       correct the existing errors to complete validation";
            causes.push(wording::invalid(&Path::Root, "null", why));
        } else {
            rules::evaluate(&self.root, new, old, &mut causes);
        }
        causes
    }
}
