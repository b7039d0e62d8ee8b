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
    /// The document as it is written in the file. `None` for an object that was in a list.
    pub(crate) source: Option<String>,
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
        let objects = documents(&text).with_context(|| format!("{file} is neither YAML nor JSON"))?;
        let sources = sources(&text, &objects);
        for (object, source) in objects.into_iter().zip(sources) {
            flatten(file, object, source, &mut manifests);
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

/// The documents of a text as they are written, in which only a line that begins with `---` separates documents.
fn sources(text: &str, objects: &[Value]) -> Vec<Option<String>> {
    let mut written = vec![String::new()];
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        match rest.filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            Some(rest) if rest.trim().is_empty() => written.push(String::new()),
            Some(_) => written.push(line.to_owned()),
            None => written.last_mut().into_iter().for_each(|last| last.push_str(line)),
        }
    }
    let read = |source: &String| documents(source).ok().unwrap_or_default();
    written.retain(|source| !read(source).is_empty());
    let is_known = |(source, object): (&String, &Value)| read(source).iter().eq([object]);
    if written.len() == objects.len() && written.iter().zip(objects).all(is_known) {
        return written.into_iter().map(Some).collect();
    }
    vec![None; objects.len()]
}

fn flatten(file: &str, mut object: Value, source: Option<String>, into: &mut Vec<Manifest>) {
    let is_list = object
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").filter(|_| is_list).map(Value::take) {
        Some(Value::Array(items)) => items.into_iter().for_each(|item| flatten(file, item, None, into)),
        _ => into.push(Manifest {
            file: file.to_owned(),
            object,
            source,
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
            Self::Yaml => yaml(object)?,
        })
    }
}

/// Marks where a quotation mark has to be. Texts that have these characters are written as they are.
const MARKS: [char; 2] = ['\u{e000}', '\u{e001}'];

/// YAML that kubectl reads as it is meant. kubectl follows YAML 1.1, in which `on` is true and `1_000` a number, and the program
/// that writes follows YAML 1.2, in which both are texts without quotation marks.
fn yaml(object: &Value) -> anyhow::Result<String> {
    if object.to_string().contains(MARKS) {
        return Ok(serde_yaml_ng::to_string(object)?);
    }
    Ok(serde_yaml_ng::to_string(&marked(object))?.replace(MARKS, "'"))
}

/// The value with marks around each text that is something else in YAML 1.1.
fn marked(value: &Value) -> Value {
    let mark = |text: &str| {
        let [before, after] = MARKS;
        if is_ambiguous(text) {
            format!("{before}{text}{after}")
        } else {
            text.to_owned()
        }
    };
    match value {
        Value::String(text) => Value::String(mark(text)),
        Value::Array(values) => values.iter().map(marked).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (mark(name), marked(value)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

fn is_ambiguous(text: &str) -> bool {
    let truth = ["y", "n", "yes", "no", "on", "off"];
    let is_number =
        || text.contains('_') && text.starts_with(|first: char| first.is_ascii_digit() || "+-._".contains(first));
    truth.iter().any(|word| text.eq_ignore_ascii_case(word))
        || is_number()
            && text
                .chars()
                .all(|each| each.is_ascii_hexdigit() || "+-._xo".contains(each))
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
            flatten("f", object, None, &mut found);
        }
        assert_eq!(found.iter().map(Manifest::kind).collect::<Vec<_>>(), ["A", "B", "C"]);
        assert!(documents("a: [").is_err());
    }

    #[test]
    fn a_document_is_known_as_it_is_written() {
        let text = "# one\na: 0644 # octal\n---\n---\n# only a comment\n--- # two\nb: |\n  --- no end\n  x\n---\nc: d";
        let objects = documents(text).unwrap();
        let written: Vec<_> = sources(text, &objects).into_iter().flatten().collect();
        assert_eq!(
            written,
            [
                "# one\na: 0644 # octal\n",
                "--- # two\nb: |\n  --- no end\n  x\n",
                "c: d"
            ]
        );
        assert_eq!(sources("a: 1", &[Value::Null]), [None], "something else was read");
    }

    #[test]
    fn what_yaml_1_1_reads_as_something_else_is_quoted() {
        let object = json!({"no": "y", "list": ["NO", "Off", "1_000", "0x_1f", "_1", "no-go", "a_b", "1_go", "2020-01-01", "it's on"]});
        let text = Format::Yaml.write(&object).unwrap();
        let expected = "list:\n- 'NO'\n- 'Off'\n- '1_000'\n- '0x_1f'\n- '_1'\n- no-go\n- a_b\n- 1_go\n- 2020-01-01\n- it's on\n'no': 'y'\n";
        assert_eq!(text, expected);
        assert_eq!(documents(&text).unwrap(), [object]);
        let strange = json!({"a": "\u{e000}on", "b": "on"});
        assert_eq!(documents(&Format::Yaml.write(&strange).unwrap()).unwrap(), [strange]);
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
