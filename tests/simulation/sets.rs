//! StatefulSets as targets: volumes, a headless Service, ordinals, and targets that their users roll out.

use std::time::Duration;

use kanary_core::api::{KanaryKind, names};
use serde_json::{Value, json};

use crate::{
    case::{Act, Case, End, Maker, merge},
    kinds::Kind,
    target_kinds::TargetKind,
};

/// Cases that only StatefulSets have.
pub(crate) const OWN: &[Kind] = &[
    replaced_by_hand,
    never_replaced,
    partitioned,
    other_volumes,
    volumes_remain,
];

/// What each pod has a volume of.
fn claims(size: &str) -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
    json!([{"metadata": {"name": "data"}, "spec": spec}])
}

/// Makes the target and the template those of a StatefulSet, with the headless Service of its pods.
pub(crate) fn shape(rng: &mut fastrand::Rng, case: &mut Case) {
    let peers = format!("{}-peers", case.app);
    let mut spec = json!({"serviceName": peers});
    if rng.u8(..3) > 0 {
        spec["volumeClaimTemplates"] = claims("1Gi");
    }
    if rng.u8(..3) == 0 {
        spec["podManagementPolicy"] = json!("Parallel");
    }
    if rng.u8(..4) == 0 {
        spec["ordinals"] = json!({"start": 3});
    }
    case.shape(&spec);
    case.beside.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": peers},
        "spec": {"clusterIP": "None", "selector": {"app": case.app}, "ports": [{"name": "http", "port": 80}]},
    }));
}

fn set(make: &mut Maker<'_>, what: &'static str, ends: &[End]) -> Case {
    TargetKind::named("StatefulSet").case(make, what, ends)
}

pub(crate) fn strategy(case: &mut Case, strategy: &Value) {
    merge(&mut case.target_patch, &json!({"spec": {"updateStrategy": strategy}}));
}

fn replaced_by_hand(make: &mut Maker<'_>) -> Case {
    by_hand(make, TargetKind::named("StatefulSet"))
}

/// The user deletes the pods of the former template.
pub(crate) fn by_hand(make: &mut Maker<'_>, kind: &'static TargetKind) -> Case {
    let mut case = kind.case(make, "its pods are replaced by hand", &[End::Updated]);
    strategy(&mut case, &json!({"type": "OnDelete"}));
    case.then(make.seconds(20, 60), Act::RollOut)
}

fn never_replaced(make: &mut Maker<'_>) -> Case {
    let mut case = set(make, "its pods are never replaced", &[End::Promoting]);
    strategy(&mut case, &json!({"type": "OnDelete"}));
    case
}

/// The user sets the partition to 0, or does not.
pub(crate) fn partitioned(make: &mut Maker<'_>) -> Case {
    let is_over = make.rng.bool();
    let end = if is_over { End::Updated } else { End::Promoting };
    let mut case = set(make, "has a partition", &[end]);
    strategy(
        &mut case,
        &json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}),
    );
    if is_over {
        return case.then(make.seconds(20, 60), Act::RollOut);
    }
    case
}

/// Nobody can change the claims of a StatefulSet, so a template with others cannot be promoted.
fn other_volumes(make: &mut Maker<'_>) -> Case {
    let mut case = set(make, "has other volumes than its target", &[End::Errored]).bad();
    case.shape(&json!({"volumeClaimTemplates": claims("1Gi")}));
    case.manifest["spec"]["template"]["spec"]["volumeClaimTemplates"] = claims("2Gi");
    case
}

/// A volume of an earlier canary is left, until the user deletes it.
pub(crate) fn volumes_remain(make: &mut Maker<'_>) -> Case {
    let mut case = set(make, "a volume of an earlier canary is left", &[End::Updated]);
    case.shape(&json!({"volumeClaimTemplates": claims("1Gi")}));
    let text = |field: &str| case.manifest[field].as_str().unwrap_or_default();
    let kind = KanaryKind::of(text("apiVersion"), text("kind")).unwrap();
    let claim = format!("data-{}-0", names::canary_name(&case.truth.target, &case.name));
    case.beside.push(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "labels": {names::KANARY_NAME: case.name, names::KANARY_KIND: kind.id()}},
        "spec": claims("1Gi")[0]["spec"],
    }));
    let when = make.seconds(5, 60);
    case.then(
        when + Duration::from_secs(1),
        Act::DeleteOther("PersistentVolumeClaim", claim),
    )
}
