//! The cluster for the suite. Only this module knows where it runs.

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary::cluster::{calls::Calls, clock::Clock};
use kanary_core::api::KanaryKind;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::ApiResource,
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell};
use tower::Layer;

use super::{audit, embedded::Embedded, faults::Faults, from_yaml, interceptor::Webhook, keda, poll, waited};

static READY: OnceCell<Plane> = OnceCell::const_new();

/// A cluster with the CRDs and the controller's RBAC rules.
#[derive(Debug)]
pub(crate) struct Plane {
    admin: PathBuf,
    kanary: PathBuf,
    prometheus: String,
    kind: Kind,
}

/// The type of cluster.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A real control plane, started by `hack/plane/plane run`.
    Real {
        folder: PathBuf,
        audit_log: PathBuf,
        /// Folder of Prometheus' service discovery files.
        prometheus_targets: PathBuf,
    },
    /// The embedded cluster in this process.
    Embedded(Embedded),
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: hack/plane/plane run sets all of them"))
}

impl Plane {
    /// The cluster, which is set up once per process.
    pub(crate) async fn ready() -> &'static Self {
        READY.get_or_init(Self::prepare).await
    }

    async fn prepare() -> Self {
        // The HTTP clients in this process must share one crypto provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if std::env::var_os("RUST_LOG").is_some() {
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_writer(std::io::stderr)
                .init();
        }
        // The only switch: the environment variable that `hack/plane/plane run` sets selects the real control plane.
        let plane = if let Some(folder) = std::env::var_os("KANARY_PLANE_DIR") {
            Self {
                admin: variable("KUBECONFIG").into(),
                kanary: variable("KANARY_PLANE_KUBECONFIG_KANARY").into(),
                prometheus: variable("KANARY_PLANE_PROMETHEUS"),
                kind: Kind::Real {
                    folder: folder.into(),
                    audit_log: variable("KANARY_PLANE_AUDIT_LOG").into(),
                    prometheus_targets: variable("KANARY_PLANE_PROMETHEUS_TARGETS").into(),
                },
            }
        } else {
            let embedded = Embedded::start();
            Self {
                admin: embedded.kubeconfig("admin", "kubernetes-admin"),
                kanary: embedded.kubeconfig("kanary", audit::USER),
                prometheus: embedded.prometheus_url.clone(),
                kind: Kind::Embedded(embedded),
            }
        };
        let client = plane.admin().await;
        apply_rights(&client).await;
        apply_crds(&client).await;
        plane
    }

    /// The type of cluster.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Kills the API server. Only for tests that run alone.
    pub(crate) async fn kill_api_server(&self) {
        audit::expect_a_part_of_a_line();
        match &self.kind {
            Kind::Real { folder, .. } => plane_program("kill", folder).await,
            Kind::Embedded(embedded) => embedded.kill_api_server(),
        }
    }

    /// Restarts the API server.
    pub(crate) async fn revive_api_server(&self) {
        match &self.kind {
            Kind::Real { folder, .. } => plane_program("revive", folder).await,
            Kind::Embedded(embedded) => embedded.revive_api_server(),
        }
        let client = self.admin().await;
        poll("the API server answers", async || client.apiserver_version().await).await;
        audit::forget_under_way(self);
    }

    /// A client with full access, for the user.
    pub(crate) async fn admin(&self) -> Client {
        Client::try_from(config(&self.admin).await).expect("the kubeconfig is valid for a client")
    }

    /// A client of the controller's user, configured like the controller's own and bound to the current runtime.
    pub(crate) async fn kanary(&self, clock: Clock, faults: Option<&Faults>) -> Client {
        let client = kanary::cluster::client::connect(config(&self.kanary).await, clock, "suite", Calls::default());
        let client = client.expect("the kubeconfig is valid for a client");
        let Some(faults) = faults else { return client };
        let service = tower::service_fn(move |request| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        Client::new(faults.layer(service), "default")
    }

    /// The same behind a webhook.
    pub(crate) async fn kanary_behind(&self, clock: Clock, webhook: &Webhook) -> Client {
        let client = self.kanary(clock, None).await;
        let service = tower::service_fn(move |request| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        Client::new(webhook.before(service), "default")
    }

    /// Kubeconfig for a `kanary` process.
    pub(crate) fn kanary_kubeconfig(&self) -> &std::path::Path {
        &self.kanary
    }

    /// Kubeconfig for kubectl.
    pub(crate) fn admin_kubeconfig(&self) -> &std::path::Path {
        &self.admin
    }

    /// Whether users have rights, as on a real control plane.
    pub(crate) fn has_rights(&self) -> bool {
        matches!(self.kind, Kind::Real { .. })
    }

    /// URL of Prometheus.
    pub(crate) fn prometheus(&self) -> &str {
        &self.prometheus
    }
}

/// Runs `hack/plane/plane` with a command for the API server.
async fn plane_program(command: &str, folder: &Path) {
    let plane = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/plane/plane");
    let ran = Command::new(plane)
        .args([command, "kube-apiserver"])
        .arg(folder)
        .output()
        .await;
    let ran = ran.expect("hack/plane/plane runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

async fn config(kubeconfig: &std::path::Path) -> Config {
    let read = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(read, &options).await;
    config.expect("the kubeconfig is complete")
}

async fn apply_crds(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in kanary_core::api::crds(&KanaryKind::ALL)
        .into_iter()
        .chain([keda::crd()])
    {
        let name = crd.metadata.name.clone().expect("a CRD has a name");
        let params = PatchParams::apply("behaviour-suite").force();
        api.patch(&name, &params, &Patch::Apply(&crd))
            .await
            .expect("the API server accepts the CRD");
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        waited(&format!("CRD {name} is served"), String::new, established)
            .await
            .expect("the CRD can be watched");
    }
}

/// What the chart adds with `targetKinds: [StatefulSet, DaemonSet]` and `keda.enabled`.
fn further_rights() -> [Value; 2] {
    let name = "kanary-further-rights";
    let binding = from_yaml(include_str!("../../../deploy/role_binding.yaml"));
    let subjects = binding.first().map(|binding| binding["subjects"].clone());
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [
                {"apiGroups": ["apps"], "resources": ["statefulsets", "daemonsets"],
                 "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
                {"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["list"]},
                {"apiGroups": [""], "resources": ["persistentvolumeclaims", "nodes"], "verbs": ["list"]},
                keda::rule(),
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": subjects,
        }),
    ]
}

/// The user of the controller and its rights, with those for all kinds.
async fn apply_rights(client: &Client) {
    let manifests = concat!(
        include_str!("../../../deploy/service_account.yaml"),
        include_str!("../../../deploy/role.yaml"),
        include_str!("../../../deploy/role_binding.yaml"),
        include_str!("../../../deploy/optional/kanary.k8s.io.yaml"),
        include_str!("../../../deploy/optional/canary.atze.io.yaml"),
        include_str!("../../../deploy/optional/kanarini.nilebox.github.com.yaml"),
        include_str!("../../../deploy/optional/kanarydaemonsets.yaml"),
    );
    let objects = from_yaml(manifests).into_iter().chain(further_rights());
    apply(client, objects).await;
}

/// Applies manifests, in their order.
pub(super) async fn apply(client: &Client, manifests: impl IntoIterator<Item = Value>) {
    for object in manifests {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let kind = text("/kind").expect("an object has a kind");
        let api_version = text("/apiVersion").expect("an object has an apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            api_version: api_version.clone(),
            kind,
        };
        let api: Api<DynamicObject> = match text("/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = text("/metadata/name").expect("an object has a name");
        let params = PatchParams::apply("behaviour-suite").force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .expect("the API server accepts the permissions");
    }
}
