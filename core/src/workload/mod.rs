//! What differs between the kinds of targets. Each kind has an `Adapter`, in a file of its own, and nothing else in this
//! crate depends on a kind.

mod daemon_set;
mod deployment;
mod stateful_set;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    observation::{HostPort, Pod, Workload},
    scale::Scale,
    template::WorkloadTemplate,
};
use crate::api::{Reason, WorkloadKind, WorkloadRef};

/// Of a target whose pods nobody but its user replaces.
const ON_DELETE: &str = "; with the updateStrategy OnDelete, its pods get it only when you delete them";

/// What a kind of target does in its own way.
pub(crate) trait Adapter {
    /// Why a canary cannot have this name, with the way to mend it.
    fn refuses_name(&self, name: &str) -> Option<String>;

    /// Why a canary cannot have this template or this scale, whatever the target is like.
    fn refuses(&self, _: &WorkloadTemplate, scale: &Scale) -> Option<String> {
        matches!(scale, Scale::Nodes { .. })
            .then(|| "spec.scale.nodes is for targets that are DaemonSets: use static, percent, hpa or keda".to_owned())
    }

    /// Changes the spec of the template to that of a canary, which never rolls out a change and is available only as a whole.
    fn isolate(&self, spec: &mut Map<String, Value>);

    /// Why the template could not be promoted, although the target's selector matches its pods: a promotion writes nothing but the
    /// pod template.
    fn differs(&self, template: &WorkloadTemplate, name: &WorkloadRef, target: &Workload) -> Option<String>;

    /// Why a pod of the canary cannot run beside one of the target.
    fn clashes(&self, _: &WorkloadTemplate, _: &WorkloadRef, _: &Workload) -> Option<String> {
        None
    }

    /// What the pods of a target that has the template need and pods of its canary keep from them.
    fn needs_of_canary(&self, _: &Workload) -> Option<String> {
        None
    }

    /// Whether pods of this template have volumes that may outlive them.
    fn has_claims(&self, template: &WorkloadTemplate) -> bool;

    /// What the names of the volume claims of a canary's pods begin with. The number of the pod follows.
    fn claims_begin(&self, _template: &WorkloadTemplate, _canary: &str) -> Vec<String> {
        Vec::new()
    }

    /// Why a target that has the template does not roll out by itself.
    fn held_back(&self, name: &WorkloadRef, target: &Workload) -> Option<HeldBack>;

    /// Where to look for the reason that a canary has no pods, if its status does not have it.
    fn without_pods(&self, name: &WorkloadRef) -> Option<String> {
        let name = &name.name;
        Some(format!(
            "it has no pods; its Events say why: kubectl get events --field-selector involvedObject.name={name}"
        ))
    }

    /// What a user has to know before an undo of the promotion.
    fn about_undo(&self) -> &'static str;

    /// What a user has to know about a target that has its former template back.
    fn after_rollback(&self, target: &Workload) -> &'static str;

    /// Adds what only the pods show: since when a canary is available, if its status has no times.
    fn complete(&self, canary: &mut Workload, pods: &[Pod]);
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

/// Adds to a canary of this kind what only its pods show.
pub fn complete(kind: WorkloadKind, canary: &mut Workload, pods: &[Pod]) {
    of(kind).complete(canary, pods);
}

/// Whether a pod of this canary would get the volume claim of this name, whoever created it.
#[must_use]
pub fn would_take(canary: &WorkloadRef, template: &WorkloadTemplate, claim: &str) -> bool {
    let begins = of(canary.kind).claims_begin(template, &canary.name);
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    begins
        .iter()
        .any(|begin| claim.strip_prefix(begin.as_str()).is_some_and(is_number))
}

/// Since when all of this number of pods have been ready for so long. `None` if they are not.
fn since_last<'a>(pods: impl Iterator<Item = &'a Pod>, number: i32, min_ready: Duration) -> Option<Timestamp> {
    let pods: Vec<_> = pods.filter(|pod| !pod.terminating && !pod.released).collect();
    let ready: Option<Vec<_>> = pods.iter().map(|pod| pod.ready_since()).collect();
    let is_all = i32::try_from(pods.len()).is_ok_and(|count| count == number);
    let last = ready.filter(|_| is_all)?.into_iter().max()?;
    last.checked_add(min_ready).ok()
}

/// The ports of a node that a pod with this spec takes.
#[must_use]
pub fn host_ports(pod: &Value) -> Vec<HostPort> {
    daemon_set::host_ports(pod)
}

/// The adapter of a kind.
pub(crate) fn of(kind: WorkloadKind) -> &'static dyn Adapter {
    match kind {
        WorkloadKind::Deployment => &deployment::Deployment,
        WorkloadKind::StatefulSet => &stateful_set::StatefulSet,
        WorkloadKind::DaemonSet => &daemon_set::DaemonSet,
    }
}
