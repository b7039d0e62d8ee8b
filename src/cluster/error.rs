//! Errors of API server requests, and how each class of errors is handled.

use std::{borrow::Cow, error::Error, time::Duration};

use kanary_core::api::EPOCH_RULE;
use kube::core::Status;

use super::{client::gate::Ended, clock::Clock};

/// A failed request: its verb, its object and the error.
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

/// A write that was not sent because the right to it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fenced {
    /// The shard belongs to another replica or is being released.
    #[error("the shard is no longer this replica's")]
    NotOwned,
    /// The session was not renewed in time, so another replica may own the shard soon.
    #[error("the session of this replica was not renewed in time")]
    Expired,
}

/// There was no response to a request within this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct Unanswered(pub Duration);

/// How an error is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The state that was read is out of date: decide again after the next event.
    Conflict,
    /// A temporary failure: retry with backoff.
    Transient,
    /// The API server asks for a pause.
    Throttled(Duration),
    /// The write was not sent, or was refused: another replica owns the Kanary now.
    Fenced,
    /// The API server rejects the request until something changes: report it to the user.
    Invalid,
}

impl Class {
    /// Value of the metrics label.
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

    /// An error for a write that the API server accepted although the object shows that it had no effect.
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

    /// Whether the failed write was a creation.
    #[must_use]
    pub(crate) fn is_of_creation(&self) -> bool {
        self.verb == "create"
    }

    /// Classifies the error as a conflict: the state that was read is out of date.
    #[must_use]
    pub(crate) fn into_conflict(mut self) -> Self {
        self.class = Some(Class::Conflict);
        self
    }

    /// Classifies a refusal as temporary, for status updates: the user cannot fix one, and it cannot be reported in the status.
    #[must_use]
    pub(crate) fn into_transient(mut self) -> Self {
        if self.class() == Class::Invalid {
            self.class = Some(Class::Transient);
        }
        self
    }

    /// Whether the state that was read is out of date.
    #[must_use]
    pub(crate) fn is_conflict(&self) -> bool {
        self.class() == Class::Conflict
    }

    /// Whether the API server refused the request. Otherwise the outcome is unknown.
    #[must_use]
    pub(crate) fn is_answer(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code < 500)
    }

    /// Whether there was no response in time.
    #[must_use]
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered().is_some()
    }

    fn unanswered(&self) -> Option<Duration> {
        let kube::Error::Service(error) = &*self.source else {
            return None;
        };
        let Unanswered(waited) = error.downcast_ref()?;
        Some(*waited)
    }

    /// Whether the API server did not respond at all. A request that timed out although another one was answered meanwhile
    /// hangs by itself, usually in an admission webhook.
    #[must_use]
    pub(crate) fn is_silence(&self, clock: &Clock) -> bool {
        let waited = self.unanswered();
        is_silence(&self.source) && !waited.is_some_and(|waited| clock.heard_within(waited))
    }

    /// Whether the object does not exist. A 404 from a webhook does not count.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let by_webhook = |message: &str| message.contains("admission webhook");
        matches!(&*self.source, kube::Error::Api(status) if status.reason == "NotFound" && !by_webhook(&status.message))
    }

    /// The object of the request, like `Deployment/myapp`.
    #[must_use]
    pub(crate) fn object(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// How the error is handled. This is the only place that classifies errors.
    #[must_use]
    pub fn class(&self) -> Class {
        if let Some(class) = self.class {
            return class;
        }
        let status = match &*self.source {
            kube::Error::Api(status) => status,
            kube::Error::Service(error) if error.is::<Fenced>() => return Class::Fenced,
            // The outcome of a request that was aborted while being sent is unknown.
            kube::Error::Service(error) if error.downcast_ref() == Some(&Ended::Unsent) => return Class::Fenced,
            _ => return Class::Transient,
        };
        if status.message.contains(EPOCH_RULE) {
            return Class::Fenced;
        }
        let details = status.details.as_ref();
        let retry_after = details.map_or(0, |details| u64::from(details.retry_after_seconds));
        match status.code {
            // The object or its namespace was deleted in the meantime.
            404 | 409 => Class::Conflict,
            429 => Class::Throttled(Duration::from_secs(retry_after.max(1))),
            400..=499 => Class::Invalid,
            _ if retry_after > 0 => Class::Throttled(Duration::from_secs(retry_after)),
            _ => Class::Transient,
        }
    }

    /// The message for users: the write, and the API server's error.
    #[must_use]
    pub fn message(&self) -> String {
        let why = describe(&self.source);
        format!("could not {} {} {}: {why}", self.verb, self.kind, self.name)
    }
}

/// Whether the API server did not respond at all.
pub(crate) fn is_silence(error: &kube::Error) -> bool {
    !matches!(error, kube::Error::Api(_))
}

/// The API server's error, or why there was no response, down to the root cause, which is the most useful part.
pub(crate) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut describe = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors already contain their source in their text.
        if !describe.contains(&text) {
            describe.push_str(": ");
            describe.push_str(&text);
        }
        cause = error.source();
    }
    describe
}

/// Longest backoff after the API server refused the request.
pub const CAP: Duration = Duration::from_secs(30);

/// Longest backoff if the API server does not respond.
pub const CAP_OF_SILENCE: Duration = Duration::from_secs(3);

/// Exponential backoff with full jitter: between zero and `base × 2^attempts`, at most `cap`. `random` is between 0 and 1.
#[must_use]
pub fn backoff(attempts: u32, base: Duration, cap: Duration, random: f64) -> Duration {
    let most = base.saturating_mul(2_u32.saturating_pow(attempts.min(20))).min(cap);
    most.mul_f64(random.clamp(0.0, 1.0))
}

/// The backoff before the next attempt at something that nothing else retries meanwhile: at least 0.2 s, at most about `cap`.
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
    fn an_error_without_an_answer_is_reported_down_to_its_first_cause() {
        let error = anyhow::anyhow!("Connection refused (os error 111)")
            .context("tcp connect error")
            .context("client error (Connect)");
        assert_eq!(
            describe(&kube::Error::Service(error.into())),
            "ServiceError: client error (Connect): tcp connect error: Connection refused (os error 111)"
        );
    }

    #[test]
    fn a_reported_cause_is_not_reported_again() {
        let error = anyhow::anyhow!("UnknownIssuer")
            .context("invalid peer certificate: UnknownIssuer")
            .context("client error (Connect)");
        assert_eq!(
            describe(&kube::Error::Service(error.into())),
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
