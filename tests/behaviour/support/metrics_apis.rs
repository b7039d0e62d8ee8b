//! The Kubernetes metrics APIs of a test's namespace: those of the embedded cluster, and real servers beside a real control plane.

use std::path::{Path, PathBuf};

use kanary_sim::metrics_apis::{Api, MetricsApis, Mood, Reading, Usage};
use serde_json::Value;
use tokio::process::Command;

use super::{World, plane};

impl World {
    /// A namespace with a target `app` and a controller that may ask the metrics APIs, which do not exist yet. Returns `None` on a real
    /// control plane, which has no scripted ones.
    pub(crate) async fn with_metrics_apis(file: &str) -> Option<Self> {
        let world = Self::unserved(file).await;
        if !matches!(world.plane.kind(), plane::Kind::Embedded(_)) {
            eprintln!("this control plane has no scripted metrics APIs: this case is skipped");
            return None;
        }
        world.target("app", 1).await;
        world.start_controller_with_metrics_apis();
        Some(world)
    }

    /// A namespace with a target `app` and a controller that asks the metrics APIs without the right to. Returns `None` on the embedded
    /// cluster, which knows no rights, and beside real servers, where the controller has it.
    pub(crate) async fn without_right_to_metrics(file: &str) -> Option<Self> {
        let world = Self::unserved(file).await;
        let is_embedded = matches!(world.plane.kind(), plane::Kind::Embedded(_));
        if is_embedded || MetricsServers::of_environment().is_some() {
            eprintln!("the controller may ask the metrics APIs here: this case is skipped");
            return None;
        }
        world.target("app", 1).await;
        world.start_controller_with_metrics_apis();
        Some(world)
    }

    fn metrics_apis(&self) -> &MetricsApis {
        match self.plane.kind() {
            plane::Kind::Embedded(embedded) => embedded.server.metrics_apis(),
            plane::Kind::Real { .. } => panic!("this control plane has no scripted metrics APIs"),
        }
    }

    /// Sets what happens to requests to an API.
    pub(crate) fn mood(&self, api: Api, mood: Mood) {
        self.metrics_apis().set_mood(&self.ns, api, mood);
    }

    /// Sets the CPU usage of every container of pods whose names begin like this, and serves it.
    pub(crate) fn uses(&self, pods: &str, cpu: Reading) {
        let usage = Usage {
            cpu,
            memory: "64Mi".to_owned(),
        };
        self.metrics_apis().set_usage(&self.ns, pods, usage);
        self.mood(Api::Resource, Mood::Serves);
    }

    /// Sets the CPU usage of one container of pods whose names begin like this.
    pub(crate) fn container_uses(&self, pods: &str, container: &str, cpu: &str) {
        let usage = Usage {
            cpu: Reading::new(cpu),
            memory: "64Mi".to_owned(),
        };
        self.metrics_apis()
            .set_container_usage(&self.ns, pods, container, usage);
    }

    /// Sets a custom metric of objects of a resource whose names begin like this, and serves it.
    pub(crate) fn has_custom(&self, resource: &str, objects: &str, metric: &str, reading: Reading) {
        self.metrics_apis()
            .set_custom(&self.ns, resource, objects, metric, reading);
        self.mood(Api::Custom, Mood::Serves);
    }

    /// Sets an external metric, and serves it.
    pub(crate) fn has_external(&self, metric: &str, reading: Reading) {
        self.metrics_apis().set_external(&self.ns, metric, reading);
        self.mood(Api::External, Mood::Serves);
    }
}

/// The real servers that `hack/metrics-apis/metrics-apis run` starts.
#[derive(Debug)]
pub(crate) struct MetricsServers {
    /// Folder of the files that say what the adapter of external metrics serves.
    external: PathBuf,
}

impl MetricsServers {
    /// The servers of the environment, if there are some.
    pub(crate) fn of_environment() -> Option<Self> {
        let external = std::env::var_os("KANARY_METRICS_APIS_EXTERNAL")?.into();
        Some(Self { external })
    }

    /// Sets what the adapter of external metrics serves about a namespace.
    pub(crate) fn external(&self, world: &World, script: &Value) {
        let file = self.external.join(format!("{}.json", world.ns));
        // Renaming is atomic, so the adapter never reads a partial file.
        let draft = file.with_extension("draft");
        std::fs::write(&draft, script.to_string()).expect("the folder can be written");
        std::fs::rename(&draft, &file).expect("a file can be renamed");
    }

    /// Ends a server. Only for tests that run alone.
    pub(crate) async fn stop(&self, name: &str) {
        Self::command("stop", name).await;
    }

    /// Starts it again.
    pub(crate) async fn start(&self, name: &str) {
        Self::command("start", name).await;
    }

    async fn command(command: &str, name: &str) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/metrics-apis/metrics-apis");
        let ran = Command::new(program).args([command, name]).output().await;
        let ran = ran.expect("hack/metrics-apis/metrics-apis runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}
