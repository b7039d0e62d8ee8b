//! Label selectors, as the API server evaluates them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector as KubeSelector;

use crate::api::LabelMatch;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A selector that is not empty. (An empty one matches everything, which nobody means here.)
#[derive(Clone, Debug)]
pub struct Selector {
    parsed: KubeSelector,
    keys: Vec<String>,
}

impl Selector {
    /// Reads a plain map or a LabelSelector.
    ///
    /// # Errors
    ///
    /// It is empty, has an operator that does not exist, or asks for a label that no object can have.
    pub fn parse(labels: LabelMatch) -> Result<Self, String> {
        let selector = match labels {
            LabelMatch::Labels(labels) => LabelSelector {
                match_labels: Some(labels),
                match_expressions: None,
            },
            LabelMatch::Selector(selector) => selector,
        };
        check_possible(&selector)?;
        Self::of(selector)
    }

    /// Reads a LabelSelector.
    ///
    /// # Errors
    ///
    /// It is empty, or has an operator that does not exist.
    pub fn of(selector: LabelSelector) -> Result<Self, String> {
        let labels = selector.match_labels.iter().flat_map(|labels| labels.keys());
        let expressions = selector.match_expressions.iter().flatten();
        let keys = labels.chain(expressions.map(|expression| &expression.key)).cloned();
        let keys = keys.collect();
        let parsed: KubeSelector = selector.try_into().map_err(|e| format!("{e}"))?;
        if parsed.selects_all() {
            return Err(
                "no labels: write a map of label names to string values, like `validation: \"failed\"`, or \
                 matchLabels / matchExpressions"
                    .to_owned(),
            );
        }
        Ok(Self { parsed, keys })
    }

    /// Names of the labels that it looks at.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether `labels` match.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        use kube::core::SelectorExt;
        self.parsed.matches(labels)
    }
}

/// A label that no object can have never matches, so nothing would fail by it.
fn check_possible(selector: &LabelSelector) -> Result<(), String> {
    let labels = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    let keys = labels
        .clone()
        .map(|(key, _)| key)
        .chain(expressions.clone().map(|e| &e.key));
    let values = labels
        .map(|(_, value)| value)
        .chain(expressions.flat_map(|e| e.values.iter().flatten()));
    for key in keys {
        let (prefix, name) = key
            .rsplit_once('/')
            .map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if !is_name(name) || !prefix.is_none_or(is_domain) {
            return Err(format!(
                "{key:?} is not the name of a label: use letters, digits, '-', '_' and '.', 63 characters at most, behind a \
                 DNS name and a slash if there is a prefix"
            ));
        }
    }
    for value in values {
        if !value.is_empty() && !is_name(value) {
            return Err(format!(
                "{value:?} is not the value of a label: use letters, digits, '-', '_' and '.', 63 characters at most"
            ));
        }
    }
    Ok(())
}

/// The rule for the name of a label and for its value, as `kubectl explain` of `metadata.labels` refers to it.
fn is_name(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(outer)
        && text.ends_with(outer)
        && text.chars().all(|c| outer(c) || ['-', '_', '.'].contains(&c))
}

/// A DNS subdomain, as the prefix of a label.
fn is_domain(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text
            .split('.')
            .all(|part| part.starts_with(outer) && part.ends_with(outer) && part.chars().all(|c| outer(c) || c == '-'))
}

/// Whether a Service with this selector has a pod with these labels behind it. A Service without a selector has none.
#[must_use]
pub fn service_selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Labels as users write them: `app=myapp,tier=web`.
#[must_use]
pub fn shown(labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() {
        "nothing".to_owned()
    } else {
        labels.join(",")
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parsed.fmt(f)
    }
}
