//! A gateway in front of a test's Services: that of the embedded cluster. Requests through real proxies have tests of their own.

use kanary_sim::gateway::{Counts, Gateway, Load, Request};
use serde_json::{Value, json};

use super::{GATEWAY, HTTP_ROUTE, Kind, VIRTUAL_SERVICE, World, plane, poll};

/// The load that [`World::load`] starts.
pub(crate) const PLAIN: &str = "plain";

/// The Service of the canary of `batman`.
pub(crate) const CANARY: &str = "app-kanary-batman";

impl World {
    /// A namespace with a controller that may change routes, with a target `app` behind the Service `app`, and with the Gateway
    /// `web`. Returns `None` on a real control plane, which has no proxies.
    pub(crate) async fn with_gateway(file: &str) -> Option<Self> {
        let world = Self::unserved(file).await;
        if !matches!(world.plane.kind(), plane::Kind::Embedded(_)) {
            eprintln!("this control plane has no gateway: this case is skipped");
            return None;
        }
        let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
        let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
        world.create(&GATEWAY, &manifest(&GATEWAY, "web", spec)).await;
        world.target("app", 2).await;
        world.service("app", "app").await;
        world.start_routing_controller();
        Some(world)
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        match self.plane.kind() {
            plane::Kind::Embedded(embedded) => &embedded.gateway,
            plane::Kind::Real { .. } => panic!("this control plane has no gateway"),
        }
    }

    /// The host name of this test's routes.
    pub(crate) fn host(&self) -> String {
        format!("{}.example", self.ns)
    }

    /// A request to the host of this test's routes.
    pub(crate) fn request(&self) -> Request {
        Request::through(&self.ns, "web", &self.host())
    }

    /// An `HTTPRoute` called `app` with these rules.
    pub(crate) async fn http_route(&self, rules: Value) -> Value {
        let spec = json!({"parentRefs": [{"name": "web"}], "hostnames": [self.host()], "rules": rules});
        self.create(&HTTP_ROUTE, &manifest(&HTTP_ROUTE, "app", spec)).await
    }

    /// A `VirtualService` called `app` with these rules.
    pub(crate) async fn virtual_service(&self, http: Value) -> Value {
        let spec = json!({"gateways": ["web"], "hosts": [self.host()], "http": http});
        self.create(&VIRTUAL_SERVICE, &manifest(&VIRTUAL_SERVICE, "app", spec))
            .await
    }

    /// The share of a Service in requests like this one that is in force, in percent.
    fn percent_of(&self, request: &Request, service: &str) -> f64 {
        100.0 * self.gateway().share(request, &(self.ns.clone(), service.to_owned()))
    }

    /// The share of a Service in the requests without tags that is in force, in percent.
    pub(crate) fn percent(&self, service: &str) -> f64 {
        self.percent_of(&self.request(), service)
    }

    /// Waits until a Service has this share in percent.
    pub(crate) async fn until_percent(&self, service: &str, percent: f64) {
        self.until_percent_of(&self.request(), service, percent).await;
    }

    /// The same for requests like this one.
    pub(crate) async fn until_percent_of(&self, request: &Request, service: &str, percent: f64) {
        let what = format!("{percent} % of the requests reach the Service {service}");
        poll(&what, async || match self.percent_of(request, service) {
            found if (found - percent).abs() < 1e-6 => Ok(()),
            found => Err(format!("{found} % of the requests do")),
        })
        .await;
    }

    /// Waits until a version answers requests like this one.
    pub(crate) async fn until_version(&self, request: &Request, version: &str) {
        let what = format!("version {version} answers {request:?}");
        poll(&what, async || match self.gateway().send(request).answer {
            Ok(reached) if reached.version == version => Ok(()),
            answer => Err(format!("{answer:?}")),
        })
        .await;
    }

    /// Waits until a version gets copies of every request.
    pub(crate) async fn until_mirrored(&self, version: &str) {
        let what = format!("version {version} gets copies of the requests");
        poll(&what, async || {
            let outcome = self.gateway().send(&self.request());
            let is_mirrored = outcome.mirrored.iter().any(|copy| copy.version == version);
            is_mirrored.then_some(()).ok_or_else(|| format!("{outcome:?}"))
        })
        .await;
    }

    /// Starts a load on the host of this test once production answers. [`World::counts`] reports it.
    pub(crate) async fn load(&self, shape: impl FnOnce(Load) -> Load) {
        self.until_version(&self.request(), "v1").await;
        let load = Load::new(&self.named(PLAIN), self.request()).per_second(200.0);
        self.gateway().start(shape(load));
    }

    /// Starts another load with its own request.
    pub(crate) fn load_of(&self, name: &str, request: Request) {
        self.gateway()
            .start(Load::new(&self.named(name), request).per_second(50.0));
    }

    /// Waits until a load has got so many more answers.
    pub(crate) async fn until_answered(&self, load: &str, more: u32) {
        let before = self.counts_of(load).total();
        poll(&format!("{more} more answers"), async || {
            match self.counts_of(load).total() - before {
                found if found >= more => Ok(()),
                found => Err(format!("{found} answers")),
            }
        })
        .await;
    }

    /// What happened to the requests of the load so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts_of(PLAIN)
    }

    /// What happened to the requests of another load so far.
    pub(crate) fn counts_of(&self, name: &str) -> Counts {
        self.gateway().counts(&self.named(name), ..)
    }

    /// All tests share one gateway.
    fn named(&self, load: &str) -> String {
        format!("{}/{load}", self.ns)
    }
}

fn manifest(kind: &Kind, name: &str, spec: Value) -> Value {
    let resource = kind.resource();
    json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec})
}
