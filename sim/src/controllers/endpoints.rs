//! The `EndpointSlice` controller: the pods behind a Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    claim::{controller_of, ready_since, unless_gone},
    index::ByLabel,
};
use crate::{cluster::Cluster, failure::Failure, store::Place, write::DeleteOptions};

const ACTOR: &str = "system:serviceaccount:kube-system:endpointslice-controller";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Maximum number of endpoints in a slice.
const LARGEST: usize = 100;

/// A slice without its metadata.
type Content = (Vec<EndpointPort>, Vec<Endpoint>);

/// Reconciles a Service.
pub(super) fn sync(cluster: &Cluster, pods: &ByLabel, place: &Place) -> Result<(), Failure> {
    let Some(service) = cluster.get::<Service>(&place.0, &place.1) else {
        return Ok(());
    };
    let Some(spec) = &service.spec else { return Ok(()) };
    let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else {
        return Ok(());
    };
    if service.metadata.deletion_timestamp.is_some() || spec.type_.as_deref() == Some("ExternalName") {
        return Ok(());
    }
    let names = pods.having(&place.0, selector);
    let pods = names.iter().filter_map(|name| cluster.get::<Pod>(&place.0, name));
    let wanted = contents(spec, &pods.collect::<Vec<_>>());
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let mut present: Vec<Arc<EndpointSlice>> = cluster.owned(uid);
    present.retain(|slice| {
        slice
            .metadata
            .labels
            .iter()
            .flatten()
            .any(|label| label == (&MANAGED_BY.into(), &MANAGER.into()))
    });
    let labels = labels(&service);
    for (content, known) in pair(wanted, present) {
        write(cluster, &service, &labels, content, known.as_deref())?;
    }
    Ok(())
}

/// The desired slices. They are grouped by ports, because pods may use different numbers for a named port.
fn contents(spec: &ServiceSpec, pods: &[Arc<Pod>]) -> Vec<Content> {
    let mut groups: BTreeMap<String, Content> = BTreeMap::new();
    for pod in pods {
        let Some(endpoint) = endpoint(spec, pod) else { continue };
        let ports: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| resolved(port, pod))
            .collect();
        let key = serde_json::to_string(&ports).unwrap_or_default();
        groups.entry(key).or_insert((ports, Vec::new())).1.push(endpoint);
    }
    let chunks = |(ports, endpoints): Content| {
        let chunks = endpoints.chunks(LARGEST).map(<[Endpoint]>::to_vec);
        chunks.map(move |chunk| (ports.clone(), chunk)).collect::<Vec<_>>()
    };
    let contents: Vec<_> = groups.into_values().flat_map(chunks).collect();
    // A Service always has a slice, so that readers see that it has no endpoints.
    if contents.is_empty() {
        vec![Content::default()]
    } else {
        contents
    }
}

fn endpoint(spec: &ServiceSpec, pod: &Pod) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return None;
    }
    let address = status.pod_ip.clone()?;
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = ready_since(pod).is_some();
    let anyway = spec.publish_not_ready_addresses == Some(true);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(anyway || serving && !terminating),
            serving: Some(anyway || serving),
            terminating: Some(terminating),
        }),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// A Service's port resolved for a pod, or `None` if the pod has no port of that name.
fn resolved(port: &ServicePort, pod: &Pod) -> Option<EndpointPort> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let named = ports.find(|known| {
                known.name.as_ref() == Some(name) && known.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            named?.container_port
        }
    };
    Some(EndpointPort {
        // A Service's only port may be unnamed, which a slice represents as an empty name.
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(number),
        protocol: Some(protocol.to_owned()),
        app_protocol: port.app_protocol.clone(),
    })
}

/// Pairs each desired slice with an existing one, preferably one with the same ports.
fn pair(wanted: Vec<Content>, present: Vec<Arc<EndpointSlice>>) -> Vec<(Option<Content>, Option<Arc<EndpointSlice>>)> {
    let mut present = present;
    let mut pairs = Vec::new();
    let mut rest = Vec::new();
    for content in wanted {
        let same = present
            .iter()
            .position(|slice| slice.ports.as_deref().unwrap_or_default() == content.0);
        match same {
            Some(index) => pairs.push((Some(content), Some(present.remove(index)))),
            None => rest.push(content),
        }
    }
    let mut left = present.into_iter();
    for content in rest {
        pairs.push((Some(content), left.next()));
    }
    pairs.extend(left.map(|slice| (None, Some(slice))));
    pairs
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let reserved = BTreeSet::from([SERVICE_NAME, MANAGED_BY, HEADLESS]);
    let own = service.metadata.labels.clone().unwrap_or_default();
    let mut labels: BTreeMap<_, _> = own
        .into_iter()
        .filter(|(name, _)| !reserved.contains(name.as_str()))
        .collect();
    labels.insert(
        SERVICE_NAME.to_owned(),
        service.metadata.name.clone().unwrap_or_default(),
    );
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    if address == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn write(
    cluster: &Cluster,
    service: &Service,
    labels: &BTreeMap<String, String>,
    content: Option<Content>,
    known: Option<&EndpointSlice>,
) -> Result<(), Failure> {
    let meta = &service.metadata;
    match (content, known) {
        (None, None) => Ok(()),
        (None, Some(slice)) => {
            let place = (
                meta.namespace.clone().unwrap_or_default(),
                slice.metadata.name.clone().unwrap_or_default(),
            );
            let deleted = cluster.delete(
                ACTOR,
                "endpointslices.discovery.k8s.io",
                &place,
                &DeleteOptions::default(),
            );
            unless_gone(deleted).map(|_| ())
        }
        (Some((ports, endpoints)), Some(slice)) => {
            let is_same = slice.metadata.labels.as_ref() == Some(labels)
                && slice.ports.as_ref() == Some(&ports)
                && slice.endpoints.as_ref() == Some(&endpoints);
            if is_same {
                return Ok(());
            }
            let mut written = slice.clone();
            written.metadata.labels = Some(labels.clone());
            written.ports = Some(ports);
            written.endpoints = Some(endpoints);
            unless_gone(cluster.update(ACTOR, written)).map(|_| ())
        }
        (Some((ports, endpoints)), None) => {
            let name = meta.name.as_deref().unwrap_or_default();
            let slice = EndpointSlice {
                address_type: "IPv4".to_owned(),
                metadata: ObjectMeta {
                    generate_name: Some(format!("{name}-")),
                    namespace: meta.namespace.clone(),
                    labels: Some(labels.clone()),
                    owner_references: Some(vec![controller_of(service)]),
                    ..ObjectMeta::default()
                },
                ports: Some(ports),
                endpoints: Some(endpoints),
            };
            cluster.create(ACTOR, &slice).map(|_| ())
        }
    }
}
