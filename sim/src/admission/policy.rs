//! Policies that a test sets up in this process.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::failure::Failure;

/// A write that somebody attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Whose.
    pub user: &'a str,
    /// `create`, `update` (a patch is one, too) or `delete`.
    pub verb: &'static str,
    /// `deployments.apps`; `pods` in the core group.
    pub resource: &'a str,
    /// `status`, `scale`, `binding`; or empty.
    pub subresource: &'a str,
    /// Empty for the kinds of the cluster.
    pub namespace: &'a str,
    /// Empty where it is not known yet: while a creation is held up.
    pub name: &'a str,
}

type Applies = dyn Fn(&Attempt<'_>) -> bool + Send + Sync;
type Change = dyn Fn(&mut Value) + Send + Sync;
type Check = dyn Fn(Option<&Value>, Option<&Value>) -> Result<(), Failure> + Send + Sync;

/// What a policy does with a write.
#[derive(Clone)]
pub enum Effect {
    /// It is refused, with these words.
    Deny(Failure),
    /// It is refused if the object that is written, or the one that it replaces, is found wrong. Of a creation there is no
    /// former object, of a deletion no new one.
    Check(Arc<Check>),
    /// The object is changed before it is judged.
    Change(Arc<Change>),
    /// It is looked at only so much later, if it comes over a connection. Whoever asks may have given up by then.
    Delay(Duration),
    /// Nobody answers for so long, and then it is refused, as when a webhook hangs.
    Hang(Duration),
}

/// Somebody who looks at writes before they are stored. It is called while the cluster is locked, and must not call it.
#[derive(Clone)]
pub struct Policy {
    /// Its name; another of the same name takes its place.
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
    /// A policy for the writes that `applies` picks.
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

    /// Changes an object; says whether it did. Who and where the object is stays as it is.
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
    /// Refuses as a webhook that is called `name` and says why.
    #[must_use]
    pub fn denied(name: &str, code: u16, reason: &'static str, why: &str) -> Failure {
        let message = format!("admission webhook \"{name}\" denied the request: {why}");
        Failure::new(code, reason, message)
    }

    /// What a write comes to whose webhook does not answer.
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
