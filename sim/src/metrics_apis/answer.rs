//! Answers to requests.

use std::time::Duration;

use http::{Response, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Api, Given, HANGS, MetricsApis, Mood, Reading, Script, Usage};
use crate::{
    cluster::Cluster,
    failure::Failure,
    object::Object,
    selector::LabelSelector,
    server::{Body, Request, full, json as respond, refusal},
};

/// A request about metrics of a namespace.
struct Asked {
    api: Api,
    namespace: String,
    /// What follows the namespace.
    rest: Vec<String>,
    labels: String,
    metric_labels: String,
}

impl Asked {
    /// `None` if the path belongs to none of the APIs.
    fn parse(uri: &Uri) -> Option<Self> {
        let decode = |part: &str| {
            percent_encoding::percent_decode_str(part)
                .decode_utf8_lossy()
                .into_owned()
        };
        let mut parts = uri.path().trim_matches('/').split('/').map(decode);
        if parts.next()? != "apis" {
            return None;
        }
        let api = match (parts.next()?.as_str(), parts.next()?.as_str()) {
            ("metrics.k8s.io", "v1beta1") => Api::Resource,
            ("custom.metrics.k8s.io", "v1beta2") => Api::Custom,
            ("external.metrics.k8s.io", "v1beta1") => Api::External,
            _ => return None,
        };
        let namespace = (parts.next()? == "namespaces").then(|| parts.next()).flatten()?;
        let query = |name: &str| {
            let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            pairs
                .find(|(key, _)| key == name)
                .map_or_else(String::new, |(_, value)| value.into_owned())
        };
        Some(Self {
            api,
            namespace,
            rest: parts.collect(),
            labels: query("labelSelector"),
            metric_labels: query("metricLabelSelector"),
        })
    }

    /// The name of the API in the audit log.
    fn group(&self) -> &'static str {
        match self.api {
            Api::Resource => "metrics.k8s.io",
            Api::Custom => "custom.metrics.k8s.io",
            Api::External => "external.metrics.k8s.io",
        }
    }
}

/// What the audit log has of a request.
pub(crate) struct Logged {
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) selector: String,
}

impl MetricsApis {
    /// How long the answer to a request takes.
    pub(crate) fn delay(&self, uri: &Uri) -> Duration {
        let hangs = Asked::parse(uri).is_some_and(|asked| self.mood(&asked) == Mood::Hangs);
        if hangs { HANGS } else { Duration::ZERO }
    }

    fn mood(&self, asked: &Asked) -> Mood {
        let state = self.lock();
        let script = state.scripts.get(&asked.namespace);
        script
            .and_then(|script| script.moods.get(&asked.api).copied())
            .unwrap_or_default()
    }

    /// The answer to a request, or `None` if it is about something else.
    pub(crate) fn answer(&self, cluster: &Cluster, request: &Request<'_>) -> Option<(Response<Body>, Logged)> {
        let asked = Asked::parse(request.uri)?;
        let now = cluster.now();
        let found = match self.mood(&asked) {
            Mood::Missing => {
                let mut missing = Response::new(full("404 page not found\n"));
                *missing.status_mut() = http::StatusCode::NOT_FOUND;
                return Some((missing, logged(asked)));
            }
            Mood::Down | Mood::Hangs => Err(Failure::new(
                503,
                "ServiceUnavailable",
                "error trying to reach service: dial tcp 10.0.0.1:443: connect: connection refused",
            )),
            Mood::Serves => {
                let pods = cluster.objects("pods", Some(&asked.namespace));
                let mut state = self.lock();
                let script = state.scripts.entry(asked.namespace.clone()).or_default();
                let pods: Vec<_> = pods.iter().map(AsRef::as_ref).collect();
                script.find(&asked, &pods, now)
            }
        };
        let (code, body) = match &found {
            Ok(found) => (200, found.to_string()),
            Err(failure) => (failure.code, failure.to_status().to_string()),
        };
        if let Some(given) = &mut self.lock().given {
            given.push(Given {
                at: now,
                user: request.user.clone(),
                path: request.uri.to_string(),
                code,
                body: body.clone(),
            });
        }
        let response = found.map_or_else(|failure| refusal(&failure), |_| respond(200, body));
        Some((response, logged(asked)))
    }
}

fn logged(asked: Asked) -> Logged {
    Logged {
        verb: if asked.rest.len() > 1 { "get" } else { "list" },
        resource: asked.group(),
        name: asked.rest.get(1).cloned().unwrap_or_default(),
        namespace: asked.namespace,
        selector: asked.labels,
    }
}

fn selector(text: &str) -> Result<LabelSelector, Failure> {
    LabelSelector::parse(text).map_err(Failure::bad_request)
}

/// Metrics have times in whole seconds.
fn time(now: Timestamp, age: Duration) -> Value {
    let at = SignedDuration::try_from(age)
        .ok()
        .and_then(|age| now.checked_sub(age).ok());
    let at = at.unwrap_or(now).as_second();
    json!(Timestamp::from_second(at).unwrap_or(now).to_string())
}

fn list(kind: &str, version: &str, items: &[Value]) -> Value {
    json!({"kind": kind, "apiVersion": version, "metadata": {}, "items": items})
}

impl Script {
    fn find(&self, asked: &Asked, pods: &[&Object], now: Timestamp) -> Result<Value, Failure> {
        let labels = selector(&asked.labels)?;
        let metric_labels = selector(&asked.metric_labels)?;
        let rest: Vec<_> = asked.rest.iter().map(String::as_str).collect();
        let selected = || pods.iter().filter(|pod| labels.matches(&pod.meta.labels)).copied();
        match (asked.api, rest.as_slice()) {
            (Api::Resource, ["pods"]) => {
                let items: Vec<_> = selected().filter_map(|pod| self.usage_of(pod, now)).collect();
                Ok(list("PodMetricsList", "metrics.k8s.io/v1beta1", &items))
            }
            (Api::Custom, ["pods", "*", metric]) => {
                let found = selected().flat_map(|pod| self.custom("pods", &pod.meta.name, metric, &metric_labels, now));
                custom_list(&found.collect::<Vec<_>>(), metric, "pods")
            }
            (Api::Custom, [resource, name, metric]) => custom_list(
                &self.custom(resource, name, metric, &metric_labels, now),
                metric,
                resource,
            ),
            (Api::External, [metric]) => {
                let all = self.external.iter().filter(|(name, _)| name == metric);
                if all.clone().next().is_none() {
                    return Err(not_found(metric, "external metrics"));
                }
                let chosen = all.filter(|(_, reading)| labels.matches(&reading.labels));
                let items: Vec<_> = chosen
                    .map(|(name, reading)| {
                        json!({
                            "metricName": name, "metricLabels": reading.labels, "timestamp": time(now, reading.age),
                            "window": reading.window.as_secs(), "value": reading.value,
                        })
                    })
                    .collect();
                Ok(list(
                    "ExternalMetricValueList",
                    "external.metrics.k8s.io/v1beta1",
                    &items,
                ))
            }
            _ => Err(Failure::new(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )),
        }
    }

    /// The metrics of a pod, if each of its containers has some.
    fn usage_of(&self, pod: &Object, now: Timestamp) -> Option<Value> {
        let value = pod.json();
        let list = |path: &str| {
            value
                .pointer(path)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let sidecars = list("/spec/initContainers");
        let sidecars = sidecars
            .into_iter()
            .filter(|container| container["restartPolicy"] == "Always");
        let mut containers = Vec::new();
        let mut of_pod = None;
        for container in list("/spec/containers").into_iter().chain(sidecars) {
            let name = container["name"].as_str().unwrap_or_default();
            let usage = self.usage(&pod.meta.name, name)?;
            containers.push(json!({"name": name, "usage": {"cpu": usage.cpu.value, "memory": usage.memory}}));
            of_pod.get_or_insert_with(|| usage.cpu.clone());
        }
        let Reading { age, window, .. } = of_pod?;
        Some(json!({
            "metadata": {"name": pod.meta.name, "namespace": pod.meta.namespace, "labels": pod.meta.labels},
            "timestamp": time(now, age),
            "window": format!("{}s", window.as_secs_f64()),
            "containers": containers,
        }))
    }

    fn usage(&self, pod: &str, container: &str) -> Option<&Usage> {
        let mut of_pod = self.usage.iter().filter(|(name, ..)| pod.starts_with(name));
        let exact = of_pod.clone().find(|(_, of, _)| of == container);
        exact
            .or_else(|| of_pod.find(|(_, of, _)| of.is_empty()))
            .map(|(.., usage)| usage)
    }

    fn custom(&self, resource: &str, object: &str, metric: &str, labels: &LabelSelector, now: Timestamp) -> Vec<Value> {
        let all = self.custom.iter().filter(|(of, name, known, reading)| {
            of == resource && object.starts_with(name) && known == metric && labels.matches(&reading.labels)
        });
        all.map(|(.., reading)| {
            json!({
                "describedObject": {"kind": resource, "name": object}, "metric": {"name": metric, "selector": null},
                "timestamp": time(now, reading.age), "windowSeconds": reading.window.as_secs(), "value": reading.value,
            })
        })
        .collect()
    }
}

fn custom_list(items: &[Value], metric: &str, resource: &str) -> Result<Value, Failure> {
    if items.is_empty() {
        return Err(not_found(metric, resource));
    }
    Ok(list("MetricValueList", "custom.metrics.k8s.io/v1beta2", items))
}

/// The answer of adapters about a metric that they do not have.
fn not_found(metric: &str, resource: &str) -> Failure {
    Failure::new(
        404,
        "NotFound",
        format!("the server could not find the metric {metric} for {resource}"),
    )
}
