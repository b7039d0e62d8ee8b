//! `kubectl kanary convert`: a Kanary from a Flagger `Canary` or an Argo `Rollout`.

mod argo;
mod flagger;

use anyhow::bail;
use kanary_core::api::{GoDuration, KanaryKind};
use serde_json::{Value, json};

use crate::{
    check::Checker,
    exit::Exit,
    manifests::{self, Format, Manifest},
    terminal::print,
};

/// Write a Kanary for a Flagger Canary or an Argo Rollout. What cannot be expressed is listed on standard error, and the exit code
/// is 6 then.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Files with the Canary or Rollout and what it refers to: the Deployment, metric and analysis templates. `-` is standard
    /// input.
    #[arg(long, short = 'f', required = true, value_name = "FILE")]
    filename: Vec<String>,
    /// Output format.
    #[arg(long, short = 'o', value_enum, default_value = "yaml", value_name = "FORMAT")]
    output: Format,
}

/// A Kanary, and what of its source it does not express.
#[derive(Debug)]
struct Converted {
    kanary: Value,
    lost: Vec<Lost>,
}

/// A bound that no metric reaches. Without a bound, a Kanary has 0 and 1.
const UNLIMITED: f64 = 1e15;

/// Something that a Kanary cannot express, or expresses in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lost {
    path: String,
    why: String,
}

impl Lost {
    fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            why: why.into(),
        }
    }
}

pub(crate) async fn convert(options: &Convert) -> anyhow::Result<Exit> {
    let all = manifests::read(&options.filename)?;
    let (mut text, mut is_complete, mut found) = (String::new(), true, 0);
    let checker = Checker::new()?;
    for manifest in &all {
        let converted = match (manifest.text("/apiVersion").split('/').next(), manifest.kind()) {
            (Some("flagger.app"), "Canary") => flagger::convert(&manifest.object, &all)?,
            (Some("argoproj.io"), "Rollout") => argo::convert(&manifest.object, &all)?,
            _ => continue,
        };
        found += 1;
        let title = manifest.title();
        for Lost { path, why } in &converted.lost {
            is_complete = false;
            eprintln!("{title}: {path}: {why}");
        }
        let report = checker.check(KanaryKind::Deployment, &converted.kanary).await;
        for problem in report.problems {
            is_complete = false;
            eprintln!("{title}: the Kanary needs an edit before it is run: {problem}");
        }
        for warning in report.warnings {
            eprintln!("{title}: note: {warning}");
        }
        if options.output == Format::Yaml {
            text += "---\n";
        }
        text += &options.output.write(&converted.kanary)?;
    }
    if found == 0 {
        bail!(
            "there is no Flagger Canary (flagger.app) and no Argo Rollout (argoproj.io) in {}",
            options.filename.join(", ")
        );
    }
    print(&text)?;
    Ok(if is_complete { Exit::Done } else { Exit::Incomplete })
}

/// The Kanary with this spec, called like its source.
fn kanary(source: &Value, spec: Value) -> Value {
    let mut metadata = json!({"name": source.pointer("/metadata/name")});
    if let (Some(namespace), Some(metadata)) = (source.pointer("/metadata/namespace"), metadata.as_object_mut()) {
        metadata.insert("namespace".to_owned(), namespace.clone());
    }
    json!({
        "apiVersion": KanaryKind::Deployment.api_version(),
        "kind": KanaryKind::Deployment.as_str(),
        "metadata": metadata,
        "spec": manifests::tidy(spec),
    })
}

/// Lists the fields of `value` that are not `known`, each with the reason that `why` has for it.
fn others(
    path: &str,
    value: Option<&Value>,
    known: &[&str],
    why: impl Fn(&str) -> Option<&'static str>,
    lost: &mut Vec<Lost>,
) {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    for (name, field) in fields.filter(|(name, field)| !known.contains(&name.as_str()) && !field.is_null()) {
        // An empty value asks for nothing, and neither does a switch that is off.
        let is_empty = field.as_object().is_some_and(serde_json::Map::is_empty)
            || field.as_array().is_some_and(Vec::is_empty)
            || *field == json!(false);
        if is_empty {
            continue;
        }
        lost.push(Lost::new(
            format!("{path}.{name}"),
            why(name).unwrap_or("a Kanary has no such setting"),
        ));
    }
}

/// The object of this kind and name among the files.
fn named<'a>(all: &'a [Manifest], kind: &str, name: &str) -> Option<&'a Value> {
    let is_named = |manifest: &&Manifest| manifest.kind() == kind && manifest.name() == name;
    all.iter().find(is_named).map(|manifest| &manifest.object)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// A number, also as text.
fn number(value: &Value, pointer: &str) -> Option<f64> {
    let value = value.pointer(pointer)?;
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn whole(value: &Value, pointer: &str) -> Option<u64> {
    let value = value.pointer(pointer)?;
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A duration like `1m`, or a number of seconds.
fn duration(value: &Value, pointer: &str) -> Option<GoDuration> {
    let value = value.pointer(pointer)?;
    if let Some(seconds) = value.as_u64() {
        return Some(GoDuration::from_secs(seconds));
    }
    let text = value.as_str()?.trim();
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(GoDuration::from_secs))
}

/// Replaces `{{ name }}`. Returns the names that `value_of` does not know.
fn fill(query: &str, value_of: impl Fn(&str) -> Option<String>) -> (String, Vec<String>) {
    let (mut filled, mut rest, mut unknown) = (String::new(), query, Vec::new());
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((name, after)) = behind.split_once("}}") else {
            break;
        };
        filled.push_str(before);
        if let Some(value) = value_of(name.trim()) {
            filled.push_str(&value);
        } else {
            filled.extend(["{{", name, "}}"]);
            unknown.push(name.trim().to_owned());
        }
        rest = after;
    }
    (filled + rest, unknown)
}

#[cfg(test)]
mod tests;
