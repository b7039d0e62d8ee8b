//! Calculation of the number of replicas from an autoscaler's metrics.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::{
            ContainerResourceMetricStatus, ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget,
            MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
        },
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::Look;

/// Relative deviation of a metric from its target that does not cause scaling.
const TOLERANCE: f64 = 0.1;

/// Reason and message why there is no number of replicas.
type Refusal = (&'static str, String);

/// Pods of a Deployment, grouped as metrics count them.
struct Pods {
    wanted: i32,
    present: i32,
    ready: i32,
}

/// The numeric value of a quantity: `100`, `250m`, `1.5Gi`.
fn number(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.as_str();
    let end = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return text.parse().ok(),
    };
    digits.parse::<f64>().ok().map(|digits| digits * factor)
}

/// A number as a quantity, in thousandths.
fn quantity(number: f64) -> Quantity {
    let thousandths = (number * 1000.0).round();
    if thousandths % 1000.0 == 0.0 {
        Quantity(format!("{}", thousandths / 1000.0))
    } else {
        Quantity(format!("{thousandths}m"))
    }
}

/// Rounds up to whole replicas.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a cast to an integer stops at its limits"
)]
fn whole(number: f64) -> i32 {
    number.ceil() as i32
}

fn is_close(ratio: f64) -> bool {
    (1.0 - ratio).abs() <= TOLERANCE
}

impl Pods {
    fn of(target: &Deployment, wanted: i32) -> Self {
        let status = target.status.as_ref();
        Self {
            wanted,
            present: status.and_then(|status| status.replicas).unwrap_or_default(),
            ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        }
    }

    /// Replicas for a per-pod metric. Pods that are not ready count as idle, which prevents repeated scale-ups while pods
    /// start.
    fn by_pod(&self, ratio: f64) -> i32 {
        let counted = if ratio > 1.0 {
            self.present.max(self.ready)
        } else {
            self.ready
        };
        let spread = ratio * f64::from(self.ready) / f64::from(counted);
        if is_close(ratio) || is_close(spread) || (ratio > 1.0 && spread < 1.0) {
            return self.wanted;
        }
        let replicas = whole(spread * f64::from(counted));
        if ratio > 1.0 {
            replicas.max(self.wanted)
        } else {
            replicas.min(self.wanted)
        }
    }

    /// Replicas for a metric with a single value that the ready pods share.
    fn by_whole(&self, ratio: f64) -> i32 {
        if is_close(ratio) {
            self.wanted
        } else {
            whole(ratio * f64::from(self.ready))
        }
    }

    /// Replicas for a metric with a single value that is divided by the number of pods.
    fn by_share(&self, ratio: f64) -> i32 {
        if is_close(ratio) {
            self.wanted
        } else {
            whole(ratio * f64::from(self.present))
        }
    }
}

/// A metric in an autoscaler's spec.
struct Source<'a> {
    metric: &'a str,
    target: &'a MetricTarget,
    /// Its name in conditions.
    shown: String,
    /// Condition reason if the metric has no value.
    reason: &'static str,
    missing: String,
    /// Whether the metric is measured per pod.
    by_pod: bool,
}

const NO_CUSTOM: &str =
    "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";

fn of_resource<'a>(name: &'a str, target: &'a MetricTarget, container: bool) -> Source<'a> {
    let (which, reason) = if container {
        (" container", "FailedGetContainerResourceMetric")
    } else {
        ("", "FailedGetResourceMetric")
    };
    let how = match target.average_utilization {
        Some(_) => format!("{name}{which} resource utilization (percentage of request)"),
        None => format!("{name}{which} resource"),
    };
    Source {
        metric: name,
        target,
        shown: how,
        reason,
        missing: format!(
            "failed to get {name} utilization: unable to get metrics for resource {name}: unable to fetch metrics from \
             resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
        ),
        by_pod: true,
    }
}

fn source<'a>(namespace: &str, spec: &'a MetricSpec) -> Option<Source<'a>> {
    if let Some(resource) = &spec.resource {
        return Some(of_resource(&resource.name, &resource.target, false));
    }
    if let Some(resource) = &spec.container_resource {
        return Some(of_resource(&resource.name, &resource.target, true));
    }
    if let Some(pods) = &spec.pods {
        return Some(Source {
            metric: &pods.metric.name,
            target: &pods.target,
            shown: format!("pods metric {}", pods.metric.name),
            reason: "FailedGetPodsMetric",
            missing: format!("unable to get metric {}: {NO_CUSTOM}", pods.metric.name),
            by_pod: true,
        });
    }
    if let Some(object) = &spec.object {
        return Some(Source {
            metric: &object.metric.name,
            target: &object.target,
            shown: format!("{} metric {}", object.described_object.kind, object.metric.name),
            reason: "FailedGetObjectMetric",
            missing: format!("unable to get metric {}: {NO_CUSTOM}", object.metric.name),
            by_pod: false,
        });
    }
    let external = spec.external.as_ref()?;
    let name = &external.metric.name;
    Some(Source {
        metric: name,
        target: &external.target,
        shown: format!("external metric {name}"),
        reason: "FailedGetExternalMetric",
        missing: format!(
            "unable to get external metric {namespace}/{name}: unable to fetch metrics from external metrics API: no \
             external metrics API (external.metrics.k8s.io) registered"
        ),
        by_pod: false,
    })
}

/// A metric's current value in the status.
fn status(spec: &MetricSpec, current: MetricValueStatus) -> MetricStatus {
    MetricStatus {
        type_: spec.type_.clone(),
        resource: spec.resource.as_ref().map(|source| ResourceMetricStatus {
            name: source.name.clone(),
            current: current.clone(),
        }),
        container_resource: spec
            .container_resource
            .as_ref()
            .map(|source| ContainerResourceMetricStatus {
                name: source.name.clone(),
                container: source.container.clone(),
                current: current.clone(),
            }),
        pods: spec.pods.as_ref().map(|source| PodsMetricStatus {
            metric: source.metric.clone(),
            current: current.clone(),
        }),
        object: spec.object.as_ref().map(|source| ObjectMetricStatus {
            metric: source.metric.clone(),
            described_object: source.described_object.clone(),
            current: current.clone(),
        }),
        external: spec.external.as_ref().map(|source| ExternalMetricStatus {
            metric: source.metric.clone(),
            current,
        }),
    }
}

impl Look<'_> {
    /// The highest number of replicas that any metric asks for, and that metric's name.
    pub(super) fn measure(&mut self, target: &Deployment, current: i32) -> Result<(i32, String), Refusal> {
        let pods = Pods::of(target, current);
        let metrics = self.spec.metrics.clone().unwrap_or_default();
        let (mut best, mut refusal, mut statuses) = (None::<(i32, String)>, None, Vec::new());
        for metric in &metrics {
            match self.one(metric, &pods) {
                Ok((replicas, shown, status)) => {
                    statuses.push(status);
                    if best.as_ref().is_none_or(|(most, _)| replicas > *most) {
                        best = Some((replicas, shown));
                    }
                }
                Err(why) => {
                    statuses.push(MetricStatus::default());
                    refusal.get_or_insert(why);
                }
            }
        }
        self.status.current_metrics = Some(statuses).filter(|statuses| !statuses.is_empty());
        // A metric without a value may ask for more replicas than the others, so it prevents scaling down.
        match (best, refusal) {
            (Some(best), None) => Ok(best),
            (Some(best), Some(_)) if best.0 >= current => Ok(best),
            (_, Some(refusal)) => Err(refusal),
            (None, None) => Err(("InvalidMetricSourceType", "no metrics".to_owned())),
        }
    }

    fn one(&self, spec: &MetricSpec, pods: &Pods) -> Result<(i32, String, MetricStatus), Refusal> {
        let Some(source) = source(&self.place.0, spec) else {
            let message = format!("unknown metric source type \"{}\"", spec.type_);
            return Err(("InvalidMetricSourceType", message));
        };
        let deployment = &self.spec.scale_target_ref.name;
        let Some(value) = self.behaviour.measure(&self.place.0, deployment, source.metric) else {
            return Err((source.reason, source.missing));
        };
        if source.by_pod && pods.ready == 0 {
            let why = "did not receive metrics for targeted pods (pods might be unready)";
            return Err((source.reason, format!("failed to get {}: {why}", source.shown)));
        }
        let Some((ratio, current)) = compare(source.target, value) else {
            return Err((source.reason, "invalid metric target".to_owned()));
        };
        let replicas = if source.by_pod {
            pods.by_pod(ratio)
        } else if source.target.value.is_some() {
            pods.by_whole(ratio)
        } else {
            pods.by_share(ratio)
        };
        Ok((replicas, source.shown, status(spec, current)))
    }
}

/// The ratio of a value to its target, and the value for the status.
fn compare(target: &MetricTarget, value: f64) -> Option<(f64, MetricValueStatus)> {
    let mut current = MetricValueStatus::default();
    let ratio = if let Some(utilization) = target.average_utilization {
        let percent = whole(value.floor());
        current.average_utilization = Some(percent);
        f64::from(percent) / f64::from(utilization)
    } else if let Some(average) = &target.average_value {
        current.average_value = Some(quantity(value));
        value / number(average)?
    } else {
        current.value = Some(quantity(value));
        value / target.value.as_ref().and_then(number)?
    };
    Some((ratio, current)).filter(|(ratio, _)| ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        for (text, expected) in [
            ("100", 100.0),
            ("250m", 0.25),
            ("1.5k", 1500.0),
            ("2Ki", 2048.0),
            ("1e3", 1000.0),
        ] {
            assert_eq!(number(&Quantity(text.to_owned())), Some(expected), "{text}");
        }
        assert_eq!(number(&Quantity("much".to_owned())), None);
        assert_eq!((quantity(3.0).0, quantity(0.25).0), ("3".to_owned(), "250m".to_owned()));
    }

    #[test]
    fn pods_that_come_up_count_as_idle() {
        let pods = |present, ready| Pods {
            wanted: 4,
            present,
            ready,
        };
        assert_eq!(pods(4, 4).by_pod(2.0), 8);
        assert_eq!(
            pods(4, 2).by_pod(2.0),
            4,
            "two ready pods at twice the target need four"
        );
        assert_eq!(pods(4, 2).by_pod(4.0), 8);
        assert_eq!(pods(4, 4).by_pod(1.05), 4, "within the tolerance");
        assert_eq!(pods(4, 4).by_pod(0.5), 2);
    }
}
