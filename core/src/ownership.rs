//! Ownership of the fields of a target's pod template: `metadata.managedFields`.
//!
//! A promotion is an update by our field manager, which becomes the owner of every field that it changes. If another
//! manager applies the target with server-side apply, this ownership would prevent it from removing fields: a field that
//! our manager owns stays after it is removed from the applied manifest. The ownership is therefore transferred to the
//! manager that applies the template.
//!
//! The partition of a StatefulSet, which a run in place changes and puts back, is owned by nobody afterwards: whoever applies another
//! one meets no conflict.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value, json};

use crate::api::names::FIELD_MANAGER;

const TEMPLATE: &str = "/f:spec/f:template";
const PARTITION: &str = "/f:spec/f:updateStrategy/f:rollingUpdate/f:partition";
const CONTAINERS: &str = "/f:spec/f:template/f:spec/f:containers";

fn fields(entry: &ManagedFieldsEntry) -> Option<&Value> {
    entry.fields_v1.as_ref().map(|FieldsV1(fields)| fields)
}

fn owns(entry: &ManagedFieldsEntry, path: &str) -> bool {
    fields(entry).is_some_and(|fields| fields.pointer(path).is_some())
}

fn is(entry: &ManagedFieldsEntry, operation: &str) -> bool {
    entry.operation.as_deref() == Some(operation) && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    is(entry, "Update") && entry.manager.as_deref() == Some(FIELD_MANAGER)
}

/// The manager that applies the template. If there are several, the one that applies its containers.
fn applier(entries: &[ManagedFieldsEntry]) -> Option<usize> {
    let applies = |path: &str| entries.iter().position(|entry| is(entry, "Apply") && owns(entry, path));
    applies(CONTAINERS).or_else(|| applies(TEMPLATE))
}

/// Whether our field manager owns a part of a pod template, or the partition, of a target that another manager applies.
#[must_use]
pub fn holds_fields(entries: &[ManagedFieldsEntry]) -> bool {
    let holds = |entry: &ManagedFieldsEntry| is_ours(entry) && (owns(entry, TEMPLATE) || owns(entry, PARTITION));
    entries.iter().any(holds) && applier(entries).is_some()
}

/// The entries after the manager that applies the template has become the owner of our template fields. `None` if nothing
/// changes.
#[must_use]
pub fn hand_over(entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    if !holds_fields(entries) {
        return None;
    }
    let applier = applier(entries)?;
    let version = entries.get(applier)?.api_version.clone();
    let mut entries = entries.to_vec();
    let mut given = Value::Null;
    for entry in entries.iter_mut().filter(|entry| is_ours(entry)) {
        let same_version = entry.api_version == version;
        let Some(FieldsV1(fields)) = &mut entry.fields_v1 else {
            continue;
        };
        remove(fields, PARTITION);
        if let Some(template) = remove(fields, TEMPLATE)
            // The same paths in another API version may refer to other fields. Those end up without an owner.
            && same_version
        {
            unite(&mut given, template);
        }
    }
    if !given.is_null()
        && let Some(FieldsV1(fields)) = entries.get_mut(applier).and_then(|entry| entry.fields_v1.as_mut())
    {
        unite(fields, json!({"f:spec": {"f:template": given}}));
    }
    entries.retain(|entry| !is_ours(entry) || fields(entry).is_none_or(|fields| *fields != json!({})));
    Some(entries)
}

/// Removes a field and returns it. The fields around it go with it if they have no other.
fn remove(fields: &mut Value, path: &str) -> Option<Value> {
    let (parent, field) = path.rsplit_once('/')?;
    let around = fields.pointer_mut(parent)?.as_object_mut()?;
    let removed = around.remove(field);
    if around.keys().all(|field| field == ".") && !parent.is_empty() {
        remove(fields, parent);
    }
    removed
}

/// Adds a set of fields to another.
fn unite(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else { return };
    for (field, inner) in from {
        unite(into.entry(field).or_insert_with(|| json!({})), inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }))
        .unwrap()
    }

    fn template(containers: &Value) -> Value {
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}})
    }

    fn git() -> ManagedFieldsEntry {
        let main = json!({"k:{\"name\":\"main\"}": {".": {}, "f:name": {}}});
        let mut fields = template(&main);
        fields["f:spec"]["f:replicas"] = json!({});
        entry("git", "Apply", &fields)
    }

    fn ours(more: &Value) -> ManagedFieldsEntry {
        let mut fields = template(&json!({"k:{\"name\":\"main\"}": {"f:image": {}}}));
        unite(&mut fields, more.clone());
        entry(FIELD_MANAGER, "Update", &fields)
    }

    #[test]
    fn nobody_owns_a_partition_that_was_put_back() {
        let mut with_partition = json!({"f:spec": {"f:updateStrategy": {"f:rollingUpdate": {"f:partition": {}}}}});
        let after = hand_over(&[git(), entry(FIELD_MANAGER, "Update", &with_partition)]).unwrap();
        assert_eq!(after, [git()]);
        with_partition["f:spec"]["f:updateStrategy"]["f:type"] = json!({});
        let after = hand_over(&[git(), ours(&with_partition)]).unwrap();
        assert!(
            !owns(&after[1], PARTITION) && owns(&after[1], "/f:spec/f:updateStrategy/f:type"),
            "{after:#?}"
        );
    }

    #[test]
    fn the_manager_that_applies_the_template_gets_what_a_promotion_changed() {
        let annotations = json!({"f:metadata": {"f:annotations": {"f:a": {}}}});
        let before = [
            git(),
            ours(&annotations),
            entry("kcm", "Update", &json!({"f:status": {}})),
        ];
        assert!(holds_fields(&before));
        let after = hand_over(&before).unwrap();
        let both = json!({"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:image": {}}});
        let mut expected = template(&both);
        expected["f:spec"]["f:replicas"] = json!({});
        assert_eq!(fields(&after[0]), Some(&expected));
        assert_eq!(
            fields(&after[1]),
            Some(&annotations),
            "what nobody else applies stays ours"
        );
        assert_eq!(after[2], before[2]);
        assert_eq!(hand_over(&after), None, "once is enough");
    }

    #[test]
    fn an_entry_that_is_left_with_nothing_goes() {
        let after = hand_over(&[git(), ours(&json!({"f:spec": {".": {}}}))]).unwrap();
        assert_eq!(after.len(), 1);
    }

    #[test]
    fn of_several_that_apply_the_one_with_the_containers_gets_it() {
        let annotation = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:a": {}}}}}});
        let other = entry("an-annotator", "Apply", &annotation);
        let after = hand_over(&[other.clone(), git(), ours(&json!({}))]).unwrap();
        assert_eq!(after[0], other);
        assert!(owns(
            &after[1],
            &format!("{CONTAINERS}/k:{{\"name\":\"main\"}}/f:image")
        ));
    }

    #[test]
    fn fields_of_another_version_of_the_api_are_only_given_up() {
        let mut git = git();
        git.api_version = Some("apps/v2".to_owned());
        let after = hand_over(&[git.clone(), ours(&json!({}))]).unwrap();
        assert_eq!(after, [git]);
    }

    #[test]
    fn a_target_without_an_applier_keeps_its_field_managers() {
        let scaler = entry("scaler", "Apply", &json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(hand_over(&[scaler, ours(&json!({}))]), None);
        assert_eq!(hand_over(&[git()]), None);
        assert_eq!(hand_over(&[]), None);
    }
}
