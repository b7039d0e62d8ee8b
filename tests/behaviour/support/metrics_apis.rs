//! The Kubernetes metrics APIs of a test's namespace: those of the embedded cluster.

use kanary_sim::metrics_apis::{Api, MetricsApis, Mood, Reading, Usage};

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
