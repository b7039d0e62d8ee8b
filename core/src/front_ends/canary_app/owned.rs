//! The objects of a `CanaryApp` that exist beyond its runs. All but the Deployment are named like it.

use serde_json::{Value, json};

use super::{App, Path};
use crate::{decision::Resource, front_ends::Kept};

impl App<'_> {
    /// `released` is the image that passed last.
    pub(super) fn kept(&self, released: Option<&str>) -> Vec<Kept> {
        let mut kept = vec![Kept {
            // While requests still come through an HTTPRoute, the Service leads to the primary alone.
            changes_last: self.path() != Path::GatewayApi,
            ..self.object(Resource::SERVICE, &self.service())
        }];
        if self.path() == Path::GatewayApi {
            kept.push(Kept {
                of_run: &["/spec/rules"],
                ..self.object(Resource::HTTP_ROUTE, &self.http_route())
            });
        } else {
            kept.push(self.object(Resource::DESTINATION_RULE, &self.destination_rule()));
            if self.path() == Path::Istio {
                kept.push(self.object(Resource::GATEWAY, &self.gateway()));
            }
            kept.push(Kept {
                of_run: &["/spec/http"],
                ..self.object(Resource::VIRTUAL_SERVICE, &self.virtual_service())
            });
        }
        kept.push(Kept {
            resource: Resource::DEPLOYMENT,
            name: self.named("primary"),
            keep: json!({"metadata": {"labels": self.labels("primary")}, "spec": {"replicas": self.spec.replicas}}),
            // The first one is created by the run, which reports how it goes.
            create: released.map(|image| json!({"spec": self.workload(Some(image))})),
            of_run: &[],
            changes_last: false,
        });
        kept
    }

    /// What another spec would keep. The route comes before what it leads to.
    pub(super) fn unwanted(&self) -> Vec<(Resource, String)> {
        let resources: &[_] = match self.path() {
            Path::Istio => &[Resource::HTTP_ROUTE],
            Path::Mesh => &[Resource::HTTP_ROUTE, Resource::GATEWAY],
            Path::GatewayApi => &[Resource::VIRTUAL_SERVICE, Resource::DESTINATION_RULE, Resource::GATEWAY],
        };
        resources
            .iter()
            .map(|resource| (*resource, self.name.to_owned()))
            .collect()
    }

    fn object(&self, resource: Resource, spec: &Value) -> Kept {
        Kept {
            resource,
            name: self.name.to_owned(),
            keep: json!({"metadata": {"labels": self.shared_labels()}, "spec": spec}),
            create: Some(json!({})),
            of_run: &[],
            changes_last: false,
        }
    }

    fn service(&self) -> Value {
        let port = self.spec.image_listen_port;
        let selector = match self.path() {
            Path::Istio | Path::Mesh => self.shared_labels(),
            Path::GatewayApi => self.labels("primary"),
        };
        json!({
            "selector": selector,
            "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
        })
    }

    fn destination_rule(&self) -> Value {
        let subset = |name: &str| json!({"name": name, "labels": {"service": name}});
        json!({"host": self.name, "subsets": [subset("primary"), subset("secondary")]})
    }

    fn gateway(&self) -> Value {
        json!({
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": self.hosts()}],
        })
    }

    fn virtual_service(&self) -> Value {
        let destination = json!({
            "host": self.name, "subset": "primary", "port": {"number": self.spec.image_listen_port},
        });
        // A VirtualService without gateways is in force in the mesh as well, but then it would keep those of a former spec.
        let gateway = if self.path() == Path::Mesh { "mesh" } else { self.name };
        json!({
            "hosts": self.hosts(),
            "gateways": [gateway],
            "http": [{"route": [{"destination": destination, "weight": 100}]}],
        })
    }

    fn hosts(&self) -> Vec<&str> {
        let default = if self.path() == Path::Mesh { self.name } else { "*" };
        match self.spec.hosts.as_slice() {
            [] => vec![default],
            hosts => hosts.iter().map(String::as_str).collect(),
        }
    }

    fn http_route(&self) -> Value {
        let parents = self.spec.parent_refs.iter().map(|parent| {
            // A field that is null has to be absent: another Gateway or listener would be meant.
            json!({
                "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent.name,
                "namespace": parent.namespace, "sectionName": parent.section_name, "port": null,
            })
        });
        let hosts = self.hosts();
        // Without host names, an HTTPRoute has all those of its listeners.
        let names = if hosts.contains(&"*") { Vec::new() } else { hosts };
        json!({
            "parentRefs": parents.collect::<Vec<_>>(),
            "hostnames": names,
            "rules": [{"backendRefs": [{"name": self.name, "port": self.spec.image_listen_port}]}],
        })
    }
}
