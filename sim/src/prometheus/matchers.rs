//! The label matchers of a selector.

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::VectorSelector,
};

use super::value::{Labels, NAME};

/// Characters that make a regular expression more than a list of alternatives.
const SPECIAL: &str = r".+*?()[]{}^$\";

/// The matchers of a selector, for scripts that only return matching series.
#[derive(Clone, Copy, Debug)]
pub struct Matchers<'a> {
    name: Option<&'a str>,
    matchers: &'a [Matcher],
}

impl<'a> Matchers<'a> {
    pub(super) fn of(selector: &'a VectorSelector) -> Result<Self, String> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err("matchers that are combined with \"or\" are not supported".to_owned());
        }
        Ok(Self {
            name: selector.name.as_deref(),
            matchers: &selector.matchers.matchers,
        })
    }

    /// The value of an equality matcher for `label`.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<&'a str> {
        if label == NAME && self.name.is_some() {
            return self.name;
        }
        self.equal().find_map(|(name, value)| (name == label).then_some(value))
    }

    /// The values that the selector lists for `label`: `pod="a"` or `pod=~"a|b"`.
    #[must_use]
    pub fn values(&self, label: &str) -> Vec<&'a str> {
        if let Some(value) = self.get(label) {
            return vec![value];
        }
        self.matchers
            .iter()
            .filter(|matcher| matcher.name == label && matches!(matcher.op, MatchOp::Re(_)))
            .find(|matcher| !matcher.value.contains(|c| SPECIAL.contains(c)))
            .map(|matcher| matcher.value.split('|').collect())
            .unwrap_or_default()
    }

    /// Whether the matchers select a series with these labels.
    #[must_use]
    pub fn select(&self, labels: &Labels) -> bool {
        let value = |label: &str| labels.get(label).map_or("", String::as_str);
        self.name.is_none_or(|name| name == value(NAME))
            && self
                .matchers
                .iter()
                .all(|matcher| matcher.is_match(value(&matcher.name)))
    }

    /// Labels and values of the equality matchers.
    pub(super) fn equal(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.matchers
            .iter()
            .filter(|matcher| matches!(matcher.op, MatchOp::Equal))
            .map(|matcher| (matcher.name.as_str(), matcher.value.as_str()))
    }

    /// Labels of the result of `absent`: those with exactly one equality matcher.
    pub(super) fn labels_if_absent(&self) -> Labels {
        let times = |label: &str| self.matchers.iter().filter(|matcher| matcher.name == label).count();
        self.equal()
            .filter(|(label, value)| *label != NAME && !value.is_empty() && times(label) == 1)
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .collect()
    }
}
