//! Edits of any field of a spec to a random value, which usually matches the schema.
//!
//! The values need not be valid as a whole: the API server then refuses the edit.

use std::sync::LazyLock;

use kanary_core::api;
use serde_json::{Map, Value, json};

/// The schema of a Kanary's spec in the CRD.
static SPEC: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(&api::crds(&[api::KanaryKind::Deployment])[0]).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"].clone()
});

/// One out of this many generated values does not match the schema.
const WRONG: usize = 12;

/// Fields that are edited elsewhere, because the schema does not describe their content.
const ELSEWHERE: [&str; 1] = ["template"];

/// Changes a random field of a spec.
pub(super) fn edit(rng: &mut fastrand::Rng, spec: &mut Value) {
    change(rng, &SPEC, "", spec, 0);
}

/// True with a probability of one in `many`.
fn one_in(rng: &mut fastrand::Rng, many: usize) -> bool {
    rng.usize(..many) == 0
}

fn pick<'a, T>(rng: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

fn change(rng: &mut fastrand::Rng, schema: &Value, name: &str, value: &mut Value, depth: usize) {
    let Some(properties) = schema["properties"].as_object() else {
        match value {
            Value::Array(items) => change_list(rng, &schema["items"], name, items, depth),
            _ => *value = generate(rng, schema, name, depth),
        }
        return;
    };
    if !value.is_object() || one_in(rng, 20) {
        *value = generate(rng, schema, name, depth);
        return;
    }
    let fields = value.as_object_mut().unwrap();
    let known = properties.keys().filter(|name| !ELSEWHERE.contains(&name.as_str()));
    let (present, all): (Vec<_>, Vec<_>) = (
        known.clone().filter(|name| fields.contains_key(*name)).collect(),
        known.collect(),
    );
    let among = if present.is_empty() || one_in(rng, 3) {
        all
    } else {
        present
    };
    let name = *pick(rng, &among);
    let (schema, is_there) = (&properties[name], fields.contains_key(name));
    match rng.u8(..6) {
        0 if is_there => {
            fields.remove(name);
        }
        1..=3 if is_there => change(rng, schema, name, &mut fields[name], depth + 1),
        _ => {
            fields.insert(name.clone(), generate(rng, schema, name, depth + 1));
        }
    }
}

fn change_list(rng: &mut fastrand::Rng, schema: &Value, name: &str, items: &mut Vec<Value>, depth: usize) {
    let index = rng.usize(..=items.len());
    match rng.u8(..5) {
        0 => items.insert(index, generate(rng, schema, name, depth + 1)),
        _ if index == items.len() => items.push(generate(rng, schema, name, depth + 1)),
        1 => {
            items.remove(index);
        }
        2 => items.rotate_left(1),
        _ => change(rng, schema, name, &mut items[index], depth + 1),
    }
}

/// A random value that matches a schema.
fn generate(rng: &mut fastrand::Rng, schema: &Value, name: &str, depth: usize) -> Value {
    if one_in(rng, WRONG) {
        return wrong(rng);
    }
    if let Some(choices) = schema["enum"].as_array() {
        return pick(rng, choices).clone();
    }
    match schema["type"].as_str() {
        Some("boolean") => json!(rng.bool()),
        Some("integer") => json!(integer(rng, schema)),
        Some("number") => json!(*pick(rng, &[0.0, 0.5, 1.0, 0.2, 100.0, -1.0, 1e9])),
        Some("string") => json!(text(rng, name)),
        Some("array") => {
            let number = rng.usize(..3);
            let items = (0..number).map(|_| generate(rng, &schema["items"], name, depth + 1));
            items.collect()
        }
        _ if schema["properties"].is_object() => object(rng, schema, depth),
        _ => free(rng, name),
    }
}

/// A value of the wrong type, or far out of bounds.
fn wrong(rng: &mut fastrand::Rng) -> Value {
    pick(
        rng,
        &[
            json!(null),
            json!(""),
            json!("never"),
            json!(-1),
            json!(2_147_483_647),
            json!({}),
            json!([]),
            json!(true),
            json!("{{ nothing }}"),
        ],
    )
    .clone()
}

fn integer(rng: &mut fastrand::Rng, schema: &Value) -> i64 {
    let bound = |name: &str| schema[name].as_f64();
    #[allow(clippy::cast_possible_truncation, reason = "bounds are small numbers")]
    let (least, most) = (
        bound("minimum").map_or(0, |least| least as i64),
        bound("maximum").map_or(8, |most| most as i64),
    );
    match rng.u8(..8) {
        0 => least - 1,
        1 => most,
        2 => most + 1,
        _ => least + rng.i64(0..=(most - least).min(4)),
    }
}

/// An object with the required fields and some others. Of mutually exclusive fields it has one.
fn object(rng: &mut fastrand::Rng, schema: &Value, depth: usize) -> Value {
    let properties = schema["properties"].as_object().unwrap();
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let mut fields = Map::new();
    let mut chosen: Vec<String> = Vec::new();
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut excluding = Vec::new();
    for rule in rules {
        let names = alternatives(rule["rule"].as_str().unwrap_or_default());
        if !names.is_empty() {
            chosen.push(pick(rng, &names).clone());
            excluding.extend(names);
        }
    }
    for (name, schema) in properties {
        let excluded = excluding.contains(name) && !chosen.contains(name);
        let needed = chosen.contains(name) || required.iter().any(|required| *required == name);
        let wanted = needed || (!excluded && depth < 10 && one_in(rng, 5));
        if wanted && !ELSEWHERE.contains(&name.as_str()) {
            fields.insert(name.clone(), generate(rng, schema, name, depth + 1));
        }
    }
    Value::Object(fields)
}

/// The mutually exclusive fields in a rule, which counts the fields that are set or requires one to be set and another
/// not.
fn alternatives(rule: &str) -> Vec<String> {
    if !rule.contains(".size() == 1") && !rule.contains(".size() <= 1") && !rule.contains(") != (has") {
        return Vec::new();
    }
    let mut names = Vec::new();
    for part in rule.split("has(self.").skip(1) {
        let name: String = part.chars().take_while(|char| char.is_alphanumeric()).collect();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A plausible text for a field with this name.
fn text(rng: &mut fastrand::Rng, name: &str) -> String {
    let some: &[&str] = match name {
        "initialDelay" | "validationPeriod" | "progressDeadline" => &[
            "0s", "1s", "4s", "7s", "12s", "20s", "40s", "1m30s", "1h", "500ms", "0.5s", "-1s", "5", "soon",
        ],
        "interval" | "maxIntervalPeriod" => &["1s", "2s", "3s", "5s", "20s", "1h", "50ms", "0s", "1 s"],
        "schedule" => {
            let second = rng.u32(..180);
            return match rng.u8(..6) {
                0 => "tomorrow".to_owned(),
                1 => String::new(),
                _ => format!("2026-11-22T12:{:02}:{:02}Z", second / 60, second % 60),
            };
        }
        "prometheusService" => &[
            "moody0:9090",
            "moody1:9090",
            "moody2:9090",
            "moody3:9090",
            "dead:9090",
            "html",
            "",
        ],
        "prometheusURL" => &["http://moody1:9090", "http://moody2:9090/", "ftp://x", "moody"],
        "query" => return super::metrics::query(rng).to_owned(),
        "podNamekey" => &["pod", "instance", "exported_pod", ""],
        "key" => &["code", "pod", "namespace"],
        "goodValues" => &["200", "204"],
        "badValues" => &["500", "503", "200"],
        "serviceName" => &["app00-svc", "app01-svc", "app02-svc", "nowhere", ""],
        "kanaryService" => &["mine", "app00-svc", "app01-canary"],
        "deploymentName" => &["app00", "app01", "other"],
        _ => &["a", "kanary", "x.y", "UPPER", ""],
    };
    (*pick(rng, some)).to_owned()
}

/// A value for a field without a schema.
fn free(rng: &mut fastrand::Rng, name: &str) -> Value {
    match name {
        "podInvalidationLabels" | "deploymentInvalidationLabels" => pick(
            rng,
            &[
                json!({"alert": "high-cpu"}),
                json!({"alert": "other"}),
                json!({"matchLabels": {"alert": "high-cpu"}}),
                json!({"matchExpressions": [{"key": "alert", "operator": "Exists"}]}),
                json!({"matchExpressions": [{"key": "alert", "operator": "Sometimes"}]}),
            ],
        )
        .clone(),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// `validation` has two accepted names.
    fn spec(validation: &str) -> Value {
        json!({
            "deploymentName": "app", "template": {"spec": {}}, "traffic": {"source": "none"},
            validation: {"items": [{"manual": {"status": "valid"}}]},
        })
    }

    /// The paths of all fields in the schema, at any depth.
    fn fields(schema: &Value, path: &str, all: &mut Vec<String>) {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if !ELSEWHERE.contains(&name.as_str()) {
                let path = format!("{path}.{name}");
                fields(schema, &path, all);
                fields(&schema["items"], &path, all);
                all.push(path);
            }
        }
    }

    fn count(value: &Value, path: &str, seen: &mut BTreeMap<String, u32>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    count(value, &path, seen);
                    *seen.entry(path).or_default() += 1;
                }
            }
            Value::Array(items) => items.iter().for_each(|item| count(item, path, seen)),
            _ => {}
        }
    }

    #[test]
    fn edits_reach_every_field_of_the_schema() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut all, mut seen) = (Vec::new(), BTreeMap::new());
        fields(&SPEC, "", &mut all);
        for number in 0..200_000 {
            let mut spec = spec(if number % 2 == 0 { "validation" } else { "validations" });
            for _ in 0..8 {
                edit(&mut rng, &mut spec);
            }
            count(&spec, "", &mut seen);
        }
        let missed: Vec<_> = all.iter().filter(|path| !seen.contains_key(*path)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        assert!(all.len() > 60, "{all:?}");
    }

    #[test]
    fn of_what_excludes_each_other_one_is_chosen() {
        let items = &SPEC["properties"]["validation"]["properties"]["items"]["items"];
        let mut rng = fastrand::Rng::with_seed(2);
        let mut kinds = BTreeMap::<String, u32>::new();
        for _ in 0..200 {
            for (kind, _) in object(&mut rng, items, 5).as_object().unwrap() {
                *kinds.entry(kind.clone()).or_default() += 1;
            }
        }
        assert_eq!(kinds.values().sum::<u32>(), 200, "{kinds:?}");
        assert_eq!(kinds.len(), 4, "{kinds:?}");
    }
}
