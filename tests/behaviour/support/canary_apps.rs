//! What a `CanaryApp` needs of its cluster.

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary_sim::gateway::definitions;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        wait::{await_condition, conditions},
        watcher,
    },
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{GATEWAY, HTTP_ROUTE, World, plane, waited};

impl World {
    /// The CRDs of Istio, where no Istio has installed them. Without proxies, routes are in force as soon as they are written.
    pub(crate) async fn install_istio(&self) {
        self.install(definitions::istio()).await;
    }

    /// The same for Gateway API.
    pub(crate) async fn install_gateway_api(&self) {
        self.install(definitions::gateway_api()).await;
    }

    /// Creates the Gateway `web`, which takes routes over until the result is dropped. Where no control plane of a gateway does that,
    /// a task reports it in the status of routes.
    pub(crate) async fn open_gateway(&self) -> Doorkeeper {
        let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
        let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"}, "spec": spec,
        });
        self.create(&GATEWAY, &gateway).await;
        let is_needed = !matches!(self.plane.kind(), plane::Kind::Embedded(_));
        Doorkeeper(is_needed.then(|| tokio::spawn(take_over(self.api(&HTTP_ROUTE)))))
    }

    async fn install(&self, definitions: Vec<Value>) {
        let api: Api<CustomResourceDefinition> = Api::all(self.plane.admin().await);
        for mut crd in definitions {
            // An API server wants this for groups of Kubernetes.
            crd["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "unapproved, for a test"});
            let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
            if api.get_opt(&name).await.unwrap().is_none() {
                let params = PatchParams::apply("behaviour-suite").force();
                api.patch(&name, &params, &Patch::Apply(&crd)).await.unwrap();
            }
            let established = await_condition(api.clone(), &name, conditions::is_crd_established());
            let _crd = waited(&format!("CRD {name} is served"), String::new, established).await;
        }
    }
}

/// Reports that a Gateway has taken routes over, until it is dropped.
pub(crate) struct Doorkeeper(Option<JoinHandle<()>>);

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn take_over(api: Api<DynamicObject>) {
    let mut routes = std::pin::pin!(watcher(api.clone(), watcher::Config::default()).applied_objects());
    while let Some(route) = routes.next().await {
        let Ok(route) = route else { continue };
        let generation = json!(route.metadata.generation);
        let seen = route.data.pointer("/status/parents/0/conditions/0/observedGeneration");
        if seen == Some(&generation) {
            continue;
        }
        let condition = |name: &str| {
            json!({
                "type": name, "status": "True", "reason": name, "message": "", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let parent = json!({
            "parentRef": route.data.pointer("/spec/parentRefs/0"), "controllerName": "gateway.test/controller",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")],
        });
        let status = Patch::Merge(json!({"status": {"parents": [parent]}}));
        let name = route.metadata.name.unwrap_or_default();
        // A route that is gone needs none.
        let _written = api.patch_status(&name, &PatchParams::default(), &status).await;
    }
}
