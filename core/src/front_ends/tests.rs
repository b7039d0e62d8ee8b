//! Messages of the engine name no field that an object of a front end does not have.

use std::{fs, path::Path};

use serde_json::Value;

use super::{in_words, of};
use crate::api::{KanaryKind, crds};

/// Files and folders whose messages are about what no front end asks for.
const ELSEWHERE: [&str; 12] = [
    "activate/in_place.rs",
    "parse.rs",
    "parse/in_place.rs",
    "parse/traffic.rs",
    "pause.rs",
    "placement.rs",
    "restoring.rs",
    "scale.rs",
    "scale/keda.rs",
    "validation/parse.rs",
    "workload/daemon_set.rs",
    "workload/stateful_set.rs",
];

/// The same for a `CanaryDeployment`, which has no Service, no route and no query.
const NOT_OF_TRACKS: [&str; 4] = ["named.rs", "routing/", "services.rs", "validation/promql/"];

/// The same for a `CanaryApp`, which has no metrics and whose template Kanary makes.
const NOT_OF_APPS: [&str; 2] = ["reconcile/measure.rs", "template.rs"];

/// The beginnings of other messages about what no front end asks for.
const UNREACHED: [&str; 30] = [
    ", or set allPodsQuery",
    "Service {name} is of type ExternalName",
    "Service {} belongs to {owner}",
    "Service {name} selects pods of canaries",
    "a comparison leaves out what it does not find",
    "a scalar where a series per",
    "evidenceQuery ",
    "interval is {}, and the query is asked every",
    "no route of the namespace leads to",
    "query never has the label",
    "query yields only values that are good",
    "several routes lead to",
    "so it is not the canary that spec.scale asks for",
    "spec.paused is true",
    "spec.rollout.rollbackOnFailure is false",
    "spec.scale.inPlace was added or removed",
    "spec.scale.keda ",
    "spec.scale.nodes ",
    "spec.traffic.kanaryService ",
    "spec.traffic.source is none",
    "spec.verdict ",
    "the canary's Service would be called",
    "the gateway of {} ({name}) ignores sessionPersistence",
    "valueInRange.min ",
    "{name} does not exist and is not created, because",
    "{last} ({silence} in a row without data",
    "{why} ({good} at the deadline",
    "{} belongs to {owner}",
    "{} is kept and {requests}, because",
    "{}: write exactly one of valueInRange",
];

/// Fields of a Kanary, as messages name them without `spec.`.
const FIELDS: [&str; 12] = [
    "podNamekey",
    "evidenceQuery",
    "allPodsQuery",
    "noResult",
    "onNoData",
    "valueInRange",
    "initialDelay",
    "maxIntervalPeriod",
    "kanaryService",
    "labelWatch",
    "use promQL",
    "another Kanary",
];

/// The texts in the code of a file, without those of its tests.
fn texts(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "");
    let (mut texts, mut rest) = (Vec::new(), code.as_str());
    while let Some((_, opened)) = rest.split_once('"') {
        let mut is_escaped = false;
        let end = opened.find(|char| {
            let ends = char == '"' && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            ends
        });
        let (text, after) = opened.split_at(end.unwrap_or(opened.len()));
        let parts = text.split("\\\n").enumerate();
        let joined = parts.map(|(number, part)| if number == 0 { part } else { part.trim_start() });
        texts.push(joined.collect::<String>().replace("\\\"", "\""));
        rest = after.strip_prefix('"').unwrap_or_default();
    }
    texts
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "api", "convert", "front_ends", "route"].contains(&name) {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The fields of `spec` that a message names and the kind does not have.
fn unknown(message: &str, known: &Value) -> Vec<String> {
    let message = message.replace(".spec.", "./");
    let named = message.split("spec.").skip(1).filter_map(|after| {
        let end = after.find(|char: char| !char.is_ascii_alphanumeric());
        let field = &after[..end.unwrap_or(after.len())];
        (!field.is_empty() && known.get(field).is_none()).then(|| format!("spec.{field}"))
    });
    let others = FIELDS.iter().filter(|field| message.contains(**field));
    named.chain(others.map(|field| (*field).to_owned())).collect()
}

#[test]
fn messages_name_no_field_that_a_front_end_does_not_have() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (root, shell) = (package.join("src"), package.join("../src"));
    let mut paths = Vec::new();
    files(&root, &mut paths);
    files(&shell.join("reconcile"), &mut paths);
    let mut wrong = Vec::new();
    let mut number = 0;
    for (kind, others) in [
        (KanaryKind::CanaryApp, &NOT_OF_APPS[..]),
        (KanaryKind::CanaryDeployment, &NOT_OF_TRACKS[..]),
    ] {
        let crd = serde_json::to_value(crds(&[kind])).unwrap();
        let known = &crd[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        assert!(known.get("retry").is_some(), "{known}");
        for path in &paths {
            let relative = path.strip_prefix(&root).or_else(|_| path.strip_prefix(&shell));
            let relative = relative.unwrap().to_str().unwrap();
            if ELSEWHERE.iter().chain(others).any(|name| relative.starts_with(name)) {
                continue;
            }
            for text in texts(&fs::read_to_string(path).unwrap()) {
                if UNREACHED.iter().any(|start| text.starts_with(start)) || !text.contains(' ') {
                    continue;
                }
                number += 1;
                let text = text.replace("spec.traffic.source {}", "spec.traffic.source weighted");
                let told = in_words(
                    of(kind).unwrap(),
                    text.replace("is the {} that", "is the Deployment that"),
                );
                let fields = unknown(&told, known);
                if !fields.is_empty() {
                    wrong.push(format!("{kind}: {fields:?} in {}: {told}", path.display()));
                }
            }
        }
    }
    assert!(number > 500, "{number} messages were found");
    assert_eq!(wrong, Vec::<String>::new());
}
