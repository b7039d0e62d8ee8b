//! Writes that do not succeed: refused, failing repeatedly, or undone each time.
//!
//! All three result in a [`Refusal`]: it is reported to the user, and the write is retried with backoff.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::Reason,
    decision::{Action, KeepWhat, SetTemplate},
    observation::Refusal,
};

use serde_json::Value;

use crate::cluster::error::{ApiError, Class};

/// How long a write may fail before it is reported: if the API server responds, and if it does not respond or throttles.
const ANSWERED: SignedDuration = SignedDuration::from_secs(5);
const UNANSWERED: SignedDuration = SignedDuration::from_secs(30);
/// How many times in a row the same action may run on an object before it is postponed.
const FREE: u32 = 3;
/// Older actions are not counted.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);
/// Longest backoff.
const LONGEST: Duration = Duration::from_mins(5);

/// What a message about a write without an answer adds.
const HANGS: &str = ", while other requests were answered: an admission webhook may hang";

/// Attempts at the writes of a run.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The refusal to report, until a write succeeds.
    pub(super) refusal: Option<Refusal>,
    /// Consecutive refusals.
    refusals: u32,
    /// Since when no write has succeeded.
    failing_since: Option<Timestamp>,
    /// Since when no creation has succeeded.
    uncreated_since: Option<Timestamp>,
    /// The last action on each object.
    done: HashMap<String, Done>,
    /// The refusal has not been reported yet.
    is_news: bool,
    /// Consecutive reconciles that did not settle.
    restless: u32,
}

#[derive(Debug)]
struct Done {
    what: u64,
    times: u32,
    first: Timestamp,
    last: Timestamp,
}

/// Exponential backoff: 1 s, 2 s, 4 s and so on.
fn pause(times: u32, longest: Duration) -> Duration {
    Duration::from_secs(1_u64 << times.min(20)).min(longest)
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(now)
}

impl Attempts {
    /// Records a refused request.
    pub(super) fn refuse(&mut self, error: &ApiError, now: Timestamp) {
        let pause = pause(self.refusals, LONGEST);
        self.put_off(Reason::WriteRefused, error, error.message(), later(now, pause));
    }

    /// Records a failed write. Errors other than refusals are reported after a while, later if the API server does not respond
    /// to anything.
    pub(super) fn fail(&mut self, error: &ApiError, is_silence: bool, now: Timestamp) {
        let since = *self.failing_since.get_or_insert(now);
        if error.is_of_creation() {
            self.uncreated_since.get_or_insert(now);
        }
        let patience = match error.class() {
            Class::Invalid | Class::Fenced => return,
            Class::Throttled(_) => UNANSWERED,
            _ if is_silence => UNANSWERED,
            Class::Conflict | Class::Transient => ANSWERED,
        };
        if now.duration_since(since) >= patience {
            let asked = if let Class::Throttled(asked) = error.class() {
                asked
            } else {
                Duration::ZERO
            };
            let pause = pause(self.refusals, crate::cluster::error::CAP).max(asked);
            let mut message = error.message();
            if error.is_unanswered() && !is_silence {
                message.push_str(HANGS);
            }
            self.put_off(Reason::WriteFailed, error, message, later(now, pause));
        }
    }

    fn put_off(&mut self, reason: Reason, error: &ApiError, mut message: String, retry_at: Timestamp) {
        self.is_news = true;
        self.refusals = self.refusals.saturating_add(1);
        // Some messages contain a count or a time; the refusal is reported only once.
        let former = self.refusal.take().filter(|former| former.reason == reason);
        if let Some(former) = former.filter(|former| without_numbers(&former.message) == without_numbers(&message)) {
            message = former.message;
        }
        self.refusal = Some(Refusal {
            reason,
            message,
            retry_at,
            uncreated_since: self.uncreated_since.filter(|_| error.is_of_creation()),
            about: error.object(),
        });
    }

    /// Takes the flag for a new refusal, which the reconcile reports immediately.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Whether a write fails that has not been reported yet, but will be if it fails again. A write that nobody needs any more, such
    /// as the creation of what a late request created, is never reported.
    pub(super) fn is_unreported(&self, now: Timestamp) -> bool {
        let is_recent = |since: Timestamp| now.duration_since(since) < UNANSWERED * 2;
        self.refusal.is_none() && self.failing_since.is_some_and(is_recent)
    }

    /// Records that the writes of a decision succeeded.
    pub(super) fn succeed(&mut self) {
        self.refusals = 0;
        self.refusal = None;
        self.failing_since = None;
        self.uncreated_since = None;
    }

    /// Records that a dry run was answered, so a webhook that failed works again. A refusal stays: it is about the write itself,
    /// which a dry run does not make.
    pub(super) fn answered(&mut self) {
        if self
            .refusal
            .as_ref()
            .is_none_or(|refusal| refusal.reason != Reason::WriteRefused)
        {
            self.succeed();
        }
    }

    /// Records that a write succeeded. Its effect may still be undone.
    pub(super) fn done(&mut self, action: &Action, now: Timestamp) {
        // A run has few objects; this bounds the memory of a run that creates many pods.
        if self.done.len() > 256 {
            self.done.clear();
        }
        let what = what(action);
        let done = self.done.entry(object(action)).or_insert(Done {
            what,
            times: 0,
            first: now,
            last: now,
        });
        if done.what != what || now.duration_since(done.last) > FORGOTTEN {
            (done.times, done.first) = (0, now);
        }
        (done.what, done.times, done.last) = (what, done.times.saturating_add(1), now);
    }

    /// Whether this action was repeated so often that it must wait, because its effect is undone each time.
    pub(super) fn is_undone(&mut self, action: &Action, now: Timestamp) -> bool {
        let Some(done) = self.done.get(&object(action)).filter(|done| done.what == what(action)) else {
            return false;
        };
        let Some(times) = done.times.checked_sub(FREE) else {
            return false;
        };
        let retry_at = later(done.last, pause(times, LONGEST));
        if retry_at <= now || now.duration_since(done.last) > FORGOTTEN {
            return false;
        }
        let creates = matches!(action, Action::Create { .. });
        self.refusal = Some(Refusal {
            reason: Reason::WriteUndone,
            message: format!(
                "{} was undone {FREE} times or more: look for another controller, an admission webhook or a policy that \
                 reverts it",
                describe(action)
            ),
            retry_at,
            uncreated_since: creates.then_some(done.first),
            about: object(action),
        });
        true
    }

    /// Records that a reconcile did not settle. Returns the backoff.
    pub(super) fn restless(&mut self) -> Duration {
        let pause = pause(self.restless.saturating_add(2), LONGEST);
        self.restless = self.restless.saturating_add(1);
        pause
    }

    pub(super) fn came_to_rest(&mut self) {
        self.restless = 0;
    }
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// The object of an action. A creation has a separate key, because undoing it deletes the object.
fn object(action: &Action) -> String {
    match action {
        Action::Create { object, name, .. } => format!("new {}/{name}", object.as_str()),
        Action::ScaleCanary { canary: workload, .. }
        | Action::PlaceCanary { canary: workload, .. }
        | Action::SetTemplate(SetTemplate { target: workload, .. }) => workload.key(),
        Action::Update(update) => update.workload.key(),
        Action::HandOver { target, .. } => format!("owners of {}", target.key()),
        Action::Hold { .. } | Action::Release | Action::HoldInPlace | Action::ReleaseInPlace => {
            "finalizers of this Kanary".to_owned()
        }
        Action::SetRoute { route, .. } => route.key(),
        Action::Keep(keep) if keep.what != KeepWhat::Patch => format!("new {}", keep.key()),
        Action::Keep(keep) => format!("kept {}", keep.key()),
        Action::Unlabel { pod, .. } => format!("Pod/{pod}"),
        Action::Adopt { pod, .. } => format!("owners of Pod/{pod}"),
        Action::Delete { object, name, .. } => format!("{}/{name}", object.as_str()),
    }
}

fn what(action: &Action) -> u64 {
    let mut hasher = DefaultHasher::new();
    match action {
        Action::Create { .. } => {}
        // The patch contains the version that was read.
        Action::SetRoute { route, gives, .. } => (route, gives).hash(&mut hasher),
        // The generation is that of the version that was read.
        Action::Update(update) => format!("{} {:?} {:?}", update.uid, update.labels, update.spec).hash(&mut hasher),
        Action::Keep(keep) if keep.what == KeepWhat::Create => {}
        Action::Keep(keep) => without_version(&keep.body).hash(&mut hasher),
        other => format!("{other:?}").hash(&mut hasher),
    }
    hasher.finish()
}

/// A patch without the version that was read.
fn without_version(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    body
}

fn describe(action: &Action) -> String {
    match action {
        Action::Create { object, name, .. } => format!("the creation of {} {name}", object.as_str()),
        Action::ScaleCanary { canary, replicas, .. } => format!("scaling {canary} to {replicas}"),
        Action::PlaceCanary { canary, nodes, .. } => format!("placing {canary} on {}", nodes.join(", ")),
        Action::SetTemplate(SetTemplate { target, .. }) => format!("setting the template of {target}"),
        Action::Update(update) => format!("the update of {}", update.workload),
        Action::HandOver { target, .. } => format!("handing over the fields of {target}"),
        Action::Hold { .. } | Action::HoldInPlace => "adding the finalizer to this Kanary".to_owned(),
        Action::Release | Action::ReleaseInPlace => "removing the finalizer from this Kanary".to_owned(),
        Action::SetRoute { route, gives, .. } => format!("the change of {route} that {gives}"),
        Action::Keep(keep) => {
            let what = match keep.what {
                KeepWhat::Create => "the creation",
                KeepWhat::Patch => "putting back fields",
                KeepWhat::Delete => "the deletion",
            };
            format!("{what} of {} {}", keep.resource.kind, keep.name)
        }
        Action::Adopt { pod, .. } => format!("adding an ownerReference to pod {pod}"),
        Action::Unlabel { pod, labels, .. } => format!("removing {} from pod {pod}", labels.join(", ")),
        Action::Delete { object, name, .. } => format!("the deletion of {} {name}", object.as_str()),
    }
}

#[cfg(test)]
mod tests;
