//! What a `CanaryApp` needs of its cluster.

use futures::{StreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary_sim::gateway::definitions;
use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch, PatchParams},
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

    /// Creates the Gateway `web`. The Gateways of the namespace take routes over until the result is dropped: where no control plane of
    /// a gateway does that, a task reports it in the status of routes.
    pub(crate) async fn open_gateway(&self) -> Doorkeeper {
        self.set_gateway("web", "HTTPRoute").await;
        let is_needed = !matches!(self.plane.kind(), plane::Kind::Embedded(_));
        let (routes, gateways) = (self.api(&HTTP_ROUTE), self.api(&GATEWAY));
        Doorkeeper(is_needed.then(|| tokio::spawn(take_over(routes, gateways))))
    }

    /// Makes a Gateway admit routes of this kind alone, and creates it if it does not exist.
    pub(crate) async fn set_gateway(&self, name: &str, admits: &str) {
        let listener = json!({
            "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"kinds": [{"kind": admits}]},
        });
        let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
        if self.find(&GATEWAY, name).await.is_some() {
            self.patch(&GATEWAY, name, json!({"spec": spec})).await;
            return;
        }
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": spec,
        });
        self.create(&GATEWAY, &gateway).await;
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

/// Reports which routes the Gateways of a namespace have taken over, until it is dropped.
pub(crate) struct Doorkeeper(Option<JoinHandle<()>>);

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn take_over(routes: Api<DynamicObject>, gateways: Api<DynamicObject>) {
    let changes = |api: &Api<DynamicObject>| watcher(api.clone(), watcher::Config::default()).applied_objects();
    let mut changes = std::pin::pin!(stream::select(changes(&routes), changes(&gateways)));
    while changes.next().await.is_some() {
        let all = (
            routes.list(&ListParams::default()).await,
            gateways.list(&ListParams::default()).await,
        );
        let (Ok(all), Ok(gateways)) = all else { continue };
        for route in all {
            report(&routes, &route, &gateways.items).await;
        }
    }
}

/// Writes what Gateways say about a route into its status.
async fn report(api: &Api<DynamicObject>, route: &DynamicObject, gateways: &[DynamicObject]) {
    let generation = json!(route.metadata.generation);
    let condition = |name: &str, status: &str| {
        json!({
            "type": name, "status": status, "reason": name, "message": "", "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let named = route.data["spec"]["parentRefs"].as_array().into_iter().flatten();
    let parents = named.filter_map(|parent| {
        let name = parent["name"].as_str();
        let gateway = gateways
            .iter()
            .find(|gateway| gateway.metadata.name.as_deref() == name)?;
        let admits = &gateway.data["spec"]["listeners"][0]["allowedRoutes"]["kinds"][0]["kind"];
        let accepted = if admits == "HTTPRoute" { "True" } else { "False" };
        Some(json!({
            "parentRef": parent, "controllerName": "gateway.test/controller",
            "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")],
        }))
    });
    let parents = json!(parents.collect::<Vec<_>>());
    if route.data["status"]["parents"] == parents {
        return;
    }
    let status = Patch::Merge(json!({"status": {"parents": parents}}));
    let name = route.metadata.name.as_deref().unwrap_or_default();
    // A route that is gone needs none.
    let _written = api.patch_status(name, &PatchParams::default(), &status).await;
}
