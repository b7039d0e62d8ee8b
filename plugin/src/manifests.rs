//! Manifests: files that are read, and Kanaries that are written.

use std::io::Read;

use anyhow::{Context, bail};
use kanary_core::api::KanaryKind;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) file: String,
    pub(crate) object: Value,
}

impl Manifest {
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `batman.yaml: KanaryDeployment batman`.
    pub(crate) fn title(&self) -> String {
        let kind = if self.kind().is_empty() {
            "object without a kind"
        } else {
            self.kind()
        };
        format!("{}: {kind} {}", self.file, self.name()).trim_end().to_owned()
    }
}

/// Reads all documents of files; `-` is standard input. Lists are taken apart.
pub(crate) fn read(files: &[String]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for file in files {
        let text = if file == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(file)
        };
        let text = text.with_context(|| format!("could not read {file}"))?;
        for object in documents(&text).with_context(|| format!("{file} is neither YAML nor JSON"))? {
            flatten(file, object, &mut manifests);
        }
    }
    if manifests.is_empty() {
        bail!("there is nothing in {}", files.join(", "));
    }
    Ok(manifests)
}

/// The kind of a Kanary. In an unknown group, it is the kind of this name that every controller serves.
pub(crate) fn kanary_kind(object: &Value) -> Option<KanaryKind> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let named = || KanaryKind::ALWAYS.into_iter().find(|known| known.as_str() == kind);
    KanaryKind::of(api_version, kind).or_else(named)
}

/// The documents of a YAML or JSON text.
pub(crate) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents = serde_yaml_ng::Deserializer::from_str(text).map(Value::deserialize);
    let documents: Vec<_> = documents.collect::<Result<_, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn flatten(file: &str, mut object: Value, into: &mut Vec<Manifest>) {
    let is_list = object
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").filter(|_| is_list).map(Value::take) {
        Some(Value::Array(items)) => items.into_iter().for_each(|item| flatten(file, item, into)),
        _ => into.push(Manifest {
            file: file.to_owned(),
            object,
        }),
    }
}

/// Format of a manifest that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Json,
    #[default]
    Yaml,
}

impl Format {
    pub(crate) fn write(self, object: &Value) -> anyhow::Result<String> {
        Ok(match self {
            Self::Json => format!("{object:#}\n"),
            Self::Yaml => serde_yaml_ng::to_string(object)?,
        })
    }
}

/// Annotations that tools keep about an object. Copied to another object, they would be wrong.
const TOOLS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "kubernetes.io/change-cause",
    "kanary.k8s-operators.dev/",
    "rollout.argoproj.io/",
    "meta.helm.sh/",
];

/// The part of an object's metadata that belongs into `spec.template.metadata`.
pub(crate) fn template_metadata(metadata: &Value) -> Option<Value> {
    let mut kept = Map::new();
    for (field, tools) in [("labels", &[] as &[&str]), ("annotations", &TOOLS)] {
        let entries = metadata.get(field).and_then(Value::as_object).into_iter().flatten();
        let own = entries.filter(|(name, _)| !tools.iter().any(|tool| name.starts_with(tool)));
        let own: Map<_, _> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        if !own.is_empty() {
            kept.insert(field.to_owned(), Value::Object(own));
        }
    }
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// The value without nulls, which stand for fields that are not set.
pub(crate) fn tidy(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, field)| !field.is_null());
            Value::Object(fields.map(|(name, field)| (name, tidy(field))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(tidy).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_taken_apart_and_empty_documents_left_out() {
        let text = "---\n---\nkind: List\nitems: [{kind: A}, {kind: B}]\n---\nkind: C\n";
        let mut found = Vec::new();
        for object in documents(text).unwrap() {
            flatten("f", object, &mut found);
        }
        assert_eq!(found.iter().map(Manifest::kind).collect::<Vec<_>>(), ["A", "B", "C"]);
        assert!(documents("a: [").is_err());
    }

    #[test]
    fn what_tools_keep_about_an_object_is_not_copied() {
        let metadata = json!({
            "name": "myapp", "uid": "u", "labels": {"app": "myapp"},
            "annotations": {"deployment.kubernetes.io/revision": "3", "team": "shop"},
        });
        let kept = json!({"labels": {"app": "myapp"}, "annotations": {"team": "shop"}});
        assert_eq!(template_metadata(&metadata), Some(kept));
        assert_eq!(template_metadata(&json!({"name": "x"})), None);
    }
}
