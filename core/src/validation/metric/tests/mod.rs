mod judging;
mod parsing;
mod reading;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Metric, MetricAnswer, MetricValue, Scope};
use crate::{
    api::MetricItem,
    validation::{Outcome, Sample},
};

fn parse(yaml: &str) -> Result<Metric, String> {
    let item: MetricItem = serde_yaml_ng::from_str(yaml).unwrap();
    Metric::parse(&item, Duration::from_secs(20))
}

fn metric(yaml: &str) -> Metric {
    parse(yaml).unwrap()
}

/// CPU of each pod, at most 200m.
fn cpu() -> Metric {
    metric("type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: 200m}}")
}

fn utilization() -> Metric {
    metric("type: Resource\nresource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}")
}

fn external(target: &str) -> Metric {
    metric(&format!(
        "type: External\nexternal: {{metric: {{name: queue}}, target: {target}}}"
    ))
}

/// So many seconds after the start of the validation.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// At `seconds` after the start, for these pods.
fn scope<'a>(pods: &[&'a str], seconds: i64) -> Scope<'a> {
    Scope {
        pods: pods.iter().copied().collect(),
        since: at(0),
        now: at(seconds),
    }
}

/// Values as `object value age`, with ages in seconds, and a window of ten seconds.
fn values(lines: &[(&str, f64, i64)], now: i64) -> MetricAnswer {
    let values = lines.iter().map(|(object, value, age)| {
        Ok(MetricValue {
            object: (*object).to_owned(),
            value: *value,
            at: at(now) - SignedDuration::from_secs(*age),
            window: Duration::from_secs(10),
        })
    });
    MetricAnswer::Values(values.collect())
}

fn shown(sample: &Sample) -> (Outcome, &str) {
    (sample.outcome, &sample.message)
}

/// A `PodMetrics` with the usage of its containers.
fn usage(pod: &str, containers: &[(&str, &str)]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|(name, cpu)| json!({"name": name, "usage": {"cpu": cpu, "memory": "64Mi"}}))
        .collect();
    json!({"metadata": {"name": pod}, "timestamp": at(30), "window": "15.5s", "containers": containers})
}
