//! How objects of front ends must be in the end.

use std::sync::Arc;

use kanary_core::{
    api::KanaryStatus,
    status::{ERRORED, Phase, is_true},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    case::{Front, Sort},
    judge::{Judge, Watched},
    requests::Requests,
    way::Way,
};
use crate::{
    history::image,
    world::{NAMESPACE, World},
};

fn object(world: &World, resource: &str, name: &str) -> Option<Arc<Value>> {
    let place = (NAMESPACE.to_owned(), name.to_owned());
    let object = world.stack.cluster.object(resource, &place)?;
    Some(object.json())
}

fn deployment(world: &World, name: &str) -> Option<Arc<Value>> {
    object(world, "deployments.apps", name)
}

/// The end that an object shows.
fn end(object: Option<&Value>) -> &'static str {
    let Some(object) = object else { return "deleted" };
    let status = KanaryStatus::deserialize(&object["status"]).unwrap_or_default();
    if is_true(&status, ERRORED) {
        return "Errored";
    }
    match Phase::of(&status) {
        Phase::Scheduled => "Scheduled",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::DeploymentUpdated => "DeploymentUpdated",
    }
}

/// Says what is not as it has to be.
fn differs(what: &str, is: &Value, wanted: &Value) -> Option<String> {
    (is != wanted).then(|| format!("{what} is {is} and not {wanted}"))
}

impl Watched {
    fn wrongs(&self, world: &World) -> Vec<String> {
        let front = &self.front;
        let end = end(self.object.as_deref());
        let mut wrongs = Vec::new();
        if !front.ends.contains(&end) {
            wrongs.push(format!("it ends as {end} and not as {:?}", front.ends));
        }
        if end == "deleted" {
            let left = [front.target(), front.canary()];
            let left = left.into_iter().filter(|name| deployment(world, name).is_some());
            wrongs.extend(left.map(|name| format!("Deployment {name} is left")));
        } else if end != "Errored" {
            wrongs.extend(self.of_targets(world, end));
            if front.sort == Sort::App {
                let way = front.last_way();
                wrongs.extend(of_app(world, front, end, way));
                wrongs.extend(left(world, front, end, way));
            }
            wrongs.extend(self.requests.as_ref().and_then(Requests::last));
        }
        wrongs
    }

    /// The version and the number of pods of the target and of the canary.
    fn of_targets(&self, world: &World, end: &str) -> Vec<String> {
        let (front, mut wrongs) = (&self.front, Vec::new());
        let (target, canary) = (deployment(world, &front.target()), deployment(world, &front.canary()));
        let runs = |workload: &Option<Arc<Value>>| workload.as_ref().map(|workload| image(&workload["spec"]));
        let released = self.released().map(str::to_owned);
        wrongs.extend(differs(
            "the version of the target",
            &json!(runs(&target)),
            &json!(released),
        ));
        let wanted = match (front.sort, end) {
            (Sort::App, "Running") | (Sort::Tracks, "DeploymentUpdated" | "Running") => Some(front.last()),
            (Sort::App, _) => None,
            // Without a version that passed, the canary stays as it is.
            (Sort::Tracks, _) => Some(released.unwrap_or_else(|| front.last())),
        };
        wrongs.extend(differs(
            "the version of the canary",
            &json!(runs(&canary)),
            &json!(wanted),
        ));
        let spec = self
            .object
            .as_ref()
            .map(|object| object["spec"].clone())
            .unwrap_or_default();
        let pods = if front.sort == Sort::App {
            &spec["replicas"]
        } else {
            &spec["tracks"]["stable"]["replicas"]
        };
        if let Some(target) = &target {
            wrongs.extend(differs("the number of pods", &target["spec"]["replicas"], pods));
            wrongs.extend(differs(
                "the number of available pods",
                &target["status"]["availableReplicas"],
                pods,
            ));
        }
        wrongs
    }
}

/// The objects that lead to an application.
fn of_app(world: &World, front: &Front, end: &str, way: Way) -> Vec<String> {
    let name = &front.name;
    let field = |resource: &str, pointer: &str| {
        let object = object(world, resource, name)?;
        object.pointer(pointer).cloned()
    };
    let mut wrongs = Vec::new();
    let mut check = |resource: &str, pointer: &str, wanted: Value| {
        let is = json!(field(resource, pointer));
        wrongs.extend(differs(&format!("{pointer} of {resource}"), &is, &wanted));
    };
    let spec = front.way.map_or(json!({"hosts": ["*"]}), |_| way.spec(name));
    let hosts = if way == Way::Mesh {
        json!([name])
    } else {
        spec["hosts"].clone()
    };
    if way.is_of_gateway_api() {
        check(
            "services",
            "/spec/selector",
            json!({"app": name, "owner": "canaryop", "service": "primary"}),
        );
        check("httproutes.gateway.networking.k8s.io", "/spec/hostnames", hosts);
        if end != "Running" {
            let to = json!([{"group": "", "kind": "Service", "name": name, "port": 8088, "weight": 1}]);
            check("httproutes.gateway.networking.k8s.io", "/spec/rules/0/backendRefs", to);
        }
        return wrongs;
    }
    check("services", "/spec/selector", json!({"app": name, "owner": "canaryop"}));
    check("virtualservices.networking.istio.io", "/spec/hosts", hosts);
    check("destinationrules.networking.istio.io", "/spec/host", json!(name));
    let gateway = if way == Way::Mesh { "mesh" } else { name };
    check(
        "virtualservices.networking.istio.io",
        "/spec/gateways",
        json!([gateway]),
    );
    if way == Way::Istio {
        let selector = json!({"istio": "ingressgateway"});
        check("gateways.networking.istio.io", "/spec/selector", selector);
    }
    if end != "Running" {
        let to = json!({"host": name, "subset": "primary", "port": {"number": 8088}});
        let all = json!([{"destination": to, "weight": 100}]);
        check("virtualservices.networking.istio.io", "/spec/http/0/route", all);
    }
    wrongs
}

/// Objects of former ways and of runs that are left.
fn left(world: &World, front: &Front, end: &str, way: Way) -> Vec<String> {
    let (name, secondary) = (&front.name, front.canary());
    let unwanted = [
        ("httproutes.gateway.networking.k8s.io", name, !way.is_of_gateway_api()),
        ("virtualservices.networking.istio.io", name, way.is_of_gateway_api()),
        ("destinationrules.networking.istio.io", name, way.is_of_gateway_api()),
        ("gateways.networking.istio.io", name, way != Way::Istio),
        ("services", &secondary, end != "Running"),
    ];
    let left = unwanted
        .into_iter()
        .filter(|(resource, name, is_unwanted)| *is_unwanted && object(world, resource, name).is_some());
    left.map(|(resource, name, _)| format!("{resource} {name} is left"))
        .collect()
}

impl Judge {
    /// Whether everything is as it has to be in the end.
    pub(super) fn is_settled(&self, world: &World) -> bool {
        self.fronts.values().all(|watched| watched.wrongs(world).is_empty())
    }

    /// The final checks.
    pub(super) fn finish(&mut self, world: &World) {
        for watched in self.fronts.values() {
            let wrongs = watched.wrongs(world).into_iter();
            let name = &watched.front.name;
            self.violations
                .extend(wrongs.map(|wrong| format!("{name} in the end: {wrong}")));
        }
    }
}
