//! Field ownership after a write other than an apply.

use serde_json::{Value, json};

use super::apply::{Apply, settle, unowned_removed};
use super::combine::changes;
use super::fields::Fields;
use super::managers::{self, Operation};

/// Records the fields that a create, update or patch changed in `managedFields`, and removes them from other managers.
/// `force` has no effect: such a write never conflicts.
///
/// As in kube-apiserver, the writer may replace `managedFields`; an empty list resets them. An object without managed
/// fields stays untracked until the first apply.
pub fn track(live: Option<&Value>, new: &mut Value, how: &Apply<'_>) {
    let mut old = live.cloned().unwrap_or_else(|| json!({}));
    let known = managers::take(&mut old);
    let given = if resets(new) {
        Some(vec![])
    } else {
        managers::take(new).filter(|given| !given.is_empty())
    };
    let _ = managers::take(new);
    let known = match given {
        Some(given) if how.subresource.is_empty() => given,
        _ => known.unwrap_or_default(),
    };
    if known.is_empty() && live.is_some() {
        return;
    }
    let changes = changes(&old, new, &how.place());
    let forced = Apply { force: true, ..*how };
    let mut managers = settle(known, &changes, &forced, &Fields::default()).unwrap_or_default();
    let set = unowned_removed(&how.writable(&changes.set));
    if !set.is_empty() {
        let mut ours = how.manager(how.manager, Operation::Update, new, Fields::default());
        if let Some(index) = managers.iter().position(|manager| manager.is(&ours)) {
            ours.fields = managers.swap_remove(index).fields;
        }
        ours.fields = ours.fields.union(&set);
        ours.time = Some(how.now.to_owned());
        managers.push(ours);
    }
    managers::put(new, managers);
}

/// Whether `managedFields` is an empty list, or a list of one empty entry.
fn resets(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields");
    entries.is_some_and(|entries| *entries == json!([]) || *entries == json!([{}]))
}

/// Restores the times of `managedFields` if nothing else differs, so that the write is a no-op. Call it after defaulting.
pub fn keep_times(live: &Value, new: &mut Value) {
    const PATH: &str = "/metadata/managedFields";
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let entries = object.pointer_mut(PATH).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        object
    };
    if timeless(live) == timeless(new) {
        new.clone_from(live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{BuiltIn, apply};

    fn by<'a>(manager: &'a str, now: &'a str) -> Apply<'a> {
        Apply {
            manager,
            force: false,
            subresource: "",
            now,
            lists: &BuiltIn,
        }
    }

    fn deployment(spec: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": spec})
    }

    fn created(spec: &Value, manager: &str) -> Value {
        let mut object = deployment(spec);
        track(None, &mut object, &by(manager, "1"));
        object
    }

    /// The object with another spec, updated by a manager.
    fn updated(live: &Value, spec: &Value, manager: &str) -> Value {
        let mut object = live.clone();
        object["spec"] = spec.clone();
        track(Some(live), &mut object, &by(manager, "2"));
        object
    }

    fn owned(object: &Value, manager: &str) -> Value {
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["manager"] == manager);
        entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }

    #[test]
    fn the_creator_owns_everything() {
        let object = created(&json!({"replicas": 1}), "kubectl-create");
        let expected = json!([{
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": "1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {".": {}, "f:replicas": {}}},
        }]);
        assert_eq!(object["metadata"]["managedFields"], expected);
    }

    #[test]
    fn a_write_takes_what_it_changes() {
        let live = created(&json!({"replicas": 1, "paused": true}), "a");
        let object = updated(&live, &json!({"replicas": 2, "paused": true}), "b");
        assert_eq!(owned(&object, "a"), json!({"f:spec": {".": {}, "f:paused": {}}}));
        assert_eq!(owned(&object, "b"), json!({"f:spec": {"f:replicas": {}}}));
    }

    #[test]
    fn a_write_that_changes_nothing_owns_nothing() {
        let live = created(&json!({"replicas": 1}), "a");
        assert_eq!(updated(&live, &json!({"replicas": 1}), "b"), live);
    }

    #[test]
    fn a_removed_field_has_no_owner() {
        let live = created(&json!({"replicas": 1, "paused": true}), "a");
        let object = updated(&live, &json!({"replicas": 1}), "b");
        assert_eq!(owned(&object, "a"), json!({"f:spec": {".": {}, "f:replicas": {}}}));
        assert_eq!(owned(&object, "b"), Value::Null);
    }

    #[test]
    fn an_apply_conflicts_with_a_scaled_deployment() {
        let config = deployment(&json!({"replicas": 1}));
        let live = apply(None, &config, &by("kubectl", "1")).unwrap();
        let live = updated(&live, &json!({"replicas": 3}), "kubectl-scale");
        let failure = apply(Some(&live), &config, &by("kubectl", "3")).unwrap_err();
        assert_eq!(
            failure.message,
            "Apply failed with 1 conflict: conflict with \"kubectl-scale\" using apps/v1: .spec.replicas"
        );
        let object = apply(Some(&live), &deployment(&json!({})), &by("kubectl", "3")).unwrap();
        assert_eq!(object["spec"]["replicas"], 3);
    }

    #[test]
    fn the_status_is_owned_through_its_subresource_only() {
        let live = created(&json!({"replicas": 1}), "a");
        let mut object = live.clone();
        object["status"] = json!({"replicas": 1});
        let mut through_main = object.clone();
        track(Some(&live), &mut through_main, &by("b", "2"));
        assert_eq!(owned(&through_main, "b"), Value::Null);
        track(
            Some(&live),
            &mut object,
            &Apply {
                subresource: "status",
                ..by("b", "2")
            },
        );
        assert_eq!(owned(&object, "b"), json!({"f:status": {".": {}, "f:replicas": {}}}));
    }

    #[test]
    fn managed_fields_may_be_forgotten() {
        let live = created(&json!({"replicas": 1}), "a");
        for entries in [json!([]), json!([{}])] {
            let mut object = live.clone();
            object["metadata"]["managedFields"] = entries;
            track(Some(&live), &mut object, &by("a", "2"));
            assert_eq!(object, deployment(&json!({"replicas": 1})));
        }
    }

    #[test]
    fn managed_fields_left_out_stay() {
        let live = created(&json!({"replicas": 1}), "a");
        let mut object = deployment(&json!({"replicas": 1}));
        track(Some(&live), &mut object, &by("b", "2"));
        assert_eq!(object, live);
    }

    #[test]
    fn managed_fields_may_be_handed_over() {
        let live = created(&json!({"replicas": 1}), "a");
        let mut object = live.clone();
        object["metadata"]["managedFields"][0]["manager"] = json!("b");
        let handed_over = object.clone();
        track(Some(&live), &mut object, &by("c", "2"));
        assert_eq!(object, handed_over);
    }

    #[test]
    fn an_object_that_is_not_tracked_stays_so() {
        let live = deployment(&json!({"replicas": 1}));
        assert_eq!(
            updated(&live, &json!({"replicas": 2}), "a"),
            deployment(&json!({"replicas": 2}))
        );
    }

    #[test]
    fn times_alone_are_no_change() {
        let live = created(&json!({"replicas": 1}), "a");
        let mut same = live.clone();
        same["metadata"]["managedFields"][0]["time"] = json!("2");
        let mut other = same.clone();
        keep_times(&live, &mut same);
        assert_eq!(same, live);
        other["spec"]["replicas"] = json!(2);
        let before = other.clone();
        keep_times(&live, &mut other);
        assert_eq!(other, before);
    }
}
