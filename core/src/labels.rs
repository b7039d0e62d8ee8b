//! Label selectors with the semantics of the API server.

mod packed;
mod possible;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_core::Selector as KubeSelector;

pub use self::packed::Packed;
pub(crate) use self::possible::is_domain;
use crate::api::LabelMatch;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A non-empty selector. (An empty selector would match everything, which users do not intend here.)
#[derive(Clone, Debug)]
pub struct Selector {
    parsed: KubeSelector,
    keys: Vec<String>,
}

impl Selector {
    /// Parses a plain map or a LabelSelector.
    ///
    /// # Errors
    ///
    /// Fails if the selector is empty, has an incomplete expression, or requires labels that no object can have. The
    /// error names the expression and how to fix it.
    pub fn parse(labels: LabelMatch) -> Result<Self, String> {
        let selector = match labels {
            LabelMatch::Labels(labels) => LabelSelector {
                match_labels: Some(labels),
                match_expressions: None,
            },
            LabelMatch::Selector(selector) => selector,
        };
        possible::check(&selector)?;
        Self::of(selector)
    }

    /// Converts a LabelSelector.
    ///
    /// # Errors
    ///
    /// Fails if it is empty or has an unknown operator.
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

    /// Label names in the selector.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether `labels` match.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        use kube_core::SelectorExt;
        self.parsed.matches(labels)
    }
}

/// Whether a Service with this selector selects pods with these labels. A Service without a selector selects none.
#[must_use]
pub fn service_selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Labels in the format of users: `app=myapp,tier=web`.
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
