//! What differs between the kinds of targets. Each kind has an [`Adapter`], in a file of its own, and nothing else in this
//! crate depends on a kind.

mod deployment;

use serde_json::{Map, Value};

use super::{observation::Workload, template::WorkloadTemplate};
use crate::api::{Reason, WorkloadKind, WorkloadRef};

/// What a kind of target does in its own way.
pub(crate) trait Adapter {
    /// Why a canary cannot have this name, with the way to mend it.
    fn refuses_name(&self, name: &str) -> Option<String>;

    /// Changes the spec of the template to that of a canary, which never rolls out a change and is available only as a whole.
    fn isolate(&self, spec: &mut Map<String, Value>);

    /// Why the template could not be promoted, although the target's selector matches its pods: a promotion writes nothing but the
    /// pod template.
    fn differs(&self, template: &WorkloadTemplate, name: &WorkloadRef, target: &Workload) -> Option<String>;

    /// Why a target that has the template does not roll out by itself.
    fn held_back(&self, name: &WorkloadRef, target: &Workload) -> Option<HeldBack>;
}

/// A target that waits for its user before it rolls out.
pub(crate) struct HeldBack {
    /// The reason.
    pub(crate) reason: Reason,
    /// What is so: continues a sentence about a target that was updated.
    pub(crate) why: String,
    /// What the user has to do.
    pub(crate) mend: String,
}

/// The adapter of a kind.
pub(crate) fn of(kind: WorkloadKind) -> &'static dyn Adapter {
    match kind {
        WorkloadKind::Deployment => &deployment::Deployment,
    }
}
