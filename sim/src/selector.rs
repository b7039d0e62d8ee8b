//! Label and field selectors.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.rule {
            Rule::In(values) => value.is_some_and(|value| values.contains(value)),
            Rule::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Rule::Exists => value.is_some(),
            Rule::Missing => value.is_none(),
        }
    }

    fn equality(&self) -> Option<(&str, &str)> {
        match &self.rule {
            Rule::In(values) => match &values[..] {
                [value] => Some((&self.key, value)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl LabelSelector {
    /// The labels for which the selector requires one value.
    #[must_use]
    pub fn equalities(&self) -> Vec<(&str, &str)> {
        self.0.iter().filter_map(Requirement::equality).collect()
    }

    /// Parses a query parameter: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a selector.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            // A comma within parentheses separates values.
            let open = rest
                .find('(')
                .filter(|open| rest.find(',').is_none_or(|comma| *open < comma));
            let end = match open {
                Some(_) => rest.find(')').map(|close| close + 1).ok_or("unbalanced parenthesis")?,
                None => rest.find(',').unwrap_or(rest.len()),
            };
            let (one, more) = rest.split_at(end);
            requirements.push(requirement(one.trim())?);
            rest = more.trim_start().strip_prefix(',').unwrap_or(more).trim();
        }
        Ok(Self(requirements))
    }

    /// Parses a `metav1.LabelSelector`.
    ///
    /// # Errors
    ///
    /// Fails if the value is not a selector.
    pub fn from_object(selector: &Value) -> Result<Self, String> {
        let labels = crate::object::string_map(&selector["matchLabels"]).into_iter();
        let mut requirements: Vec<_> = labels
            .map(|(key, value)| Requirement {
                key,
                rule: Rule::In(vec![value]),
            })
            .collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
            let rule = match expression["operator"].as_str() {
                Some("In") => Rule::In(values),
                Some("NotIn") => Rule::NotIn(values),
                Some("Exists") => Rule::Exists,
                Some("DoesNotExist") => Rule::Missing,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement { key, rule });
        }
        Ok(Self(requirements))
    }

    /// A selector that requires all of these labels, such as that of a Service.
    #[must_use]
    pub fn all(labels: &BTreeMap<String, String>) -> Self {
        let of = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            rule: Rule::In(vec![value.clone()]),
        };
        Self(labels.iter().map(of).collect())
    }

    /// Whether it matches these labels.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, rule }) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match rule {
                Rule::In(values) if values.len() == 1 => write!(f, "{comma}{key}={}", values.join(",")),
                Rule::In(values) => write!(f, "{comma}{key} in ({})", values.join(",")),
                Rule::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(",")),
                Rule::Exists => write!(f, "{comma}{key}"),
                Rule::Missing => write!(f, "{comma}!{key}"),
            }?;
        }
        Ok(())
    }
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let of = |key: &str, rule| {
        let key = key.trim();
        match crate::names::label_key_problem(key) {
            None => Ok(Requirement {
                key: key.to_owned(),
                rule,
            }),
            Some(why) => Err(format!("unable to parse requirement: {key:?}: {why}")),
        }
    };
    let list = |values: &str| -> Vec<String> {
        let inner = values.trim().trim_start_matches('(').trim_end_matches(')');
        inner.split(',').map(|value| value.trim().to_owned()).collect()
    };
    if let Some(key) = text.strip_prefix('!') {
        return of(key, Rule::Missing);
    }
    if let Some((key, values)) = text.split_once(" notin ") {
        return of(key, Rule::NotIn(list(values)));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return of(key, Rule::In(list(values)));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return of(key, Rule::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return of(key, Rule::In(vec![value.trim().to_owned()]));
    }
    of(text, Rule::Exists)
}

/// A field selector: `metadata.name=a,status.phase!=Running`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Parses a query parameter.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a selector or uses an unsupported field.
    pub fn parse(text: &str, resource: &str) -> Result<Self, String> {
        let terms = text.split(',').filter(|term| !term.is_empty());
        let parsed = terms.map(|term| {
            let (field, equal, value) = if let Some((field, value)) = term.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (field, true, value)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{term}'"));
            };
            if is_selectable(resource, field) {
                Ok((field.to_owned(), equal, value.to_owned()))
            } else {
                Err(format!("field label not supported: {field}"))
            }
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    /// Whether it matches an object. The JSON is parsed only for fields other than name and namespace.
    #[must_use]
    pub fn matches(&self, object: &crate::object::Object) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut parsed = None;
        self.0.iter().all(|(field, equal, wanted)| {
            let found = match field.as_str() {
                "metadata.name" => object.meta.name.clone(),
                "metadata.namespace" => object.meta.namespace.clone(),
                other => {
                    let value = parsed.get_or_insert_with(|| object.json());
                    let found = value.pointer(&format!("/{}", other.replace('.', "/")));
                    found.and_then(Value::as_str).unwrap_or_default().to_owned()
                }
            };
            (found == *wanted) == *equal
        })
    }
}

fn is_selectable(resource: &str, field: &str) -> bool {
    let more: &[&str] = match resource {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "namespaces" => &["status.phase"],
        "replicasets.apps" => &["status.replicas"],
        "secrets" => &["type"],
        _ => &[],
    };
    ["metadata.name", "metadata.namespace"].contains(&field) || more.contains(&field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::{Object, string_map};

    #[test]
    fn every_kind_of_requirement_is_understood() {
        let labels = string_map(&json!({"a": "b", "e": "f"}));
        for good in [
            "",
            "a=b",
            "a==b,e in (f, g)",
            "a!=c",
            "x!=y",
            "a notin (c,d)",
            "x notin (y)",
            "a,!x",
        ] {
            assert!(LabelSelector::parse(good).unwrap().matches(&labels), "{good}");
        }
        for bad in ["a=c", "a!=b", "e in (g)", "a notin (b)", "!a", "x", "a=b,x"] {
            assert!(!LabelSelector::parse(bad).unwrap().matches(&labels), "{bad}");
        }
        for wrong in ["a in (b", "=", "a b", "a/b/c"] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_of_the_object_are_compared() {
        let event = Object::new(json!({
            "metadata": {"name": "n", "namespace": "s"}, "involvedObject": {"name": "batman"},
        }));
        let matches = |text| FieldSelector::parse(text, "events").unwrap().matches(&event);
        assert!(matches("metadata.name=n,involvedObject.name=batman"));
        assert!(matches("involvedObject.name!=robin"));
        assert!(!matches("metadata.name=m"));
        assert!(FieldSelector::parse("spec.foo=x", "events").is_err());
    }
}
