//! What differs between kinds of routes.

use serde_json::{Map, Value, json};

use super::{Affinity, Tag};

/// How one kind of route writes its rules. The names of fields are the same in all rules of a dialect.
pub(super) trait Dialect: Sync {
    /// The field of the spec that contains the rules.
    fn rules(&self) -> &'static str;

    /// The field of a rule that contains its backends.
    fn backends(&self) -> &'static str;

    /// The field of a rule that contains what it does beside sending requests to its backends, such as mirrors.
    fn extras(&self) -> &'static str;

    /// Number of rules that a route may have.
    fn most_rules(&self) -> usize;

    /// The Service of `namespace` that a backend leads to.
    fn service<'a>(&self, backend: &'a Value, namespace: &str) -> Option<&'a str>;

    /// The subset of its Service that a backend leads to, if the dialect has subsets.
    fn subset<'a>(&self, _backend: &'a Value) -> Option<&'a str> {
        None
    }

    /// Whether a backend leads to a Service of `namespace`, or to a subset of one: `<Service>/<subset>`.
    fn leads(&self, backend: &Value, namespace: &str, to: &str) -> bool {
        let service = self.service(backend, namespace);
        match to.split_once('/') {
            None => service == Some(to),
            Some((to, subset)) => service == Some(to) && self.subset(backend) == Some(subset),
        }
    }

    /// The port of the Service that a backend leads to, if it names one.
    fn port(&self, backend: &Value) -> Option<u64>;

    /// A copy of a backend that leads to another Service, or to a subset of one.
    fn leading_to(&self, backend: &Value, service: &str) -> Value;

    /// The field of a rule that contains its matches.
    fn matches(&self) -> &'static str;

    /// A match that only holds for requests with a tag.
    ///
    /// # Errors
    ///
    /// The match cannot be narrowed: it is about the same header already.
    fn narrowed(&self, one: &Value, tag: &Tag) -> Result<Value, String>;

    /// The matches of a rule that only holds for requests with a tag. There are as many as before: some filters allow only one.
    ///
    /// # Errors
    ///
    /// A match cannot be narrowed.
    fn tagged(&self, rule: &Map<String, Value>, tag: &Tag) -> Result<Vec<Value>, String> {
        let matches = rule.get(self.matches()).and_then(Value::as_array);
        match matches.filter(|matches| !matches.is_empty()) {
            Some(matches) => matches.iter().map(|one| self.narrowed(one, tag)).collect(),
            // A rule without matches holds for every request.
            None => Ok(vec![self.narrowed(&json!({}), tag)?]),
        }
    }

    /// An extra that copies requests to a backend.
    fn mirror(&self, backend: &Value, percent: u8) -> Value;

    /// The Service of `namespace` that an extra copies requests to.
    fn mirrors_to<'a>(&self, extra: &'a Value, namespace: &str) -> Option<&'a str>;

    /// Why no mirror can be added to a rule.
    fn refuses_mirror(&self, rule: &Map<String, Value>) -> Option<String>;

    /// The field of a rule that keeps a user on one version, and its value.
    ///
    /// # Errors
    ///
    /// The dialect has no such field.
    fn affinity(&self, affinity: &Affinity) -> Result<(&'static str, Value), String>;
}
