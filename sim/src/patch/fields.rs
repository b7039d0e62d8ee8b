//! Sets of fields in the format of `managedFields` (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A set of paths. The elements of a path are those of `FieldsV1`: `f:replicas`, `k:{"name":"main"}`, `v:"x"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// Whether the path that ends here is in the set. Always false for the root.
    pub(super) member: bool,
    below: BTreeMap<String, Fields>,
}

impl Fields {
    /// Parses `fieldsV1`.
    pub(super) fn from_json(value: &Value) -> Self {
        let mut read = Self::default();
        let Some(object) = value.as_object() else {
            return read;
        };
        read.member = object.is_empty() || object.contains_key(".");
        for (element, below) in object.iter().filter(|(element, _)| *element != ".") {
            read.below.insert(element.clone(), Self::from_json(below));
        }
        read
    }

    /// Formats the set as `fieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let below = self
            .below
            .iter()
            .map(|(element, fields)| (element.clone(), fields.to_json()));
        let mut written: Map<String, Value> = below.collect();
        if self.member && !written.is_empty() {
            written.insert(".".to_owned(), json!({}));
        }
        Value::Object(written)
    }

    /// Whether the set has no paths.
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Self::is_empty)
    }

    /// The subset below an element.
    pub(super) fn get(&self, element: &str) -> Option<&Self> {
        self.below.get(element)
    }

    /// Sets the subset below an element. An empty subset is left out, because `FieldsV1` would read it as a path.
    pub(super) fn set(&mut self, element: String, fields: Self) {
        if !fields.is_empty() {
            self.below.insert(element, fields);
        }
    }

    /// Adds a path.
    pub(super) fn insert(&mut self, path: &[String]) {
        match path.split_first() {
            None => self.member = true,
            Some((element, rest)) => self.below.entry(element.clone()).or_default().insert(rest),
        }
    }

    /// The paths in either set.
    #[must_use]
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.member |= other.member;
        for (element, theirs) in &other.below {
            let ours = both.below.entry(element.clone()).or_default();
            *ours = ours.union(theirs);
        }
        both
    }

    /// The paths in both sets.
    #[must_use]
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let shared = self.below.iter().filter_map(|(element, ours)| {
            let shared = ours.intersection(other.below.get(element)?);
            (!shared.is_empty()).then(|| (element.clone(), shared))
        });
        Self {
            member: self.member && other.member,
            below: shared.collect(),
        }
    }

    /// The paths in this set only.
    #[must_use]
    pub(super) fn difference(&self, other: &Self) -> Self {
        let left = self.below.iter().filter_map(|(element, ours)| {
            let left = other
                .below
                .get(element)
                .map_or_else(|| ours.clone(), |theirs| ours.difference(theirs));
            (!left.is_empty()).then(|| (element.clone(), left))
        });
        Self {
            member: self.member && !other.member,
            below: left.collect(),
        }
    }

    /// The paths whose first element satisfies `keep`.
    #[must_use]
    pub(super) fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut kept = self.clone();
        kept.below.retain(|element, _| keep(element));
        kept
    }

    /// Adds the fields that only contain other fields: a manager that owns all fields of a struct owns the struct.
    #[must_use]
    pub(super) fn with_structs(&self) -> Self {
        let below = self.below.iter().map(|(element, fields)| {
            let mut fields = fields.with_structs();
            fields.member |= element.starts_with("f:") && !fields.below.is_empty();
            (element.clone(), fields)
        });
        Self {
            member: self.member,
            below: below.collect(),
        }
    }

    /// All paths in readable form: `.spec.containers[name="main"].image`. A parent comes before its children.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        let shown: Vec<_> = self
            .below
            .iter()
            .map(|(element, fields)| (format!("{prefix}{}", shown(element)), fields))
            .collect();
        paths.extend(
            shown
                .iter()
                .filter(|(_, fields)| fields.member)
                .map(|(path, _)| path.clone()),
        );
        for (path, fields) in shown {
            fields.collect(&path, paths);
        }
    }
}

/// An element in readable form.
pub(super) fn shown(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{element}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &Value) -> Fields {
        Fields::from_json(value)
    }

    #[test]
    fn a_set_is_read_and_written() {
        let written = json!({"f:spec": {
            "f:replicas": {},
            "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:image": {}}},
        }, "f:finalizers": {"v:\"x\"": {}}});
        assert_eq!(fields(&written).to_json(), written);
    }

    #[test]
    fn a_difference_leaves_no_empty_parents() {
        let left = fields(&json!({"f:a": {"f:b": {}}, "f:c": {}})).difference(&fields(&json!({"f:a": {"f:b": {}}})));
        assert_eq!(left.to_json(), json!({"f:c": {}}));
    }

    #[test]
    fn a_difference_tells_a_field_from_what_is_below_it() {
        let left = fields(&json!({"f:a": {".": {}, "f:b": {}}})).difference(&fields(&json!({"f:a": {}})));
        assert_eq!(left.to_json(), json!({"f:a": {"f:b": {}}}));
    }

    #[test]
    fn an_intersection_has_what_both_have() {
        let shared =
            fields(&json!({"f:a": {"f:b": {}}, "f:c": {}})).intersection(&fields(&json!({"f:a": {}, "f:c": {}})));
        assert_eq!(shared.to_json(), json!({"f:c": {}}));
    }

    #[test]
    fn a_union_has_what_either_has() {
        let all = fields(&json!({"f:a": {"f:b": {}}})).union(&fields(&json!({"f:a": {}, "f:c": {}})));
        assert_eq!(all.to_json(), json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
    }

    #[test]
    fn paths_read_like_those_of_kubectl() {
        let set = fields(&json!({"f:spec": {
            "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
            "f:replicas": {},
        }, "f:finalizers": {"v:\"x\"": {}}}));
        assert_eq!(
            set.paths(),
            [
                ".finalizers[=\"x\"]",
                ".spec.replicas",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].port",
            ]
        );
    }
}
