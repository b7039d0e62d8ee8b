//! Services and the pods behind them.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kanary_sim::{cluster::Event, object::string_map};

use super::{Evidence, Labels, canaries::kanary_of, spans::Timeline};

/// Label of an `EndpointSlice` with the name of its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service.
#[derive(Default)]
pub(super) struct Service {
    /// UID of the Kanary that created it.
    pub(super) owner: Option<String>,
    /// Its selector. An empty selector matches no pod.
    pub(super) selector: Timeline<Labels>,
}

/// An `EndpointSlice`: its Service, and its ready endpoints that are canary pods, by UID.
#[derive(Default)]
pub(super) struct Slice {
    service: String,
    ready: BTreeSet<String>,
}

impl Evidence {
    pub(super) fn look_at_service(&mut self, event: &Event) {
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        let service = self.services.entry(object.meta.name.clone()).or_default();
        service.owner = kanary_of(object).map(str::to_owned);
        let there = event
            .change
            .new
            .as_ref()
            .map(|new| string_map(&new.json()["spec"]["selector"]));
        service.selector.push(event.at, there.unwrap_or_default());
    }

    pub(super) fn look_at_slice(&mut self, event: &Event) {
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        let name = &object.meta.name;
        let service = object.meta.labels.get(SERVICE_NAME).cloned().unwrap_or_default();
        let ready = if event.change.new.is_some() {
            self.ready(object)
        } else {
            BTreeSet::new()
        };
        let slice = self.slices.entry(name.clone()).or_default();
        let former = std::mem::replace(&mut slice.ready, ready.clone());
        slice.service.clone_from(&service);
        for uid in former.symmetric_difference(&ready) {
            let of_service = self.slices.values().filter(|slice| slice.service == service);
            let is_behind = of_service.into_iter().any(|slice| slice.ready.contains(uid));
            if let Some(pod) = self.pods.get_mut(uid) {
                pod.behind.entry(service.clone()).or_default().set(event.at, is_behind);
            }
        }
    }

    /// The canary pods that are ready endpoints of a slice.
    fn ready(&self, object: &kanary_sim::object::Object) -> BTreeSet<String> {
        let Some(slice) = object.typed::<EndpointSlice>() else {
            return BTreeSet::new();
        };
        let endpoints = slice.endpoints.iter().flatten();
        let is_ready =
            |conditions: &k8s_openapi::api::discovery::v1::EndpointConditions| conditions.ready == Some(true);
        let ready = endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(is_ready));
        let uids = ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_ref());
        uids.filter(|uid| self.pods.contains_key(*uid)).cloned().collect()
    }
}

/// Whether a selector matches these labels.
pub(in crate::checker) fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}
