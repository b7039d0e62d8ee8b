//! Limits of a rolling update: `maxSurge` and `maxUnavailable`.

use k8s_openapi::{api::apps::v1::DeploymentSpec, apimachinery::pkg::util::intstr::IntOrString};

use super::Rollout;

/// A number, or a percentage of `of`. Invalid values count as 0.
fn scaled(value: Option<&IntOrString>, of: i32, round_up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent = text.trim_end_matches('%').parse().unwrap_or(0_i64);
            let hundredfold = percent.saturating_mul(i64::from(of));
            let share = if round_up {
                (hundredfold + 99).div_euclid(100)
            } else {
                hundredfold.div_euclid(100)
            };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

/// `maxSurge` and `maxUnavailable` as numbers of pods.
fn fenceposts(spec: &DeploymentSpec) -> (i32, i32) {
    let wanted = spec.replicas.unwrap_or(1);
    let strategy = spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return (0, 0);
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
    let unavailable = scaled(
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        wanted,
        false,
    );
    // If both round to 0, the rollout could not progress.
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

impl Rollout<'_> {
    pub(super) fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// Maximum number of pods.
    pub(super) fn most(&self) -> i32 {
        self.wanted() + fenceposts(self.spec).0
    }

    /// Minimum number of available pods.
    pub(super) fn least_available(&self) -> i32 {
        self.wanted() - fenceposts(self.spec).1.min(self.wanted())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(replicas: i32, surge: &serde_json::Value, unavailable: &serde_json::Value) -> (i32, i32) {
        let spec = json!({
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        });
        fenceposts(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_surge_is_rounded_up_and_what_may_be_missing_down() {
        assert_eq!(limits(10, &json!("25%"), &json!("25%")), (3, 2));
        assert_eq!(limits(4, &json!("25%"), &json!("25%")), (1, 1));
        assert_eq!(limits(3, &json!(2), &json!(0)), (2, 0));
        assert_eq!(limits(1, &json!("100%"), &json!("100%")), (1, 1));
    }

    #[test]
    fn a_rollout_is_never_made_impossible() {
        assert_eq!(limits(1, &json!("0%"), &json!("25%")), (0, 1));
        assert_eq!(limits(0, &json!("25%"), &json!("25%")), (0, 1));
    }

    #[test]
    fn a_replacement_has_no_limits_to_go_beyond() {
        let spec = json!({"replicas": 4, "selector": {}, "template": {}, "strategy": {"type": "Recreate"}});
        assert_eq!(fenceposts(&serde_json::from_value(spec).unwrap()), (0, 0));
    }
}
