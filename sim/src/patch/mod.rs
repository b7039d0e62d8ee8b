//! The patch types of kube-apiserver: JSON Patch, JSON Merge Patch, strategic merge patch and server-side apply.
//!
//! All of them are pure functions from an object and a patch to a new object or a refusal. Defaulting, validation and
//! storage follow later.

mod apply;
mod combine;
mod element_order;
mod fields;
mod json;
mod last_applied;
mod list_types;
mod managers;
mod merge_keys;
mod strategic;
mod track;
mod typed;

use serde_json::Value;

use crate::failure::Failure;

pub use apply::{Apply, apply};
pub use json::{json, merge};
pub use list_types::{BuiltIn, ListType, ListTypes, Schema};
pub use strategic::strategic;
pub use track::{keep_times, track};

/// The type of a `PATCH` request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Strategic merge patch: built-in kinds only.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// All types, in the order in which a refusal lists them.
const ALL: [PatchKind; 4] = [
    PatchKind::Json,
    PatchKind::Merge,
    PatchKind::Strategic,
    PatchKind::Apply,
];

/// The types for custom resources, which have no Go struct that declares merge strategies.
const CUSTOM: [PatchKind; 3] = [PatchKind::Json, PatchKind::Merge, PatchKind::Apply];

/// Maximum number of operations in a JSON Patch.
const MAX_OPERATIONS: usize = 10_000;

impl PatchKind {
    /// Parses the `Content-Type` of a patch of a built-in resource.
    ///
    /// # Errors
    ///
    /// 415 for any other media type.
    pub fn from_content_type(content_type: &str) -> Result<Self, Failure> {
        Self::among(&ALL, content_type)
    }

    /// Parses the `Content-Type` of a patch of a custom resource, which does not support strategic merge patches.
    ///
    /// # Errors
    ///
    /// 415 for any other media type.
    pub fn of_custom_resource(content_type: &str) -> Result<Self, Failure> {
        Self::among(&CUSTOM, content_type)
    }

    fn among(accepted: &[Self], content_type: &str) -> Result<Self, Failure> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let found = accepted.iter().find(|kind| kind.media_type() == media_type);
        found.copied().ok_or_else(|| {
            let accepted: Vec<_> = accepted.iter().map(|kind| kind.media_type()).collect();
            let accepted = accepted.join(", ");
            let message =
                format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
            Failure::new(415, "UnsupportedMediaType", message)
        })
    }

    /// The media type, such as `application/json-patch+json`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }

    /// Parses the body of the request: YAML for an apply, JSON for the others.
    ///
    /// # Errors
    ///
    /// 400 for an invalid body, or a list in place of an object or vice versa; 413 for a JSON Patch with too many
    /// operations.
    pub fn parse(self, body: &[u8]) -> Result<Value, Failure> {
        let malformed = |why: &str| Failure::bad_request(format!("error decoding patch: {why}"));
        let patch: Value = match self {
            Self::Apply => serde_yaml_ng::from_slice(body).map_err(|error| malformed(&error.to_string()))?,
            _ => serde_json::from_slice(body).map_err(|error| malformed(&error.to_string()))?,
        };
        match (self, &patch) {
            (Self::Json, Value::Array(operations)) if operations.len() > MAX_OPERATIONS => {
                let got = operations.len();
                let message = format!(
                    "Request entity is too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, \
                     got {got}"
                );
                Err(Failure::new(413, "RequestEntityTooLarge", message))
            }
            (Self::Json, Value::Array(_)) => Ok(patch),
            (Self::Json, _) => Err(malformed("a JSON patch is a list of operations")),
            (_, Value::Object(_)) => Ok(patch),
            (..) => Err(malformed("the patch is not an object")),
        }
    }
}

/// 422 with kube-apiserver's generic message for a valid patch that cannot be applied.
fn unprocessable() -> Failure {
    let message = "the server rejected our request due to an error in our request";
    let mut failure = Failure::new(422, "Invalid", message);
    failure.details = serde_json::json!({});
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_names_the_kind() {
        for kind in ALL {
            assert_eq!(PatchKind::from_content_type(kind.media_type()), Ok(kind));
        }
    }

    #[test]
    fn parameters_of_the_media_type_do_not_matter() {
        let kind = PatchKind::from_content_type("application/merge-patch+json; charset=utf-8");
        assert_eq!(kind, Ok(PatchKind::Merge));
    }

    #[test]
    fn an_unknown_media_type_is_refused_with_the_known_ones() {
        let failure = PatchKind::from_content_type("application/json").unwrap_err();
        assert_eq!((failure.code, failure.reason), (415, "UnsupportedMediaType"));
        assert_eq!(
            failure.message,
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml"
        );
    }

    #[test]
    fn a_custom_resource_takes_no_strategic_merge_patch() {
        let failure = PatchKind::of_custom_resource("application/strategic-merge-patch+json").unwrap_err();
        assert_eq!(failure.code, 415);
        assert!(!failure.message.contains("strategic"), "{failure}");
        let kind = PatchKind::of_custom_resource("application/merge-patch+json");
        assert_eq!(kind, Ok(PatchKind::Merge));
    }

    #[test]
    fn a_body_of_the_wrong_shape_is_refused() {
        assert_eq!(PatchKind::Json.parse(b"{}").unwrap_err().code, 400);
        assert_eq!(PatchKind::Merge.parse(b"[]").unwrap_err().code, 400);
        assert_eq!(PatchKind::Strategic.parse(b"{").unwrap_err().code, 400);
        assert_eq!(PatchKind::Apply.parse(b"a").unwrap_err().code, 400);
        assert_eq!(PatchKind::Merge.parse(b"{}"), Ok(serde_json::json!({})));
    }

    #[test]
    fn an_apply_is_yaml() {
        assert_eq!(PatchKind::Apply.parse(b"a:\n- 1\n"), Ok(serde_json::json!({"a": [1]})));
        assert_eq!(
            PatchKind::Apply.parse(b"{\"a\": [1]}"),
            Ok(serde_json::json!({"a": [1]}))
        );
    }

    #[test]
    fn a_json_patch_has_a_limited_number_of_operations() {
        let operation = r#"{"op":"remove","path":"/a"}"#;
        let of = |n: usize| format!("[{}]", vec![operation; n].join(","));
        assert!(PatchKind::Json.parse(of(10_000).as_bytes()).is_ok());
        assert_eq!(PatchKind::Json.parse(of(10_001).as_bytes()).unwrap_err().code, 413);
    }
}
