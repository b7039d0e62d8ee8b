//! Indexes of selectors and labels, which avoid a scan of the whole namespace.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    object::{Meta, Object},
    selector::LabelSelector,
    store::Place,
};

type Labels = BTreeMap<String, String>;
/// Namespace, label key and label value.
type Pair = (String, String, String);

/// Selectors of the objects of one kind, by their first required label.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    by_pair: BTreeMap<Pair, BTreeSet<String>>,
    known: BTreeMap<Place, (Pair, LabelSelector)>,
}

#[derive(Deserialize)]
struct Selecting {
    spec: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    selector: Value,
}

/// Parses an object's `spec.selector` and nothing else.
fn selector_of(object: &Object) -> Value {
    let selecting: Option<Selecting> = object.parse();
    selecting
        .and_then(|selecting| selecting.spec)
        .map_or(Value::Null, |spec| spec.selector)
}

impl Selectors {
    /// Indexes the selector of a Deployment or a ReplicaSet.
    pub(super) fn set_workload(&mut self, object: &Object) {
        let selector = selector_of(object);
        let labels = crate::object::string_map(&selector["matchLabels"]);
        if let Ok(parsed) = LabelSelector::from_object(&selector) {
            self.set(object, &labels, parsed);
        }
    }

    /// Indexes the selector of a Service.
    pub(super) fn set_service(&mut self, object: &Object) {
        let labels = crate::object::string_map(&selector_of(object));
        self.set(object, &labels, LabelSelector::all(&labels));
    }

    fn set(&mut self, object: &Object, labels: &Labels, selector: LabelSelector) {
        let place = place_of(&object.meta);
        self.remove(&place);
        // An empty selector selects nothing.
        if selector.is_empty() {
            return;
        }
        let (key, value) = labels
            .first_key_value()
            .map_or_else(Default::default, |(key, value)| (key.clone(), value.clone()));
        let pair = (place.0.clone(), key, value);
        self.by_pair.entry(pair.clone()).or_default().insert(place.1.clone());
        self.known.insert(place, (pair, selector));
    }

    pub(super) fn remove(&mut self, place: &Place) {
        let Some((pair, _)) = self.known.remove(place) else {
            return;
        };
        if let Some(names) = self.by_pair.get_mut(&pair) {
            names.remove(&place.1);
            if names.is_empty() {
                self.by_pair.remove(&pair);
            }
        }
    }

    /// All objects with a selector.
    pub(super) fn all(&self) -> Vec<Place> {
        self.known.keys().cloned().collect()
    }

    /// The objects whose selectors match these labels.
    pub(super) fn selecting(&self, namespace: &str, labels: &Labels) -> BTreeSet<Place> {
        let pair = |key: &str, value: &str| (namespace.to_owned(), key.to_owned(), value.to_owned());
        let pairs = labels.iter().map(|(key, value)| pair(key, value)).chain([pair("", "")]);
        let places = pairs.flat_map(|pair| {
            let names = self.by_pair.get(&pair).into_iter().flatten();
            names
                .map(|name| (namespace.to_owned(), name.clone()))
                .collect::<Vec<_>>()
        });
        let selects = |place: &Place| {
            self.known
                .get(place)
                .is_some_and(|(_, selector)| selector.matches(labels))
        };
        places.filter(selects).collect()
    }
}

/// Objects of one kind by their labels.
#[derive(Debug, Default)]
pub(super) struct ByLabel(BTreeMap<Pair, BTreeSet<String>>);

impl ByLabel {
    /// Updates the index for a created, changed or deleted object.
    pub(super) fn change(&mut self, old: Option<&Meta>, new: Option<&Meta>) {
        if let (Some(old), Some(new)) = (old, new)
            && old.labels == new.labels
        {
            return;
        }
        for (meta, (key, value)) in old
            .iter()
            .flat_map(|meta| meta.labels.iter().map(move |label| (meta, label)))
        {
            let pair = (meta.namespace.clone(), key.clone(), value.clone());
            if let Some(names) = self.0.get_mut(&pair) {
                names.remove(&meta.name);
                if names.is_empty() {
                    self.0.remove(&pair);
                }
            }
        }
        for (meta, (key, value)) in new
            .iter()
            .flat_map(|meta| meta.labels.iter().map(move |label| (meta, label)))
        {
            let pair = (meta.namespace.clone(), key.clone(), value.clone());
            self.0.entry(pair).or_default().insert(meta.name.clone());
        }
    }

    /// Names of the objects that have all these labels. An empty set of labels matches nothing.
    pub(super) fn having(&self, namespace: &str, labels: &Labels) -> Vec<String> {
        let pairs = labels
            .iter()
            .map(|(key, value)| (namespace.to_owned(), key.clone(), value.clone()));
        let Some(mut sets) = pairs.map(|pair| self.0.get(&pair)).collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        sets.sort_by_key(|names| names.len());
        let Some((fewest, others)) = sets.split_first() else {
            return Vec::new();
        };
        let in_all = |name: &&String| others.iter().all(|names| names.contains(*name));
        fewest.iter().filter(in_all).cloned().collect()
    }
}

/// Location of an object.
pub(super) fn place_of(meta: &Meta) -> Place {
    (meta.namespace.clone(), meta.name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> Labels {
        of.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn object(name: &str, selector: &Value) -> Object {
        Object::new(json!({"metadata": {"namespace": "n", "name": name}, "spec": {"selector": selector}}))
    }

    fn names(places: BTreeSet<Place>) -> Vec<String> {
        places.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn services_are_found_by_the_labels_of_a_pod() {
        let mut selectors = Selectors::default();
        selectors.set_service(&object("a", &json!({"app": "a"})));
        selectors.set_service(&object("both", &json!({"app": "a", "tier": "web"})));
        selectors.set_service(&object("b", &json!({"app": "b"})));
        selectors.set_service(&object("none", &Value::Null));
        assert_eq!(names(selectors.selecting("n", &labels(&[("app", "a")]))), ["a"]);
        let more = labels(&[("app", "a"), ("tier", "web")]);
        assert_eq!(names(selectors.selecting("n", &more)), ["a", "both"]);
        assert!(selectors.selecting("m", &more).is_empty());
        selectors.set_service(&object("a", &json!({"app": "c"})));
        selectors.remove(&("n".to_owned(), "both".to_owned()));
        assert!(selectors.selecting("n", &more).is_empty());
    }

    #[test]
    fn a_selector_of_expressions_alone_is_found_too() {
        let mut selectors = Selectors::default();
        let expression = json!({"key": "app", "operator": "In", "values": ["a", "b"]});
        selectors.set_workload(&object("a", &json!({"matchExpressions": [expression]})));
        assert_eq!(names(selectors.selecting("n", &labels(&[("app", "b")]))), ["a"]);
        assert!(selectors.selecting("n", &labels(&[("app", "c")])).is_empty());
    }

    #[test]
    fn objects_are_found_by_all_of_their_labels() {
        let meta = |name: &str, of: &[(&str, &str)]| Meta {
            namespace: "n".to_owned(),
            name: name.to_owned(),
            labels: labels(of),
            ..Meta::default()
        };
        let (a, b) = (meta("a", &[("app", "x"), ("tier", "web")]), meta("b", &[("app", "x")]));
        let mut index = ByLabel::default();
        index.change(None, Some(&a));
        index.change(None, Some(&b));
        assert_eq!(index.having("n", &labels(&[("app", "x")])), ["a", "b"]);
        assert_eq!(index.having("n", &labels(&[("app", "x"), ("tier", "web")])), ["a"]);
        assert!(index.having("n", &labels(&[("app", "y")])).is_empty());
        assert!(index.having("n", &Labels::new()).is_empty());
        index.change(Some(&a), Some(&meta("a", &[("app", "y")])));
        index.change(Some(&b), None);
        assert!(index.having("n", &labels(&[("app", "x")])).is_empty());
        assert_eq!(index.having("n", &labels(&[("app", "y")])), ["a"]);
    }
}
