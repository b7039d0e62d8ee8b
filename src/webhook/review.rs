//! A request for a conversion, and its answer.

use kanary_core::convert::{Version, convert};
use kube::core::{
    Status,
    conversion::{ConversionRequest, ConversionResponse, ConversionReview},
};

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// The response, as JSON.
    pub(super) body: Vec<u8>,
    /// Whether all objects were converted.
    pub(super) converted: bool,
}

/// Answers a `ConversionReview` of `apiextensions.k8s.io/v1`. All objects are converted, or none.
///
/// # Errors
///
/// The body is no such request.
pub(super) fn answer(body: &[u8]) -> Result<Answer, String> {
    let review: ConversionReview = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut request = ConversionRequest::from_review(review).map_err(|error| error.to_string())?;
    let objects = std::mem::take(&mut request.objects);
    let wanted = Version::of(&request.desired_api_version);
    let wanted = wanted.ok_or_else(|| format!("{:?} is no version of a Kanary", request.desired_api_version));
    let converted: Result<Vec<_>, _> =
        wanted.and_then(|version| objects.into_iter().map(|object| convert(object, version)).collect());
    let response = ConversionResponse::for_request(request);
    let is_converted = converted.is_ok();
    let response = match converted {
        Ok(objects) => response.success(objects),
        Err(why) => response.failure(Status::failure(&why, "Invalid")),
    };
    let body = serde_json::to_vec(&response.into_review()).map_err(|error| error.to_string())?;
    Ok(Answer {
        body,
        converted: is_converted,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(desired: &str, objects: &Value) -> (Value, bool) {
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "42", "desiredAPIVersion": desired, "objects": objects},
        });
        let answer = answer(review.to_string().as_bytes()).unwrap();
        (serde_json::from_slice(&answer.body).unwrap(), answer.converted)
    }

    fn kanary(version: &str) -> Value {
        json!({
            "apiVersion": format!("kanary.k8s-operators.dev/{version}"), "kind": "KanaryDeployment",
            "metadata": {"name": "batman", "uid": "u", "resourceVersion": "7"},
            "spec": {"targetRef": {"kind": "Deployment", "name": "myapp"}, "template": {"spec": {}}},
        })
    }

    #[test]
    fn all_objects_are_converted_in_their_order() {
        let mut second = kanary("v1");
        second["metadata"]["name"] = json!("robin");
        let objects = json!([kanary("v1alpha1"), second]);
        let (review, converted) = asked("kanary.k8s-operators.dev/v1", &objects);
        assert!(converted);
        assert_eq!(review["apiVersion"], "apiextensions.k8s.io/v1");
        assert_eq!(review["kind"], "ConversionReview");
        assert_eq!(review["response"]["uid"], "42");
        assert_eq!(review["response"]["result"]["status"], "Success");
        assert_eq!(review["response"]["convertedObjects"], json!([kanary("v1"), second]));
    }

    #[test]
    fn what_is_no_kanary_fails_with_a_message() {
        for (desired, objects) in [
            ("kanary.k8s-operators.dev/v1", json!([kanary("v1"), {"kind": "Pod"}])),
            ("kanary.k8s-operators.dev/v2", json!([kanary("v1")])),
        ] {
            let (review, converted) = asked(desired, &objects);
            assert!(!converted);
            let response = &review["response"];
            assert_eq!(response["uid"], "42");
            assert_eq!(response["result"]["status"], "Failure");
            let message = response["result"]["message"].as_str().unwrap();
            assert!(message.contains("Kanary"), "{message}");
            assert_eq!(response["convertedObjects"], json!([]));
        }
    }

    #[test]
    fn what_is_no_request_has_no_answer() {
        for body in ["", "[]", "{}", r#"{"apiVersion": "a", "kind": "b", "request": {}}"#] {
            answer(body.as_bytes()).unwrap_err();
        }
    }
}
