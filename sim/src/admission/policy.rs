//! Policies that a test sets up in this process.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::failure::Failure;

/// A write under review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// The user who sends the request.
    pub user: &'a str,
    /// `create`, `update` (a patch is one, too) or `delete`.
    pub verb: &'static str,
    /// `deployments.apps`, or `pods` in the core group.
    pub resource: &'a str,
    /// `status`, `scale`, `binding`, or empty.
    pub subresource: &'a str,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Empty while a creation is delayed, because the name is not known yet.
    pub name: &'a str,
}

type Applies = dyn Fn(&Attempt<'_>) -> bool + Send + Sync;
type Change = dyn Fn(&mut Value) + Send + Sync;
type Check = dyn Fn(Option<&Value>, Option<&Value>) -> Result<(), Failure> + Send + Sync;

/// What a policy does with a matching write.
#[derive(Clone)]
pub enum Effect {
    /// Refuse the write with this failure.
    Deny(Failure),
    /// Refuse the write if the check rejects the new object or the one it replaces. A creation has no old object, a
    /// deletion no new one.
    Check(Arc<Check>),
    /// Change the object before it is validated.
    Change(Arc<Change>),
    /// Process the request after this delay if it arrives over a connection. The client may have timed out by then.
    Delay(Duration),
    /// Give no answer for this long, then refuse the write, like a webhook that hangs.
    Hang(Duration),
}

/// A policy that reviews writes before they are stored. It runs while the cluster is locked and must not call the
/// cluster.
#[derive(Clone)]
pub struct Policy {
    /// Name of the policy. Setting another policy with the same name replaces this one.
    pub name: Arc<str>,
    applies: Arc<Applies>,
    effect: Effect,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// Creates a policy for the writes that `applies` selects.
    #[must_use]
    pub fn new(name: &str, applies: impl Fn(&Attempt<'_>) -> bool + Send + Sync + 'static, effect: Effect) -> Self {
        Self {
            name: name.into(),
            applies: Arc::new(applies),
            effect,
        }
    }

    pub(super) fn applies(&self, attempt: &Attempt<'_>) -> bool {
        (self.applies)(attempt)
    }

    pub(super) fn delay(&self) -> Duration {
        match self.effect {
            Effect::Delay(time) | Effect::Hang(time) => time,
            Effect::Deny(_) | Effect::Check(_) | Effect::Change(_) => Duration::ZERO,
        }
    }

    /// Changes an object and returns whether it did. The object's identity (kind, name, namespace, uid) is preserved.
    pub(super) fn change(&self, object: &mut Value) -> bool {
        let Effect::Change(change) = &self.effect else {
            return false;
        };
        let before = object.clone();
        change(object);
        for field in ["name", "namespace", "uid", "resourceVersion"] {
            if object["metadata"].get(field) != before["metadata"].get(field) {
                object["metadata"][field] = before["metadata"][field].clone();
            }
        }
        *object != before
    }

    pub(super) fn judge(&self, object: Option<&Value>, old: Option<&Value>) -> Result<(), Failure> {
        match &self.effect {
            Effect::Deny(failure) => Err(failure.clone()),
            Effect::Check(check) => check(object, old),
            Effect::Hang(_) => Err(Effect::unreachable(&self.name)),
            Effect::Change(_) | Effect::Delay(_) => Ok(()),
        }
    }
}

impl Effect {
    /// The refusal of a webhook called `name` with the reason `why`.
    #[must_use]
    pub fn denied(name: &str, code: u16, reason: &'static str, why: &str) -> Failure {
        let message = format!("admission webhook \"{name}\" denied the request: {why}");
        Failure::new(code, reason, message)
    }

    /// The refusal that results from a webhook that does not answer.
    #[must_use]
    pub fn unreachable(name: &str) -> Failure {
        let url = format!("https://{name}.svc:443/admit?timeout=10s");
        let why = format!(
            "failed calling webhook \"{name}\": failed to call webhook: Post \"{url}\": context deadline exceeded"
        );
        let mut failure = Failure::new(500, "InternalError", format!("Internal error occurred: {why}"));
        failure.details = json!({"causes": [{"message": why}]});
        failure
    }
}
