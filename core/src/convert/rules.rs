//! What differs between the versions. The functions work on a spec without its template.

use serde_json::{Map, Value, json};

use super::{PATCHES, Version};
use crate::api::WorkloadKind;

/// Fields that only `v1alpha1` has. `v1` says the same otherwise, or they are no fields at all and only produce an error message.
pub(super) const ONLY_IN_V1ALPHA1: [&str; 10] = [
    "/deploymentName",
    "/statefulSetName",
    "/validations",
    "/items",
    "/validation/noUpdate",
    "/validation/manual",
    "/validation/labelWatch",
    "/validation/promQL",
    "/validation/metric",
    "/traffic/mirror/activate",
];

/// Fields of a validation item that have another name: the block, the name in `v1alpha1` and the name in `v1`.
pub(super) const RENAMED: [(&str, &str, &str); 2] = [
    ("promQL", "podNamekey", "podNameKey"),
    (
        "labelWatch",
        "deploymentInvalidationLabels",
        "workloadInvalidationLabels",
    ),
];

/// Names that the target has if no field names it, and its kind.
pub(super) struct Names<'a> {
    kind: WorkloadKind,
    template: Option<&'a str>,
    kanary: &'a str,
}

impl<'a> Names<'a> {
    pub(super) fn new(kind: WorkloadKind, template: Option<&'a Value>, kanary: &'a str) -> Self {
        let name = template.and_then(|template| template.pointer("/metadata/name"));
        Self {
            kind,
            template: name.and_then(given),
            kanary,
        }
    }
}

/// JSON Patches that bring a former spec back, each as an array of operations. Each can be left out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Undo(Vec<Value>);

impl Undo {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, operations: Vec<Value>) {
        if !operations.is_empty() {
            self.0.push(operations.into());
        }
    }

    /// These patches and former ones, as JSON. Their order counts, so the former ones stay as they are if nothing is new.
    pub(super) fn with(&self, former: Vec<Value>) -> String {
        let is_known = |patch| former.contains(patch);
        if self.0.iter().all(is_known) {
            return json!(former).to_string();
        }
        let mut all = self.0.clone();
        all.extend(former.into_iter().filter(|patch| !self.0.contains(patch)));
        all.truncate(PATCHES);
        json!(all).to_string()
    }
}

/// Translates a spec into the words of another version. What cannot be said there is taken out, and comes back with the patches.
pub(super) fn translate(spec: &mut Value, to: Version, names: &Names<'_>) -> Undo {
    let mut undo = Undo::default();
    match to {
        Version::V1 => {
            undo.push(one_validation(spec));
            undo.push(dry_run(spec));
            undo.push(mirror(spec));
            for pointer in ONLY_IN_V1ALPHA1 {
                // The target is looked for below.
                if !pointer.ends_with("Name") {
                    undo.push(take_out(spec, pointer));
                }
            }
            undo.push(named_target(spec, names));
        }
        Version::V1Alpha1 => {
            for pointer in ONLY_IN_V1ALPHA1 {
                undo.push(take_out(spec, pointer));
            }
            undo.push(missing_target(spec, names));
        }
    }
    // The last change comes back first.
    undo.0.reverse();
    rename(spec);
    undo
}

/// What a spec of this version means: its shortest form in `v1`.
pub(super) fn meaning(spec: &Value, version: Version, names: &Names<'_>) -> Value {
    let mut spec = spec.clone();
    if version == Version::V1 {
        let _lost = translate(&mut spec, Version::V1Alpha1, names);
    }
    let _lost = translate(&mut spec, Version::V1, names);
    spec
}

/// A name that is not empty. Go clients write an empty string for an absent one.
fn given(name: &Value) -> Option<&str> {
    name.as_str().filter(|name| !name.is_empty())
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

/// The operation that brings back the value that a field had.
fn restore(path: &str, former: Option<Value>) -> Value {
    match former {
        Some(value) => add(path, &value),
        None => json!({"op": "remove", "path": path}),
    }
}

/// The block at a pointer, if it is one.
fn block<'a>(spec: &'a mut Value, pointer: &str) -> Option<&'a mut Map<String, Value>> {
    spec.pointer_mut(pointer)?.as_object_mut()
}

/// Removes a field.
fn remove(spec: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    block(spec, parent)?.remove(name)
}

fn take_out(spec: &mut Value, pointer: &str) -> Vec<Value> {
    let former = remove(spec, pointer);
    former.into_iter().map(|value| add(pointer, &value)).collect()
}

/// `validations` becomes `validation`, unless both are there.
fn one_validation(spec: &mut Value) -> Vec<Value> {
    const ONE: &str = "/validation";
    let is_free = spec.pointer(ONE).is_none_or(Value::is_null);
    if !is_free || spec.get("validations").is_none_or(Value::is_null) {
        return Vec::new();
    }
    let Some(moved) = remove(spec, "/validations") else {
        return Vec::new();
    };
    let former = block(spec, "").and_then(|spec| spec.insert("validation".to_owned(), moved));
    let back = json!({"op": "move", "from": ONE, "path": "/validations"});
    let null = former.map(|null| add(ONE, &null));
    [Some(back), null].into_iter().flatten().collect()
}

/// `validation.noUpdate: true` becomes `rollout.mode: dry-run`.
fn dry_run(spec: &mut Value) -> Vec<Value> {
    let Some(no_update) = remove(spec, "/validation/noUpdate") else {
        return Vec::new();
    };
    let is_on = no_update == json!(true);
    let mut undo = vec![add("/validation/noUpdate", &no_update)];
    if !is_on {
        return undo;
    }
    if let Some(rollout) = block(spec, "/rollout") {
        let former = rollout.insert("mode".to_owned(), "dry-run".into());
        if former != Some("dry-run".into()) {
            undo.push(restore("/rollout/mode", former));
        }
    } else if let Some(spec) = block(spec, "") {
        let former = spec.insert("rollout".to_owned(), json!({"mode": "dry-run"}));
        undo.push(restore("/rollout", former));
    }
    undo
}

/// `traffic.mirror.activate: true` becomes `traffic.source: mirror`, unless it contradicts another source.
fn mirror(spec: &mut Value) -> Vec<Value> {
    let Some(activate) = remove(spec, "/traffic/mirror/activate") else {
        return Vec::new();
    };
    let is_on = activate == json!(true);
    let mut undo = vec![add("/traffic/mirror/activate", &activate)];
    let source = spec.pointer("/traffic/source");
    let is_free = source.is_none_or(|source| source.is_null() || source == "none");
    if let Some(traffic) = block(spec, "/traffic").filter(|_| is_on && is_free) {
        let former = traffic.insert("source".to_owned(), "mirror".into());
        undo.push(restore("/traffic/source", former));
    }
    undo
}

/// The field that names the target becomes `targetRef`. A `targetRef` that is there is the target.
fn named_target(spec: &mut Value, names: &Names<'_>) -> Vec<Value> {
    let stateful_set = remove(spec, "/statefulSetName");
    let deployment = remove(spec, "/deploymentName");
    let name = |value: &Option<Value>| value.as_ref().and_then(given).map(str::to_owned);
    let (kind, target) = match (name(&stateful_set), name(&deployment)) {
        (Some(name), _) => (WorkloadKind::StatefulSet, Some(name)),
        (None, Some(name)) => (WorkloadKind::Deployment, Some(name)),
        (None, None) => (names.kind, None),
    };
    let mut undo = set_target(spec, kind, target.as_deref(), names);
    undo.extend(stateful_set.map(|name| add("/statefulSetName", &name)));
    undo.extend(deployment.map(|name| add("/deploymentName", &name)));
    undo
}

/// A `v1` without a target is invalid; the default makes it the same Kanary in both versions.
fn missing_target(spec: &mut Value, names: &Names<'_>) -> Vec<Value> {
    set_target(spec, names.kind, None, names)
}

/// Sets `targetRef` if it is missing, and returns how to undo it.
fn set_target(spec: &mut Value, kind: WorkloadKind, name: Option<&str>, names: &Names<'_>) -> Vec<Value> {
    let name = name.or(names.template).unwrap_or(names.kanary);
    let is_missing = spec.get("targetRef").is_none_or(Value::is_null);
    let Some(spec) = block(spec, "").filter(|_| is_missing && !name.is_empty()) else {
        return Vec::new();
    };
    let target = json!({"kind": kind.as_str(), "name": name});
    vec![restore("/targetRef", spec.insert("targetRef".to_owned(), target))]
}

/// Gives fields of items their other name. If both are there they change places, so nothing is lost.
fn rename(spec: &mut Value) {
    let items = spec.pointer_mut("/validation/items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten() {
        for (name, one, other) in RENAMED {
            let Some(fields) = item.get_mut(name).and_then(Value::as_object_mut) else {
                continue;
            };
            let (former, latter) = (fields.remove(one), fields.remove(other));
            fields.extend(former.map(|value| (other.to_owned(), value)));
            fields.extend(latter.map(|value| (one.to_owned(), value)));
        }
    }
}
