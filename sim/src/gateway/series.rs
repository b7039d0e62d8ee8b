//! Series of a Prometheus about the requests of all loads.

use std::collections::BTreeMap;

use super::{
    Gateway,
    counts::Fact,
    request::{Lost, Reached},
};
use crate::prometheus::{Labels, Prometheus};

/// Requests as the pods count them, copies included.
const OF_PODS: &str = "http_requests_total";

/// Requests as a proxy of Istio counts them, with the labels that name the version.
const OF_PROXIES: &str = "istio_requests_total";

impl Gateway {
    /// Lets a Prometheus answer with the requests of all loads:
    /// - `http_requests_total{namespace, service, pod, version, code}`: requests that reached a pod, copies included;
    /// - `istio_requests_total{destination_service_namespace, destination_service_name, destination_version,
    ///   response_code}`: the same without copies, and with the requests that no pod answered, for which only the code is
    ///   known.
    pub fn measure(&self, prometheus: &Prometheus) {
        let gateway = self.clone();
        prometheus.script(OF_PODS, move |_, at| summed(gateway.facts(at), of_pods));
        let gateway = self.clone();
        prometheus.script(OF_PROXIES, move |_, at| summed(gateway.facts(at), of_proxies));
    }
}

fn summed(facts: Vec<(Fact, u32)>, labels: fn(&Fact) -> Option<Labels>) -> Vec<(Labels, f64)> {
    let mut sums: BTreeMap<Labels, u32> = BTreeMap::new();
    for (fact, count) in facts {
        if let Some(labels) = labels(&fact) {
            *sums.entry(labels).or_default() += count;
        }
    }
    sums.into_iter().map(|(labels, sum)| (labels, f64::from(sum))).collect()
}

fn labels<const N: usize>(of: [(&str, String); N]) -> Labels {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn of_pods(fact: &Fact) -> Option<Labels> {
    let (reached, code) = match fact {
        Fact::Answered(reached, code) => (reached, *code),
        Fact::Mirrored(reached) => (reached, 200),
        Fact::Lost(_) | Fact::Moved => return None,
    };
    let Reached { service, pod, version } = reached.clone();
    Some(labels([
        ("namespace", service.0),
        ("service", service.1),
        ("pod", pod),
        ("version", version),
        ("code", code.to_string()),
    ]))
}

fn of_proxies(fact: &Fact) -> Option<Labels> {
    match fact {
        Fact::Answered(reached, code) => Some(labels([
            ("destination_service_namespace", reached.service.0.clone()),
            ("destination_service_name", reached.service.1.clone()),
            ("destination_version", reached.version.clone()),
            ("response_code", code.to_string()),
        ])),
        Fact::Lost(lost) => Some(labels([("response_code", Lost::code(*lost).to_string())])),
        Fact::Mirrored(_) | Fact::Moved => None,
    }
}
