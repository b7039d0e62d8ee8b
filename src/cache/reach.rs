//! Which Services select which pods, and which pods belong to which Kanaries.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use kanary_core::{
    Key, ParsedKanary,
    api::{WorkloadRef, names::RUN},
    labels::Labels,
    observation::{Pod, Service},
    spec::Spec,
};

use super::{Contents, view::PodRow};

/// Digest of a label in a namespace, as the key of an index. Others may have the same digest.
pub(super) fn digest(namespace: &str, name: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, name, value).hash(&mut hasher);
    hasher.finish()
}

impl Contents {
    /// Services of a namespace that Kanary did not create and that select pods with any of these label sets, by name and without
    /// ports.
    pub(super) fn services_for<'a>(&self, namespace: &str, pods: impl Iterator<Item = &'a Labels>) -> Vec<Service> {
        let mut sets: Vec<_> = pods.collect();
        sets.dedup();
        let labels: BTreeSet<_> = sets.iter().flat_map(|labels| labels.iter()).collect();
        let mut found = BTreeMap::new();
        for (label, value) in labels {
            let selected = digest(namespace, label, value);
            for name in self.production.of(&selected) {
                let service = self.services.get(&(namespace.to_owned(), name.clone()));
                let service = service.map(|row| row.service(false));
                found.extend(
                    service
                        .filter(|service| sets.iter().any(|labels| service.selects(labels)))
                        .map(|service| (name, service)),
                );
            }
        }
        found.into_values().collect()
    }

    /// Kanaries with a canary pod that has this label.
    pub(super) fn canaries_with(&self, namespace: &str, label: &str, value: &str) -> Vec<Key> {
        let pods = self.labelled.of(&digest(namespace, label, value));
        let kanaries = pods.filter_map(|name| {
            let row = self.pods.get(&(namespace.to_owned(), (**name).to_owned()))?;
            let (kind, kanary) = row.kanary.as_ref().filter(|_| row.has_label(label, value))?;
            Some(Key::at(*kind, (namespace.to_owned(), kanary.clone())))
        });
        let kanaries: BTreeSet<_> = kanaries.filter(|key| self.kanaries.contains(key)).collect();
        kanaries.into_iter().collect()
    }

    /// The pods of the current run of a canary, and other pods with the labels of its Kanary.
    pub(super) fn pods(&self, kanary: &ParsedKanary, spec: &Spec) -> (Vec<Pod>, Vec<Pod>) {
        let namespace = &kanary.key.namespace;
        let run = kanary.run(spec);
        let of_workload = self
            .workloads
            .of(spec.canary.kind)
            .pods
            .of(&(namespace.clone(), spec.canary.name.clone()));
        let of_kanary = self.pods_by.of(&kanary.key);
        let names: BTreeSet<_> = of_workload.chain(of_kanary).collect();
        let rows = names
            .into_iter()
            .filter_map(|name| self.pods.get(&(namespace.clone(), name.clone())));
        let of_run = |row: &&PodRow| row.workload.as_ref() == Some(&spec.canary) && row.has_label(RUN, &run);
        let (pods, others): (Vec<_>, Vec<_>) = rows.partition(of_run);
        let trimmed = |rows: Vec<&PodRow>| rows.into_iter().map(PodRow::pod).collect();
        (trimmed(pods), trimmed(others))
    }

    /// The Kanary whose canary is the target of another Kanary.
    pub(super) fn canary_of(&self, kanary: &ParsedKanary, target: &WorkloadRef) -> Option<String> {
        let place = (kanary.key.namespace.clone(), target.name.clone());
        let mut named = self.workloads.of(target.kind).named.of(&place);
        let is_canary = |key: &&Key| {
            let other = self.kanary(key).filter(|other| other.key != kanary.key);
            other.is_some_and(|other| other.spec.canary == *target)
        };
        named.find(is_canary).map(|key| format!("{}/{}", key.kind, key.name))
    }
}
