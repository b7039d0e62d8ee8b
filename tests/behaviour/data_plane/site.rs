//! A namespace whose Services are reached through the gateway.

use kanary_dataplane::load::{Load, Running};
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, DataPlane, GRPC_ROUTE, HTTP_ROUTE, Kind, Process, SERVICE, VIRTUAL_SERVICE, World, deployment, poll,
};

/// How long the controller lets proxies follow: longer than the control plane takes, also if it is late by two seconds.
const SETTLING_TIME: &str = "3s";

/// A kind of route, and how it leads to Services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    pub(super) kind: Kind,
    /// Namespace and name of the gateway.
    gateway: (&'static str, &'static str),
    /// A rule that splits requests.
    pub(super) split: fn(&[(&str, u32)]) -> Value,
}

impl Dialect {
    /// The share of a Service among all backends, in percent.
    pub(super) fn percent(&self, route: &Value, service: &str) -> u64 {
        let (rules, backends) = if self.kind == VIRTUAL_SERVICE {
            ("http", "route")
        } else {
            ("rules", "backendRefs")
        };
        let rules = route["spec"][rules].as_array().into_iter().flatten();
        let (mut all, mut found) = (0, 0);
        for backend in rules.flat_map(|rule| rule[backends].as_array().into_iter().flatten()) {
            let name = backend.pointer("/destination/host").unwrap_or(&backend["name"]);
            let weight = backend["weight"].as_u64().unwrap_or(1);
            all += weight;
            found += if name == service { weight } else { 0 };
        }
        100 * found / all
    }
}

pub(super) const GATEWAY_API: Dialect = Dialect {
    kind: HTTP_ROUTE,
    gateway: ("istio-system", "web"),
    split: |backends| {
        let backend = |(name, weight): &(&str, u32)| json!({"name": name, "port": 80, "weight": weight});
        json!({"backendRefs": backends.iter().map(backend).collect::<Vec<_>>()})
    },
};

/// Calls in gRPC.
pub(super) const GRPC: Dialect = Dialect {
    kind: GRPC_ROUTE,
    ..GATEWAY_API
};

/// The gateway that follows `sessionPersistence`.
pub(super) const SESSIONS: Dialect = Dialect {
    gateway: ("eg-system", "web"),
    ..GATEWAY_API
};

pub(super) const ISTIO: Dialect = Dialect {
    kind: VIRTUAL_SERVICE,
    gateway: ("istio-system", "web-istio"),
    split: |backends| {
        let destination = |(name, weight): &(&str, u32)| json!({"destination": {"host": name, "port": {"number": 80}}, "weight": weight});
        json!({"route": backends.iter().map(destination).collect::<Vec<_>>()})
    },
};

/// A namespace on the data plane, with a `kanary run` once it is started.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) plane: DataPlane,
    process: Option<Process>,
}

impl Site {
    /// A namespace with the target `app` behind its Service. `None` without a data plane.
    pub(super) async fn new() -> Option<Self> {
        Box::pin(Self::of(World::unserved("data-plane"))).await
    }

    /// The same, while no other test runs.
    pub(super) async fn alone() -> Option<Self> {
        Box::pin(Self::of(World::alone("data-plane"))).await
    }

    async fn of(world: impl Future<Output = World>) -> Option<Self> {
        let Some(plane) = DataPlane::of_environment() else {
            eprintln!("there is no data plane: this case is skipped; `just dataplane` runs it");
            return None;
        };
        let world = world.await;
        let site = Self {
            world,
            plane,
            process: None,
        };
        site.app("app", "v1").await;
        Some(site)
    }

    /// A Deployment of two pods of a version, and a Service in front of it.
    pub(super) async fn app(&self, name: &str, version: &str) {
        let mut app = deployment(name, 2);
        app["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("app:{version}"));
        self.world.create(&DEPLOYMENT, &app).await;
        self.world.service(name, name).await;
        let available = |app: &Value| app["status"]["availableReplicas"] == 2;
        self.world
            .until(&DEPLOYMENT, name, "two pods are available", available)
            .await;
    }

    /// Lets proxies speak HTTP/2 to the pods of the target, as gRPC needs it.
    pub(super) async fn speaks_http2(&self) {
        let port = json!({"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "kubernetes.io/h2c"});
        self.world
            .patch(&SERVICE, "app", json!({"spec": {"ports": [port]}}))
            .await;
    }

    /// Starts the controller, or a new one after it was killed.
    pub(super) async fn start(&mut self) {
        self.start_settling(SETTLING_TIME).await;
    }

    /// Starts a controller that lets proxies follow for this long.
    pub(super) async fn start_settling(&mut self, settling_time: &str) {
        let arguments = ["--routes", "--route-settling-time", settling_time];
        let process = Process::start(&self.world, &arguments);
        process.ready().await;
        self.process = Some(process);
    }

    /// Kills the controller with SIGKILL.
    pub(super) async fn kill(&mut self) {
        self.process.take().expect("a controller runs").kill().await;
    }

    /// A route called `app` with these rules, once it leads to version v1.
    pub(super) async fn route(&self, dialect: Dialect, rules: Value) -> Value {
        let route = self.route_of(dialect, "app", rules).await;
        self.plane.until_answers(&self.requests(dialect), "v1").await;
        route
    }

    /// A route with these rules for the host of the application with the same name.
    pub(super) async fn route_of(&self, dialect: Dialect, app: &str, rules: Value) -> Value {
        let resource = dialect.kind.resource();
        let (host, (namespace, gateway)) = (self.host(app), dialect.gateway);
        let spec = if dialect.kind == VIRTUAL_SERVICE {
            json!({"gateways": [format!("{namespace}/{gateway}")], "hosts": [host], "http": rules})
        } else {
            json!({"parentRefs": [{"name": gateway, "namespace": namespace}], "hostnames": [host], "rules": rules})
        };
        let manifest = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": app}, "spec": spec,
        });
        self.world.create(&dialect.kind, &manifest).await
    }

    /// Replaces the rules of the route.
    pub(super) async fn change_route(&self, dialect: Dialect, rules: Value) -> Value {
        let field = if dialect.kind == VIRTUAL_SERVICE {
            "http"
        } else {
            "rules"
        };
        self.world
            .patch(&dialect.kind, "app", json!({"spec": {field: rules}}))
            .await
    }

    /// The host name of an application's route.
    fn host(&self, app: &str) -> String {
        format!("{app}.{}.example", self.world.ns)
    }

    /// Requests to the host of the route `app`.
    pub(super) fn requests(&self, dialect: Dialect) -> Load {
        self.requests_of(dialect, "app")
    }

    /// Requests to the host of an application's route.
    pub(super) fn requests_of(&self, dialect: Dialect, app: &str) -> Load {
        let gateway = if dialect.gateway == SESSIONS.gateway {
            self.plane.session_gateway.expect("Envoy Gateway runs")
        } else {
            self.plane.gateway
        };
        let load = Load::new(gateway, &self.host(app));
        if dialect.kind == GRPC_ROUTE { load.grpc() } else { load }
    }

    /// How many requests the pods of a version got.
    pub(super) async fn received(&self, version: &str) -> usize {
        self.plane.received(&self.world.ns, version).await
    }
}

/// Waits until a load has got this many answers.
pub(super) async fn until_answered(load: &Running, wanted: usize) {
    poll(&format!("{wanted} answers"), async || {
        let answers = load.answers();
        if answers.total() >= wanted {
            Ok(())
        } else {
            Err(answers)
        }
    })
    .await;
}
