//! Values with the schema of their kind, which determines their fields and the keys of their lists.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fields::{Fields, shown};
use super::list_types::{BuiltIn, ListType, ListTypes};

/// A position in the schema of a kind.
#[derive(Clone)]
pub(super) struct Place<'a> {
    lists: &'a dyn ListTypes,
    path: Vec<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn root(lists: &'a dyn ListTypes) -> Self {
        Self { lists, path: vec![] }
    }

    pub(super) fn field(&self, name: &'a str) -> Self {
        let mut below = self.clone();
        below.path.push(name);
        below
    }

    /// The schema at this position. That of `metadata` does not depend on the kind.
    fn structure(&self) -> &'a dyn ListTypes {
        match self.path.first() {
            Some(&"metadata") => &BuiltIn,
            _ => self.lists,
        }
    }

    pub(super) fn is_atomic_map(&self) -> bool {
        self.structure().is_atomic_map(&self.path)
    }

    pub(super) fn is_atomic_list(&self) -> bool {
        self.list_type() == ListType::Atomic
    }

    fn list_type(&self) -> ListType {
        self.structure().list_type(&self.path)
    }

    /// The elements of a list with their identifiers: `k:{"name":"main"}` or `v:"x"`. `check` must have ruled out
    /// elements without an identifier.
    pub(super) fn index<'v>(&self, list: &'v [Value]) -> Vec<(String, &'v Value)> {
        let list_type = self.list_type();
        list.iter()
            .filter_map(|item| Some((self.element(&list_type, item).ok()?, item)))
            .collect()
    }

    fn element(&self, list_type: &ListType, item: &Value) -> Result<String, String> {
        let ListType::Map(names) = list_type else {
            return match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(format!("v:{scalar}")),
            };
        };
        let item = match item {
            Value::Object(item) => item,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let keys: Map<String, Value> = names
            .iter()
            .filter_map(|name| {
                let value = item.get(name).cloned();
                Some((
                    name.clone(),
                    value.or_else(|| self.structure().key_default(&self.path, name))?,
                ))
            })
            .collect();
        if keys.is_empty() {
            let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
                 values for any key fields)",
                names.join(" ")
            ));
        }
        Ok(format!("k:{}", Value::Object(keys)))
    }
}

/// The first problem with the lists of a value, with its path: elements without keys, and, unless `duplicates` is set,
/// elements with the same keys.
pub(super) fn check(value: &Value, place: &Place<'_>, duplicates: bool) -> Vec<String> {
    match value {
        Value::Object(object) if !place.is_atomic_map() => {
            let below = object.iter().flat_map(|(name, value)| {
                let errors = check(value, &place.field(name), duplicates);
                errors.into_iter().map(move |error| format!(".{name}{error}"))
            });
            below.collect()
        }
        Value::Array(list) if !place.is_atomic_list() => check_list(list, place, duplicates),
        _ => vec![],
    }
}

fn check_list(list: &[Value], place: &Place<'_>, duplicates: bool) -> Vec<String> {
    let list_type = place.list_type();
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, item) in list.iter().enumerate() {
        match place.element(&list_type, item) {
            Err(error) => errors.push(format!(": element {index}: {error}")),
            Ok(element) => {
                let shown = shown(&element);
                errors.extend(
                    check(item, place, duplicates)
                        .into_iter()
                        .map(|error| format!("{shown}{error}")),
                );
                if !seen.insert(element) && !duplicates {
                    errors.push(format!(": duplicate entries for key {shown}"));
                }
            }
        }
    }
    errors
}

/// The fields of a value: its leaves and the elements of its lists.
pub(super) fn fields_of(value: &Value, place: &Place<'_>) -> Fields {
    let mut fields = Fields::default();
    match value {
        Value::Object(object) if !place.is_atomic_map() => {
            for (name, value) in object {
                let mut below = fields_of(value, &place.field(name));
                below.member |= value.as_object().is_some_and(Map::is_empty);
                fields.set(format!("f:{name}"), below);
            }
        }
        Value::Array(list) if !place.is_atomic_list() => {
            for (element, item) in place.index(list) {
                let repeated = fields.get(&element).is_some();
                let mut below = if repeated {
                    Fields::default()
                } else {
                    fields_of(item, place)
                };
                below.member = true;
                fields.set(element, below);
            }
        }
        _ => fields.member = true,
    }
    fields
}

/// Removes fields from a value. Values that become empty are removed as well, or replaced by `emptied`.
pub(super) fn without(value: &Value, fields: &Fields, place: &Place<'_>, emptied: Option<&Value>) -> Option<Value> {
    let kept = |element: &str, value: &Value, place: &Place<'_>| match fields.get(element) {
        Some(below) if below.member => None,
        Some(below) if !below.is_empty() => without(value, below, place, emptied),
        _ => Some(value.clone()),
    };
    let left = match value {
        Value::Object(object) => {
            let left = object.iter().filter_map(|(name, value)| {
                let value = kept(&format!("f:{name}"), value, &place.field(name))?;
                Some((name.clone(), value))
            });
            let left: Map<_, _> = left.collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(list) => {
            let left = place.index(list).into_iter();
            let left: Vec<_> = left.filter_map(|(element, item)| kept(&element, item, place)).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        scalar => Some(scalar.clone()),
    };
    left.or_else(|| emptied.cloned())
}
