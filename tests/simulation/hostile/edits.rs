//! Kanaries of hostile users: their first spec and their edits.

use kanary_sim::controllers::LABEL;
use serde_json::{Value, json};

use super::{
    metrics::{self, BAD, WORSE},
    schema,
};
use crate::case::{Case, Maker, merge, template};

fn pick<T: Clone>(rng: &mut fastrand::Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

/// A random suffix for the images of a version.
fn suffix(rng: &mut fastrand::Rng) -> &'static str {
    pick(rng, &["", "", "", "", BAD, BAD, WORSE, "-never-ready", "-crash"])
}

fn item(rng: &mut fastrand::Rng) -> Value {
    match rng.u8(..8) {
        0 => json!({"manual": {"statusAfterDeadline": "valid"}}),
        1 => json!({"manual": {"statusAfterDeadline": pick(rng, &["none", "valid", "invalid"])}}),
        2 => json!({"manual": {"status": pick(rng, &["valid", "invalid"])}}),
        3 => json!({"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}}),
        _ => metrics::item(rng),
    }
}

fn items(rng: &mut fastrand::Rng) -> Value {
    let number = rng.usize(1..=3);
    (0..number).map(|_| item(rng)).collect()
}

fn traffic(rng: &mut fastrand::Rng) -> Value {
    json!({"source": pick(rng, &["none", "service", "service", "both", "kanary-service"])})
}

fn scale(rng: &mut fastrand::Rng) -> Value {
    match rng.u8(..6) {
        0 => json!({"percent": {"value": pick(rng, &[10, 50, 100])}}),
        1 => json!({"hpa": {"maxReplicas": 3}}),
        _ => json!({"static": {"replicas": rng.u8(1..4)}}),
    }
}

fn rollout(rng: &mut fastrand::Rng) -> Value {
    let mut rollout = json!({"progressDeadline": pick(rng, &["10s", "30s", "10m"])});
    let more = [
        ("onFailure", json!("retain")),
        ("onTargetChange", json!("promote")),
        ("rollbackOnFailure", json!(true)),
        ("mode", json!("dry-run")),
    ];
    for (name, value) in more {
        if rng.u8(..5) == 0 {
            rollout[name] = value;
        }
    }
    rollout
}

/// A Kanary about which the checker assumes nothing.
pub(super) fn case(rng: &mut fastrand::Rng, index: usize, target: String) -> Case {
    let (items, suffix) = (items(rng), suffix(rng));
    let mut spec = json!({"traffic": traffic(rng), "scale": scale(rng), "rollout": rollout(rng)});
    let (period, delay) = (rng.u8(3..25), rng.u8(..6));
    spec["validation"] = json!({"validationPeriod": format!("{period}s"), "maxIntervalPeriod": "2s"});
    if delay > 3 {
        spec["validation"]["initialDelay"] = json!(format!("{delay}s"));
    }
    if rng.u8(..8) == 0 {
        spec["verdict"] = json!(pick(rng, &["valid", "invalid"]));
    }
    let mut make = Maker {
        rng,
        name: format!("k{index:02}"),
        target,
        suffix,
    };
    let mut case = make.case("anything may happen", items, spec, &[]);
    case.has_target = rng.u8(..8) > 0;
    case.with(|truth| {
        (truth.hostile, truth.plain) = (true, false);
        (truth.edited, truth.shared) = (true, true);
    })
}

/// The pod template of another version.
fn next_template(rng: &mut fastrand::Rng, case: &Case, version: u32) -> Value {
    let target = &case.app;
    let image = format!("{target}:{}-{version}{}", case.name, suffix(rng));
    let mut template = template(target, &image);
    match rng.u8(..6) {
        0 => template["metadata"]["labels"]["track"] = json!(pick(rng, &["stable", "canary"])),
        1 => template["metadata"]["labels"][LABEL] = json!(pick(rng, &["slow", "ready"])),
        2 => template["metadata"]["annotations"] = json!({"version": version.to_string()}),
        _ => {}
    }
    template
}

/// Edits only the pod template.
fn edit_template(rng: &mut fastrand::Rng, case: &Case, version: u32, spec: &mut Value) {
    let template = object(object(object(spec, "template"), "spec"), "template");
    match rng.u8(..9) {
        // An additional environment variable with the same image.
        0 => {
            if let Some(container) = template.pointer_mut("/spec/containers/0").filter(|it| it.is_object()) {
                container["env"] = json!([{"name": "VERSION", "value": version.to_string()}]);
            }
        }
        1 => object(template, "spec")["containers"] = json!([]),
        2 => object(template, "metadata")["labels"] = json!({"app": "another"}),
        3 => *template = crate::case::template(&case.app, &format!("{}:v1", case.app)),
        _ => *template = next_template(rng, case, version),
    }
}

/// A field as an object, whatever it was before: the manifest in git need not be valid.
fn object<'a>(of: &'a mut Value, name: &str) -> &'a mut Value {
    let field = &mut of[name];
    if !field.is_object() {
        *field = json!({});
    }
    field
}

/// Changes the list of items.
fn edit_items(rng: &mut fastrand::Rng, spec: &mut Value) {
    let new = item(rng);
    let validation = object(spec, "validation");
    let Some(items) = validation["items"].as_array_mut() else {
        validation["items"] = json!([new]);
        return;
    };
    let index = rng.usize(..=items.len());
    match rng.u8(..4) {
        0 => items.insert(index, new),
        1 if index < items.len() => {
            items.remove(index);
        }
        2 if index < items.len() => items[index] = new,
        _ => items.reverse(),
    }
}

/// A user's edit of a Kanary's spec. `version` is a number that no earlier edit used. The target stays, even if the
/// Kanary is recreated with this spec: the API server refuses a change to it, which other tests cover.
pub(super) fn edit(rng: &mut fastrand::Rng, case: &Case, version: u32, spec: &mut Value) {
    edit_anything(rng, case, version, spec);
    if spec.is_object() {
        for name in ["deploymentName", "statefulSetName", "targetRef"] {
            spec[name] = case.manifest["spec"][name].clone();
        }
    }
}

fn edit_anything(rng: &mut fastrand::Rng, case: &Case, version: u32, spec: &mut Value) {
    let service = format!("{}-svc", case.app);
    if !spec.is_object() {
        *spec = json!({});
    }
    match rng.u8(..24) {
        0..=6 => {
            for _ in 0..rng.u8(1..4) {
                schema::edit(rng, spec);
            }
        }
        7..=11 => edit_template(rng, case, version, spec),
        12 => {
            // A verdict is set or removed together with the template.
            edit_template(rng, case, version, spec);
            spec["verdict"] = pick(rng, &[json!("valid"), json!("invalid"), Value::Null]);
        }
        13 | 14 => spec["verdict"] = pick(rng, &[json!("valid"), json!("invalid"), Value::Null]),
        15 => {
            let word = json!([{"manual": {"status": pick(rng, &["valid", "invalid"])}}]);
            object(spec, "validation")["items"] = word;
        }
        16 | 17 => edit_items(rng, spec),
        18 => spec["traffic"] = traffic(rng),
        19 => spec["serviceName"] = json!(pick(rng, &[service.as_str(), "app00-svc", "app01-svc", "nowhere"])),
        20 => spec["paused"] = json!(spec["paused"] != true),
        21 => spec["retry"] = json!(spec["retry"].as_i64().unwrap_or_default() + 1),
        22 => merge(object(spec, "rollout"), &rollout(rng)),
        _ => spec["scale"] = scale(rng),
    }
}
