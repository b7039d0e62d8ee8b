//! Values in the answers of the metrics APIs, and requests in those about pods.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{Flaw, How, Metric, MetricAnswer, MetricValue, Source, quantity::number};
use crate::{api::GoDuration, validation::Outcome};

/// What the containers of pods request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests(BTreeMap<String, PodRequests>);

#[derive(Clone, Debug, Default, PartialEq)]
struct PodRequests {
    /// Those of the pod as a whole, by resource.
    whole: BTreeMap<String, f64>,
    /// By container and resource.
    containers: Vec<(String, BTreeMap<String, f64>)>,
}

impl Requests {
    /// The requests in a list of pods.
    #[must_use]
    pub fn of(pods: &Value) -> Self {
        let items = pods.get("items").and_then(Value::as_array).into_iter().flatten();
        Self(
            items
                .filter_map(|pod| Some((text(pod, "/metadata/name")?.to_owned(), requests_of(pod))))
                .collect(),
        )
    }

    /// Names of the containers that run in a pod, if it is known.
    fn containers(&self, pod: &str) -> impl Iterator<Item = &str> {
        let found = self.0.get(pod).into_iter().flat_map(|pod| &pod.containers);
        found.map(|(name, _)| name.as_str())
    }

    /// What a pod, or one of its containers, requests of a resource.
    fn get(&self, pod: &str, resource: &str, container: Option<&str>) -> Result<f64, Missing> {
        let found = self.0.get(pod).ok_or(Missing::Pod)?;
        if container.is_none()
            && let Some(whole) = found.whole.get(resource).filter(|whole| **whole > 0.0)
        {
            return Ok(*whole);
        }
        let mut sum = 0.0;
        let containers = found.containers.iter();
        for (name, requests) in containers.filter(|(name, _)| container.is_none_or(|wanted| wanted == name)) {
            match requests.get(resource) {
                Some(request) if *request > 0.0 => sum += request,
                _ => return Err(Missing::Request(name.clone())),
            }
        }
        if sum > 0.0 { Ok(sum) } else { Err(Missing::Container) }
    }
}

/// Why a pod has no known request.
enum Missing {
    /// The pod is gone.
    Pod,
    /// It does not have the container.
    Container,
    /// This container requests nothing.
    Request(String),
}

fn requests_of(pod: &Value) -> PodRequests {
    let list = |path: &str| pod.pointer(path).and_then(Value::as_array).into_iter().flatten();
    // An init container that is restarted runs beside the others.
    let sidecars = list("/spec/initContainers").filter(|container| text(container, "/restartPolicy") == Some("Always"));
    let containers = list("/spec/containers").chain(sidecars);
    PodRequests {
        whole: quantities(pod.pointer("/spec/resources/requests")),
        containers: containers
            .filter_map(|container| {
                let name = text(container, "/name")?.to_owned();
                Some((name, quantities(container.pointer("/resources/requests"))))
            })
            .collect(),
    }
}

fn quantities(map: Option<&Value>) -> BTreeMap<String, f64> {
    let all = map.and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), quantity(Some(value))?)))
        .collect()
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str()
}

/// A quantity is a text; other programs than an API server also write numbers.
fn quantity(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::String(text) => number(text),
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}

impl Metric {
    /// The values in the body of an answer. `requests` are those of the pods, if they are [needed](Metric::needs_requests).
    #[must_use]
    pub fn read(&self, body: &Value, requests: &Requests) -> MetricAnswer {
        let api = self.api();
        let Some(items) = body.get("items").and_then(Value::as_array) else {
            return MetricAnswer::Unanswered(format!("{api} answers without a list of values"));
        };
        if text(body, "/metadata/continue").is_some_and(|rest| !rest.is_empty()) {
            return MetricAnswer::Unanswered(format!("{api} answers with a part of the values"));
        }
        let values = items.iter().map(|item| match &self.source {
            Source::Resource { name, container } => self.usage(item, name, container.as_deref(), requests),
            Source::Pods(_) | Source::Object(..) => {
                value(item, text(item, "/describedObject/name").unwrap_or_default()).map(Some)
            }
            Source::External(_) => value(item, "").map(Some),
        });
        MetricAnswer::Values(values.filter_map(Result::transpose).collect())
    }

    /// The usage of a pod, or nothing if the pod is gone.
    fn usage(
        &self,
        item: &Value,
        resource: &str,
        container: Option<&str>,
        requests: &Requests,
    ) -> Result<Option<MetricValue>, Flaw> {
        let pod = text(item, "/metadata/name").unwrap_or_default();
        let flaw = |why: String| Flaw {
            object: pod.to_owned(),
            outcome: Outcome::Error,
            why,
        };
        let unreadable = || {
            let api = self.api();
            flaw(format!("{api} answers with a value of pod {pod} that can't be read"))
        };
        let containers = item
            .get("containers")
            .and_then(Value::as_array)
            .ok_or_else(unreadable)?;
        let mut counted = containers
            .iter()
            .filter(|found| container.is_none_or(|wanted| text(found, "/name") == Some(wanted)))
            .peekable();
        if counted.peek().is_none() {
            let which = container.map_or_else(String::new, |name| format!(" {name}"));
            return Err(flaw(format!("pod {pod} has no container{which} in its metrics")));
        }
        let is_measured = |name: &str| containers.iter().any(|found| text(found, "/name") == Some(name));
        if let Some(left_out) = requests
            .containers(pod)
            .find(|name| container.is_none() && !is_measured(name))
        {
            return Err(flaw(format!("pod {pod} has no container {left_out} in its metrics")));
        }
        // A container without a value, or with a negative one, would make the sum too small.
        let usage = counted.map(|found| {
            let usage = quantity(found.pointer("/usage").and_then(|usage| usage.get(resource)));
            usage.filter(|usage| *usage >= 0.0)
        });
        let window = text(item, "/window").and_then(|text| text.parse::<GoDuration>().ok());
        let (Some(usage), Some(at), Some(window)) = (usage.sum::<Option<f64>>(), time(item), window) else {
            return Err(unreadable());
        };
        let value = if self.target.how == How::Utilization {
            match requests.get(pod, resource, container) {
                Ok(request) => 100.0 * usage / request,
                Err(Missing::Pod) => return Ok(None),
                Err(missing) => {
                    return Err(Flaw {
                        outcome: Outcome::Invalid,
                        ..flaw(without(pod, resource, container, &missing))
                    });
                }
            }
        } else {
            usage
        };
        Ok(Some(MetricValue {
            object: pod.to_owned(),
            value,
            at,
            window: window.0,
        }))
    }
}

/// Why a pod has no utilization.
fn without(pod: &str, resource: &str, container: Option<&str>, missing: &Missing) -> String {
    let remedy = format!("set resources.requests.{resource} in the template, or use AverageValue");
    match missing {
        Missing::Request(name) => {
            format!("container {name} of pod {pod} requests no {resource}, so there is no utilization: {remedy}")
        }
        Missing::Pod | Missing::Container => format!(
            "pod {pod} has no container {}, so there is no utilization: {remedy}",
            container.unwrap_or_default()
        ),
    }
}

/// A value of the custom or the external API.
fn value(item: &Value, object: &str) -> Result<MetricValue, Flaw> {
    let found = quantity(item.get("value")).zip(time(item)).zip(window(item));
    let ((value, at), window) = found.ok_or_else(|| {
        let of = if object.is_empty() {
            String::new()
        } else {
            format!(" of {object}")
        };
        Flaw {
            object: object.to_owned(),
            outcome: Outcome::Error,
            why: format!("the answer has a value{of} that can't be read"),
        }
    })?;
    Ok(MetricValue {
        object: object.to_owned(),
        value,
        at,
        window,
    })
}

/// For how many seconds a value was measured; a value of one moment has none. The external API has another name for it.
fn window(item: &Value) -> Option<Duration> {
    match item.get("windowSeconds").or_else(|| item.get("window")) {
        None | Some(Value::Null) => Some(Duration::ZERO),
        Some(seconds) => seconds.as_u64().map(Duration::from_secs),
    }
}

fn time(item: &Value) -> Option<Timestamp> {
    text(item, "/timestamp")?.parse().ok()
}
