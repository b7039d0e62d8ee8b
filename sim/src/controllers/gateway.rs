//! The gateway's control plane: it translates routes, reports that in their status, and passes endpoints on to the proxies.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

use super::{Controllers, Key, pod::between};
use crate::{
    cluster::Cluster,
    failure::Failure,
    gateway::{
        Endpoint, Gateway, ROUTES, RouteName, Settings,
        gateway_api::{self, Parent, parent_of, service},
        istio,
    },
    object::{Meta, Object},
    store::{Place, ResourceName},
    write::{Part, WriteOptions},
};

const ACTOR: &str = "system:serviceaccount:gateway-system:gateway-controller";
pub(super) const GATEWAYS: &str = "gateways.gateway.networking.k8s.io";
pub(super) const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICES: &str = "services";
const VIRTUAL_SERVICES: &str = "virtualservices.networking.istio.io";
const DESTINATION_RULES: &str = "destinationrules.networking.istio.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// How often a control plane that hangs is asked whether it goes on.
const AGAIN: Duration = Duration::from_millis(500);

/// The objects that each route refers to, by kind and location.
pub(super) type References = BTreeMap<RouteName, BTreeSet<(&'static str, Place)>>;

impl Controllers {
    /// Queues what a change means for the gateway.
    pub(super) fn notice_gateway(&mut self, resource: &ResourceName, old: Option<&Object>, new: Option<&Object>) {
        let Some(meta) = new.or(old).map(|object| &object.meta) else {
            return;
        };
        if &**resource == crate::custom::DEFINITIONS {
            if new.is_some() && ROUTES.contains(&meta.name.as_str()) && self.gateway.run() {
                self.connect_all();
            }
            return;
        }
        if !self.gateway.runs() {
            return;
        }
        let place = (meta.namespace.clone(), meta.name.clone());
        let is_new =
            old.map(|old| (&old.meta.uid, old.meta.generation)) != new.map(|new| (&new.meta.uid, new.meta.generation));
        match &**resource {
            "pods" if new.is_none() => self.gateway.close(meta.uid.clone()),
            SLICES => self.connect(meta),
            SERVICES if old.is_none() || new.is_none() => self.translate_referring(&(SERVICES, place)),
            GATEWAYS if is_new => {
                self.translate_referring(&(GATEWAYS, place.clone()));
                self.translate(Key::Gateway(place));
            }
            kind if (ROUTES.contains(&kind) || kind == DESTINATION_RULES) && is_new => {
                self.translate(Key::Route(resource.clone(), place));
            }
            _ => {}
        }
    }

    fn translate(&mut self, key: Key) {
        let latency = between(&self.cluster, &self.gateway.settings().latency);
        self.queue.add(key, tokio::time::Instant::now() + latency);
    }

    fn translate_referring(&mut self, object: &(&'static str, Place)) {
        let routes = self.routes.iter().filter(|(_, references)| references.contains(object));
        for (resource, place) in routes.map(|(route, _)| route.clone()).collect::<Vec<_>>() {
            self.translate(Key::Route(resource, place));
        }
    }

    /// Passes the endpoints of all Services on.
    fn connect_all(&mut self) {
        for slice in self.cluster.objects(SLICES, None) {
            self.connect(&slice.meta);
        }
    }

    /// Passes the endpoints of the Service of a slice on.
    fn connect(&mut self, slice: &Meta) {
        let Some(name) = slice.labels.get(SERVICE_NAME) else {
            return;
        };
        let service = (slice.namespace.clone(), name.clone());
        let delay = between(&self.cluster, &self.gateway.settings().endpoints);
        let endpoints = ready(&self.cluster, &service);
        self.gateway.set_endpoints(service, endpoints, delay);
    }
}

/// The ready endpoints of a Service, or `None` if it has no slices.
fn ready(cluster: &Cluster, service: &Place) -> Option<Vec<Endpoint>> {
    let labels = [(SERVICE_NAME, service.1.as_str())];
    let slices = cluster.lock().store.labelled(SLICES, &labels);
    let mut slices = slices
        .iter()
        .filter(|slice| slice.meta.namespace == service.0)
        .peekable();
    slices.peek()?;
    let slices = slices.filter_map(|slice| slice.typed::<EndpointSlice>());
    let endpoints = slices.flat_map(|slice| slice.endpoints.clone().unwrap_or_default());
    let ready = endpoints.filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_none_or(|conditions| conditions.ready != Some(false))
    });
    let pods = ready.filter_map(|endpoint| endpoint.target_ref?.name);
    let endpoints = pods.filter_map(|name| {
        let pod = cluster.get::<Pod>(&service.0, &name)?;
        Some(Endpoint {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            version: version(&pod),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            pod: name,
        })
    });
    Some(endpoints.collect())
}

/// The tag of a pod's image, or the image if it has no tag.
fn version(pod: &Pod) -> String {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let image = container
        .and_then(|container| container.image.clone())
        .unwrap_or_default();
    image.rsplit_once(':').map_or(image.clone(), |(_, tag)| tag.to_owned())
}

/// Translates a route.
pub(super) fn sync(
    cluster: &Cluster,
    gateway: &Gateway,
    routes: &mut References,
    route: &RouteName,
) -> Result<Option<Duration>, Failure> {
    if gateway.hangs() {
        return Ok(Some(AGAIN));
    }
    let settings = gateway.settings();
    let delay = between(cluster, &settings.delay);
    let object = cluster.object(&route.0, &route.1);
    if &*route.0 == DESTINATION_RULES {
        let subsets = object.as_deref().and_then(istio::subsets);
        gateway.set_subsets(route.1.clone(), subsets, delay);
        return Ok(None);
    }
    let Some(object) = object else {
        routes.remove(route);
        gateway.enforce(route.clone(), None, delay);
        return Ok(None);
    };
    if &*route.0 == VIRTUAL_SERVICES {
        let references = istio::references(&object).into_iter();
        routes.insert(route.clone(), references.map(|service| (SERVICES, service)).collect());
        gateway.enforce(route.clone(), Some(istio::table(&object)), delay);
        return Ok(None);
    }
    let value = object.json();
    routes.insert(route.clone(), references(&value, &route.1.0));
    let parents = value["spec"]["parentRefs"].as_array().into_iter().flatten();
    let kind = value["kind"].as_str().unwrap_or_default();
    let known = parents.filter_map(|reference| {
        let parent = parent_of(reference, &route.1.0)?;
        let is_admitted = admits(cluster, &parent, kind)?;
        Some((reference, parent, is_admitted))
    });
    let known: Vec<_> = known.collect();
    let resolved = resolved(cluster, &value, &route.1.0);
    report_route(cluster, &route.0, &settings, &object, &known, &resolved)?;
    let accepted = known.into_iter().filter(|(_, _, is_admitted)| *is_admitted);
    let accepted: Vec<_> = accepted.map(|(_, parent, _)| parent).collect();
    gateway.enforce(route.clone(), Some(gateway_api::table(&object, &accepted)), delay);
    Ok(None)
}

/// The objects that a route of Gateway API refers to.
fn references(route: &Value, namespace: &str) -> BTreeSet<(&'static str, Place)> {
    let parents = route["spec"]["parentRefs"].as_array().into_iter().flatten();
    let parents = parents.filter_map(|reference| match parent_of(reference, namespace)? {
        Parent::Gateway(gateway) => Some((GATEWAYS, gateway)),
        Parent::Service(service) => Some((SERVICES, service)),
    });
    let backends = gateway_api::references(route).filter_map(|reference| service(reference, namespace));
    parents.chain(backends.map(|service| (SERVICES, service))).collect()
}

/// Whether a parent admits routes of a kind, which `allowedRoutes.kinds` of its listeners can limit. `None` if it does not exist.
fn admits(cluster: &Cluster, parent: &Parent, kind: &str) -> Option<bool> {
    let gateway = match parent {
        Parent::Service(service) => return cluster.object(SERVICES, service).map(|_| true),
        Parent::Gateway(gateway) => cluster.object(GATEWAYS, gateway)?.json(),
    };
    let mut listeners = gateway["spec"]["listeners"].as_array().into_iter().flatten();
    Some(listeners.any(|listener| {
        let kinds = listener["allowedRoutes"]["kinds"].as_array();
        kinds.is_none_or(|kinds| kinds.is_empty() || kinds.iter().any(|allowed| allowed["kind"] == kind))
    }))
}

/// The condition `ResolvedRefs` of a route: status, reason and message.
fn resolved(cluster: &Cluster, route: &Value, namespace: &str) -> (&'static str, &'static str, String) {
    for reference in gateway_api::references(route) {
        let name = reference["name"].as_str().unwrap_or_default();
        let Some(service) = service(reference, namespace) else {
            let why = format!("backendRef {name} is not a Service of namespace {namespace}");
            return ("False", "RefNotPermitted", why);
        };
        if cluster.object(SERVICES, &service).is_none() {
            return (
                "False",
                "BackendNotFound",
                format!("backend(s) not found: Service {name}"),
            );
        }
    }
    ("True", "ResolvedRefs", "All references resolved".to_owned())
}

/// Writes this controller's part of a route's status.
fn report_route(
    cluster: &Cluster,
    resource: &str,
    settings: &Settings,
    route: &Object,
    parents: &[(&Value, Parent, bool)],
    resolved: &(&str, &str, String),
) -> Result<(), Failure> {
    let mut value = route.value();
    let former = value["status"]["parents"].as_array().cloned().unwrap_or_default();
    let is_ours = |entry: &&Value| entry["controllerName"] == settings.controller.as_str();
    let entry = |(parent, _, is_admitted): &(&Value, Parent, bool)| {
        let known = former
            .iter()
            .find(|entry| is_ours(entry) && entry["parentRef"] == **parent);
        let accepted = if *is_admitted {
            ("Accepted", "True", "Accepted", "Route was valid")
        } else {
            (
                "Accepted",
                "False",
                "NotAllowedByListeners",
                "no listener allows this kind of route",
            )
        };
        let wanted = [accepted, ("ResolvedRefs", resolved.0, resolved.1, resolved.2.as_str())];
        let known = known.map_or(&Value::Null, |entry| &entry["conditions"]);
        let conditions = conditions(cluster, known, route.meta.generation, &wanted);
        json!({"parentRef": parent, "controllerName": settings.controller, "conditions": conditions})
    };
    let others = former.iter().filter(|entry| !is_ours(entry)).cloned();
    let all: Vec<_> = others.chain(parents.iter().map(entry)).collect();
    value["status"] = json!({"parents": all});
    write_status(cluster, resource, route, value)
}

/// Reports that a Gateway is programmed.
pub(super) fn sync_gateway(cluster: &Cluster, gateway: &Gateway, place: &Place) -> Result<Option<Duration>, Failure> {
    if gateway.hangs() {
        return Ok(Some(AGAIN));
    }
    let Some(object) = cluster.object(GATEWAYS, place) else {
        return Ok(None);
    };
    let wanted = [
        ("Accepted", "True", "Accepted", "Resource accepted"),
        ("Programmed", "True", "Programmed", "Resource programmed"),
    ];
    let mut value = object.value();
    let conditions = conditions(cluster, &value["status"]["conditions"], object.meta.generation, &wanted);
    value["status"] = json!({"conditions": conditions});
    write_status(cluster, GATEWAYS, &object, value)?;
    Ok(None)
}

/// Conditions of type, status, reason and message, which keep the time of their last transition.
fn conditions(cluster: &Cluster, former: &Value, generation: i64, wanted: &[(&str, &str, &str, &str)]) -> Vec<Value> {
    let now = cluster.clock().second();
    let condition = |(kind, status, reason, message): &(&str, &str, &str, &str)| {
        let mut former = former.as_array().into_iter().flatten();
        let same = former.find(|known| known["type"] == *kind && known["status"] == *status);
        let since = same
            .and_then(|known| known["lastTransitionTime"].as_str())
            .unwrap_or(&now);
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
               "observedGeneration": generation})
    };
    wanted.iter().map(condition).collect()
}

fn write_status(cluster: &Cluster, resource: &str, object: &Object, value: Value) -> Result<(), Failure> {
    let place = (object.meta.namespace.clone(), object.meta.name.clone());
    cluster.transact(ACTOR, |txn| {
        // Its definition may be gone.
        let Some(resource) = txn.state.registry.named(resource).cloned() else {
            return Ok(());
        };
        txn.update(&resource, &place, Part::Status, value, WriteOptions::default())
            .map(|_| ())
    })
}
