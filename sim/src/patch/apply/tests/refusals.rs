//! Apply requests that are refused.

use super::*;

#[test]
fn managed_fields_are_not_applied() {
    let mut config = deployment(&json!({}));
    config["metadata"]["managedFields"] = json!([]);
    let failure = apply(None, &config, &by("a")).unwrap_err();
    assert_eq!(failure, Failure::bad_request("metadata.managedFields must be nil"));
}

#[test]
fn a_manager_is_required() {
    let failure = apply(None, &deployment(&json!({})), &by("")).unwrap_err();
    assert_eq!(failure.code, 422);
    assert!(
        failure
            .message
            .ends_with("fieldManager: Required value: is required for apply patch"),
        "{failure}"
    );
}

#[test]
fn another_version_or_kind_is_refused() {
    let live = created(&deployment(&json!({})), "a");
    for (field, value) in [("apiVersion", "apps/v2"), ("kind", "DaemonSet")] {
        let mut config = deployment(&json!({}));
        config[field] = json!(value);
        assert_eq!(apply(Some(&live), &config, &by("a")).unwrap_err().code, 400, "{field}");
    }
}

#[test]
fn elements_that_cannot_be_distinguished_are_refused() {
    let prefix = "failed to create typed patch object (default/app; apps/v1, Kind=Deployment): \
                  .spec.template.spec.containers: ";
    for (containers, expected) in [
        (
            json!([{"name": "a"}, {"name": "a"}]),
            "duplicate entries for key [name=\"a\"]",
        ),
        (
            json!([{"image": "a"}]),
            "element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't \
             have default values for any key fields)",
        ),
        (
            json!(["a"]),
            "element 0: associative list with keys may not have non-map elements",
        ),
    ] {
        let failure = apply(None, &with_containers(&containers), &by("a")).unwrap_err();
        assert_eq!(failure.message, format!("{prefix}{expected}"));
    }
}
