//! The Kubernetes metrics APIs with scripted values: `metrics.k8s.io` as metrics-server serves it, and the APIs of custom and external
//! metrics as adapters serve them, behind the aggregation layer of the API server.
//!
//! Each namespace has its own script. Without one, the API server serves none of these APIs.

mod answer;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// How long a server that hangs takes for an answer.
const HANGS: Duration = Duration::from_hours(1);

/// One of the metrics APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `metrics.k8s.io`.
    Resource,
    /// `custom.metrics.k8s.io`.
    Custom,
    /// `external.metrics.k8s.io`.
    External,
}

/// What happens to the requests to an API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// The API server does not know the API.
    #[default]
    Missing,
    /// They are answered.
    Serves,
    /// The API is registered, and its server does not answer.
    Down,
    /// Its server takes an hour.
    Hangs,
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The value, as a quantity.
    pub value: String,
    /// How old it is when it is asked for.
    pub age: Duration,
    /// For how long it was measured.
    pub window: Duration,
    /// The labels of the series.
    pub labels: BTreeMap<String, String>,
}

impl Reading {
    /// A value of this moment.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            age: Duration::ZERO,
            window: Duration::ZERO,
            labels: BTreeMap::new(),
        }
    }

    /// The same value, measured a while ago.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// The same value with a label.
    #[must_use]
    pub fn labelled(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub user: Arc<str>,
    /// The path with its query.
    pub path: String,
    /// The status of the answer.
    pub code: u16,
    /// Its body.
    pub body: String,
}

/// The metrics of a namespace.
#[derive(Debug, Default)]
struct Script {
    moods: BTreeMap<Api, Mood>,
    /// CPU and memory by the beginning of a pod's name and by container; an empty name stands for all containers.
    usage: Vec<(String, String, Usage)>,
    /// By resource, beginning of the object's name, and metric.
    custom: Vec<(String, String, String, Reading)>,
    /// By metric.
    external: Vec<(String, Reading)>,
}

/// CPU and memory of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// CPU, with the age and the window of both.
    pub cpu: Reading,
    /// Memory.
    pub memory: String,
}

/// The metrics of a cluster. Clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct MetricsApis(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    scripts: BTreeMap<String, Script>,
    /// The answers, if they are recorded.
    given: Option<Vec<Given>>,
}

impl MetricsApis {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script<T>(&self, namespace: &str, change: impl FnOnce(&mut Script) -> T) -> T {
        change(self.lock().scripts.entry(namespace.to_owned()).or_default())
    }

    /// Sets what happens to the requests to an API about a namespace.
    pub fn set_mood(&self, namespace: &str, api: Api, mood: Mood) {
        self.script(namespace, |script| script.moods.insert(api, mood));
    }

    /// Sets the usage of all containers of pods whose names begin like this.
    pub fn set_usage(&self, namespace: &str, pods: &str, usage: Usage) {
        self.set_container_usage(namespace, pods, "", usage);
    }

    /// Sets the usage of a container of pods whose names begin like this. It replaces that of [`Self::set_usage`].
    pub fn set_container_usage(&self, namespace: &str, pods: &str, container: &str, usage: Usage) {
        self.script(namespace, |script| {
            script.usage.retain(|(known, of, _)| known != pods || of != container);
            script.usage.push((pods.to_owned(), container.to_owned(), usage));
        });
    }

    /// Removes the usage of pods whose names begin like this.
    pub fn remove_usage(&self, namespace: &str, pods: &str) {
        self.script(namespace, |script| {
            script.usage.retain(|(known, ..)| known != pods);
        });
    }

    /// Sets a metric of objects of a resource, like `pods`, whose names begin like this.
    pub fn set_custom(&self, namespace: &str, resource: &str, objects: &str, metric: &str, reading: Reading) {
        self.script(namespace, |script| {
            script.custom.retain(|(of, name, known, former)| {
                of != resource || name != objects || known != metric || former.labels != reading.labels
            });
            let place = (resource.to_owned(), objects.to_owned(), metric.to_owned(), reading);
            script.custom.push(place);
        });
    }

    /// Removes a metric of all objects.
    pub fn remove_custom(&self, namespace: &str, metric: &str) {
        self.script(namespace, |script| {
            script.custom.retain(|(.., known, _)| known != metric);
        });
    }

    /// Sets the value of an external metric with these labels.
    pub fn set_external(&self, namespace: &str, metric: &str, reading: Reading) {
        self.script(namespace, |script| {
            let external = &mut script.external;
            external.retain(|(known, former)| known != metric || former.labels != reading.labels);
            external.push((metric.to_owned(), reading));
        });
    }

    /// Records answers from now on.
    pub fn record(&self) {
        self.lock().given.get_or_insert_default();
    }

    /// The answers since then.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        self.lock().given.clone().unwrap_or_default()
    }
}
