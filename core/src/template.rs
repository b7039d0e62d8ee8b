//! The template of a spec.

use serde_json::Value;

use super::{
    hash,
    invalid::Invalid,
    labels::{Labels, Packed},
    named,
};
use crate::api;

/// Maximum size of a template as JSON, in bytes. The API server allows 1.5 MiB for the whole Kanary, and thousands of them have to
/// fit into memory.
const MAX_BYTES: usize = 256 << 10;

/// `spec.template`: a workload of the target's kind.
///
/// Its spec is kept as compressed text, because only writes need it. As a tree, each of its 60 to 100 JSON objects takes some 700
/// bytes, which would be most of the memory for a Kanary. LZ4 is chosen for its speed: each new template is compressed once.
#[derive(Clone, Debug, Default)]
pub struct WorkloadTemplate {
    spec: Box<[u8]>,
    labels: Packed,
    annotations: Packed,
    pod_labels: Packed,
}

/// What is read from `spec.template`.
pub(super) struct TemplateRead {
    pub(super) template: WorkloadTemplate,
    /// Name of the workload.
    pub(super) name: Option<String>,
    /// Hash of the pod template; empty without a container.
    pub(super) hash: String,
}

impl WorkloadTemplate {
    /// Reads a template.
    pub(super) fn read(template: api::Template, problems: &mut Vec<Invalid>) -> TemplateRead {
        let spec = without_nulls(template.spec);
        let pod_template = spec.get("template").unwrap_or(&Value::Null);
        let has_container = pod_template.pointer("/spec/containers/0").is_some_and(Value::is_object);
        let hash = if has_container {
            hash::of(pod_template)
        } else {
            problems.push(Invalid::spec(
                "spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so the pod \
                 template is spec.template.spec.template",
            ));
            String::new()
        };
        let metadata = template.metadata.unwrap_or_default();
        let of_pods = pod_template.get("metadata").unwrap_or(&Value::Null);
        problems.extend(named::reserved(&metadata, "spec.template.metadata"));
        problems.extend(named::reserved(of_pods, "spec.template.spec.template.metadata"));
        let text = spec.to_string();
        if text.len() > MAX_BYTES {
            problems.push(Invalid::spec(format!(
                "spec.template has {} bytes as JSON, and {MAX_BYTES} are possible: move large arguments and variables to a \
                 ConfigMap",
                text.len()
            )));
        }
        TemplateRead {
            name: metadata.get("name").and_then(Value::as_str).map(ToOwned::to_owned),
            template: Self {
                labels: Packed::from(&strings(metadata.get("labels"))),
                annotations: Packed::from(&strings(metadata.get("annotations"))),
                pod_labels: Packed::from(&strings(of_pods.get("labels"))),
                spec: compressed(&text),
            },
            hash,
        }
    }

    /// The workload's spec.
    #[must_use]
    pub fn spec(&self) -> Value {
        // This is text that serde_json wrote, so it is readable.
        let text = lz4_flex::decompress_size_prepended(&self.spec).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Labels of the workload.
    #[must_use]
    pub fn labels(&self) -> Labels {
        self.labels.unpack()
    }

    /// Annotations of the workload.
    #[must_use]
    pub fn annotations(&self) -> Labels {
        self.annotations.unpack()
    }

    /// Labels of the pods, as the user wrote them.
    #[must_use]
    pub fn pod_labels(&self) -> Labels {
        self.pod_labels.unpack()
    }

    /// The pod template to validate and promote.
    #[must_use]
    pub fn pod_template(&self) -> Value {
        self.spec().get_mut("template").map(Value::take).unwrap_or_default()
    }

    /// The same template with another pod template.
    #[cfg(test)]
    pub(super) fn with_pods(self, pod_template: Value) -> Self {
        let (mut spec, pod_labels) = (self.spec(), strings(pod_template.pointer("/metadata/labels")));
        spec["template"] = pod_template;
        Self {
            spec: compressed(&spec.to_string()),
            pod_labels: Packed::from(&pod_labels),
            ..self
        }
    }
}

fn compressed(text: &str) -> Box<[u8]> {
    lz4_flex::compress_prepend_size(text.as_bytes()).into()
}

/// The entries of a map whose values are strings.
pub(super) fn strings(value: Option<&Value>) -> Labels {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    let strings = entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    strings.collect()
}

/// A null is equivalent to an absent field (many exported templates have `creationTimestamp: null`) and must have the
/// same hash.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, field)| !field.is_null())
                .map(|(name, field)| (name, without_nulls(field)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: Value) -> (TemplateRead, Vec<String>) {
        let mut problems = Vec::new();
        let metadata = Some(json!({"name": "myapp", "labels": {"team": "shop", "n": 1}}));
        let read = WorkloadTemplate::read(api::Template { metadata, spec }, &mut problems);
        (read, problems.into_iter().map(|problem| problem.message).collect())
    }

    fn pods(argument: &str) -> Value {
        json!({
            "metadata": {"labels": {"app": "myapp"}, "creationTimestamp": null},
            "spec": {"containers": [{"name": "app", "args": [argument], "limit": 0.300_000_000_000_000_04}]},
        })
    }

    #[test]
    fn the_text_holds_what_was_read_without_nulls() {
        let (read, problems) = read(json!({"replicas": 3, "template": pods("x")}));
        assert_eq!(problems, [""; 0]);
        assert_eq!(read.name.as_deref(), Some("myapp"));
        let mut expected = pods("x");
        expected["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("creationTimestamp");
        assert_eq!(read.template.pod_template(), expected);
        assert_eq!(read.template.spec()["replicas"], 3);
        assert_eq!(read.hash, hash::of(&read.template.pod_template()));
        assert_eq!(read.template.labels(), [("team".to_owned(), "shop".to_owned())].into());
        assert_eq!(
            read.template.pod_labels(),
            [("app".to_owned(), "myapp".to_owned())].into()
        );
    }

    #[test]
    fn a_template_that_is_too_large_is_refused_with_its_size() {
        let (_, problems) = read(json!({"template": pods(&"x".repeat(MAX_BYTES))}));
        let [problem] = problems.try_into().unwrap();
        assert!(
            problem.starts_with("spec.template has 2622") && problem.contains("262144"),
            "{problem}"
        );
    }
}
