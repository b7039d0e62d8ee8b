//! Limits on how fast an autoscaler scales: stabilization of recommendations, and scaling policies.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};
use tokio::time::Instant;

/// Earlier recommendations and scaling events of an autoscaler.
#[derive(Debug, Default)]
pub(super) struct Memory {
    recommended: Vec<(Instant, i32)>,
    /// Changes to the number of replicas.
    changes: Vec<(Instant, i32)>,
}

/// Reason and message of a condition.
type Why = (&'static str, &'static str);

/// The scaling rules for one direction.
#[derive(Debug)]
struct Rules {
    window: Duration,
    policies: Vec<HPAScalingPolicy>,
    select: String,
}

/// The scaling rules for both directions. The defaults apply if the autoscaler has no `behavior`.
#[derive(Debug)]
pub(super) struct Pace {
    up: Rules,
    down: Rules,
    is_default: bool,
}

/// The longest window of any rule.
const LONGEST: Duration = Duration::from_hours(1);

impl Memory {
    /// Records the current size as the first recommendation.
    pub(super) fn start(&mut self, current: i32) {
        if self.recommended.is_empty() {
            self.recommended.push((Instant::now(), current));
        }
        self.recommended.retain(|(at, _)| at.elapsed() <= LONGEST);
        self.changes.retain(|(at, _)| at.elapsed() <= LONGEST);
    }

    pub(super) fn scaled(&mut self, change: i32) {
        self.changes.push((Instant::now(), change));
    }

    /// Stabilizes a recommendation: scaling down uses the highest recent recommendation, scaling up the lowest.
    pub(super) fn stabilized(&mut self, pace: &Pace, current: i32, wanted: i32) -> (i32, Option<Why>) {
        let within = |window: Duration| {
            let recent = self.recommended.iter().filter(move |(at, _)| at.elapsed() < window);
            recent.map(|(_, recommended)| *recommended).chain([wanted])
        };
        let up = within(pace.up.window).min().unwrap_or(wanted);
        let down = within(pace.down.window).max().unwrap_or(wanted);
        let stable = current.max(up).min(down);
        self.recommended.push((Instant::now(), wanted));
        let why = if wanted >= current {
            let message =
                "recent recommendations were lower than current one, applying the lowest recent recommendation";
            ("ScaleUpStabilized", message)
        } else {
            let message =
                "recent recommendations were higher than current one, applying the highest recent recommendation";
            ("ScaleDownStabilized", message)
        };
        (stable, Some(why).filter(|_| stable != wanted))
    }

    fn changed(&self, period: i32) -> i32 {
        let period = Duration::from_secs(u64::try_from(period).unwrap_or_default());
        let recent = self.changes.iter().filter(|(at, _)| at.elapsed() < period);
        recent.map(|(_, change)| change).sum()
    }
}

impl Rules {
    fn of(rules: Option<&HPAScalingRules>, window: Duration, policies: &[(&str, i32)]) -> Self {
        let own = rules.and_then(|rules| rules.stabilization_window_seconds);
        let own = own.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
        let default = policies.iter().map(|(kind, value)| HPAScalingPolicy {
            period_seconds: 15,
            type_: (*kind).to_owned(),
            value: *value,
        });
        let policies = rules
            .and_then(|rules| rules.policies.clone())
            .filter(|policies| !policies.is_empty());
        Self {
            window: own.unwrap_or(window),
            policies: policies.unwrap_or_else(|| default.collect()),
            select: rules
                .and_then(|rules| rules.select_policy.clone())
                .unwrap_or_else(|| "Max".to_owned()),
        }
    }

    /// The furthest size that the policies allow from `current`. `sign` is the direction.
    fn limit(&self, memory: &Memory, current: i32, sign: i32) -> i32 {
        if self.select == "Disabled" {
            return current;
        }
        let proposals = self.policies.iter().map(|policy| {
            let start = current - memory.changed(policy.period_seconds);
            if policy.type_ == "Pods" {
                return start + sign * policy.value;
            }
            let hundredfold = i64::from(start) * i64::from(100 + sign * policy.value);
            // Scaling up is rounded up so that a small percentage still adds a replica; scaling down is rounded down.
            let rounded = if sign > 0 {
                (hundredfold + 99).div_euclid(100)
            } else {
                hundredfold / 100
            };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        });
        let farthest = (self.select == "Max") == (sign > 0);
        let limit = if farthest { proposals.max() } else { proposals.min() };
        limit.unwrap_or(current)
    }
}

impl Pace {
    pub(super) fn of(spec: &HorizontalPodAutoscalerSpec, downscale_window: Duration) -> Self {
        let behaviour = spec.behavior.as_ref();
        let up = behaviour.and_then(|behaviour| behaviour.scale_up.as_ref());
        let down = behaviour.and_then(|behaviour| behaviour.scale_down.as_ref());
        Self {
            up: Rules::of(up, Duration::ZERO, &[("Pods", 4), ("Percent", 100)]),
            down: Rules::of(down, downscale_window, &[("Percent", 100)]),
            is_default: behaviour.is_none(),
        }
    }

    /// The size that the limits allow now, and the reason if it differs from the desired size.
    pub(super) fn limited(
        &self,
        memory: &Memory,
        current: i32,
        wanted: i32,
        least: i32,
        most: i32,
    ) -> (i32, &'static str, &'static str) {
        if wanted > current || self.is_default && wanted > most {
            // The default policy at most doubles the size, or scales to four replicas.
            let rate = if self.is_default {
                current.saturating_mul(2).max(4)
            } else {
                self.up.limit(memory, current, 1).max(current)
            };
            if wanted > rate.min(most) {
                return if rate < most {
                    let message = "the desired replica count is increasing faster than the maximum scale rate";
                    (rate, "ScaleUpLimit", message)
                } else {
                    let message = "the desired replica count is more than the maximum replica count";
                    (most, "TooManyReplicas", message)
                };
            }
        } else if wanted < current {
            let rate = if self.is_default {
                least
            } else {
                self.down.limit(memory, current, -1).min(current)
            };
            if wanted < rate.max(least) {
                return if rate > least {
                    let message = "the desired replica count is decreasing faster than the maximum scale rate";
                    (rate, "ScaleDownLimit", message)
                } else {
                    let message = "the desired replica count is less than the minimum replica count";
                    (least, "TooFewReplicas", message)
                };
            }
        }
        (
            wanted,
            "DesiredWithinRange",
            "the desired count is within the acceptable range",
        )
    }
}
