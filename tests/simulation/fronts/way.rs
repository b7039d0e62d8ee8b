//! The ways on which requests come to an application, and the Gateways of Gateway API that its user has.

use kanary_sim::gateway::Request;
use serde_json::{Value, json};

use crate::world::{NAMESPACE, World};

/// Where the requests of an application come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A Gateway of Istio that belongs to it.
    Istio,
    /// Pods of Istio's mesh.
    Mesh,
    /// The Gateway `<name>-web` of Gateway API.
    Web,
    /// That one and `<name>-edge`.
    Both,
}

/// What a Gateway of Gateway API does with the route of its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// It does not accept the route.
    Refuses,
    /// It does not exist.
    Gone,
}

/// The Gateways of Gateway API of an application.
pub(super) fn gates(name: &str) -> [String; 2] {
    ["web", "edge"].map(|gate| format!("{name}-{gate}"))
}

fn host(name: &str) -> String {
    format!("{name}.example")
}

/// A request through a Gateway of this name.
pub(super) fn through(gateway: &str, name: &str) -> Request {
    Request::through(NAMESPACE, gateway, &host(name))
}

/// A request of a pod of the mesh to the Service.
pub(super) fn inside(name: &str) -> Request {
    Request::inside(&format!("{name}.{NAMESPACE}"))
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Istio, Self::Mesh, Self::Web, Self::Both];

    pub(super) fn is_of_gateway_api(self) -> bool {
        matches!(self, Self::Web | Self::Both)
    }

    /// The Gateways of Gateway API that its spec names.
    pub(super) fn gates(self, name: &str) -> Vec<String> {
        let number = match self {
            Self::Istio | Self::Mesh => 0,
            Self::Web => 1,
            Self::Both => 2,
        };
        gates(name).into_iter().take(number).collect()
    }

    /// The fields of the spec that ask for it.
    pub(super) fn spec(self, name: &str) -> Value {
        let parents = self.gates(name).into_iter().map(|gate| json!({"name": gate}));
        let parents: Vec<_> = parents.collect();
        json!({
            "parentRefs": (!parents.is_empty()).then_some(parents),
            "gateway": (self == Self::Mesh).then_some("mesh"),
            "hosts": (self != Self::Mesh).then(|| [host(name)]),
        })
    }
}

/// Makes a Gateway do this.
pub(super) async fn set(world: &World, name: &str, gate: Gate) {
    let kind = "Gateway.gateway.networking.k8s.io";
    let is_there = world.api(kind).get_opt(name).await.unwrap().is_some();
    if gate == Gate::Gone {
        if is_there {
            world.delete(kind, name).await;
        }
        return;
    }
    let allowed = if gate == Gate::Open { "HTTPRoute" } else { "GRPCRoute" };
    let listener = json!({
        "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"kinds": [{"kind": allowed}]},
    });
    let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
    if is_there {
        world.patch(kind, name, &json!({"spec": spec})).await;
    } else {
        let manifest = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": spec,
        });
        world.create(&manifest).await;
    }
}

/// What a Gateway of Gateway API does, by its manifest.
pub(super) fn gate(gateway: Option<&Value>) -> Gate {
    let Some(gateway) = gateway else { return Gate::Gone };
    let allowed = &gateway["spec"]["listeners"][0]["allowedRoutes"]["kinds"][0]["kind"];
    if allowed == "HTTPRoute" {
        Gate::Open
    } else {
        Gate::Refuses
    }
}
