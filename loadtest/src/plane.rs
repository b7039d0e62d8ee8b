//! The control plane, as started by `hack/plane/plane run`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use kanary_core::api::KanaryKind;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::Api;

/// Namespace of the Leases, from `deploy/service_account.yaml`.
pub(crate) const LEASE_NAMESPACE: &str = "kanary-system";

/// The programs of the plane that do work.
const PROGRAMS: [&str; 5] = [
    "kube-apiserver",
    "etcd",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
];

/// A running control plane with the CRDs and the permissions of Kanary.
pub(crate) struct Plane {
    folder: PathBuf,
    pub(crate) audit_log: PathBuf,
    pub(crate) kanary_kubeconfig: PathBuf,
    /// The user of the load generator.
    pub(crate) admin: Api,
    /// The user of Kanary, with its permissions, so that the audit log counts the floor in the same way.
    pub(crate) kanary: Api,
}

fn variable(name: &str) -> anyhow::Result<PathBuf> {
    let value = std::env::var_os(name);
    let value = value.with_context(|| format!("{name} is not set: `hack/plane/plane run` sets all variables"));
    Ok(value?.into())
}

impl Plane {
    /// Whether this process runs under `hack/plane/plane run`.
    pub(crate) fn is_running() -> bool {
        std::env::var_os("KANARY_PLANE_DIR").is_some()
    }

    /// Connects to the plane and installs Kanary's CRDs, permissions and priority level.
    pub(crate) async fn prepare() -> anyhow::Result<Self> {
        let kanary_kubeconfig = variable("KANARY_PLANE_KUBECONFIG_KANARY")?;
        let plane = Self {
            folder: variable("KANARY_PLANE_DIR")?,
            audit_log: variable("KANARY_PLANE_AUDIT_LOG")?,
            admin: Api::connect(&variable("KUBECONFIG")?).await?,
            kanary: Api::connect(&kanary_kubeconfig).await?,
            kanary_kubeconfig,
        };
        plane.install().await?;
        Ok(plane)
    }

    async fn install(&self) -> anyhow::Result<()> {
        let manifests = concat!(
            include_str!("../../deploy/service_account.yaml"),
            include_str!("../../deploy/role.yaml"),
            include_str!("../../deploy/role_binding.yaml"),
            include_str!("../../deploy/operator.yaml"),
        );
        for document in serde_yaml_ng::Deserializer::from_str(manifests) {
            let object = Value::deserialize(document)?;
            // The Deployment is replaced by processes on this machine.
            if object.get("kind").is_some_and(|kind| kind != "Deployment") {
                self.apply(&object).await?;
            }
        }
        for crd in kanary_core::api::crds(&KanaryKind::ALWAYS) {
            let crd = serde_json::to_value(&crd)?;
            let path = self.apply(&crd).await?;
            self.established(&path).await?;
        }
        Ok(())
    }

    async fn apply(&self, object: &Value) -> anyhow::Result<String> {
        let path = path_of(object).context("an object without kind, apiVersion or name")?;
        self.admin.apply(&path, object).await.with_context(|| path.clone())?;
        Ok(path)
    }

    async fn established(&self, path: &str) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let crd: crate::api::Object = self.admin.get(path).await?;
            if crd.status.holds("Established").is_some() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{path} is not served 30 s after it was created");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The process IDs of the plane's programs.
    pub(crate) fn processes(&self) -> anyhow::Result<Vec<(&'static str, u32)>> {
        let pid = |name: &'static str| {
            let file = self.folder.join("pids").join(name);
            let text = fs::read_to_string(&file).with_context(|| format!("process ID of {name}"))?;
            Ok((
                name,
                text.trim().parse().with_context(|| format!("process ID of {name}"))?,
            ))
        };
        PROGRAMS.into_iter().map(pid).collect()
    }

    /// A file for the log of a program. It is removed with the plane.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    pub(crate) async fn create_namespace(&self, name: &str) -> anyhow::Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.admin.create("/api/v1/namespaces", &namespace).await?;
        Ok(())
    }

    /// Deletes a namespace and waits until it is gone, so that the next run is not disturbed.
    pub(crate) async fn delete_namespace(&self, name: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{name}");
        self.admin.delete(&path).await?;
        let end = Instant::now() + Duration::from_mins(5);
        loop {
            match self.admin.get::<crate::api::Object>(&path).await {
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            ensure!(
                Instant::now() < end,
                "namespace {name} still exists 5 minutes after its deletion"
            );
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// The path of an object on the API server.
fn path_of(object: &Value) -> Option<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (kind, api_version, name) = (text("/kind")?, text("/apiVersion")?, text("/metadata/name")?);
    let group = if api_version.contains('/') { "apis" } else { "api" };
    let namespace = text("/metadata/namespace").map(|namespace| format!("namespaces/{namespace}/"));
    let plural = format!("{}s", kind.to_lowercase());
    Some(format!(
        "/{group}/{api_version}/{}{plural}/{name}",
        namespace.unwrap_or_default()
    ))
}

/// Whether `program` can be started.
pub(crate) fn check_program(program: &Path) -> anyhow::Result<()> {
    ensure!(
        program.is_file(),
        "{} does not exist: build it with `cargo build --locked --release`, or name another file with --kanary",
        program.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api_server() {
        let of = |api_version: &str, kind: &str, metadata: Value| {
            path_of(&json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})).unwrap()
        };
        assert_eq!(of("v1", "Namespace", json!({"name": "a"})), "/api/v1/namespaces/a");
        let role = of(
            "rbac.authorization.k8s.io/v1",
            "Role",
            json!({"name": "a", "namespace": "b"}),
        );
        assert_eq!(role, "/apis/rbac.authorization.k8s.io/v1/namespaces/b/roles/a");
    }
}
