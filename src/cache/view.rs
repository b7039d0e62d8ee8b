//! Kubernetes objects, trimmed to the fields that decisions use.

mod daemon;
mod rollout;
mod rows;
mod set;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::Deployment as KubeDeployment,
        core::v1::{ContainerStatus, Pod as KubePod, Service as KubeService},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kanary_core::{
    api::{KanaryKind, WorkloadKind, WorkloadRef, names},
    carried, health,
    labels::{Labels, Packed, Selector},
    observation::{Cause, Owned, Pod, SelectorView, Service, Workload},
    ownership,
};
use serde_json::Value;

pub(super) use self::daemon::{daemon_set, without_nodes};
use self::rollout::{availability, condition, failure, is_observed, progressed, replica_failure, rolled_out, versions};
pub(crate) use self::rows::PodRow;
pub(super) use self::rows::{KanaryRow, ServiceRow, WorkloadRow};
pub(super) use self::set::stateful_set;
use super::workloads::{Workload as KubeWorkload, template_hash};

/// The controller among an object's owners.
fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = meta.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

fn kanary_kind(owner: &OwnerReference) -> Option<KanaryKind> {
    KanaryKind::of(&owner.api_version, &owner.kind)
}

/// The Kanary that controls an object: uid, and kind and name.
fn owner(meta: &ObjectMeta) -> Option<(String, String)> {
    let owner = controller(meta)?;
    let kind = kanary_kind(owner)?;
    Some((owner.uid.clone(), format!("{kind}/{}", owner.name)))
}

/// uids of all Kanaries that own an object, whether or not they control it.
fn kanaries(meta: &ObjectMeta) -> Vec<String> {
    let owners = meta.owner_references.iter().flatten();
    let kanaries = owners.filter(|owner| kanary_kind(owner).is_some());
    kanaries.map(|owner| owner.uid.clone()).collect()
}

/// Kind and name of an object's controller if it is not a Kanary.
fn other_controller(meta: &ObjectMeta) -> Option<String> {
    let other = controller(meta).filter(|owner| kanary_kind(owner).is_none())?;
    Some(format!("{}/{}", other.kind, other.name))
}

fn annotation(meta: &ObjectMeta, name: &str) -> Option<String> {
    meta.annotations.as_ref()?.get(name).cloned()
}

/// Trims a Deployment.
#[must_use]
pub(super) fn deployment(object: &KubeDeployment) -> Workload {
    let (available_since, unavailable_since) = availability(object);
    Workload {
        paused: object.spec.as_ref().and_then(|spec| spec.paused) == Some(true),
        rolled_out: rolled_out(object),
        progress_failed: is_observed(object)
            && condition(object, "Progressing")
                .is_some_and(|(status, reason, _)| status == "False" && reason == "ProgressDeadlineExceeded"),
        progressed: progressed(object),
        replica_failure: replica_failure(object),
        available_since,
        unavailable_since,
        versions: versions(object),
        cause: failure(object).map(Box::new),
        ..common(object)
    }
}

/// What all kinds of workloads have.
fn common(object: &impl KubeWorkload) -> Workload {
    let meta = object.meta();
    let owner = owner(meta);
    let owner_name = owner.as_ref().map(|(_, name)| name.clone());
    Workload {
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: meta
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        deleting: meta.deletion_timestamp.is_some(),
        owner: owner.map(|(uid, _)| uid),
        owner_name,
        other_controller: other_controller(meta),
        labels: meta.labels.clone().unwrap_or_default(),
        annotations: meta.annotations.as_ref().map(carried::of).unwrap_or_default(),
        pod_labels: object
            .template()
            .and_then(|template| template.metadata.as_ref()?.labels.clone())
            .unwrap_or_default(),
        replicas: object.replicas().unwrap_or(1),
        selector: object.selector().and_then(selector),
        template_hash: template_hash(object),
        target_hash: annotation(meta, names::TARGET_HASH),
        traffic: annotation(meta, names::TRAFFIC),
        promoted_by: annotation(meta, names::PROMOTED_BY),
        created_by: annotation(meta, names::CREATED_BY),
        holds_fields: ownership::holds_fields(meta.managed_fields.as_deref().unwrap_or_default()),
        ..Workload::default()
    }
}

/// A cause for a condition. The length is limited because it is stored for every object.
fn cause(reason: &str, message: Option<&str>) -> Cause {
    let message = message.unwrap_or_default().trim();
    Cause {
        reason: reason.to_owned(),
        message: message.chars().take(300).collect(),
    }
}

fn selector(selector: &LabelSelector) -> Option<SelectorView> {
    let labels = selector.match_labels.iter().flatten().map(|(name, _)| name.clone());
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|expression| expression.key.clone());
    let parsed = Selector::of(selector.clone()).ok()?;
    Some(SelectorView {
        keys: labels.chain(expressions).collect(),
        shown: parsed.to_string(),
        selector: parsed,
    })
}

/// Trims a Service.
#[must_use]
pub(super) fn service(object: &KubeService) -> ServiceRow {
    let spec = object.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let owned = owned(&object.metadata);
    ServiceRow {
        service: Service {
            name: object.metadata.name.clone().unwrap_or_default(),
            external: spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName"),
            deleting: owned.deleting,
            selector: Labels::default(),
            owner_name: None,
            ports: ports
                .map(|port| {
                    let mut port = serde_json::to_value(port).unwrap_or_default();
                    port.as_object_mut().map(|fields| fields.remove("nodePort"));
                    port
                })
                .collect::<Vec<Value>>(),
        },
        // A label alone does not make a Service a canary Service. Otherwise a user's Service could be hidden from the production
        // check.
        selector: spec
            .and_then(|spec| spec.selector.as_ref())
            .map(Packed::from)
            .unwrap_or_default(),
        is_kanary: owned.owner.is_some() && is_kanary(object.metadata.labels.as_ref()),
        owned,
    }
}

fn is_kanary(labels: Option<&Labels>) -> bool {
    labels.is_some_and(|labels| labels.get(names::IS_KANARY).is_some_and(|value| value == "true"))
}

/// Trims an object to whose it is.
#[must_use]
pub(super) fn owned(meta: &ObjectMeta) -> Owned {
    let owner = owner(meta);
    Owned {
        uid: meta.uid.clone().unwrap_or_default(),
        owner_name: owner.as_ref().map(|(_, name)| name.clone()),
        owner: owner.map(|(uid, _)| uid),
        other_controller: other_controller(meta),
        deleting: meta.deletion_timestamp.is_some(),
        scales: None,
    }
}

/// What an autoscaler scales, by kind and name. What is no workload of Kubernetes has its API version, too.
#[must_use]
pub(super) fn scales(api_version: &str, kind: &str, name: &str) -> Box<str> {
    if api_version.starts_with("apps/") {
        format!("{kind}/{name}").into()
    } else {
        format!("{api_version} {kind}/{name}").into()
    }
}

/// Trims a pod. `None` if it has nothing to do with a canary.
#[must_use]
pub(super) fn pod(object: &KubePod) -> Option<PodRow> {
    let meta = &object.metadata;
    let mut owners = meta.owner_references.iter().flatten();
    let workload = owners.find_map(workload_of);
    let label = |name: &str| meta.labels.as_ref()?.get(name);
    let kind = label(names::KANARY_KIND).and_then(|kind| KanaryKind::parse(kind));
    let kanary = kind.zip(label(names::KANARY_NAME).cloned());
    if workload.is_none() && kanary.is_none() {
        return None;
    }
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|c| c.type_ == "Ready" && c.status == "True");
    let is_ready = ready.is_some();
    // The status of a Deployment has the time. Without need, a pod that became ready anew would be news.
    let ready_second = ready
        .filter(|_| workload.as_ref().is_some_and(|workload| !workload.kind.has_times()))
        .and_then(|ready| {
            u32::try_from(ready.last_transition_time.as_ref()?.0.as_second())
                .ok()?
                .try_into()
                .ok()
        });
    Some(PodRow {
        rest: Pod {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: Labels::default(),
            former_run: None,
            ready: is_ready && meta.deletion_timestamp.is_none(),
            terminating: meta.deletion_timestamp.is_some(),
            ready_second,
            released: controller(meta).is_none(),
            kanaries: kanaries(meta),
            edited: false,
            node: object
                .spec
                .as_ref()
                .filter(|_| workload.as_ref().is_some_and(|workload| !workload.kind.has_replicas()))
                .and_then(|spec| spec.node_name.as_deref().map(Into::into)),
            cause: if is_ready {
                None
            } else {
                pod_cause(object).map(Box::new)
            },
        },
        labels: meta.labels.as_ref().map(Packed::from).unwrap_or_default(),
        workload,
        kanary,
        images: images(object),
    })
}

/// The workload of a pod with this owner.
fn workload_of(owner: &OwnerReference) -> Option<WorkloadRef> {
    if owner.kind == "ReplicaSet" {
        // The Deployment controller names ReplicaSets `<name>-<hash>`.
        let name = owner.name.rsplit_once('-')?.0;
        return Some(WorkloadRef::new(WorkloadKind::Deployment, name));
    }
    let kind = WorkloadKind::parse(&owner.kind).filter(|kind| *kind != WorkloadKind::Deployment)?;
    Some(WorkloadRef::new(kind, owner.name.as_str()))
}

fn images(object: &KubePod) -> u64 {
    let mut hasher = DefaultHasher::new();
    let spec = object.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    for container in containers.into_iter().flatten() {
        (&container.name, &container.image).hash(&mut hasher);
    }
    hasher.finish()
}

/// Why a pod does not become ready, as reported by the cluster.
fn pod_cause(object: &KubePod) -> Option<Cause> {
    let status = object.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    if let Some(cause) = containers.filter_map(container_cause).next_back() {
        return Some(cause);
    }
    let scheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled");
    let stuck = scheduled.filter(|c| c.status == "False" && c.reason.as_deref() == Some("Unschedulable"))?;
    Some(cause("Unschedulable", stuck.message.as_deref()))
}

fn container_cause(status: &ContainerStatus) -> Option<Cause> {
    let name = &status.name;
    let state = status.state.as_ref();
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref()).or(last);
    let is_down = !status.ready && ended.is_some_and(|ended| ended.exit_code != 0);
    // The text stays the same while the container waits, runs and exits again.
    if let Some(ended) = ended.filter(|_| is_down) {
        let reason = ended.reason.as_deref().unwrap_or("Error");
        let text = format!("container {name} ended with exit code {} ({reason})", ended.exit_code);
        return Some(cause("CrashLoopBackOff", Some(&text)));
    }
    let waiting = state?.waiting.as_ref()?;
    let reason = match waiting.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" => return None,
        // The kubelet alternates between the two reasons.
        "ErrImagePull" => "ImagePullBackOff",
        reason => reason,
    };
    let message = waiting.message.as_deref().unwrap_or("no message from the kubelet");
    Some(if health::is_cause(reason) {
        cause(reason, Some(&format!("container {name}: {message}")))
    } else {
        cause(
            "CreateContainerError",
            Some(&format!("container {name}: {reason}: {message}")),
        )
    })
}
