//! The history of a run, printed with a violation.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
};

use jiff::Timestamp;
use kanary_core::api::names::SLOT;
use kanary_sim::cluster::Event;
use serde_json::Value;

use crate::target_kinds::TargetKind;

/// Maximum number of changes of each object in the output.
const TOLD: usize = 30;

/// The last changes of every object.
#[derive(Default)]
pub(crate) struct History {
    start: Option<Timestamp>,
    lines: BTreeMap<(String, String), VecDeque<(u64, String)>>,
}

impl History {
    /// Records a change.
    pub(crate) fn note(&mut self, event: &Event) {
        let start = *self.start.get_or_insert(event.at);
        let change = &event.change;
        let Some(object) = change.new.as_ref().or(change.last.as_ref()) else {
            return;
        };
        let what = match (&change.old, &change.new) {
            (None, _) => "created",
            (_, None) => "deleted",
            _ => "changed",
        };
        if !is_worth_telling(event) {
            return;
        }
        let edited = match (&change.old, &change.new) {
            (Some(old), Some(new)) if !event.actor.contains(':') => differences(&old.json(), &new.json()),
            _ => String::new(),
        };
        let line = format!(
            "{} {:<22} {what} {}/{}{}{edited}",
            seconds(start, event.at),
            event.actor,
            event.resource,
            object.meta.name,
            brief(&event.resource, &object.json())
        );
        let lines = self.lines.entry((event.resource.to_string(), object.meta.name.clone()));
        let lines = lines.or_default();
        lines.push_back((change.version, line));
        if lines.len() > TOLD {
            lines.pop_front();
        }
    }

    /// The changes of all objects whose name contains one of these texts.
    pub(crate) fn story(&self, names: &[&str]) -> String {
        let concerned = self
            .lines
            .iter()
            .filter(|((_, name), _)| names.iter().any(|part| name.contains(part)));
        let mut lines: Vec<_> = concerned.flat_map(|(_, lines)| lines).collect();
        lines.sort();
        let mut story = String::new();
        for (_, line) in lines {
            let _infallible = writeln!(story, "    {line}");
        }
        story
    }

    /// A time in the output format.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        seconds(self.start.unwrap_or(at), at)
    }
}

/// Whether a change is printed: actions of users and the controller, and the state of targets and canaries.
fn is_worth_telling(event: &Event) -> bool {
    let by_cluster = event.actor.starts_with("system:");
    let fares = |object: &kanary_sim::object::Object| object.json()["status"]["availableReplicas"].clone();
    match &*event.resource {
        resource if by_cluster && TargetKind::of_resource(resource).is_some() => {
            let (old, new) = (
                event.change.old.as_deref().map(fares),
                event.change.new.as_deref().map(fares),
            );
            old != new
        }
        _ => !by_cluster,
    }
}

/// The changed fields, except the status and those that the API server sets.
fn differences(old: &Value, new: &Value) -> String {
    let mut told = String::new();
    for field in [
        "/metadata/labels",
        "/metadata/annotations",
        "/metadata/finalizers",
        "/metadata/deletionTimestamp",
        "/spec",
    ] {
        let null = Value::Null;
        let (old, new) = (old.pointer(field).unwrap_or(&null), new.pointer(field).unwrap_or(&null));
        differ(field.rsplit('/').next().unwrap_or_default(), old, new, &mut told);
    }
    told
}

fn differ(path: &str, old: &Value, new: &Value, told: &mut String) {
    match (old, new) {
        (old, new) if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                differ(&format!("{path}.{name}"), &old[name], &new[name], told);
            }
        }
        _ => {
            let _infallible = write!(told, " [{path}: {old} -> {new}]");
        }
    }
}

fn seconds(start: Timestamp, at: Timestamp) -> String {
    let millis = at.duration_since(start).as_millis();
    format!("{:>7}.{:03}s", millis / 1000, millis % 1000)
}

/// The relevant fields of an object.
fn brief(resource: &str, object: &Value) -> String {
    let (spec, status) = (&object["spec"], &object["status"]);
    if resource.starts_with("kanary") || resource.starts_with("canary") {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let held: Vec<_> = conditions
            .filter(|condition| condition["status"] == "True")
            .map(|condition| format!("{}({})", text(&condition["type"]), text(&condition["reason"])))
            .collect();
        return format!(
            ": {} deadline {} of {} in slot {} by epoch {}",
            held.join(" "),
            text(&status["deadline"]),
            image(&spec["template"]["spec"]),
            text(&object["metadata"]["labels"][SLOT]),
            status["epoch"]
        );
    }
    match resource {
        resource if TargetKind::of_resource(resource).is_some() => format!(
            ": {} x{} ready {} available {} promoted by {}",
            image(spec),
            spec["replicas"],
            status["readyReplicas"],
            status["availableReplicas"],
            text(&object["metadata"]["annotations"]["kanary.k8s-operators.dev/promoted-by"])
        ),
        "pods" => format!(": {}", object["metadata"]["labels"]),
        "events" => format!(": {} {}", text(&object["reason"]), text(&object["message"])),
        _ => String::new(),
    }
}

/// A string, or an empty one.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// The image in the spec of a workload.
pub(crate) fn image(spec: &Value) -> String {
    let image = &spec["template"]["spec"]["containers"][0]["image"];
    image.as_str().unwrap_or_default().to_owned()
}
