//! `spec.scale`: the number of canary pods, and the autoscaler if there is one.

mod keda;
mod v2beta1;

use serde_json::{Value, json};

use crate::{
    api::{HpaScale, LabelMatch, NodesScale, PercentScale, ScaleSpec},
    decision::ObjectKind,
    labels::Selector,
};

/// The number of canary pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// A fixed number.
    Static(i32),
    /// A percentage of the target's replicas, rounded up, within bounds.
    Percent {
        /// The percentage.
        value: i32,
        /// Lower bound.
        min: i32,
        /// Upper bound.
        max: i32,
    },
    /// This number of pods of the target, and no canary beside it.
    InPlace(i32),
    /// An autoscaler.
    Auto {
        /// Which one.
        kind: Autoscaler,
        /// The spec of the autoscaler, without `scaleTargetRef`.
        spec: Value,
        /// Initial number of replicas: the lower bound.
        min: i32,
    },
    /// All nodes of a DaemonSet that match.
    Nodes {
        /// The labels of the nodes, as `kubectl` takes them.
        selector: String,
    },
}

/// Kinds of autoscalers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoscaler {
    /// A HorizontalPodAutoscaler.
    Hpa,
    /// A ScaledObject of KEDA.
    Keda,
}

impl Autoscaler {
    /// Its kind.
    #[must_use]
    pub fn object(self) -> ObjectKind {
        match self {
            Self::Hpa => ObjectKind::HorizontalPodAutoscaler,
            Self::Keda => ObjectKind::ScaledObject,
        }
    }

    /// Its `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Hpa => "autoscaling/v2",
            Self::Keda => "keda.sh/v1alpha1",
        }
    }
}

impl Scale {
    /// Parses the block and sets defaults.
    ///
    /// # Errors
    ///
    /// Fails if there are two ways of scaling or contradictory numbers, with a sentence on how to fix it.
    pub fn parse(spec: ScaleSpec) -> Result<Self, String> {
        let fixed = spec
            .fixed
            .map(|fixed| at_least_one(fixed.replicas.unwrap_or(1), "static.replicas").map(Self::Static));
        let in_place = spec
            .in_place
            .map(|pods| at_least_one(pods.replicas.unwrap_or(1), "inPlace.replicas").map(Self::InPlace));
        let ways = [
            fixed,
            spec.percent.as_ref().map(percentage),
            spec.hpa.map(autoscaled),
            spec.keda.map(keda::parse),
            spec.nodes.map(of_nodes),
            in_place,
        ];
        let mut ways = ways.into_iter().flatten();
        match (ways.next(), ways.next()) {
            (None, _) => Ok(Self::Static(1)),
            (Some(way), None) => way,
            (Some(_), Some(_)) => Err(
                "spec.scale takes one of static, percent, hpa, keda, nodes and inPlace: keep one and remove the others"
                    .to_owned(),
            ),
        }
    }

    /// The value that `kubectl get` shows.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Percent { .. } => "percent",
            Self::Auto {
                kind: Autoscaler::Hpa, ..
            } => "hpa",
            Self::Auto {
                kind: Autoscaler::Keda, ..
            } => "keda",
            Self::Nodes { .. } => "nodes",
            Self::InPlace(_) => "inPlace",
        }
    }

    /// The kind of the canary's autoscaler, if it has one.
    #[must_use]
    pub fn autoscaler(&self) -> Option<ObjectKind> {
        match self {
            Self::Auto { kind, .. } => Some(kind.object()),
            _ => None,
        }
    }

    /// Number of pods of the target that run the template, if there is no canary beside it.
    #[must_use]
    pub fn in_place(&self) -> Option<i32> {
        match self {
            Self::InPlace(replicas) => Some(*replicas),
            _ => None,
        }
    }

    /// Why a canary with this autoscaler cannot have this name, with the way to mend it.
    #[must_use]
    pub fn refuses_name(&self, name: &str) -> Option<String> {
        if self.autoscaler() == Some(ObjectKind::ScaledObject) {
            keda::refuses_name(name)
        } else {
            None
        }
    }

    /// Initial number of replicas of the canary, for a target with `target` replicas.
    #[must_use]
    pub fn initial(&self, target: i32) -> i32 {
        match self {
            Self::Auto { min, .. } => *min,
            _ => self.replicas(target).unwrap_or(1),
        }
    }

    /// Desired number of replicas of the canary, for a target with `target` replicas, or of nodes. `None` if the autoscaler sets it, and
    /// for all nodes that match.
    #[must_use]
    pub fn replicas(&self, target: i32) -> Option<i32> {
        match self {
            Self::Static(replicas) | Self::InPlace(replicas) => Some(*replicas),
            Self::Percent { value, min, max } => {
                let share = (i64::from(target.max(0)) * i64::from(*value) + 99) / 100;
                Some(i32::try_from(share).unwrap_or(i32::MAX).clamp(*min, *max))
            }
            Self::Auto { .. } | Self::Nodes { .. } => None,
        }
    }
}

fn at_least_one(number: i32, field: &str) -> Result<i32, String> {
    if number < 1 {
        return Err(format!("spec.scale.{field} is {number}: use 1 or more"));
    }
    Ok(number)
}

fn percentage(percent: &PercentScale) -> Result<Scale, String> {
    let min = at_least_one(percent.min.unwrap_or(1), "percent.min")?;
    let max = at_least_one(percent.max.unwrap_or(i32::MAX), "percent.max")?;
    if !(1..=100).contains(&percent.value) {
        return Err(format!("spec.scale.percent.value is {}: use 1 to 100", percent.value));
    }
    if min > max {
        return Err(format!("spec.scale.percent: min {min} is greater than max {max}"));
    }
    Ok(Scale::Percent {
        value: percent.value,
        min,
        max,
    })
}

fn autoscaled(hpa: HpaScale) -> Result<Scale, String> {
    let min = at_least_one(hpa.min_replicas.unwrap_or(1), "hpa.minReplicas")?;
    if min > hpa.max_replicas {
        return Err(format!(
            "spec.scale.hpa: minReplicas {min} is greater than maxReplicas {}",
            hpa.max_replicas
        ));
    }
    let metrics = hpa.metrics.filter(|metrics| !metrics.is_empty());
    let converted = |metrics: Vec<Value>| {
        let metrics = metrics.into_iter().enumerate();
        metrics
            .map(|(index, metric)| v2beta1::converted(index, metric))
            .collect()
    };
    let metrics: Option<Vec<Value>> = metrics.map(converted).transpose()?;
    let mut spec = json!({
        "minReplicas": min,
        "maxReplicas": hpa.max_replicas,
        "metrics": metrics.map_or_else(eighty_percent_cpu, Value::Array),
    });
    if let (Some(behavior), Some(fields)) = (hpa.behavior, spec.as_object_mut()) {
        fields.insert("behavior".to_owned(), behavior);
    }
    Ok(Scale::Auto {
        kind: Autoscaler::Hpa,
        spec,
        min,
    })
}

fn of_nodes(nodes: NodesScale) -> Result<Scale, String> {
    let selector = Selector::parse(LabelMatch::Selector(nodes.selector));
    let selector = selector.map_err(|why| format!("spec.scale.nodes.selector: {why}"))?;
    Ok(Scale::Nodes {
        selector: selector.to_string(),
    })
}

fn eighty_percent_cpu() -> Value {
    json!([{
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_up_and_stays_within_its_bounds() {
        let scale = |value, min, max| Scale::Percent { value, min, max };
        for (scale, target, replicas) in [
            (scale(20, 1, i32::MAX), 5, 1),
            (scale(20, 1, i32::MAX), 6, 2),
            (scale(20, 1, i32::MAX), 0, 1),
            (scale(20, 2, i32::MAX), 5, 2),
            (scale(20, 1, 10), 100, 10),
            (scale(100, 1, i32::MAX), 7, 7),
            (scale(33, 1, i32::MAX), 3, 1),
            (scale(34, 1, i32::MAX), 3, 2),
        ] {
            assert_eq!(scale.replicas(target), Some(replicas), "{scale:?} of {target}");
        }
    }
}
