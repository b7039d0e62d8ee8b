//! Compares the results with recorded answers of kube-apiserver 1.36 for the same objects.

mod kanaries;
mod parts;

use serde_json::{Value, json};

use super::Schema;
use crate::failure::Cause;

/// An object and the recorded answer.
struct Answer {
    new: Value,
    old: Option<Value>,
    refused: Vec<(String, String, String)>,
    stored: Option<Value>,
}

fn answers(lines: &str) -> Vec<Answer> {
    let read = |line: &str| {
        let answer: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let refused = answer["refused"].as_array().map_or(&[][..], Vec::as_slice);
        Answer {
            new: answer["new"].clone(),
            old: answer.get("old").cloned(),
            refused: refused
                .iter()
                .map(|c| (text(&c[0]), text(&c[1]), text(&c[2])))
                .collect(),
            stored: answer.get("stored").cloned(),
        }
    };
    lines.lines().map(read).collect()
}

fn schema_of(crd: &str) -> Schema {
    let crd: Value = serde_yaml_ng::from_str(crd).unwrap();
    Schema::compile(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]).unwrap()
}

fn sample() -> Schema {
    schema_of(include_str!("sample.yaml"))
}

/// The object as kube-apiserver decodes it.
fn decoded(schema: &Schema, spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "test.dev/v1", "kind": "Sample", "metadata": {"name": "s"}, "spec": spec});
    schema.prune(&mut object);
    schema.default(&mut object);
    object
}

fn sorted(causes: Vec<Cause>) -> Vec<(String, String, String)> {
    let mut causes: Vec<_> = causes
        .into_iter()
        .map(|c| (c.reason.to_owned(), c.message, c.field))
        .collect();
    causes.sort();
    causes
}

/// The answer has `2` in place of `2.0`.
fn as_written(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64().is_some_and(|it| it.fract() == 0.0 && it.abs() < 1e15) => {
            json!(format!("{}", number.as_f64().unwrap()).parse::<i64>().unwrap())
        }
        Value::Array(items) => items.iter().map(as_written).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), as_written(value)))
            .collect(),
        other => other.clone(),
    }
}

/// All differences from the recorded answers.
fn differences(schema: &Schema, lines: &str, with_template: bool) -> Vec<String> {
    let whole = |spec: &Value| {
        let mut spec = spec.clone();
        if with_template && spec.get("template").is_none() {
            spec["template"] = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"anything": [1, {"x": null}]}});
        }
        decoded(schema, &spec)
    };
    let mut different = Vec::new();
    for answer in answers(lines) {
        let new = whole(&answer.new);
        let old = answer.old.as_ref().map(whole);
        let refused = sorted(schema.validate(&new, old.as_ref()));
        let mut expected = answer.refused;
        expected.sort();
        if refused != expected {
            different.push(format!("{}:\n  expected {expected:#?}\n  got {refused:#?}", answer.new));
        }
        if let Some(stored) = answer.stored
            && as_written(&new["spec"]) != as_written(&stored)
        {
            different.push(format!("{}:\n  expected {stored}\n  got {}", answer.new, new["spec"]));
        }
    }
    different
}

#[test]
fn every_kind_of_error_is_reported_as_an_api_server_reports_it() {
    let different = differences(&sample(), include_str!("sample.jsonl"), false);
    assert!(different.is_empty(), "{}", different.join("\n"));
}
