//! Merges a configuration into an object and determines the changed fields.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::fields::Fields;
use super::typed::Place;

/// Merges `config` into `live`. Elements of lists that are in the configuration keep its order; the others keep their
/// order in the object.
pub(super) fn merged(live: Option<&Value>, config: &Value, place: &Place<'_>) -> Value {
    match (live, config) {
        (live, Value::Object(config)) if !place.is_atomic_map() => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in config {
                match value {
                    Value::Null => drop(merged.remove(name)),
                    value => {
                        let value = self::merged(merged.get(name), value, &place.field(name));
                        merged.insert(name.clone(), value);
                    }
                }
            }
            Value::Object(merged)
        }
        (live, Value::Array(config)) if !place.is_atomic_list() => {
            let live = live.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Value::Array(merged_list(live, config, place))
        }
        (_, config) => config.clone(),
    }
}

fn merged_list(live: &[Value], config: &[Value], place: &Place<'_>) -> Vec<Value> {
    let mut old: VecDeque<_> = place.index(live).into();
    let mut new: VecDeque<_> = place.index(config).into();
    let mut known: BTreeMap<String, Option<&Value>> = BTreeMap::new();
    for (element, item) in &old {
        // A duplicate element is not merged, because it is ambiguous with which one.
        known
            .entry(element.clone())
            .and_modify(|item| *item = None)
            .or_insert(Some(item));
    }
    let wanted: BTreeSet<_> = new.iter().map(|(element, _)| element.clone()).collect();
    let mut shared: VecDeque<_> = new
        .iter()
        .map(|(element, _)| element.clone())
        .filter(|element| known.contains_key(element))
        .collect();

    let mut out = Vec::new();
    let mut done = BTreeSet::new();
    while !(old.is_empty() && new.is_empty()) {
        if let Some((element, item)) = old.front().cloned() {
            if !wanted.contains(&element) {
                out.push(item.clone());
                old.pop_front();
                continue;
            }
            let next = new.front().is_some_and(|(next, _)| *next == element);
            if !next && (done.contains(&element) || shared.front() != Some(&element)) {
                // The element is placed where the configuration has it.
                old.pop_front();
                continue;
            }
            if next {
                old.pop_front();
            }
        }
        if let Some((element, item)) = new.pop_front() {
            out.push(merged(known.get(&element).copied().flatten(), item, place));
            if shared.front() == Some(&element) {
                shared.pop_front();
            }
            done.insert(element);
        }
    }
    out
}

/// The fields that a change affects.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) removed: Fields,
    /// New fields, and fields with a new value.
    pub(super) set: Fields,
}

/// Compares two versions of an object.
pub(super) fn changes(old: &Value, new: &Value, place: &Place<'_>) -> Changes {
    let mut changes = Changes::default();
    changes.compare(Some(old), Some(new), place, &mut Vec::new());
    changes
}

impl Changes {
    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>, place: &Place<'_>, path: &mut Vec<String>) {
        if old == new {
            return;
        }
        let members = Member::of(old, new, place);
        let is_leaf = members.is_empty();
        for (element, member) in members {
            let inner = member.name.map_or_else(|| place.clone(), |name| place.field(name));
            path.push(element);
            self.compare(member.old, member.new, &inner, path);
            path.pop();
        }
        match (old, new) {
            (Some(_), None) => self.removed.insert(path),
            (None, Some(_)) => self.set.insert(path),
            _ if is_leaf => self.set.insert(path),
            _ => {}
        }
    }
}

/// A map field or a list element in two versions.
#[derive(Default)]
struct Member<'a> {
    name: Option<&'a str>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
}

impl<'a> Member<'a> {
    /// All members of a value, by path element. `None` for values that change as a whole.
    fn of(old: Option<&'a Value>, new: Option<&'a Value>, place: &Place<'_>) -> BTreeMap<String, Self> {
        let mut members: BTreeMap<String, Self> = BTreeMap::new();
        let each_is = |is: fn(&Value) -> bool| old.into_iter().chain(new).all(is);
        if each_is(Value::is_object) && !place.is_atomic_map() {
            for (name, value) in old.and_then(Value::as_object).into_iter().flatten() {
                let member = members.entry(format!("f:{name}")).or_default();
                (member.name, member.old) = (Some(name.as_str()), Some(value));
            }
            for (name, value) in new.and_then(Value::as_object).into_iter().flatten() {
                let member = members.entry(format!("f:{name}")).or_default();
                (member.name, member.new) = (Some(name.as_str()), Some(value));
            }
        } else if each_is(Value::is_array) && !place.is_atomic_list() {
            for (element, item) in place.index(old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()) {
                members.entry(element).or_default().old = Some(item);
            }
            for (element, item) in place.index(new.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()) {
                members.entry(element).or_default().new = Some(item);
            }
        }
        members
    }
}
