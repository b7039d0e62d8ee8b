//! The scheduler and the kubelets: the life of a pod on a cluster with one node of unlimited capacity.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    behaviour::{Behaviour, Fate, UNREADY},
    claim::{ready_since, second, unless_gone},
};
use crate::{cluster::Cluster, failure::Failure, store::Place, write::DeleteOptions};

const NODE: &str = "node-0";
const NODE_IP: &str = "10.0.0.1";
const SCHEDULER: &str = "system:kube-scheduler";
const KUBELET: &str = "system:node:node-0";

/// Delay from readiness to the first crash, and between later crashes.
const CRASH: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// The next step in a pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It is bound to a node.
    Schedule,
    /// Its containers start.
    Start,
    /// It becomes ready.
    Ready,
    /// It becomes unready.
    Unready,
    /// Its containers fail.
    Crash,
    /// It is removed.
    Stop,
}

impl Step {
    pub(super) const ALL: [Self; 6] = [
        Self::Schedule,
        Self::Start,
        Self::Ready,
        Self::Unready,
        Self::Crash,
        Self::Stop,
    ];
}

/// A random duration in a range.
pub(super) fn between(cluster: &Cluster, range: &std::ops::RangeInclusive<Duration>) -> Duration {
    let us = |duration: &Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (least, most) = (us(range.start()), us(range.end()));
    Duration::from_micros(cluster.chance(|rng| rng.u64(least..=most.max(least))))
}

/// The next step of a pod and the time until it is due.
pub(super) fn next(cluster: &Cluster, behaviour: &Behaviour, pod: &Pod) -> Option<(Step, Duration)> {
    let status = pod.status.as_ref();
    if pod.metadata.deletion_timestamp.is_some() {
        return Some((Step::Stop, between(cluster, &behaviour.lag)));
    }
    let phase = status.and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Failed" | "Succeeded")) {
        return None;
    }
    if pod.spec.as_ref()?.node_name.is_none() {
        return Some((Step::Schedule, between(cluster, &behaviour.lag)));
    }
    let Some(status) = status.filter(|status| status.start_time.is_some()) else {
        return Some((Step::Start, between(cluster, &behaviour.start)));
    };
    let (restarts, ready) = (restarts(status), ready_since(pod));
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_some_and(|annotations| annotations.contains_key(UNREADY)) {
        return ready.map(|_| (Step::Unready, between(cluster, &behaviour.lag)));
    }
    match behaviour.fate(pod) {
        Fate::NeverReady => None,
        Fate::Ready | Fate::Slow(_) if ready.is_some() => None,
        Fate::Crash if restarts > 0 => Some((Step::Crash, CRASH.1)),
        Fate::Crash if ready.is_some() => Some((Step::Crash, CRASH.0)),
        Fate::Slow(delay) => Some((Step::Ready, delay)),
        Fate::Ready | Fate::Crash => Some((Step::Ready, between(cluster, &behaviour.ready))),
    }
}

fn restarts(status: &PodStatus) -> i32 {
    let containers = status.container_statuses.iter().flatten();
    containers
        .map(|container| container.restart_count)
        .max()
        .unwrap_or_default()
}

/// Performs a step if the pod is still in the state that the step starts from.
pub(super) fn step(
    cluster: &Cluster,
    behaviour: &Behaviour,
    place: &Place,
    step: Step,
    address: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let Some(pod) = cluster.get::<Pod>(&place.0, &place.1) else {
        return Ok(());
    };
    if next(cluster, behaviour, &pod).is_none_or(|(next, _)| next != step) {
        return Ok(());
    }
    let now = second(cluster);
    if step == Step::Stop {
        return stop(cluster, place, &pod);
    }
    let mut pod = Arc::unwrap_or_clone(pod);
    if step == Step::Schedule {
        pod.spec.get_or_insert_default().node_name = Some(NODE.to_owned());
        set(&mut pod, "PodScheduled", true, &now, None);
        return unless_gone(cluster.bind(SCHEDULER, pod)).map(|_| ());
    }
    match step {
        Step::Start => {
            let is_held = pod
                .metadata
                .annotations
                .iter()
                .flatten()
                .any(|(name, _)| name == UNREADY);
            let at_once = !is_held
                && behaviour.ready.end().is_zero()
                && matches!(behaviour.fate(&pod), Fate::Ready | Fate::Crash);
            start(&mut pod, &now, address(), at_once);
        }
        Step::Ready => ready(&mut pod, true, &now),
        Step::Unready => ready(&mut pod, false, &now),
        Step::Crash | Step::Schedule | Step::Stop => crash(&mut pod, &now),
    }
    unless_gone(cluster.update_status(KUBELET, pod)).map(|_| ())
}

fn stop(cluster: &Cluster, place: &Place, pod: &Pod) -> Result<(), Failure> {
    if pod.metadata.finalizers.iter().flatten().next().is_some() {
        return Ok(());
    }
    let options = DeleteOptions {
        uid: pod.metadata.uid.clone(),
        grace: Some(0),
        ..DeleteOptions::default()
    };
    unless_gone(cluster.delete(KUBELET, "pods", place, &options)).map(|_| ())
}

/// Sets a condition. `why` is the reason if it is false.
fn set(pod: &mut Pod, kind: &str, is_true: bool, now: &Time, why: Option<(&str, String)>) {
    let generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let status = if is_true { "True" } else { "False" };
    let known = conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status);
    let since = known.and_then(|known| known.last_transition_time.clone());
    let (reason, message) = why.map_or((None, None), |(reason, message)| {
        (Some(reason.to_owned()), Some(message))
    });
    let condition = PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        last_transition_time: since.or_else(|| Some(now.clone())),
        observed_generation: generation,
        reason,
        message,
        ..PodCondition::default()
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// Sets the readiness of the pod and its containers.
fn set_ready(pod: &mut Pod, is_ready: bool, now: &Time) {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let names: Vec<_> = containers.map(|container| container.name.clone()).collect();
    for kind in ["Ready", "ContainersReady"] {
        let why = (!is_ready).then(|| {
            let message = format!("containers with unready status: [{}]", names.join(" "));
            ("ContainersNotReady", message)
        });
        set(pod, kind, is_ready, now, why);
    }
}

fn start(pod: &mut Pod, now: &Time, address: String, is_ready: bool) {
    let spec = pod.spec.clone().unwrap_or_default();
    set(pod, "PodReadyToStartContainers", true, now, None);
    set(pod, "Initialized", true, now, None);
    set_ready(pod, is_ready, now);
    set(pod, "PodScheduled", true, now, None);
    let generation = pod.metadata.generation;
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Running".to_owned());
    status.start_time = Some(now.clone());
    status.observed_generation = generation;
    status.host_ip = Some(NODE_IP.to_owned());
    status.host_ips = Some(vec![HostIP { ip: NODE_IP.to_owned() }]);
    status.pod_ip = Some(address.clone());
    status.pod_ips = Some(vec![PodIP { ip: address }]);
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| initialized(container, now));
    status.init_container_statuses = Some(init.collect::<Vec<_>>()).filter(|statuses| !statuses.is_empty());
    let containers = spec.containers.iter().map(|container| ContainerStatus {
        ready: is_ready,
        ..running(container, now)
    });
    status.container_statuses = Some(containers.collect());
}

fn running(container: &Container, now: &Time) -> ContainerStatus {
    let image = container.image.clone().unwrap_or_default();
    ContainerStatus {
        name: container.name.clone(),
        image_id: image.clone(),
        image,
        ready: true,
        started: Some(true),
        state: Some(ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(now.clone()),
            }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    }
}

/// The status of an init container that is finished, or of a running sidecar.
fn initialized(container: &Container, now: &Time) -> ContainerStatus {
    let status = running(container, now);
    if container.restart_policy.as_deref() == Some("Always") {
        return status;
    }
    ContainerStatus {
        started: Some(false),
        state: Some(ended(0, "Completed", now)),
        ..status
    }
}

fn ended(exit_code: i32, reason: &str, now: &Time) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code,
            reason: Some(reason.to_owned()),
            started_at: Some(now.clone()),
            finished_at: Some(now.clone()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

fn ready(pod: &mut Pod, is_ready: bool, now: &Time) {
    set_ready(pod, is_ready, now);
    let status = pod.status.get_or_insert_default();
    for container in status.container_statuses.iter_mut().flatten() {
        container.ready = is_ready;
    }
}

fn crash(pod: &mut Pod, now: &Time) {
    set_ready(pod, false, now);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let status = pod.status.get_or_insert_default();
    for container in status.container_statuses.iter_mut().flatten() {
        container.ready = false;
        container.started = Some(false);
        container.restart_count += 1;
        container.last_state = Some(ended(1, "Error", now));
        container.state = Some(ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some("CrashLoopBackOff".to_owned()),
                message: Some(format!(
                    "back-off 10s restarting failed container={} pod={name}",
                    container.name
                )),
            }),
            ..ContainerState::default()
        });
    }
}
