//! Settings for behaviour outside the controllers: how long pods take to start, how they fail, and what metrics report.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;

/// Label of a pod that sets its fate: `slow`, `never-ready`, `crash`.
pub const LABEL: &str = "kanary.test/behaviour";

/// Annotation of a pod. The pod is not ready while it has this annotation, as if its readiness probe failed.
pub const UNREADY: &str = "kanary.test/unready";

/// How a pod behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It becomes ready and stays ready.
    Ready,
    /// It becomes ready after this additional delay.
    Slow(Duration),
    /// It runs and never becomes ready.
    NeverReady,
    /// It fails two seconds after it became ready, and then every ten seconds.
    Crash,
}

/// Fate of a pod with this image, or `None` if the rule does not apply.
pub type ByImage = dyn Fn(&str) -> Option<Fate> + Send + Sync;
/// Current value of a metric, by namespace, Deployment and metric name.
pub type Metrics = dyn Fn(&str, &str, &str) -> Option<f64> + Send + Sync;

/// Behaviour of the cluster's pods, controllers and metrics.
#[derive(Clone)]
pub struct Behaviour {
    /// Delay between a change and its reconciliation.
    pub lag: RangeInclusive<Duration>,
    /// Time from a pod's scheduling to its containers' start.
    pub start: RangeInclusive<Duration>,
    /// Time from its containers' start to its readiness.
    pub ready: RangeInclusive<Duration>,
    /// Interval between two reconciliations of a HorizontalPodAutoscaler.
    pub autoscaler_period: Duration,
    /// Default stabilization window for scaling down, if a HorizontalPodAutoscaler has none of its own.
    pub downscale_window: Duration,
    /// Rules for pods without the label.
    pub images: Vec<Arc<ByImage>>,
    /// Metrics for HorizontalPodAutoscalers.
    pub metrics: Option<Arc<Metrics>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            lag: ms(1)..=ms(5),
            start: ms(50)..=ms(150),
            ready: Duration::ZERO..=Duration::ZERO,
            autoscaler_period: Duration::from_secs(15),
            downscale_window: Duration::from_mins(5),
            images: Vec::new(),
            metrics: None,
        }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour")
            .field("lag", &self.lag)
            .field("start", &self.start)
            .field("ready", &self.ready)
            .field("autoscaler_period", &self.autoscaler_period)
            .finish_non_exhaustive()
    }
}

impl Behaviour {
    /// Sets the interval between two reconciliations of a HorizontalPodAutoscaler.
    #[must_use]
    pub fn with_autoscaler_period(mut self, period: Duration) -> Self {
        self.autoscaler_period = period;
        self
    }

    /// Adds a rule for the images of pods without the label. The first rule that knows an image decides.
    #[must_use]
    pub fn image(mut self, fate: impl Fn(&str) -> Option<Fate> + Send + Sync + 'static) -> Self {
        self.images.push(Arc::new(fate));
        self
    }

    /// Sets the metrics for HorizontalPodAutoscalers, by namespace, Deployment and metric name. The value is the
    /// utilization in percent or the average value, depending on the target type of the metric.
    #[must_use]
    pub fn metrics(mut self, measure: impl Fn(&str, &str, &str) -> Option<f64> + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(measure));
        self
    }

    /// Current value of a Deployment's metric.
    pub(super) fn measure(&self, namespace: &str, deployment: &str, metric: &str) -> Option<f64> {
        self.metrics.as_ref()?(namespace, deployment, metric)
    }

    /// Fate of a pod.
    pub(super) fn fate(&self, pod: &Pod) -> Fate {
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL));
        match label.map(String::as_str) {
            Some("slow") => Fate::Slow(Duration::from_secs(5)),
            Some("never-ready") => Fate::NeverReady,
            Some("crash") => Fate::Crash,
            Some(_) => Fate::Ready,
            None => self.by_image(pod).unwrap_or(Fate::Ready),
        }
    }

    fn by_image(&self, pod: &Pod) -> Option<Fate> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut images = containers.filter_map(|container| container.image.as_deref());
        images.find_map(|image| self.images.iter().find_map(|rule| rule(image)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(label: Option<&str>, image: &str) -> Pod {
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "main", "image": image}]}});
        if let Some(label) = label {
            pod["metadata"]["labels"] = json!({LABEL: label});
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_label_decides_before_the_image() {
        let behaviour = Behaviour::default().image(|image| image.ends_with(":bad").then_some(Fate::NeverReady));
        assert_eq!(behaviour.fate(&pod(None, "app:good")), Fate::Ready);
        assert_eq!(behaviour.fate(&pod(None, "app:bad")), Fate::NeverReady);
        assert_eq!(behaviour.fate(&pod(Some("crash"), "app:bad")), Fate::Crash);
        assert_eq!(behaviour.fate(&pod(Some("ready"), "app:bad")), Fate::Ready);
    }

    #[test]
    fn without_a_function_there_are_no_metrics() {
        assert_eq!(Behaviour::default().measure("n", "d", "cpu"), None);
        let measured = Behaviour::default().metrics(|_, deployment, _| (deployment == "d").then_some(40.0));
        assert_eq!(measured.measure("n", "d", "cpu"), Some(40.0));
        assert_eq!(measured.measure("n", "e", "cpu"), None);
    }
}
