//! Canaries that KEDA scales. There is no KEDA here: a user sets their number of pods instead.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary::reconcile::turn::Decide;
use kanary_core::{
    decide,
    decision::{Action, ObjectKind},
};
use serde_json::json;

use crate::{
    case::{Act, Case, End, Maker},
    checker::Invariant::Orphan,
    mutants::{decides, is_caught_in},
    scenario::Scenario,
    target_kinds::Targets,
    world::World,
};

/// The definition of ScaledObjects, which takes any spec.
fn definition() -> CustomResourceDefinition {
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": free, "status": free}});
    let definition = json!({
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {
            "group": "keda.sh", "scope": "Namespaced",
            "names": {"kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    serde_json::from_value(definition).unwrap()
}

/// Serves ScaledObjects if one of the cases needs them.
pub(crate) fn serve<'a>(world: &mut World, mut cases: impl Iterator<Item = &'a Case>) {
    if cases.any(|case| case.manifest["spec"]["scale"]["keda"].is_object()) {
        world.stack.install(&[definition()]).unwrap();
        world.keda = true;
    }
}

/// A canary whose pods become more while it is judged.
pub(crate) fn scaled(make: &mut Maker<'_>) -> Case {
    let trigger = json!({"type": "kafka", "metadata": {"topic": make.target}});
    let least = make.rng.u8(1..=2);
    let keda = json!({"minReplicaCount": least, "maxReplicaCount": 4, "triggers": [trigger]});
    let items = json!([{"manual": {"statusAfterDeadline": "valid"}}]);
    let case = make.case(
        "scaled by KEDA",
        items,
        json!({"scale": {"keda": keda}}),
        &[End::Updated],
    );
    let more = json!({"spec": {"replicas": make.rng.u8(2..=4)}});
    case.then(Duration::ZERO, Act::PatchCanary(more))
}

#[test]
fn a_scaled_object_that_stays_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        let is_it =
            |action: &Action| matches!(action, Action::Delete { object, .. } if *object == ObjectKind::ScaledObject);
        decision.actions.retain(|action| !is_it(action));
        decision
    };
    let all = |seed| Scenario::of_targets(seed, &[scaled], Targets::Mixed);
    is_caught_in(all, &decides(wrong), &[Orphan]);
}
