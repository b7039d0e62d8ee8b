//! The workload that a Kanary is generated for, and its Service.

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service};
use kanary_core::api::{
    KanaryKind, WorkloadKind, WorkloadRef,
    names::{self, IS_KANARY},
};
use kube::{
    Api,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

use crate::{
    cluster::{Cluster, is_not_found, said},
    exit::Missing,
};

/// Reads `myapp`, `deployment/myapp`, `sts/db` and the like.
///
/// # Errors
///
/// There is no name, or the kind cannot be a target.
pub(super) fn named(text: &str) -> Result<WorkloadRef, String> {
    let (kind, name) = text.split_once('/').unwrap_or(("deployment", text));
    let lower = kind.to_lowercase();
    let kind = match lower.strip_suffix(".apps").unwrap_or(&lower) {
        "deployment" | "deployments" | "deploy" => WorkloadKind::Deployment,
        "statefulset" | "statefulsets" | "sts" => WorkloadKind::StatefulSet,
        "daemonset" | "daemonsets" | "ds" => WorkloadKind::DaemonSet,
        _ => {
            return Err(format!(
                "{kind} is no kind of target: write deployment/NAME, statefulset/NAME or daemonset/NAME"
            ));
        }
    };
    if name.is_empty() || name.contains('/') {
        return Err("write the name of a workload, as in myapp or statefulset/db".to_owned());
    }
    Ok(WorkloadRef::new(kind, name))
}

/// A workload, as the cluster has it.
pub(super) struct Source {
    target: WorkloadRef,
    pub(super) metadata: Value,
    pub(super) spec: Value,
    pub(super) pods: PodTemplateSpec,
}

impl Source {
    pub(super) async fn read(cluster: &Cluster, target: &WorkloadRef) -> anyhow::Result<Self> {
        let (kind, namespace) = (target.kind, &cluster.namespace);
        let gvk = GroupVersionKind::gvk("apps", "v1", kind.as_str());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
        match api.get(&target.name).await {
            Ok(object) => Self::of(target, &serde_json::to_value(object)?),
            Err(error) if is_not_found(&error) => {
                let others = WorkloadKind::ALL.into_iter().filter(|other| *other != kind);
                let others: Vec<_> = others
                    .map(|other| WorkloadRef::new(other, &target.name).argument())
                    .collect();
                Err(Missing(format!(
                    "there is no {target} in namespace {namespace}: `kubectl get {} -A` lists all; for another kind, write {}",
                    kind.plural(),
                    others.join(" or ")
                ))
                .into())
            }
            Err(error) => Err(said(error, &format!("could not read {target}"))),
        }
    }

    pub(super) fn of(target: &WorkloadRef, object: &Value) -> anyhow::Result<Self> {
        let metadata = &object["metadata"];
        let labels = &metadata["labels"];
        if labels.get(IS_KANARY).is_some() {
            let owner = labels
                .get(names::KANARY_NAME)
                .and_then(Value::as_str)
                .unwrap_or_default();
            bail!(
                "{target} is the canary of Kanary {owner}: name the {} that a canary is to be promoted to",
                target.kind
            );
        }
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let text = |owner: &'_ Value, field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        let mut fronts = owners.filter(|owner| {
            let kind = KanaryKind::of(&text(owner, "apiVersion"), &text(owner, "kind"));
            kind.is_some_and(|kind| [KanaryKind::CanaryApp, KanaryKind::CanaryDeployment].contains(&kind))
        });
        if let Some(owner) = fronts.next() {
            let (kind, name) = (text(owner, "kind"), text(owner, "name"));
            bail!("{target} belongs to {kind} {name}, which promotes to it: put the new version there");
        }
        let spec = object.get("spec").with_context(|| format!("{target} has no spec"))?;
        let pods = serde_json::from_value(spec["template"].clone());
        Ok(Self {
            target: target.clone(),
            metadata: metadata.clone(),
            spec: spec.clone(),
            pods: pods.with_context(|| format!("the template of {target} cannot be read"))?,
        })
    }

    pub(super) fn replicas(&self) -> i32 {
        let replicas = self.spec.get("replicas").and_then(Value::as_i64);
        replicas.and_then(|replicas| i32::try_from(replicas).ok()).unwrap_or(1)
    }

    /// A production Service sends its requests to the pods of the target.
    pub(super) fn is_selected_by(&self, name: &str, service: &Service) -> anyhow::Result<()> {
        let spec = service.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.clone()).unwrap_or_default();
        ensure!(
            !selector.is_empty(),
            "Service {name} has no selector, so no canary can join it: name another Service"
        );
        let labels = self.pods.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        let labels = labels.unwrap_or_default();
        let missing = selector.iter().filter(|(key, value)| labels.get(*key) != Some(value));
        let missing: Vec<_> = missing.map(|(key, value)| format!("{key}={value}")).collect();
        ensure!(
            missing.is_empty(),
            "Service {name} does not select the pods of {}: they have no label {}; name the Service of this {}",
            self.target,
            missing.join(", "),
            self.target.kind
        );
        let ports = spec.and_then(|spec| spec.ports.as_ref());
        ensure!(
            ports.is_some_and(|ports| !ports.is_empty()),
            "Service {name} has no ports: name another Service"
        );
        Ok(())
    }
}

pub(super) async fn service(cluster: &Cluster, name: &str) -> anyhow::Result<Service> {
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    api.get(name).await.map_err(|error| {
        if is_not_found(&error) {
            return Missing(format!(
                "there is no Service {name} in namespace {}: `kubectl get services -A` lists all",
                cluster.namespace
            ))
            .into();
        }
        said(error, &format!("could not read Service {name}"))
    })
}
