//! Deployments as targets.

use serde_json::{Map, Value, json};

use super::{Adapter, HeldBack};
use crate::{
    api::{Reason, WorkloadRef},
    observation::{Pod, Workload},
    template::WorkloadTemplate,
};

/// Deployments name their ReplicaSets `<name>-<10 characters>`, which must be a DNS subdomain of at most 253 characters.
const LONGEST: usize = 242;

pub(super) struct Deployment;

impl Adapter for Deployment {
    fn refuses_name(&self, name: &str) -> Option<String> {
        (name.len() > LONGEST).then(|| {
            format!(
                "the canary's name {name} has {} characters and {LONGEST} are possible: give the Kanary a shorter name",
                name.len()
            )
        })
    }

    fn isolate(&self, spec: &mut Map<String, Value>) {
        // With the user's `maxUnavailable` a single pod that never starts could count as available.
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
        spec.insert("strategy".to_owned(), strategy);
        spec.remove("paused");
    }

    fn differs(&self, _: &WorkloadTemplate, _: &WorkloadRef, _: &Workload) -> Option<String> {
        None
    }

    fn has_claims(&self, _: &WorkloadTemplate) -> bool {
        false
    }

    fn held_back(&self, target: &WorkloadRef, seen: &Workload) -> Option<HeldBack> {
        seen.paused.then(|| HeldBack {
            reason: Reason::TargetPaused,
            why: "is paused itself, so it does not roll out".to_owned(),
            mend: format!("resume it with kubectl rollout resume deployment/{}", target.name),
        })
    }

    fn without_pods(&self, _: &WorkloadRef) -> Option<String> {
        None
    }

    fn about_undo(&self) -> &'static str {
        " (which a paused Deployment refuses)"
    }

    fn after_rollback(&self, _: &Workload) -> &'static str {
        ""
    }

    fn complete(&self, _: &mut Workload, _: &[Pod]) {}
}
