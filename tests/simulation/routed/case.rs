//! A Kanary with its route, and what its user does.

use std::time::Duration;

use jiff::SignedDuration;
use kanary_core::api::names::canary_name;
use kanary_sim::gateway::{Load, Request, RouteName};
use serde_json::{Value, json};

use crate::{case::template, world::NAMESPACE};

/// What a user does after a while.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Delete,
    /// Another version, which passes.
    Edit,
    /// `spec.verdict: invalid`.
    Fail,
    Pause(Duration),
    /// Another host name for the route.
    EditRoute,
    /// A GitOps tool writes the rules of the manifest.
    RevertRoute,
}

/// A Kanary with its route.
#[derive(Clone, Debug)]
pub(super) struct Routed {
    pub(super) name: String,
    pub(super) app: String,
    pub(super) is_istio: bool,
    /// Whether tagged requests reach the canary, too.
    pub(super) is_tagged: bool,
    pub(super) steps: Vec<u8>,
    pub(super) interval: SignedDuration,
    pub(super) is_good: bool,
    pub(super) created: Duration,
    pub(super) deed: Option<(Duration, Deed)>,
    /// What `kubectl get` may show at the end.
    pub(super) ends: Vec<&'static str>,
}

impl Routed {
    pub(super) fn new(rng: &mut fastrand::Rng, index: usize) -> Self {
        let steps: [&[u8]; 4] = [&[5, 25, 50], &[20], &[33, 34, 100], &[1, 99]];
        let steps = rng.choice(steps).unwrap().to_vec();
        let is_good = rng.u8(..3) > 0;
        let after = Duration::from_millis(rng.u64(1000..90_000));
        let deed = match rng.u8(..9) {
            0 => Some(Deed::Delete),
            1 => Some(Deed::Edit),
            2 => Some(Deed::Fail),
            3 => Some(Deed::Pause(Duration::from_secs(rng.u64(5..60)))),
            4 => Some(Deed::EditRoute),
            5 => Some(Deed::RevertRoute),
            _ => None,
        };
        let end = if is_good { "DeploymentUpdated" } else { "Failed" };
        let ends = match deed {
            Some(Deed::Delete) => vec!["deleted"],
            // The run may have ended before.
            Some(Deed::Fail) => vec!["Failed", end],
            _ => vec![end],
        };
        Self {
            name: format!("k{index}"),
            app: format!("app{index}"),
            is_istio: rng.bool(),
            is_tagged: rng.u8(..3) == 0,
            steps,
            interval: SignedDuration::from_secs(10),
            is_good,
            created: Duration::from_millis(rng.u64(10_000..20_000)),
            deed: deed.map(|deed| (after, deed)),
            ends,
        }
    }

    pub(super) fn service(&self) -> String {
        format!("{}-svc", self.app)
    }

    /// The canary's own Service.
    pub(super) fn canary(&self) -> String {
        format!("{}-kanary-{}", self.service(), self.name)
    }

    pub(super) fn deployment(&self) -> String {
        canary_name(&self.app, &self.name)
    }

    fn host(&self) -> String {
        format!("{}.example", self.app)
    }

    pub(super) fn route_kind(&self) -> &'static str {
        if self.is_istio { "VirtualService" } else { "HTTPRoute" }
    }

    pub(super) fn route(&self) -> RouteName {
        let kind = if self.is_istio {
            "virtualservices.networking.istio.io"
        } else {
            "httproutes.gateway.networking.k8s.io"
        };
        (kind.into(), (NAMESPACE.to_owned(), self.app.clone()))
    }

    pub(super) fn load(&self, seed: u64) -> Load {
        let request = Request::through(NAMESPACE, "web", &self.host());
        Load::new(&self.app, request).per_second(20.0).seed(seed)
    }

    /// The rules of the route, with fields that nobody else may touch.
    fn rules(&self) -> Value {
        if self.is_istio {
            let to = json!([{"destination": {"host": self.service(), "port": {"number": 80}}}]);
            return json!([{"route": to, "timeout": "3s", "retries": {"attempts": 2}}]);
        }
        let filters = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-debug"]}}]);
        let to = json!([{"name": self.service(), "port": 80, "weight": 3}]);
        json!([{"name": "all", "filters": filters, "timeouts": {"request": "3s"}, "backendRefs": to}])
    }

    /// A merge patch with the rules as the user wrote them.
    pub(super) fn revert(&self) -> Value {
        let field = if self.is_istio { "http" } else { "rules" };
        json!({"spec": {field: self.rules()}})
    }

    /// A merge patch with other host names.
    pub(super) fn edit_of_route(&self) -> Value {
        let field = if self.is_istio { "hosts" } else { "hostnames" };
        json!({"spec": {field: [self.host(), format!("www.{}", self.host())]}})
    }

    pub(super) fn route_manifest(&self) -> Value {
        let (version, spec) = if self.is_istio {
            (
                "networking.istio.io/v1",
                json!({"hosts": [self.host()], "gateways": ["web"], "http": self.rules()}),
            )
        } else {
            let parents = json!([{"name": "web"}]);
            let spec = json!({"parentRefs": parents, "hostnames": [self.host()], "rules": self.rules()});
            ("gateway.networking.k8s.io/v1", spec)
        };
        json!({"apiVersion": version, "kind": self.route_kind(), "metadata": {"name": self.app}, "spec": spec})
    }

    pub(super) fn template(&self, version: &str) -> Value {
        json!({"spec": {
            "selector": {"matchLabels": {"app": self.app}},
            "template": template(&self.app, &format!("{}:{version}", self.app)),
        }})
    }

    pub(super) fn manifest(&self) -> Value {
        let interval = format!("{}s", self.interval.as_secs());
        let mut traffic = json!({
            "source": "weighted",
            "route": {"kind": self.route_kind(), "name": self.app},
            "weighted": {"steps": self.steps, "interval": interval},
        });
        if self.is_tagged {
            traffic["tagged"] = json!({"headers": [{"name": "x-canary", "value": "always"}]});
        }
        // A bad canary is found out at its last step.
        let limit = if self.is_good { 101 } else { *self.steps.last().unwrap() };
        let item = json!({"promQL": {
            "prometheusService": "good:9090", "allPodsQuery": true, "valueInRange": {"max": 0.5},
            "query": format!("risk{{weight=\"{{{{ traffic.weight }}}}\",limit=\"{limit}\"}}"),
        }});
        json!({
            "apiVersion": "kanary.k8s-operators.dev/v1alpha1",
            "kind": "KanaryDeployment",
            "metadata": {"name": self.name},
            "spec": {
                "deploymentName": self.app,
                "serviceName": self.service(),
                "template": self.template("v2"),
                "traffic": traffic,
                "validation": {"validationPeriod": "20s", "maxIntervalPeriod": "5s", "items": [item]},
            },
        })
    }
}
