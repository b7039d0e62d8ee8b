//! The gateway, observed through the API and through requests.
#![allow(clippy::needless_pass_by_value, reason = "helpers take a `json!` literal")]

mod control_plane;
mod kinds;
mod loads;
mod matches;
mod sessions;

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::{Gateway, Lost, Outcome, Request, Settings};
use crate::{cluster::Options, controllers::Behaviour, stack::Stack, store::Place};

const HTTP: &str = "httproutes.gateway.networking.k8s.io";
const HOST: &str = "app.example";

struct World {
    stack: Stack,
    client: Client,
}

fn resource(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "Deployment" => ("apps", "v1"),
        "Service" => ("", "v1"),
        "VirtualService" | "DestinationRule" => ("networking.istio.io", "v1"),
        _ => ("gateway.networking.k8s.io", "v1"),
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn at(name: &str) -> Place {
    ("default".to_owned(), name.to_owned())
}

/// Lets time pass.
async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// A cluster with controllers and without any kind of route.
fn bare() -> World {
    let stack = Stack::new(Options::default());
    tokio::spawn(stack.run(Behaviour::default()));
    World {
        client: stack.server.client("user"),
        stack,
    }
}

/// A cluster with all kinds of routes, the Gateway `web`, and the Services `v1` and `v2`, each with two pods of that version.
async fn world() -> World {
    let world = bare();
    world.gateway().install_gateway_api().unwrap();
    world.gateway().install_istio().unwrap();
    let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
    world
        .create(
            "Gateway",
            "web",
            json!({"gatewayClassName": "test", "listeners": [listener]}),
        )
        .await;
    for version in ["v1", "v2"] {
        world.app(version, 2).await;
    }
    pass(5000).await;
    world
}

/// A request to the host of all routes.
fn request() -> Request {
    Request::through("default", "web", HOST)
}

/// References to the Services with these weights.
fn backends(weights: &[(&str, u32)]) -> Value {
    let reference = |(name, weight): &(&str, u32)| json!({"name": name, "port": 80, "weight": weight});
    weights.iter().map(reference).collect()
}

/// The spec of a HTTPRoute with these rules.
fn route(rules: Value) -> Value {
    json!({"parentRefs": [{"name": "web"}], "hostnames": [HOST], "rules": rules})
}

/// The spec of a VirtualService with these rules.
fn virtual_service(http: Value) -> Value {
    json!({"hosts": [HOST], "gateways": ["web"], "http": http})
}

/// Destinations of a VirtualService with these weights.
fn destinations(weights: &[(&str, i32)]) -> Value {
    let destination = |(host, weight): &(&str, i32)| json!({"destination": {"host": host}, "weight": weight});
    weights.iter().map(destination).collect()
}

/// The version that answered.
fn version(outcome: &Outcome) -> &str {
    &outcome.answer.as_ref().unwrap().version
}

impl World {
    fn gateway(&self) -> &Gateway {
        &self.stack.gateway
    }

    /// Sets exact times: from a change to the status, and from there to the proxies.
    fn take(&self, latency: u64, delay: u64) {
        let exactly = |ms: u64| Duration::from_millis(ms)..=Duration::from_millis(ms);
        self.gateway().set(Settings {
            latency: exactly(latency),
            delay: exactly(delay),
            endpoints: exactly(delay),
            ..self.gateway().settings()
        });
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "default", &resource(kind))
    }

    async fn try_create(&self, kind: &str, name: &str, spec: Value) -> Result<Value, (u16, String)> {
        let mut object = DynamicObject::new(name, &resource(kind));
        object.data = json!({"spec": spec});
        let created = self.api(kind).create(&PostParams::default(), &object).await;
        created.map(|created| json!(created)).map_err(|error| refusal(&error))
    }

    async fn create(&self, kind: &str, name: &str, spec: Value) -> Value {
        self.try_create(kind, name, spec).await.unwrap()
    }

    /// A Deployment and its Service.
    async fn app(&self, version: &str, replicas: u32) {
        let labels = json!({"app": version});
        let containers = json!([{"name": "main", "image": format!("app:{version}")}]);
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels}, "template": template});
        self.create("Deployment", version, spec).await;
        let spec = json!({"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]});
        self.create("Service", version, spec).await;
    }

    async fn get(&self, kind: &str, name: &str) -> Value {
        json!(self.api(kind).get(name).await.unwrap())
    }

    /// A merge patch of the spec.
    async fn edit(&self, kind: &str, name: &str, spec: Value) -> Value {
        let patch = Patch::Merge(json!({"spec": spec}));
        json!(
            self.api(kind)
                .patch(name, &PatchParams::default(), &patch)
                .await
                .unwrap()
        )
    }

    async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// A JSON Patch.
    async fn patch(&self, kind: &str, name: &str, patch: Value) -> Result<Value, (u16, String)> {
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
        let patched = self.api(kind).patch(name, &PatchParams::default(), &patch).await;
        patched.map(|patched| json!(patched)).map_err(|error| refusal(&error))
    }

    /// A HTTPRoute that is in force.
    async fn routed(&self, rules: Value) {
        self.create("HTTPRoute", "app", route(rules)).await;
        pass(1000).await;
    }

    /// A HTTPRoute with one rule that is in force and leads to the Services with these weights.
    async fn routed_to(&self, weights: &[(&str, u32)]) {
        self.routed(json!([{"backendRefs": backends(weights)}])).await;
    }

    /// Changes that route.
    async fn lead_to(&self, weights: &[(&str, u32)]) {
        let rules = json!([{"backendRefs": backends(weights)}]);
        self.edit("HTTPRoute", "app", json!({"rules": rules})).await;
    }
}

fn refusal(error: &kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    }
}
