//! A request for a conversion, and its answer.

use std::collections::HashMap;

use kanary_core::convert::{Version, convert};
use kube::core::{
    Status,
    conversion::{ConversionRequest, ConversionResponse, ConversionReview},
};

use crate::json::structure;

/// Levels of nesting of a request that are parsed. No field of a Kanary that a conversion reads is nested so deeply, and `serde_json`
/// parses 127 levels.
const PARSED: usize = 100;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// The response, as JSON.
    pub(super) body: Vec<u8>,
    /// Whether all objects were converted.
    pub(super) converted: bool,
}

/// Answers a `ConversionReview` of `apiextensions.k8s.io/v1`. All objects are converted, or none: one that is nested as deeply as API
/// servers accept must not keep users from reading the others.
///
/// # Errors
///
/// The body is no such request.
pub(super) fn answer(body: &[u8]) -> Result<Answer, String> {
    let error = match serde_json::from_slice(body) {
        Ok(review) => return converted(review),
        Err(error) => error.to_string(),
    };
    let shallow = std::str::from_utf8(body).map_or_else(|_| Shallow::default(), Shallow::of);
    if shallow.cut.is_empty() {
        return Err(error);
    }
    let review = serde_json::from_str(&shallow.text).map_err(|error| error.to_string())?;
    let mut answer = converted(review)?;
    let text = String::from_utf8(answer.body).map_err(|error| error.to_string())?;
    answer.body = shallow.restore(&text).into_bytes();
    Ok(answer)
}

/// A JSON text in which names stand for what is nested more than [`PARSED`] levels deep.
#[derive(Debug, Default)]
struct Shallow<'a> {
    text: String,
    /// What stands for what was cut, before its number. It is random, so that nobody else writes it.
    prefix: String,
    cut: Vec<&'a str>,
}

impl<'a> Shallow<'a> {
    fn of(json: &'a str) -> Self {
        let mut this = Self {
            prefix: format!("nested-{:032x}-", fastrand::u128(..)),
            ..Self::default()
        };
        let mut numbers = HashMap::new();
        let (mut depth, mut copied, mut begin) = (0_usize, 0, 0);
        for (at, byte) in structure(json) {
            match byte {
                b'{' | b'[' => {
                    if depth == PARSED {
                        begin = at;
                    }
                    depth += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == PARSED {
                        // The same text has the same name, so that what is equal stays equal.
                        let part = json.get(begin..=at).unwrap_or_default();
                        let number = *numbers.entry(part).or_insert(this.cut.len());
                        if number == this.cut.len() {
                            this.cut.push(part);
                        }
                        this.text.push_str(json.get(copied..begin).unwrap_or_default());
                        this.text.extend(["\"", &this.prefix, &number.to_string(), "\""]);
                        copied = at + 1;
                    }
                }
                _ => {}
            }
        }
        this.text.push_str(json.get(copied..).unwrap_or_default());
        this
    }

    /// Puts back what was cut, also into strings that contain JSON, such as the annotation of a conversion.
    fn restore(&self, json: &str) -> String {
        let mut pieces = json.split(&self.prefix);
        let mut restored = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
            let (number, rest) = piece.split_at(end);
            let part = number
                .parse()
                .ok()
                .and_then(|number: usize| self.cut.get(number))
                .copied();
            let part = part.unwrap_or_default();
            let _quote = restored.pop();
            if restored.ends_with('\\') {
                let _escape = restored.pop();
                let quoted = serde_json::Value::from(part).to_string();
                restored.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
                restored.push_str(rest.get(2..).unwrap_or_default());
            } else {
                restored.push_str(part);
                restored.push_str(rest.get(1..).unwrap_or_default());
            }
        }
        restored
    }
}

fn converted(review: ConversionReview) -> Result<Answer, String> {
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

    /// A request for the conversion of a Kanary whose template has this many levels, and the template.
    fn nested(levels: usize) -> (String, String) {
        let template = format!(
            r#"{}"}}]\"{{["{}"#,
            r#"{"a":["#.repeat(levels / 2),
            "]}".repeat(levels / 2)
        );
        let object = kanary("v1alpha1").to_string().replace(r#"{"spec":{}}"#, &template);
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "42", "desiredAPIVersion": "kanary.k8s-operators.dev/v1", "objects": ["deep", kanary("v1alpha1")]},
        });
        (review.to_string().replace("\"deep\"", &object), template)
    }

    #[test]
    fn an_object_that_is_nested_as_deeply_as_api_servers_accept_is_converted_like_the_others() {
        for levels in [90, 130, 10_000] {
            let (review, template) = nested(levels);
            let answer = answer(review.as_bytes()).unwrap();
            let text = String::from_utf8(answer.body).unwrap();
            assert!(answer.converted && text.contains(&template), "{levels}");
            let versions = text.matches(r#""apiVersion":"kanary.k8s-operators.dev/v1""#);
            assert_eq!(versions.count(), 2, "{levels}");
        }
    }

    #[test]
    fn what_was_cut_is_put_back_also_into_strings_that_contain_json() {
        let deep = |value: &str| format!("{}{value}{}", "[".repeat(150), "]".repeat(150));
        let list = format!("[{}, {}, {},{}]", deep("1"), deep("\"]\\\"\""), deep("1"), deep("{}"));
        let shallow = Shallow::of(&list);
        assert_eq!(shallow.cut.len(), 3, "what is equal is cut once");
        serde_json::from_str::<Value>(&shallow.text).unwrap();
        assert_eq!(shallow.restore(&shallow.text), list);
        let within = Value::from(shallow.text.clone()).to_string();
        assert_eq!(shallow.restore(&within), Value::from(list).to_string());
        assert_eq!(Shallow::of("[1]").text, "[1]");
    }

    #[test]
    fn what_is_no_request_has_no_answer() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"apiVersion": "a", "kind": "b", "request": {}}"#,
            &"[".repeat(200),
        ] {
            answer(body.as_bytes()).unwrap_err();
        }
    }
}
