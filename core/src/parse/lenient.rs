//! Conversion of JSON to the API types, field by field if the whole cannot be converted.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    api::{KanarySpec, RolloutSpec, ScaleSpec, TrafficSpec, ValidationItem, ValidationSpec},
    invalid::Invalid,
};

/// The valid parts of a spec.
#[derive(Default)]
pub(super) struct Read {
    /// Invalid fields are absent.
    pub(super) spec: KanarySpec,
    /// Indices of invalid validation items. They are present but empty, so that the other items keep their places.
    pub(super) unreadable: BTreeSet<usize>,
}

/// Parses a spec. The CRD's schema refuses most invalid values, but not all: labels that are not strings, or a duration
/// that is too long.
pub(super) fn read(raw: &Value, problems: &mut Vec<Invalid>) -> Read {
    if let Ok(spec) = serde_json::from_value(raw.clone()) {
        return Read {
            spec,
            unreadable: BTreeSet::new(),
        };
    }
    let mut raw = raw.clone();
    let mut unreadable = BTreeSet::new();
    let nothing = Map::new();
    // If the block is present under both names, the items of the second follow those of the first.
    let mut place = 0;
    for name in ["validation", "validations"] {
        if let Some(block) = raw.get_mut(name) {
            let path = format!("spec.{name}");
            for is_readable in items(block, &path, problems) {
                if !is_readable {
                    unreadable.insert(place);
                }
                place += 1;
            }
            prune::<ValidationSpec>(block, &path, &nothing, problems);
        }
    }
    for (name, prune) in [
        ("rollout", prune::<RolloutSpec> as Prune),
        ("traffic", prune::<TrafficSpec>),
        ("scale", prune::<ScaleSpec>),
    ] {
        if let Some(block) = raw.get_mut(name) {
            prune(block, &format!("spec.{name}"), &nothing, problems);
        }
    }
    let template = Map::from_iter([("template".to_owned(), json!({"spec": {}}))]);
    prune::<KanarySpec>(&mut raw, "spec", &template, problems);
    if let Some(fields) = raw.as_object_mut() {
        for (name, needed) in template {
            fields.entry(name).or_insert(needed);
        }
    }
    let spec = serde_json::from_value(raw).unwrap_or_else(|error| {
        problems.push(Invalid::spec(format!("spec: {error}")));
        KanarySpec::default()
    });
    Read { spec, unreadable }
}

type Prune = fn(&mut Value, &str, &Map<String, Value>, &mut Vec<Invalid>);

/// Removes the fields of an object that cannot be parsed as fields of `T`. `needed` are the required fields of `T`.
fn prune<T: DeserializeOwned>(value: &mut Value, path: &str, needed: &Map<String, Value>, problems: &mut Vec<Invalid>) {
    let Some(fields) = value.as_object_mut() else {
        // Null counts as an absent block; any other value is invalid.
        if !value.is_null() {
            problems.push(Invalid::spec(format!("{path} is no map of fields: write it as one")));
            *value = Value::Object(Map::new());
        }
        return;
    };
    fields.retain(|name, field| {
        let mut alone = needed.clone();
        alone.insert(name.clone(), field.clone());
        let read = serde_json::from_value::<T>(Value::Object(alone));
        if let Err(error) = &read {
            problems.push(Invalid::spec(format!("{path}.{name}: {error}")));
        }
        read.is_ok()
    });
}

/// Replaces invalid items by empty ones. Returns for each item whether it is valid.
fn items(block: &mut Value, path: &str, problems: &mut Vec<Invalid>) -> Vec<bool> {
    let list = block.get_mut("items").and_then(Value::as_array_mut);
    let read = list.into_iter().flatten().enumerate().map(|(index, item)| {
        let read = serde_json::from_value::<ValidationItem>(item.clone());
        if let Err(error) = &read {
            problems.push(Invalid::spec(format!("{path}.items[{index}]: {error}")));
            *item = json!({});
        }
        read.is_ok()
    });
    read.collect()
}
