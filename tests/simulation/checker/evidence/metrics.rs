//! Evidence in answers of the Kubernetes metrics APIs, derived independently from docs/api.md.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::{MetricItem, MetricQuantity, MetricSource, MetricTarget};
use kanary_sim::metrics_apis::Given;
use serde_json::Value;

use super::{
    kanaries::items,
    verdict::{Finding, Verdict},
};
use crate::checker::Invariant;

/// Maximum age of a value.
const FRESH: SignedDuration = SignedDuration::from_mins(2);

/// The number of a quantity like `100m`.
fn number(text: &str) -> Option<f64> {
    match text.strip_suffix('m') {
        Some(thousandths) => Some(thousandths.parse::<f64>().ok()? / 1000.0),
        None => text.parse().ok(),
    }
}

fn target(item: &MetricItem) -> Option<&MetricTarget> {
    Some(match item.source {
        MetricSource::Resource => &item.resource.as_ref()?.target,
        MetricSource::ContainerResource => &item.container_resource.as_ref()?.target,
        MetricSource::Pods => &item.pods.as_ref()?.target,
        MetricSource::Object => &item.object.as_ref()?.target,
        MetricSource::External => &item.external.as_ref()?.target,
    })
}

/// The part of a path that shows which metric is asked.
fn asked(item: &MetricItem) -> String {
    match item.source {
        MetricSource::Resource | MetricSource::ContainerResource => "/metrics.k8s.io/".to_owned(),
        MetricSource::Pods => format!("/*/{}?", item.pods.as_ref().map_or("", |pods| &pods.metric.name)),
        MetricSource::Object => format!("/{}", item.object.as_ref().map_or("", |object| &object.metric.name)),
        MetricSource::External => {
            let name = item.external.as_ref().map_or("", |external| &external.metric.name);
            format!(
                "/external.metrics.k8s.io/v1beta1/namespaces/{}/{name}",
                crate::world::NAMESPACE
            )
        }
    }
}

/// A fresh value with the pod that it is about.
fn fresh(entry: &Value, given: &Given, since: Timestamp) -> Option<(String, f64)> {
    let at: Timestamp = entry["timestamp"].as_str()?.parse().ok()?;
    if given.at.duration_since(at) > FRESH || at < since {
        return None;
    }
    let name = entry["metadata"]["name"]
        .as_str()
        .or_else(|| entry["describedObject"]["name"].as_str());
    let value = match entry["containers"].as_array() {
        Some(containers) => {
            let usage = containers
                .iter()
                .map(|container| number(container["usage"]["cpu"].as_str()?));
            usage.sum::<Option<f64>>()?
        }
        None => number(entry["value"].as_str()?)?,
    };
    Some((name.unwrap_or_default().to_owned(), value))
}

impl Verdict<'_> {
    /// Checks that every item had enough good values, one of them after the deadline.
    pub(super) fn had_its_metrics(&self, findings: &mut Vec<Finding>) {
        if self.is_ended_by_verdict() {
            return;
        }
        for item in items(self.spec).into_iter().filter_map(|item| item.metric) {
            let given = self.evidence.metrics_apis.given();
            let (from, _) = self.judged();
            let within = given
                .iter()
                .filter(|given| from <= given.at && given.at <= self.sent && given.code == 200);
            let good: Vec<_> = within.filter(|given| self.is_good(&item, given, from)).collect();
            let needed = usize::try_from(item.min_samples.unwrap_or(1)).unwrap_or(usize::MAX);
            let at_deadline = self
                .deadline
                .filter(|_| !self.is_ended_by_a_person())
                .is_none_or(|deadline| good.iter().any(|given| deadline <= given.at + self.tolerance));
            if good.len() < needed || !at_deadline {
                let what = format!(
                    "it passed, but for {:?} {} answers were good, {needed} are required, and one at the deadline is one: \
                     {at_deadline}",
                    item.source,
                    good.len()
                );
                findings.push((Invariant::Measured, what));
            }
        }
    }

    /// Whether an answer shows that the canary meets the target.
    fn is_good(&self, item: &MetricItem, given: &Given, since: Timestamp) -> bool {
        if !given.path.contains(&asked(item)) {
            return false;
        }
        let body: Value = serde_json::from_str(&given.body).unwrap_or_default();
        // Times of values are in whole seconds.
        let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
        let entries = body["items"].as_array().into_iter().flatten();
        let values: Vec<_> = entries.filter_map(|entry| fresh(entry, given, since)).collect();
        let Some(target) = target(item) else { return false };
        let limit = |quantity: &Option<MetricQuantity>| quantity.as_ref().and_then(|value| number(&value.to_string()));
        let pods = self.pods_ready_at(given.at);
        if item.source == MetricSource::External {
            let sum: f64 = values.iter().map(|(_, value)| value).sum();
            return !values.is_empty() && limit(&target.value).is_some_and(|limit| sum <= limit);
        }
        let of_pod = |pod: &&str| {
            let value = values.iter().find(|(name, _)| name == pod).map(|(_, value)| *value);
            let value = match target.average_utilization {
                Some(percent) => self
                    .requested(pod)
                    .zip(value)
                    .map(|(request, value)| (100.0 * value / request, f64::from(percent))),
                None => value.zip(limit(&target.average_value)),
            };
            value.is_some_and(|(value, limit)| value <= limit)
        };
        let any = self.evidence.pods_of(self.canary).any(|pod| of_pod(&pod.name.as_str()));
        any && pods.iter().all(of_pod)
    }

    /// The canary pods that had been ready long enough for a replica to know it.
    fn pods_ready_at(&self, at: Timestamp) -> BTreeSet<&str> {
        let pods = self.evidence.pods_of(self.canary);
        let ready = pods.filter(|pod| {
            pod.ready
                .since(at)
                .is_some_and(|since| at.duration_since(since) > self.lag)
        });
        ready.map(|pod| pod.name.as_str()).collect()
    }

    /// The CPU that the containers of a pod request.
    fn requested(&self, pod: &str) -> Option<f64> {
        let mut pods = self.evidence.pods_of(self.canary);
        let containers = pods.find(|found| found.name == pod)?.containers.last()?;
        let requests = containers.iter().map(|container| {
            let requests = container.resources.as_ref()?.requests.as_ref()?;
            number(&requests.get("cpu")?.0)
        });
        requests.sum()
    }
}
