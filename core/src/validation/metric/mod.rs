//! Items with values of the Kubernetes metrics APIs: what to ask, and the evaluation of the answer.
//!
//! A canary is bad if a value exceeds the target. It is proven good only by values of its own ready pods or, for metrics that
//! are not per pod, by values from after the start of the validation.

mod ask;
mod judge;
mod parse;
mod quantity;
mod read;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

pub use self::{
    ask::{MetricsApi, PodSelector, kind_path, pods_path, resource_of_kind},
    read::Requests,
};

use super::{Outcome, Sample, terms::Terms};

/// An older value is stale. Metrics servers collect at least once a minute.
pub const FRESH: SignedDuration = SignedDuration::from_mins(2);

/// How far the clock of a metrics server may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_secs(30);

/// A valid metric item with defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// When it is measured, and what decides.
    pub terms: Terms,
    source: Source,
    target: Target,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Usage of each pod, or of one container of it.
    Resource { name: String, container: Option<String> },
    /// A custom metric of each pod.
    Pods(Named),
    /// A custom metric of another object.
    Object(Described, Named),
    /// A metric from outside of the cluster.
    External(Named),
}

/// A metric of the custom or the external API.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    name: String,
    /// In the syntax of a query parameter.
    selector: Option<String>,
}

/// The object that a metric is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Group and version, like `networking.k8s.io/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl Described {
    /// The group; empty for core kinds.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// The highest good value.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    how: How,
    limit: f64,
    /// Whether a value that reaches the limit is bad, and not only one above it.
    reaching_fails: bool,
    /// As the user wrote it.
    shown: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The value as it is.
    Value,
    /// The value of each pod or, if it is about another object, divided by the number of pods.
    PerPod,
    /// The value of each pod in percent of its request.
    Utilization,
}

/// The answer of a metrics API.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricAnswer {
    /// Values, possibly none, and those that are of no use.
    Values(Vec<Result<MetricValue, Flaw>>),
    /// The API answers that it does not know the metric.
    Unknown(String),
    /// No usable answer, with the reason.
    Unanswered(String),
    /// Nothing can be measured until the author changes the item or the template, for this reason.
    Rejected(String),
}

/// A value that is of no use. It proves nothing, and hides no other.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaw {
    /// The pod or the object that it is about; empty for an external metric.
    pub object: String,
    /// What a measurement comes to that needs this value.
    pub outcome: Outcome,
    /// Why.
    pub why: String,
}

/// A value of a metrics API.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricValue {
    /// The pod or the object that it is about; empty for an external metric.
    pub object: String,
    /// The value: in cores, in bytes, in percent of the request, or as the API has it.
    pub value: f64,
    /// When it was measured.
    pub at: Timestamp,
    /// For how long before `at` it was measured.
    pub window: Duration,
}

/// About whom, and of what time, values count.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The canary pods whose values count.
    pub pods: BTreeSet<&'a str>,
    /// Values must have been measured entirely after this time.
    pub since: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

impl Metric {
    /// Whether it is measured per pod.
    fn is_per_pod(&self) -> bool {
        matches!(self.source, Source::Resource { .. } | Source::Pods(_))
    }

    /// The object that the metric is about, if it is not about pods.
    #[must_use]
    pub fn described(&self) -> Option<&Described> {
        match &self.source {
            Source::Object(described, _) => Some(described),
            _ => None,
        }
    }

    /// Its type and the block of that type, as users write them.
    #[must_use]
    pub fn source(&self) -> (&'static str, &'static str) {
        match &self.source {
            Source::Resource { container: None, .. } => ("Resource", "resource"),
            Source::Resource { .. } => ("ContainerResource", "containerResource"),
            Source::Pods(_) => ("Pods", "pods"),
            Source::Object(..) => ("Object", "object"),
            Source::External(_) => ("External", "external"),
        }
    }

    /// The field of its target, as users write it.
    #[must_use]
    pub fn limited(&self) -> &'static str {
        match self.target.how {
            How::Value => "value",
            How::PerPod => "averageValue",
            How::Utilization => "averageUtilization",
        }
    }

    /// Whether the requests of the pods are needed.
    #[must_use]
    pub fn needs_requests(&self) -> bool {
        self.target.how == How::Utilization
    }

    /// Its name for users: that of the metric.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.source {
            Source::Resource { name, .. } => name,
            Source::Pods(metric) | Source::Object(_, metric) | Source::External(metric) => &metric.name,
        }
    }

    /// The API that has the metric.
    #[must_use]
    pub fn api(&self) -> MetricsApi {
        match self.source {
            Source::Resource { .. } => MetricsApi::Resource,
            Source::Pods(_) | Source::Object(..) => MetricsApi::Custom,
            Source::External(_) => MetricsApi::External,
        }
    }

    /// The same metric, measured at the deadline and not before, with a limit that good values must not even reach.
    pub fn once_below(&mut self) {
        self.target.reaching_fails = true;
        self.terms.at_the_end = true;
    }

    /// Evaluates `answer`. It passes only with a fresh value that does not exceed the target, of each pod if the metric is
    /// measured per pod.
    #[must_use]
    pub fn judge(&self, answer: &MetricAnswer, scope: &Scope<'_>) -> Sample {
        judge::judge(self, answer, scope)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Resource { name, container: None } => write!(f, "Resource {name}"),
            Source::Resource {
                name,
                container: Some(container),
            } => write!(f, "ContainerResource {name} of {container}"),
            Source::Pods(metric) => write!(f, "Pods {}", metric.name),
            Source::Object(described, metric) => {
                write!(f, "Object {} of {} {}", metric.name, described.kind, described.name)
            }
            Source::External(metric) => write!(f, "External {}", metric.name),
        }
    }
}
