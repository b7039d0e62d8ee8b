//! From JSON to the types of the API, field by field where that fails as a whole.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    api::{KanarySpec, RolloutSpec, ScaleSpec, TrafficSpec, ValidationItem, ValidationSpec},
    invalid::Invalid,
};

/// A spec, as far as it can be read.
#[derive(Default)]
pub(super) struct Read {
    /// Fields that cannot be read are absent.
    pub(super) spec: KanarySpec,
    /// Which validation items cannot be read. Each of them is there, empty, so that the others keep their places.
    pub(super) unreadable: BTreeSet<usize>,
}

/// Reads a spec. The schema of the CRD refuses most of what cannot be read, but not all of it: labels that are no strings, a
/// duration that is too long.
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
    // Where the block is there under both of its names, the items of the second follow those of the first.
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

/// Takes those fields out of an object that cannot be read as fields of a `T`. `needed` are fields that every `T` has.
fn prune<T: DeserializeOwned>(value: &mut Value, path: &str, needed: &Map<String, Value>, problems: &mut Vec<Invalid>) {
    let Some(fields) = value.as_object_mut() else {
        // An absent block is none; anything else is no block at all.
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

/// Empties the items that cannot be read. Of each item, whether it can.
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
