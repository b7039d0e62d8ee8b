//! Server-side apply.

use serde_json::{Value, json};

use super::combine::{Changes, changes, merged};
use super::fields::Fields;
use super::last_applied;
use super::list_types::ListTypes;
use super::managers::{self, Manager, Operation, conflict};
use super::typed::{Place, check, fields_of, without};
use crate::failure::{Cause, Failure};

/// Metadata fields without an owner: the API server sets them, or they identify the object.
const UNOWNED_METADATA: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Owner of the fields that existed before managed fields were tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Parameters of an apply request.
#[derive(Clone, Copy)]
pub struct Apply<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// Takes fields from other managers instead of failing.
    pub force: bool,
    /// `status`, …, or empty.
    pub subresource: &'a str,
    /// RFC 3339.
    pub now: &'a str,
    /// The schema of the kind.
    pub lists: &'a dyn ListTypes,
}

impl Apply<'_> {
    pub(super) fn place(&self) -> Place<'_> {
        Place::root(self.lists)
    }

    pub(super) fn manager(&self, name: &str, operation: Operation, object: &Value, fields: Fields) -> Manager {
        Manager {
            operation,
            time: None,
            name: name.to_owned(),
            api_version: text(object, "apiVersion").to_owned(),
            subresource: self.subresource.to_owned(),
            fields,
        }
    }

    /// The fields that a write through this subresource can own. Changes to other fields are reverted afterwards.
    pub(super) fn writable(&self, fields: &Fields) -> Fields {
        match self.subresource {
            "" => fields.filtered(|element| element != "f:status"),
            "status" => fields.filtered(|element| element == "f:status"),
            _ => fields.clone(),
        }
    }
}

/// Applies a configuration and returns the new object with its `managedFields`. An object that already matches the
/// configuration is returned unchanged.
///
/// # Errors
///
/// - 400 if the configuration has `managedFields`, or another kind or version than the object.
/// - 409 if other managers own fields with different values and `force` is not set.
/// - 422 without a manager.
/// - 500 (as in kube-apiserver) for lists with ambiguous elements.
pub fn apply(live: Option<&Value>, config: &Value, how: &Apply<'_>) -> Result<Value, Failure> {
    check_config(live, config, how)?;
    let mut live = live.cloned().unwrap_or_else(|| json!({}));
    let mut managers = managers::take(&mut live).unwrap_or_default();
    refuse(&check(&live, &how.place(), true), "live", &live)?;
    if managers.is_empty() && live.get("metadata").is_some() {
        let existing = unowned_removed(&how.writable(&fields_of(&live, &how.place())));
        let mut unknown = how.manager(BEFORE_FIRST_APPLY, Operation::Update, &live, existing);
        unknown.time = Some(how.now.to_owned());
        managers.push(unknown);
    }

    let mut ours = how.manager(how.manager, Operation::Apply, config, Fields::default());
    let others: Vec<_> = managers.iter().filter(|manager| !manager.is(&ours)).cloned().collect();
    let last = managers.into_iter().find(|manager| manager.is(&ours));
    ours.fields = how.writable(&fields_of(config, &how.place()));

    let mut new = merged(Some(&live), config, &how.place());
    if let Some(last) = &last {
        let pruned = pruned(&new, &last.fields, &others, &ours, how);
        // Maps and lists that are applied empty stay, even if nothing is left in them.
        new = merged(Some(&pruned), config, &how.place());
    }
    let changes = changes(&live, &new, &how.place());
    let taken_over = last_applied::taken_over(&live, how.manager, &how.place());
    let mut managers = settle(others, &changes, how, &taken_over)?;

    ours.fields = unowned_removed(&ours.fields);
    let unchanged = live == new;
    ours.time = if unchanged {
        last.and_then(|last| last.time)
    } else {
        Some(how.now.to_owned())
    };
    managers.push(ours);
    last_applied::note(&mut new, config, how.manager);
    managers::put(&mut new, managers);
    Ok(new)
}

fn check_config(live: Option<&Value>, config: &Value, how: &Apply<'_>) -> Result<(), Failure> {
    if how.manager.is_empty() {
        let cause = Cause {
            reason: "FieldValueRequired",
            message: "Required value: is required for apply patch".to_owned(),
            field: "fieldManager".to_owned(),
        };
        return Err(Failure::invalid("PatchOptions.meta.k8s.io", "", &[cause]));
    }
    if let Some(live) = live {
        let (specified, expected) = (text(config, "apiVersion"), text(live, "apiVersion"));
        if specified != expected {
            return Err(Failure::bad_request(format!(
                "Incorrect version specified in apply patch. Specified patch version: {specified}, expected: {expected}"
            )));
        }
        if text(config, "kind") != text(live, "kind") {
            return Err(Failure::bad_request(format!(
                "invalid object type: {}",
                kind_of(config)
            )));
        }
    }
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    refuse(&check(config, &how.place(), false), "patch", config)
}

fn refuse(errors: &[String], which: &str, object: &Value) -> Result<(), Failure> {
    let listed = match errors {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let kind = kind_of(object);
    let message = format!("failed to create typed {which} object ({namespace}/{name}; {kind}): {listed}");
    Err(Failure::new(500, "", message))
}

fn kind_of(object: &Value) -> String {
    format!("{}, Kind={}", text(object, "apiVersion"), text(object, "kind"))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Removes the fields that this manager applied before, does not apply any more, and no other manager owns. Fields
/// without an owner stay, unless they are part of a removed field: a default within a probe is removed with the probe.
fn pruned(merged: &Value, last: &Fields, others: &[Manager], ours: &Manager, how: &Apply<'_>) -> Value {
    let place = how.place();
    let all_of = |value: &Value| fields_of(value, &place).with_structs();
    // Null marks values that become empty. Their owners, not their content, decide whether they are removed.
    let left_without =
        |fields: &Fields| all_of(&without(merged, fields, &place, Some(&Value::Null)).unwrap_or_default());
    let all = all_of(merged);
    let last = last.with_structs();
    let managed = others
        .iter()
        .fold(ours.fields.clone(), |all, other| all.union(&other.fields))
        .with_structs();

    let owned = left_without(&last).union(&managed);
    let left = left_without(&all.difference(&owned));
    let gone = all.difference(&left).intersection(&last);
    without(merged, &gone, &place, None).unwrap_or_else(|| json!({}))
}

/// Removes changed fields from the other managers: those that the change removes, and, if allowed by `force` or a
/// takeover, those that it sets.
pub(super) fn settle(
    others: Vec<Manager>,
    changes: &Changes,
    how: &Apply<'_>,
    taken_over: &Fields,
) -> Result<Vec<Manager>, Failure> {
    let set = how.writable(&changes.set);
    let conflicts: Vec<_> = others
        .iter()
        .map(|other| (other.clone(), other.fields.intersection(&set).difference(taken_over)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !how.force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    let removed = how.writable(&changes.removed);
    let settled = others.into_iter().map(|mut other| {
        other.fields = other.fields.difference(&set).difference(&removed);
        other
    });
    Ok(settled.collect())
}

pub(super) fn unowned_removed(fields: &Fields) -> Fields {
    let mut unowned = Fields::default();
    let path = |names: &[&str]| names.iter().map(|name| format!("f:{name}")).collect::<Vec<_>>();
    for name in ["apiVersion", "kind", "metadata"] {
        unowned.insert(&path(&[name]));
    }
    for name in UNOWNED_METADATA {
        unowned.insert(&path(&["metadata", name]));
    }
    fields.difference(&unowned)
}

#[cfg(test)]
mod tests;
