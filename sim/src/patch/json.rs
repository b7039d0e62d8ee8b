//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386).

use json_patch::{
    AddOperation, Patch, PatchOperation, ReplaceOperation,
    jsonptr::{Pointer, Token},
};
use serde::Deserialize;
use serde_json::Value;

use super::unprocessable;
use crate::failure::Failure;

/// Applies a JSON Patch completely or not at all.
///
/// # Errors
///
/// 400 if the value is not a JSON Patch, 422 if a `test` fails or a path is missing.
pub fn json(live: &mut Value, patch: &Value) -> Result<(), Failure> {
    let Patch(operations) = Patch::deserialize(patch).map_err(|error| Failure::bad_request(error.to_string()))?;
    let mut patched = live.clone();
    for operation in operations {
        if tests_escaped_text(&operation) {
            return Err(unprocessable());
        }
        if !tests_for_absence(&patched, &operation) {
            let operation = adding(copying(&patched, operation));
            json_patch::patch(&mut patched, &[operation]).map_err(|_| unprocessable())?;
        }
    }
    *live = patched;
    Ok(())
}

/// A fault of kube-apiserver's library: a `test` compares text, in which the server has escaped some characters of the object and
/// clients have not, so it fails.
fn tests_escaped_text(operation: &PatchOperation) -> bool {
    let is_escaped = |char| matches!(char, '&' | '<' | '>' | '\u{2028}' | '\u{2029}');
    matches!(operation, PatchOperation::Test(test) if test.value.to_string().contains(is_escaped))
}

/// An extension of the RFC in kube-apiserver's library: a `test` for null succeeds for an absent member.
fn tests_for_absence(live: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else {
        return false;
    };
    test.value.is_null() && is_absent_member(live, &test.path)
}

/// An extension of the RFC in kube-apiserver's library: a copy of an absent member is null.
fn copying(live: &Value, operation: PatchOperation) -> PatchOperation {
    match operation {
        PatchOperation::Copy(copy) if is_absent_member(live, &copy.from) => PatchOperation::Add(AddOperation {
            path: copy.path,
            value: Value::Null,
        }),
        other => other,
    }
}

/// Whether a path refers to a missing member of an existing object.
fn is_absent_member(live: &Value, path: &Pointer) -> bool {
    let parent = path.parent().and_then(|parent| live.pointer(parent.as_str()));
    parent.is_some_and(Value::is_object) && live.pointer(path.as_str()).is_none()
}

/// An extension of the RFC in kube-apiserver's library: a `replace` of an absent member adds it. (In a list, both fail
/// for a missing element, except for the position after the last one. That case does not occur in practice and is not
/// supported.)
fn adding(operation: PatchOperation) -> PatchOperation {
    match operation {
        PatchOperation::Replace(ReplaceOperation { path, value }) if path.last().as_ref().is_some_and(is_member) => {
            PatchOperation::Add(AddOperation { path, value })
        }
        other => other,
    }
}

/// Whether a token can only be a member of an object and not an index of a list.
fn is_member(token: &Token<'_>) -> bool {
    let token = token.decoded();
    token != "-" && !token.bytes().all(|byte| byte.is_ascii_digit())
}

/// Applies a JSON Merge Patch: null removes a member, and lists are replaced.
pub fn merge(live: &mut Value, patch: &Value) {
    json_patch::merge(live, patch);
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn patched(mut live: Value, patch: &Value) -> Result<Value, Failure> {
        json(&mut live, patch)?;
        Ok(live)
    }

    #[test]
    fn operations_follow_one_another() {
        let patch = value!([
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "replace", "path": "/spec/replicas", "value": 2},
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
            {"op": "add", "path": "/spec/list/-", "value": 3},
            {"op": "remove", "path": "/spec/list/0"},
        ]);
        let live = value!({"metadata": {"labels": {}}, "spec": {"replicas": 1, "list": [1, 2]}});
        let expected = value!({"metadata": {"labels": {"a/b": "x"}}, "spec": {"replicas": 2, "list": [2, 3]}});
        assert_eq!(patched(live, &patch), Ok(expected));
    }

    #[test]
    fn a_failed_test_leaves_the_object_alone() {
        let mut live = value!({"a": 1});
        let patch = value!([{"op": "replace", "path": "/a", "value": 2}, {"op": "test", "path": "/a", "value": 1}]);
        let failure = json(&mut live, &patch).unwrap_err();
        assert_eq!((failure.code, failure.reason), (422, "Invalid"));
        assert_eq!(
            failure.message,
            "the server rejected our request due to an error in our request"
        );
        assert_eq!(live, value!({"a": 1}));
    }

    #[test]
    fn a_missing_path_is_refused() {
        for operation in [
            value!({"op": "remove", "path": "/b"}),
            value!({"op": "replace", "path": "/b/c", "value": 1}),
            value!({"op": "add", "path": "/b/c", "value": 1}),
            value!({"op": "test", "path": "/b", "value": 1}),
            value!({"op": "test", "path": "/b/c", "value": null}),
            value!({"op": "copy", "from": "/b/c", "path": "/c"}),
            value!({"op": "move", "from": "/b", "path": "/c"}),
        ] {
            let failure = patched(value!({"a": 1}), &value!([operation])).unwrap_err();
            assert_eq!(failure.code, 422, "{operation}");
        }
    }

    #[test]
    fn a_replace_of_an_absent_member_adds_it() {
        let patch = value!([{"op": "replace", "path": "/a/b", "value": 1}]);
        assert_eq!(patched(value!({"a": {}}), &patch), Ok(value!({"a": {"b": 1}})));
        let patch = value!([{"op": "replace", "path": "/a/0", "value": 1}]);
        assert_eq!(patched(value!({"a": [0, 2]}), &patch), Ok(value!({"a": [1, 2]})));
    }

    #[test]
    fn a_copy_of_an_absent_member_is_null() {
        let patch = value!([{"op": "copy", "from": "/b", "path": "/c"}]);
        assert_eq!(patched(value!({"a": 1}), &patch), Ok(value!({"a": 1, "c": null})));
    }

    #[test]
    fn a_test_for_null_holds_for_an_absent_member() {
        let live = value!({"a": {}});
        let patch = value!([{"op": "test", "path": "/a/b", "value": null}]);
        assert_eq!(patched(live.clone(), &patch), Ok(live));
    }

    #[test]
    fn a_test_for_null_fails_for_a_present_member() {
        let patch = value!([{"op": "test", "path": "/a", "value": null}]);
        assert_eq!(patched(value!({"a": 1}), &patch).unwrap_err().code, 422);
    }

    #[test]
    fn a_test_of_text_that_the_server_escapes_fails() {
        for text in ["a && b", "<", ">", "\u{2028}"] {
            let patch = value!([{"op": "test", "path": "/a", "value": [text]}]);
            assert_eq!(patched(value!({"a": [text]}), &patch).unwrap_err().code, 422, "{text}");
            let patch = value!([{"op": "replace", "path": "/a", "value": text}]);
            assert_eq!(patched(value!({"a": 1}), &patch), Ok(value!({"a": text})));
        }
    }

    #[test]
    fn a_malformed_patch_is_a_bad_request() {
        for patch in [
            value!({}),
            value!([{"op": "grow", "path": "/a"}]),
            value!([{"op": "add"}]),
        ] {
            assert_eq!(patched(value!({}), &patch).unwrap_err().code, 400);
        }
    }

    #[test]
    fn a_merge_patch_merges_objects_and_replaces_lists() {
        let mut live = value!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut live, &value!({"a": {"b": null, "e": 3}, "d": [3]}));
        assert_eq!(live, value!({"a": {"c": 2, "e": 3}, "d": [3]}));
    }

    #[test]
    fn a_merge_patch_creates_no_nulls() {
        let mut live = value!({});
        merge(&mut live, &value!({"a": {"b": null, "c": {"d": null}}}));
        assert_eq!(live, value!({"a": {"c": {}}}));
    }
}
