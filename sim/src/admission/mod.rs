//! Admission: policies that may refuse, change or delay a write before it is stored.
//!
//! The policies that a test sets up in this process run first, ordered by name, followed by every
//! `ValidatingAdmissionPolicy` of the cluster and every `ResourceQuota` of the namespace. The order is that of a real API
//! server: mutating admission runs before validating admission, and quotas run last.

mod expressions;
mod policy;
mod quota;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

pub use self::policy::{Attempt, Effect, Policy};
pub(crate) use self::quota::{QUOTAS, usage};
use crate::{admit::admit, cluster::State, failure::Failure, resource::Resource, write::WriteOptions};

/// Policies set by a test, by name.
#[derive(Default)]
pub(crate) struct Policies(BTreeMap<Arc<str>, Policy>);

impl Policies {
    pub(crate) fn set(&mut self, policy: Policy) {
        self.0.insert(policy.name.clone(), policy);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    fn applying(&self, attempt: &Attempt<'_>) -> Vec<Policy> {
        let applying = self.0.values().filter(|policy| policy.applies(attempt));
        applying.cloned().collect()
    }

    /// How long policies delay a write.
    pub(crate) fn delay(&self, attempt: &Attempt<'_>) -> Duration {
        let applying = self.0.values().filter(|policy| policy.applies(attempt));
        applying.map(Policy::delay).sum()
    }
}

/// Whether any policy applies to a write.
pub(crate) fn concerns(state: &State, attempt: &Attempt<'_>) -> bool {
    state.policies.0.values().any(|policy| policy.applies(attempt))
        || state.store.list(expressions::POLICIES, None).next().is_some()
        || quota::concerns(&state.store, attempt)
}

/// Runs all policies on a creation or an update that has been defaulted and validated.
pub(crate) fn review(
    state: &mut State,
    resource: &Resource,
    attempt: &Attempt<'_>,
    object: &mut Value,
    old: Option<&Value>,
    options: WriteOptions,
) -> Result<(), Failure> {
    let policies = state.policies.applying(attempt);
    let mut changed = false;
    for policy in &policies {
        changed |= policy.change(object);
    }
    if changed {
        let options = WriteOptions {
            typed: false,
            ..options
        };
        admit(state, resource, object, old, options)?;
    }
    judge(state, resource, attempt, &policies, Some(object), old)
}

/// Runs all policies on a deletion.
pub(crate) fn review_deletion(
    state: &State,
    resource: &Resource,
    attempt: &Attempt<'_>,
    old: &Value,
) -> Result<(), Failure> {
    let policies = state.policies.applying(attempt);
    judge(state, resource, attempt, &policies, None, Some(old))
}

fn judge(
    state: &State,
    resource: &Resource,
    attempt: &Attempt<'_>,
    policies: &[Policy],
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Failure> {
    for policy in policies {
        policy.judge(object, old)?;
    }
    expressions::judge(&state.store, resource, attempt, object, old)?;
    match object {
        Some(object) if attempt.verb == "create" => quota::judge(&state.store, attempt, object),
        _ => Ok(()),
    }
}
