//! Paths of requests.

use std::fmt::{self, Write};

use serde_json::Value;

use super::{Described, Metric, Named, Source};
use crate::api::{KanaryKind, names};

/// One of the Kubernetes metrics APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricsApi {
    /// CPU and memory of pods.
    Resource,
    /// Metrics of pods and of other objects.
    Custom,
    /// Metrics from outside of the cluster.
    External,
}

impl MetricsApi {
    /// Every API.
    pub const ALL: [Self; 3] = [Self::Resource, Self::Custom, Self::External];

    /// Its group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Resource => "metrics.k8s.io",
            Self::Custom => "custom.metrics.k8s.io",
            Self::External => "external.metrics.k8s.io",
        }
    }

    /// The version that Kanary asks for.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Resource | Self::External => "v1beta1",
            Self::Custom => "v1beta2",
        }
    }
}

impl fmt::Display for MetricsApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group(), self.version())
    }
}

/// Selects the pods of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSelector(String);

impl PodSelector {
    /// Selects the pods of a run by the labels that Kanary gave them.
    #[must_use]
    pub fn of_run(kind: KanaryKind, kanary: &str, run: &str) -> Self {
        Self(format!(
            "{}={},{}={kanary},{}={run}",
            names::KANARY_KIND,
            kind.id(),
            names::KANARY_NAME,
            names::RUN
        ))
    }

    /// Selects the pods of a revision of a StatefulSet. Its name begins with that of the StatefulSet, so no other one's pods have it.
    #[must_use]
    pub fn of_revision(revision: &str) -> Self {
        Self(format!("{}={revision}", names::POD_REVISION))
    }
}

/// The path of the pods of a run, for their requests. An API server answers from its cache.
#[must_use]
pub fn pods_path(namespace: &str, pods: &PodSelector) -> String {
    let mut path = format!("/api/v1/namespaces/{}/pods", encoded(namespace));
    add(&mut path, "labelSelector", &pods.0);
    add(&mut path, "resourceVersion", "0");
    path
}

/// The path of the list of kinds that has the kind of an object.
#[must_use]
pub fn kind_path(described: &Described) -> String {
    match described.api_version.split_once('/') {
        None => format!("/api/{}", encoded(&described.api_version)),
        Some((group, version)) => format!("/apis/{}/{}", encoded(group), encoded(version)),
    }
}

/// The resource of an object in a list of kinds, like `ingresses.networking.k8s.io`.
///
/// # Errors
///
/// The list does not have the kind, or not as a kind of objects in namespaces.
pub fn resource_of_kind(described: &Described, list: &Value) -> Result<String, String> {
    let Described { api_version, kind, .. } = described;
    let resources = list.get("resources").and_then(Value::as_array).into_iter().flatten();
    let text = |resource: &Value, field: &str| resource.get(field).and_then(Value::as_str).map(str::to_owned);
    let mut found = resources.filter(|resource| text(resource, "kind").as_deref() == Some(kind));
    let main = found.find(|resource| text(resource, "name").is_some_and(|name| !name.contains('/')));
    let Some(resource) = main else {
        return Err(format!(
            "the API server knows no kind {kind} in {api_version}: correct describedObject"
        ));
    };
    if resource.get("namespaced") != Some(&Value::Bool(true)) {
        return Err(format!(
            "{kind} is no kind of objects in a namespace, and Kanary reads metrics of its own namespace only: describe another object"
        ));
    }
    let name = text(resource, "name").unwrap_or_default();
    Ok(match described.group() {
        "" => name,
        group => format!("{name}.{group}"),
    })
}

impl Metric {
    /// The path of the metric. `pods` are those of the run, and `resource` is that of the described object.
    #[must_use]
    pub fn path(&self, namespace: &str, pods: &PodSelector, resource: Option<&str>) -> String {
        let api = self.api();
        let mut path = format!("/apis/{api}/namespaces/{}", encoded(namespace));
        let mut segment = |text: &str| {
            path.push('/');
            path.push_str(&encoded(text));
        };
        match &self.source {
            Source::Resource { .. } => {
                segment("pods");
                add(&mut path, "labelSelector", &pods.0);
            }
            Source::Pods(metric) => {
                segment("pods");
                path.push_str("/*/");
                path.push_str(&encoded(&metric.name));
                add(&mut path, "labelSelector", &pods.0);
                add_selector(&mut path, "metricLabelSelector", metric);
            }
            Source::Object(described, metric) => {
                for text in [resource.unwrap_or_default(), &described.name, &metric.name] {
                    segment(text);
                }
                add_selector(&mut path, "metricLabelSelector", metric);
            }
            Source::External(metric) => {
                segment(&metric.name);
                add_selector(&mut path, "labelSelector", metric);
            }
        }
        path
    }
}

fn add_selector(path: &mut String, name: &str, metric: &Named) {
    if let Some(selector) = &metric.selector {
        add(path, name, selector);
    }
}

/// Adds a query parameter.
fn add(path: &mut String, name: &str, value: &str) {
    let separator = if path.contains('?') { '&' } else { '?' };
    path.push(separator);
    path.push_str(name);
    path.push('=');
    path.push_str(&encoded(value));
}

/// Percent-encodes a part of a path or a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
