//! Kubernetes objects trimmed to what decisions look at.

mod rollout;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::Deployment as KubeDeployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ContainerStatus, Pod as KubePod, Service as KubeService},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kanary_core::{
    api::{KanaryKind, names},
    carried, hash, health,
    labels::{Labels, Selector},
    observation::{Cause, Deployment, Outage, Owned, Pod, SelectorView, Service},
    ownership,
};
use serde_json::Value;

use self::rollout::{availability, condition, failure, is_observed, progressed, replica_failure, rolled_out, versions};
use super::table::View;

/// A Service and who owns it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceRow {
    /// What it selects and serves.
    pub(super) service: Service,
    /// Whose it is.
    pub(super) owned: Owned,
    /// It is a canary's own.
    pub(super) is_kanary: bool,
}

impl ServiceRow {
    /// What decisions look at, with its ports or without.
    pub(super) fn service(&self, with_ports: bool) -> Service {
        let Service {
            name,
            selector,
            external,
            ports,
            ..
        } = &self.service;
        Service {
            name: name.clone(),
            selector: selector.clone(),
            external: *external,
            deleting: self.owned.deleting,
            ports: if with_ports { ports.clone() } else { Vec::new() },
        }
    }
}

/// A canary pod and the Deployment it belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodRow {
    /// The pod.
    pub(super) pod: Pod,
    /// Name of its Deployment; none if no ReplicaSet owns it any more.
    pub(super) deployment: Option<String>,
    /// Kind and name of the Kanary that its labels name.
    pub(super) kanary: Option<(KanaryKind, String)>,
    /// Digest of the images that its spec asks for, which may be written in place.
    pub(super) images: u64,
}

impl View for Deployment {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.deleting)
    }

    fn inherit(&mut self, former: &Self) {
        self.outage = match (former.available_since, self.available_since) {
            (Some(before), None) => self.unavailable_since.map(|from| Outage { from, before }),
            // More than one outage in between, and nobody watched the first.
            (Some(before), Some(since)) if before != since => None,
            _ => former.outage,
        };
        keep_text(&mut self.cause, former.cause.as_deref());
    }
}

/// The texts of one cause differ from attempt to attempt; the first is kept, so that nobody is woken for the others.
fn keep_text(cause: &mut Option<Box<Cause>>, former: Option<&Cause>) {
    if let (Some(cause), Some(former)) = (cause, former)
        && cause.reason == former.reason
    {
        cause.message.clone_from(&former.message);
    }
}

impl View for ServiceRow {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.owned.deleting)
    }
}

impl View for Owned {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.deleting)
    }
}

impl View for PodRow {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        None
    }

    fn inherit(&mut self, former: &Self) {
        self.pod.edited = former.pod.edited || self.images != former.images;
        keep_text(&mut self.pod.cause, former.pod.cause.as_deref());
    }
}

/// The owner that controls an object.
fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = meta.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

fn kind_and_name(owner: &OwnerReference) -> String {
    format!("{}/{}", owner.kind, owner.name)
}

/// The Kanary that controls an object: its uid, and its kind and name.
fn owner(meta: &ObjectMeta) -> Option<(String, String)> {
    let owner = controller(meta).filter(|owner| KanaryKind::parse(&owner.kind).is_some())?;
    Some((owner.uid.clone(), kind_and_name(owner)))
}

/// uids of all Kanaries that own an object, whether or not they control it.
fn kanaries(meta: &ObjectMeta) -> Vec<String> {
    let owners = meta.owner_references.iter().flatten();
    let kanaries = owners.filter(|owner| KanaryKind::parse(&owner.kind).is_some());
    kanaries.map(|owner| owner.uid.clone()).collect()
}

/// Kind and name of the controller of an object, where that is no Kanary.
fn other_controller(meta: &ObjectMeta) -> Option<String> {
    let other = controller(meta).filter(|owner| KanaryKind::parse(&owner.kind).is_none());
    other.map(kind_and_name)
}

fn annotation(meta: &ObjectMeta, name: &str) -> Option<String> {
    meta.annotations.as_ref()?.get(name).cloned()
}

/// Hash of a Deployment's pod template.
#[must_use]
pub(crate) fn template_hash(object: &KubeDeployment) -> String {
    let template = object.spec.as_ref().map(|spec| &spec.template);
    hash::of(&serde_json::to_value(template).unwrap_or_default())
}

/// A Deployment, trimmed.
#[must_use]
pub(super) fn deployment(object: &KubeDeployment) -> Deployment {
    let meta = &object.metadata;
    let spec = object.spec.as_ref();
    let (available_since, unavailable_since) = availability(object);
    let cause = failure(object);
    let owner = owner(meta);
    let owner_name = owner.as_ref().map(|(_, name)| name.clone());
    Deployment {
        uid: meta.uid.clone().unwrap_or_default(),
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
        pod_labels: spec
            .and_then(|spec| spec.template.metadata.as_ref()?.labels.clone())
            .unwrap_or_default(),
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        paused: spec.and_then(|spec| spec.paused) == Some(true),
        selector: spec.and_then(|spec| selector(&spec.selector)),
        template_hash: template_hash(object),
        target_hash: annotation(meta, names::TARGET_HASH),
        traffic: annotation(meta, names::TRAFFIC),
        promoted_by: annotation(meta, names::PROMOTED_BY),
        created_by: annotation(meta, names::CREATED_BY),
        rolled_out: rolled_out(object),
        progress_failed: is_observed(object)
            && condition(object, "Progressing")
                .is_some_and(|(status, reason, _)| status == "False" && reason == "ProgressDeadlineExceeded"),
        progressed: progressed(object),
        replica_failure: replica_failure(object),
        holds_fields: ownership::holds_fields(meta.managed_fields.as_deref().unwrap_or_default()),
        available_since,
        unavailable_since,
        versions: versions(object),
        outage: None,
        cause: cause.map(Box::new),
    }
}

/// Text that goes to a condition, bounded because it is kept for every object.
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

/// A Service, trimmed.
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
            selector: spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
            ports: ports
                .map(|port| {
                    let mut port = serde_json::to_value(port).unwrap_or_default();
                    port.as_object_mut().map(|fields| fields.remove("nodePort"));
                    port
                })
                .collect::<Vec<Value>>(),
        },
        // A label alone makes nobody's Service a canary's: it would not count as production any more.
        is_kanary: owned.owner.is_some() && is_kanary(object.metadata.labels.as_ref()),
        owned,
    }
}

fn is_kanary(labels: Option<&Labels>) -> bool {
    labels.is_some_and(|labels| labels.get(names::IS_KANARY).is_some_and(|value| value == "true"))
}

/// A HorizontalPodAutoscaler, trimmed.
#[must_use]
pub(super) fn autoscaler(object: &HorizontalPodAutoscaler) -> Owned {
    owned(&object.metadata)
}

fn owned(meta: &ObjectMeta) -> Owned {
    let owner = owner(meta);
    Owned {
        uid: meta.uid.clone().unwrap_or_default(),
        owner_name: owner.as_ref().map(|(_, name)| name.clone()),
        owner: owner.map(|(uid, _)| uid),
        other_controller: other_controller(meta),
        deleting: meta.deletion_timestamp.is_some(),
    }
}

/// A pod, trimmed. `None` if it has nothing to do with a canary.
#[must_use]
pub(super) fn pod(object: &KubePod) -> Option<PodRow> {
    let meta = &object.metadata;
    let mut owners = meta.owner_references.iter().flatten();
    let replica_set = owners.find(|owner| owner.kind == "ReplicaSet");
    // A Deployment names its ReplicaSets `<name>-<hash>`.
    let deployment = replica_set.and_then(|set| Some(set.name.rsplit_once('-')?.0.to_owned()));
    let label = |name: &str| meta.labels.as_ref()?.get(name);
    let kind = label(names::KANARY_KIND).and_then(|kind| KanaryKind::parse(kind));
    let kanary = kind.zip(label(names::KANARY_NAME).cloned());
    if deployment.is_none() && kanary.is_none() {
        return None;
    }
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    Some(PodRow {
        pod: Pod {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            ready: is_ready && meta.deletion_timestamp.is_none(),
            terminating: meta.deletion_timestamp.is_some(),
            released: controller(meta).is_none(),
            kanaries: kanaries(meta),
            edited: false,
            cause: if is_ready {
                None
            } else {
                pod_cause(object).map(Box::new)
            },
        },
        deployment,
        kanary,
        images: images(object),
    })
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

/// Why a pod does not become ready, as far as the cluster says.
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
    // The same while it waits, runs and ends again.
    if let Some(ended) = ended.filter(|_| is_down) {
        let reason = ended.reason.as_deref().unwrap_or("Error");
        let text = format!("container {name} ended with exit code {} ({reason})", ended.exit_code);
        return Some(cause("CrashLoopBackOff", Some(&text)));
    }
    let waiting = state?.waiting.as_ref()?;
    let reason = match waiting.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" => return None,
        // The two alternate.
        "ErrImagePull" => "ImagePullBackOff",
        reason => reason,
    };
    let message = waiting.message.as_deref().unwrap_or("the kubelet says no more");
    Some(if health::is_cause(reason) {
        cause(reason, Some(&format!("container {name}: {message}")))
    } else {
        cause(
            "CreateContainerError",
            Some(&format!("container {name}: {reason}: {message}")),
        )
    })
}
