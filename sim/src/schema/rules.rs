//! Evaluation of the CEL rules of a schema.

use std::sync::Arc;

use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::OptionalValue;
use serde_json::Value;

use super::cel_functions::FUNCTIONS;
use super::cel_value::visible;
use super::node::{Kind, Node};
use super::path::Path;
use super::rule::Rule;
use super::wording;
use crate::failure::Cause;

/// Relation of a value to its previous version.
#[derive(Clone, Copy)]
struct Before<'v> {
    /// The previous value, if it can be correlated.
    old: Option<&'v Value>,
    /// Whether it, or its nearest ancestor that can be correlated, is unchanged.
    same: bool,
    /// Same for its parent.
    parent_same: bool,
}

impl<'v> Before<'v> {
    fn below(self, new: &Value, old: Option<&'v Value>) -> Self {
        let same = self.same || old == Some(new);
        Before {
            old,
            same,
            parent_same: self.same,
        }
    }
}

/// Adds an error for each violated rule.
pub(super) fn evaluate(root: &Node, new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let before = Before {
        old,
        same: old == Some(new),
        parent_same: false,
    };
    walk(root, new, before, &Path::Root, causes);
}

fn walk(node: &Node, value: &Value, before: Before, path: &Path, causes: &mut Vec<Cause>) {
    // A rule without `oldSelf` cannot fail for an unchanged value that passed before.
    if value.is_null() || !node.has_rules || (before.same && !node.has_transitions) {
        return;
    }
    for rule in &node.rules {
        if before.same && !rule.uses_old {
            continue;
        }
        causes.extend(apply(rule, node, value, before.old, path));
    }
    for branch in &node.all_of {
        walk(
            branch,
            value,
            Before {
                same: before.parent_same,
                ..before
            },
            path,
            causes,
        );
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let Some((child, declared)) = node.child(key).filter(|(child, _)| child.has_rules) else {
                    continue;
                };
                let before = before.below(value, before.old.and_then(|old| old.get(key)));
                let path = if declared {
                    Path::Field(path, key)
                } else {
                    Path::Key(path, key)
                };
                walk(child, value, before, &path, causes);
            }
        }
        Value::Array(items) => {
            let Some(inner) = node.items.as_deref().filter(|inner| inner.has_rules) else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                let before = before.below(item, node.correlated(item, before.old));
                walk(inner, item, before, &Path::Index(path, index), causes);
            }
        }
        _ => {}
    }
}

/// The error of a value that violates a rule.
fn apply(rule: &Rule, node: &Node, value: &Value, old: Option<&Value>, path: &Path) -> Option<Cause> {
    let old = old.filter(|old| !old.is_null());
    if rule.uses_old && old.is_none() && !rule.optional_old {
        return None;
    }
    let failed = |why: String| Some(wording::invalid(path, &format!("{:?}", type_name(node)), &why));
    let seen = |value, reads| visible(node, value, reads).map_err(|error| rule.failure_of_value(&error));
    let mut variables = FUNCTIONS.new_inner_scope();
    match seen(value, &rule.reads) {
        Ok(value) => variables.add_variable_from_value("self", value),
        Err(why) => return failed(why),
    }
    if rule.uses_old {
        match old.map(|old| seen(old, &rule.reads_old)).transpose() {
            Ok(old) if rule.optional_old => {
                let old = old.map_or_else(OptionalValue::none, OptionalValue::of);
                variables.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(old)));
            }
            Ok(Some(old)) => variables.add_variable_from_value("oldSelf", old),
            Ok(None) => {}
            Err(why) => return failed(why),
        }
    }
    match rule.holds(&variables) {
        Ok(true) => None,
        Ok(false) => Some(refusal(rule, node, value, path, &rule.refusal(&variables))),
        Err(why) => failed(why),
    }
}

fn refusal(rule: &Rule, node: &Node, value: &Value, path: &Path, why: &str) -> Cause {
    let field = match (&rule.field_path, path) {
        (None, _) => path.as_field(),
        (Some(below), Path::Root) => below.clone(),
        (Some(below), _) => format!("{}.{below}", path.as_field()),
    };
    // An object or a list would be too long for a message.
    let compound = matches!(node.kind, Some(Kind::Object | Kind::Array));
    let with_value = |what: &str| {
        if compound {
            what.to_owned()
        } else {
            format!("{what}: {}", wording::shown(value))
        }
    };
    match rule.reason.as_deref() {
        Some("FieldValueRequired") => {
            wording::cause("FieldValueRequired", wording::detailed("Required value", why), field)
        }
        Some("FieldValueForbidden") => {
            wording::cause("FieldValueForbidden", wording::detailed("Forbidden", why), field)
        }
        Some("FieldValueDuplicate") => wording::cause("FieldValueDuplicate", with_value("Duplicate value"), field),
        _ => wording::cause(
            "FieldValueInvalid",
            wording::detailed(&with_value("Invalid value"), why),
            field,
        ),
    }
}

fn type_name(node: &Node) -> &'static str {
    node.kind.map_or("", Kind::name)
}
