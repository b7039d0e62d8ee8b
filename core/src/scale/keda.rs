//! ScaledObjects of KEDA.

use serde_json::{Map, Value, json};

use super::{Autoscaler, Scale, at_least_one};
use crate::api::KedaScale;

/// KEDA names the HorizontalPodAutoscaler of a ScaledObject `keda-hpa-<name>`, and keeps that name in a label.
const LONGEST: usize = 54;

/// KEDA's default of `maxReplicaCount`.
const MOST: i32 = 100;

pub(super) fn parse(keda: KedaScale) -> Result<Scale, String> {
    let min = match keda.min_replica_count.unwrap_or(1) {
        0 => {
            return Err(
                "spec.scale.keda.minReplicaCount is 0, and a canary without pods proves nothing: use 1 or more"
                    .to_owned(),
            );
        }
        min => at_least_one(min, "keda.minReplicaCount")?,
    };
    let max = keda.max_replica_count.unwrap_or(MOST);
    if min > max {
        return Err(format!(
            "spec.scale.keda: minReplicaCount {min} is greater than maxReplicaCount {max}"
        ));
    }
    if keda.idle_replica_count.is_some() {
        return Err(
            "spec.scale.keda.idleReplicaCount would scale the canary to 0, and a canary without pods proves nothing: remove it".to_owned(),
        );
    }
    if keda.triggers.is_empty() {
        return Err("spec.scale.keda.triggers is empty: write one trigger or more, as in a ScaledObject".to_owned());
    }
    if let Some(advanced) = &keda.advanced {
        check_advanced(advanced)?;
    }
    let fields = [
        ("minReplicaCount", Some(json!(min))),
        ("maxReplicaCount", Some(json!(max))),
        ("pollingInterval", keda.polling_interval.map(|seconds| json!(seconds))),
        ("cooldownPeriod", keda.cooldown_period.map(|seconds| json!(seconds))),
        (
            "initialCooldownPeriod",
            keda.initial_cooldown_period.map(|seconds| json!(seconds)),
        ),
        ("fallback", keda.fallback),
        ("advanced", keda.advanced),
        ("triggers", Some(Value::Array(keda.triggers))),
    ];
    let fields = fields.into_iter();
    let spec: Map<_, _> = fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    Ok(Scale::Auto {
        kind: Autoscaler::Keda,
        spec: Value::Object(spec),
        min,
    })
}

/// What would be right for the target, and harms production or is wrong for a canary.
fn check_advanced(advanced: &Value) -> Result<(), String> {
    let place = "spec.scale.keda.advanced";
    if advanced.pointer("/horizontalPodAutoscalerConfig/name").is_some() {
        return Err(format!(
            "{place}.horizontalPodAutoscalerConfig.name names a HorizontalPodAutoscaler that another ScaledObject may have: remove it, so \
             that the canary's gets a name of its own"
        ));
    }
    if advanced.get("restoreToOriginalReplicaCount") == Some(&json!(true)) {
        return Err(format!(
            "{place}.restoreToOriginalReplicaCount would scale a failed canary up again when its ScaledObject is deleted: remove it"
        ));
    }
    Ok(())
}

pub(super) fn refuses_name(name: &str) -> Option<String> {
    (name.len() > LONGEST).then(|| {
        format!(
            "the ScaledObject has the canary's name {name}, which has {} characters, and KEDA takes {LONGEST} at most: give the Kanary a \
             shorter name",
            name.len()
        )
    })
}
