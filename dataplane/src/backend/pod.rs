//! What the backend knows of a pod.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::Pod;

/// Who answers. Answers have it in their headers, metrics in their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// The name of the Deployment, as far as the name of the pod's ReplicaSet tells.
    pub workload: String,
    /// The image of the first container.
    pub image: String,
    /// The label `app`, by which most Services find their pods.
    pub app: String,
}

impl Identity {
    /// The tag of the image.
    #[must_use]
    pub fn version(&self) -> &str {
        self.image.rsplit_once(':').map_or("", |(_, tag)| tag)
    }
}

/// What a pod does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// For how long a deleted pod takes new connections.
    pub linger: Duration,
    /// Share of the requests that fail, from 0 to 1.
    pub error_rate: f64,
    /// Time before each answer.
    pub delay: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(5),
            error_rate: 0.0,
            delay: Duration::ZERO,
        }
    }
}

fn number(pod: &Pod, annotation: &str) -> Option<f64> {
    let text = pod.metadata.annotations.as_ref()?.get(annotation)?;
    text.parse().ok().filter(|number| (0.0..1e6).contains(number))
}

/// What the annotations of a pod ask for.
pub(super) fn behaviour(pod: &Pod) -> Behaviour {
    let default = Behaviour::default();
    let seconds = |annotation| number(pod, annotation).map(Duration::from_secs_f64);
    Behaviour {
        linger: seconds("kanary.test/linger").unwrap_or(default.linger),
        error_rate: number(pod, "kanary.test/error-rate").unwrap_or(default.error_rate),
        delay: seconds("kanary.test/delay").unwrap_or(default.delay),
    }
}

/// The address and port at which a pod answers. `None` for a pod that does not run, or that nobody answers for.
pub(super) fn address(pod: &Pod) -> Option<(IpAddr, u16)> {
    let annotations = pod.metadata.annotations.as_ref();
    let nobody = annotations
        .and_then(|all| all.get("kanary.test/backend"))
        .is_some_and(|who| who == "none");
    let status = pod.status.as_ref()?;
    let runs = status.phase.as_deref() == Some("Running");
    let address = status.pod_ip.as_deref()?.parse().ok()?;
    let containers = pod.spec.as_ref()?.containers.iter();
    let port = containers.flat_map(|container| container.ports.iter().flatten()).next();
    let port = port.map_or(Some(8080), |port| u16::try_from(port.container_port).ok())?;
    (runs && !nobody).then_some((address, port))
}

/// Who answers for a pod.
pub(super) fn identity(pod: &Pod) -> Identity {
    let image = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.first()?.image.clone());
    let labels = pod.metadata.labels.as_ref();
    let owner = pod.metadata.owner_references.iter().flatten().next();
    let workload = owner.map(|owner| owner.name.rsplit_once('-').map_or(&*owner.name, |(name, _)| name));
    Identity {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        workload: workload.unwrap_or_default().to_owned(),
        image: image.unwrap_or_default(),
        app: labels.and_then(|labels| labels.get("app")).cloned().unwrap_or_default(),
    }
}
