//! Label selectors, as the API server evaluates them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector as KubeSelector;

use crate::api::LabelMatch;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A selector that is not empty. (An empty one matches everything, which nobody means here.)
#[derive(Clone, Debug)]
pub struct Selector(KubeSelector);

impl Selector {
    /// Reads a plain map or a LabelSelector.
    ///
    /// # Errors
    ///
    /// It is empty, or has an operator that does not exist.
    pub fn parse(labels: LabelMatch) -> Result<Self, String> {
        let selector = match labels {
            LabelMatch::Labels(labels) => LabelSelector {
                match_labels: Some(labels),
                match_expressions: None,
            },
            LabelMatch::Selector(selector) => selector,
        };
        Self::of(selector)
    }

    /// Reads a LabelSelector.
    ///
    /// # Errors
    ///
    /// It is empty, or has an operator that does not exist.
    pub fn of(selector: LabelSelector) -> Result<Self, String> {
        let parsed: KubeSelector = selector.try_into().map_err(|e| format!("{e}"))?;
        if parsed.selects_all() {
            return Err(
                "no labels: write a map of label names to string values, like `validation: \"failed\"`, or \
                 matchLabels / matchExpressions"
                    .to_owned(),
            );
        }
        Ok(Self(parsed))
    }

    /// Whether `labels` match.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        use kube::core::SelectorExt;
        self.0.matches(labels)
    }
}

/// Whether a Service with this selector has a pod with these labels behind it. A Service without a selector has none.
#[must_use]
pub fn service_selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
