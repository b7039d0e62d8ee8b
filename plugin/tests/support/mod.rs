//! A namespace with a controller, and the plugin as a process.

mod exporter;
mod line;
#[allow(dead_code, reason = "the behaviour suite uses more of it")]
#[path = "../../../tests/behaviour/support/waiting.rs"]
mod waiting;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, OnceLock, mpsc},
};

pub(crate) use exporter::{Exporter, metrics};
use exporter::{METRICS, Metrics};
use jiff::Timestamp;
use kanary::{
    cluster::clock::Clock,
    controller::{self, Options},
};
use kanary_core::api::{Kanary, KanaryKind};
use kanary_sim::{
    cluster,
    controllers::Behaviour,
    prometheus,
    server::{Listener, kubeconfig},
    stack::Stack,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, TypeMeta, gvk::GroupVersionKind},
    runtime::wait::{await_condition, conditions},
};
pub(crate) use line::Line;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    runtime::{Builder, Runtime},
};
use tokio_util::sync::CancellationToken;
pub(crate) use waiting::waited;

/// The kubeconfig of the cluster: the one of `hack/plane` where that runs, else of a cluster in this process.
fn admin() -> &'static Path {
    static ADMIN: OnceLock<PathBuf> = OnceLock::new();
    ADMIN.get_or_init(|| match std::env::var_os("KANARY_PLANE_DIR") {
        Some(_) => std::env::var_os("KUBECONFIG").unwrap().into(),
        None => embedded(),
    })
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Starts the embedded cluster, which runs until this process ends.
fn embedded() -> PathBuf {
    let stack = Stack::new(cluster::Options {
        start: Timestamp::now(),
        seed: fastrand::u64(..),
        ..cluster::Options::default()
    });
    let (bound, listens) = mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            let listener = Listener::bind(any).await.unwrap();
            let queries = TcpListener::bind(any).await.unwrap();
            let prometheus = stack.prometheus.clone();
            let url = format!("http://{}", queries.local_addr().unwrap());
            let embedded = Metrics::Embedded {
                url,
                prometheus: prometheus.clone(),
            };
            assert!(METRICS.set(embedded).is_ok(), "there is one cluster");
            bound.send(listener.address()).unwrap();
            let served = listener.serve(stack.server.clone(), &["kubernetes-admin"]);
            let asked = prometheus::serve(queries, prometheus, Timestamp::now);
            let (served, (), ()) = tokio::join!(served, asked, stack.run(Behaviour::default()));
            served.unwrap();
        });
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("{}.kubeconfig", std::process::id()));
    std::fs::write(&path, kubeconfig(listens.recv().unwrap(), "kubernetes-admin")).unwrap();
    path
}

async fn config() -> Config {
    let read = Kubeconfig::read_from(admin()).unwrap();
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .unwrap()
}

async fn install(client: &Client) {
    let api: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    );
    let typed = Api::all(client.clone());
    for crd in kanary_core::api::crds(&KanaryKind::ALL) {
        let name = crd.metadata.name.clone().unwrap();
        let params = PatchParams::apply("plugin-tests").force();
        api.patch(&name, &params, &Patch::Apply(&crd)).await.unwrap();
        let established = await_condition(typed.clone(), &name, conditions::is_crd_established());
        waited("the CRD is served", String::new, established).await.unwrap();
    }
}

fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// A namespace of its own, with a controller.
pub(crate) struct World {
    namespace: String,
    client: Client,
    controller: Mutex<Option<(Runtime, CancellationToken)>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::serving(&KanaryKind::ALWAYS).await
    }

    /// The same with a controller that serves these kinds.
    pub(crate) async fn serving(kinds: &[KanaryKind]) -> Self {
        let client = Client::try_from(config().await).unwrap();
        install(&client).await;
        let namespace = format!("plugin-{:08x}", fastrand::u32(..));
        let world = Self {
            controller: Mutex::new(Some(controller(&namespace, kinds).await)),
            client,
            namespace,
        };
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}});
        let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &resource("", "v1", "Namespace"));
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap();
        world
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn stop_controller(&self) {
        let (runtime, stop) = self.controller.lock().unwrap().take().unwrap();
        stop.cancel();
        runtime.shutdown_background();
    }

    /// The name of the only pod of a Kanary.
    pub(crate) async fn pod(&self, kanary: &str) -> String {
        let labelled = ListParams::default().labels(&format!("kanary.k8s-operators.dev/name={kanary}"));
        let pods = self.objects("", "v1", "Pod").list(&labelled).await.unwrap().items;
        assert_eq!(pods.len(), 1, "{pods:?}");
        pods[0].metadata.name.clone().unwrap()
    }

    fn kanaries(&self) -> Api<Kanary> {
        self.kanaries_of(KanaryKind::Deployment)
    }

    /// The Kanaries of a kind.
    pub(crate) fn kanaries_of(&self, kind: KanaryKind) -> Api<Kanary> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// The Deployments.
    pub(crate) fn deployments(&self) -> Api<DynamicObject> {
        self.objects("apps", "v1", "Deployment")
    }

    pub(crate) fn objects(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(group, version, kind))
    }

    /// Creates an object.
    pub(crate) async fn create(&self, object: Value) {
        let mut object: DynamicObject = serde_json::from_value(object).unwrap();
        let TypeMeta { api_version, kind } = object.types.clone().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        object.metadata.namespace = None;
        let api = self.objects(group, version, &kind);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// A Deployment at version `v1`.
    pub(crate) async fn target(&self, name: &str) {
        self.create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template(name, "v1")},
        }))
        .await;
    }

    /// A Kanary of version `v2` of the Deployment `app`.
    pub(crate) async fn kanary(&self, name: &str, validation: Value) {
        self.create(json!({
            "apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment", "metadata": {"name": name},
            "spec": {
                "deploymentName": "app", "validation": validation,
                "template": {"spec": {"selector": {"matchLabels": {"app": "app"}}, "template": template("app", "v2")}},
            },
        }))
        .await;
    }

    /// Gives a Kanary another image.
    pub(crate) async fn image(&self, name: &str, image: &str) {
        let (app, version) = image.split_once(':').unwrap();
        let patch = json!({"spec": {"template": {"spec": {"template": template(app, version)}}}});
        self.kanaries()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        let uid = self.kanaries().get(name).await.unwrap().metadata.uid.unwrap();
        self.kanaries().delete(name, &DeleteParams::default()).await.unwrap();
        let deleted = await_condition(self.kanaries(), name, conditions::is_deleted(&uid));
        waited("it is deleted", String::new, deleted).await.unwrap();
    }

    /// Waits until the status of a Kanary shows this phase.
    pub(crate) async fn phase(&self, name: &str, phase: &str) {
        self.phase_of(KanaryKind::Deployment, name, phase).await;
    }

    /// The same for a Kanary of another kind.
    pub(crate) async fn phase_of(&self, kind: KanaryKind, name: &str, phase: &str) {
        let is_there = |kanary: Option<&Kanary>| {
            let Some(kanary) = kanary else { return false };
            let status = kanary.status.clone().unwrap_or_default();
            status["report"]["status"] == phase && status["observedGeneration"] == json!(kanary.metadata.generation)
        };
        let reached = await_condition(self.kanaries_of(kind), name, is_there);
        waited(&format!("{name} is {phase}"), String::new, reached)
            .await
            .unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-kanary"));
        command
            .args(arguments)
            .args(["--namespace", &self.namespace])
            .env("KUBECONFIG", admin())
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the plugin to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let what = format!("kubectl kanary {arguments:?} ends");
        Output::of(
            waited(&what, String::new, self.command(arguments).output())
                .await
                .unwrap(),
        )
    }

    /// Starts the plugin.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments).spawn().unwrap())
    }

    /// Starts the plugin with a connection of its own to the API server.
    pub(crate) async fn spawn_behind_a_line(&self, arguments: &[&str]) -> (Line, Running) {
        let server = config().await.cluster_url.authority().unwrap().to_string();
        let line = Line::to(server.parse().unwrap()).await;
        let read = std::fs::read_to_string(admin()).unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.kubeconfig", self.namespace));
        std::fs::write(&path, read.replace(&server, &line.address().to_string())).unwrap();
        let child = self.command(arguments).env("KUBECONFIG", path).spawn().unwrap();
        (line, Running::of(child))
    }
}

fn template(app: &str, version: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": format!("{app}:{version}")}]},
    })
}

/// Starts a controller for one namespace.
async fn controller(namespace: &str, kinds: &[KanaryKind]) -> (Runtime, CancellationToken) {
    let (runtime, stop) = (runtime(), CancellationToken::new());
    let options = Options {
        namespace: Some(namespace.to_owned()),
        kinds: kinds.to_vec(),
        instance: "plugin-tests".to_owned(),
        clock: Clock::default(),
        ..Options::default()
    };
    let client = kanary::cluster::client::connect(
        config().await,
        options.clock.clone(),
        "plugin-tests",
        options.calls.clone(),
    )
    .unwrap();
    let token = stop.clone();
    runtime.spawn(async move {
        if let Err(error) = Box::pin(controller::run(client, options, token)).await {
            eprintln!("the controller ended: {error}");
        }
    });
    (runtime, stop)
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The plugin under way.
pub(crate) struct Running {
    child: Child,
    out: BufReader<tokio::process::ChildStdout>,
}

impl Running {
    fn of(mut child: Child) -> Self {
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Reads on until a line contains `what`.
    pub(crate) async fn says(mut self, what: &str) -> Self {
        let out = &mut self.out;
        let reading = async {
            loop {
                let mut line = String::new();
                assert!(out.read_line(&mut line).await.unwrap() > 0, "it ended without {what}");
                if line.contains(what) {
                    return;
                }
            }
        };
        waited(&format!("it says {what}"), String::new, reading).await;
        self
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(mut self) -> Output {
        let mut out = String::new();
        let rest = async {
            self.out.read_to_string(&mut out).await.unwrap();
            self.child.wait_with_output().await.unwrap()
        };
        let output = Output::of(waited("it ends", String::new, rest).await);
        Output { out, ..output }
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((runtime, stop)) = self.controller.lock().unwrap().take() {
            stop.cancel();
            runtime.shutdown_background();
        }
    }
}
