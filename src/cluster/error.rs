//! Errors of calls to the API server, and what is done about each class of them.

use std::{borrow::Cow, error::Error, time::Duration};

use kanary_core::api::EPOCH_RULE;
use kube::core::Status;

use super::client::gate::Ended;

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

/// The write was not sent, because the right to it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fenced {
    /// The shard belongs to another replica by now, or is about to.
    #[error("the shard is no longer this replica's")]
    NotOwned,
    /// The session was not renewed in time: another replica may own the shard soon.
    #[error("the session of this replica was not renewed in time")]
    Expired,
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
    /// It was not sent, or not taken: the Kanary is another replica's by now.
    Fenced,
    /// The API server says no, and will until something changes: the user is told.
    Invalid,
}

impl Class {
    /// The word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::Throttled(_) => "throttled",
            Self::Fenced => "fenced",
            Self::Invalid => "invalid",
        }
    }
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

    /// The API server answered that a write was done, and the object says that it was not.
    #[must_use]
    pub(crate) fn without_effect(
        verb: &'static str,
        kind: Cow<'_, str>,
        namespace: &str,
        name: &str,
        why: &str,
    ) -> Self {
        let status = Status::failure(why, "WithoutEffect").with_code(422);
        Self::new(verb, kind, namespace, name, kube::Error::Api(Box::new(status)))
    }

    /// The write that failed is the creation of an object.
    #[must_use]
    pub(crate) fn is_of_creation(&self) -> bool {
        self.verb == "create"
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

    /// What was read is out of date.
    #[must_use]
    pub(crate) fn is_conflict(&self) -> bool {
        self.class() == Class::Conflict
    }

    /// The API server said no; otherwise nobody knows what became of the call.
    #[must_use]
    pub(crate) fn is_answer(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code < 500)
    }

    /// The API server did not answer at all.
    #[must_use]
    pub(crate) fn is_silence(&self) -> bool {
        is_silence(&self.source)
    }

    /// The object does not exist. A webhook that says so says nothing about the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let by_webhook = |message: &str| message.contains("admission webhook");
        matches!(&*self.source, kube::Error::Api(status) if status.reason == "NotFound" && !by_webhook(&status.message))
    }

    /// Which object it is about, `Deployment/myapp`.
    #[must_use]
    pub(crate) fn object(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// What is done about it: the one place that says so.
    #[must_use]
    pub fn class(&self) -> Class {
        if let Some(class) = self.class {
            return class;
        }
        let status = match &*self.source {
            kube::Error::Api(status) => status,
            kube::Error::Service(error) if error.is::<Fenced>() => return Class::Fenced,
            // Of one that was cut off, nobody knows what became.
            kube::Error::Service(error) if error.downcast_ref() == Some(&Ended::Unsent) => return Class::Fenced,
            _ => return Class::Transient,
        };
        if status.message.contains(EPOCH_RULE) {
            return Class::Fenced;
        }
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
        let why = words(&self.source);
        format!("could not {} {} {}: {why}", self.verb, self.kind, self.name)
    }
}

/// The API server did not answer at all.
pub(crate) fn is_silence(error: &kube::Error) -> bool {
    !matches!(error, kube::Error::Api(_))
}

/// What the API server said, or why it said nothing: down to the first cause, which is what helps.
pub(crate) fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors tell their source themselves.
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}

/// The longest pause between attempts that the API server refuses.
pub const CAP: Duration = Duration::from_secs(30);

/// The longest pause between attempts that nobody answers.
pub const CAP_OF_SILENCE: Duration = Duration::from_secs(3);

/// Full jitter over an exponential: a time between nothing and `base × 2^attempts`, `cap` at most. `random` is between 0
/// and 1.
#[must_use]
pub fn backoff(attempts: u32, base: Duration, cap: Duration, random: f64) -> Duration {
    let most = base.saturating_mul(2_u32.saturating_pow(attempts.min(20))).min(cap);
    most.mul_f64(random.clamp(0.0, 1.0))
}

/// How long to wait before the next attempt at something that nobody else does meanwhile: 0.2 s at least, about `cap` at
/// most.
#[must_use]
pub(crate) fn retry_after(attempts: u32, cap: Duration) -> Duration {
    let base = Duration::from_millis(200);
    base + backoff(attempts, base, cap, fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, reason: &str, retry_after: u32) -> ApiError {
        let mut status = Status::failure("why", reason).with_code(code);
        if retry_after > 0 {
            status.details = Some(kube::core::response::StatusDetails {
                retry_after_seconds: retry_after,
                ..serde_json::from_str("{}").unwrap()
            });
        }
        ApiError::new(
            "create",
            "Service".into(),
            "shop",
            "a",
            kube::Error::Api(Box::new(status)),
        )
    }

    #[test]
    fn every_answer_has_its_class() {
        for (code, retry_after, class) in [
            (400, 0, Class::Invalid),
            (403, 0, Class::Invalid),
            (404, 0, Class::Conflict),
            (409, 0, Class::Conflict),
            (413, 0, Class::Invalid),
            (422, 0, Class::Invalid),
            (429, 0, Class::Throttled(Duration::from_secs(1))),
            (429, 7, Class::Throttled(Duration::from_secs(7))),
            (500, 0, Class::Transient),
            (503, 2, Class::Throttled(Duration::from_secs(2))),
            (504, 0, Class::Transient),
        ] {
            assert_eq!(answered(code, "", retry_after).class(), class, "{code}");
        }
        let silence = ApiError::new("get", "Pod".into(), "a", "b", kube::Error::Service("down".into()));
        assert_eq!(silence.class(), Class::Transient);
    }

    #[test]
    fn a_message_names_the_call_and_the_answer() {
        assert_eq!(answered(422, "Invalid", 0).message(), "could not create Service a: why");
    }

    #[test]
    fn an_error_without_an_answer_is_told_down_to_its_first_cause() {
        let error = anyhow::anyhow!("Connection refused (os error 111)")
            .context("tcp connect error")
            .context("client error (Connect)");
        assert_eq!(
            words(&kube::Error::Service(error.into())),
            "ServiceError: client error (Connect): tcp connect error: Connection refused (os error 111)"
        );
    }

    #[test]
    fn a_cause_that_is_told_already_is_not_told_again() {
        let error = anyhow::anyhow!("UnknownIssuer")
            .context("invalid peer certificate: UnknownIssuer")
            .context("client error (Connect)");
        assert_eq!(
            words(&kube::Error::Service(error.into())),
            "ServiceError: client error (Connect): invalid peer certificate: UnknownIssuer"
        );
    }

    #[test]
    fn a_back_off_grows_up_to_its_cap_and_is_spread() {
        let (base, cap) = (Duration::from_millis(50), Duration::from_secs(30));
        assert_eq!(backoff(0, base, cap, 1.0), base);
        assert_eq!(backoff(3, base, cap, 1.0), base * 8);
        assert_eq!(backoff(u32::MAX, base, cap, 1.0), cap);
        assert_eq!(backoff(3, base, cap, 0.5), base * 4);
        assert_eq!(backoff(3, base, cap, 0.0), Duration::ZERO);
    }
}
