//! Errors of calls to the API server, and what is done about each class of them.

use std::{borrow::Cow, time::Duration};

/// A call that failed: which, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {kind} {namespace}/{name}")]
pub struct ApiError {
    verb: &'static str,
    kind: String,
    namespace: String,
    name: String,
    #[source]
    source: Box<kube::Error>,
    class: Option<Class>,
}

/// What is done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What was read is out of date: decide again as soon as there is news.
    Conflict,
    /// Nobody is to blame for long: try again, ever later.
    Transient,
    /// The API server asks for a pause.
    Throttled(Duration),
    /// The API server says no, and will until something changes: the user is told.
    Invalid,
}

impl ApiError {
    pub(crate) fn new(
        verb: &'static str,
        kind: Cow<'_, str>,
        namespace: &str,
        name: &str,
        source: kube::Error,
    ) -> Self {
        Self {
            verb,
            kind: kind.into_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
            class: None,
        }
    }

    /// The write was refused because what was read is out of date.
    #[must_use]
    pub(crate) fn into_conflict(mut self) -> Self {
        self.class = Some(Class::Conflict);
        self
    }

    /// Nothing that the user could mend, and nowhere to say it: the write that failed is the one that would.
    #[must_use]
    pub(crate) fn into_transient(mut self) -> Self {
        if self.class() == Class::Invalid {
            self.class = Some(Class::Transient);
        }
        self
    }

    /// The object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.reason == "NotFound")
    }

    /// What is done about it: the one place that says so.
    #[must_use]
    pub fn class(&self) -> Class {
        if let Some(class) = self.class {
            return class;
        }
        let kube::Error::Api(status) = &*self.source else {
            return Class::Transient;
        };
        let details = status.details.as_ref();
        let retry_after = details.map_or(0, |details| u64::from(details.retry_after_seconds));
        match status.code {
            // The object, or its namespace, went away under us.
            404 | 409 => Class::Conflict,
            429 => Class::Throttled(Duration::from_secs(retry_after.max(1))),
            400..=499 => Class::Invalid,
            _ if retry_after > 0 => Class::Throttled(Duration::from_secs(retry_after)),
            _ => Class::Transient,
        }
    }

    /// What users read: which write, and the API server's words.
    #[must_use]
    pub fn message(&self) -> String {
        let why = match &*self.source {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        format!("could not {} {} {}: {why}", self.verb, self.kind, self.name)
    }
}

/// Full jitter over an exponential: a time between nothing and `base × 2^attempts`, `cap` at most. `random` is between 0
/// and 1.
#[must_use]
pub fn backoff(attempts: u32, base: Duration, cap: Duration, random: f64) -> Duration {
    let most = base.saturating_mul(2_u32.saturating_pow(attempts.min(20))).min(cap);
    most.mul_f64(random.clamp(0.0, 1.0))
}
