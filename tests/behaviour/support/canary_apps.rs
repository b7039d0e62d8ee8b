//! What a `CanaryApp` needs of its cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary_sim::gateway::definitions;
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::wait::{await_condition, conditions},
};

use super::{World, waited};

impl World {
    /// The CRDs of Istio, where no Istio has installed them. Without proxies, routes are in force as soon as they are written.
    pub(crate) async fn install_istio(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.plane.admin().await);
        for crd in definitions::istio() {
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
