//! What the cache stores of each object.

use std::{mem::take, sync::Arc};

use kanary_core::{
    ParsedKanary,
    api::{KanaryKind, WorkloadRef, names},
    labels::{Labels, Packed},
    observation::{Cause, Outage, Owned, Pod, Service, Workload},
};

use crate::cache::table::View;

/// A Kanary. Two of one uid and version are equal.
#[derive(Clone, Debug)]
pub(crate) struct KanaryRow(pub(in crate::cache) Arc<ParsedKanary>);

impl PartialEq for KanaryRow {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.uid, &self.0.resource_version) == (&other.0.uid, &other.0.resource_version)
    }
}

impl View for KanaryRow {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        None
    }
}

/// A Service and its owners.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceRow {
    /// The Service without its selector.
    pub(in crate::cache) service: Service,
    /// Its selector.
    pub(in crate::cache) selector: Packed,
    /// Its owners.
    pub(in crate::cache) owned: Owned,
    /// It was created for a canary.
    pub(in crate::cache) is_kanary: bool,
}

impl ServiceRow {
    /// The part that decisions use, with or without ports.
    pub(in crate::cache) fn service(&self, with_ports: bool) -> Service {
        let Service {
            name, external, ports, ..
        } = &self.service;
        Service {
            name: name.clone(),
            selector: self.selector.unpack(),
            external: *external,
            deleting: self.owned.deleting,
            owner_name: self.owned.owner_name.clone(),
            ports: if with_ports { ports.clone() } else { Vec::new() },
        }
    }
}

/// A target or a canary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkloadRow {
    /// The workload without labels and annotations.
    pub(in crate::cache) rest: Workload,
    labels: Packed,
    annotations: Packed,
    pod_labels: Packed,
}

impl From<Workload> for WorkloadRow {
    fn from(mut workload: Workload) -> Self {
        let mut packed = |labels: fn(&mut Workload) -> &mut Labels| Packed::from(&take(labels(&mut workload)));
        Self {
            labels: packed(|workload| &mut workload.labels),
            annotations: packed(|workload| &mut workload.annotations),
            pod_labels: packed(|workload| &mut workload.pod_labels),
            rest: workload,
        }
    }
}

impl WorkloadRow {
    /// The whole workload.
    pub(crate) fn workload(&self) -> Workload {
        Workload {
            labels: self.labels.unpack(),
            annotations: self.annotations.unpack(),
            pod_labels: self.pod_labels.unpack(),
            ..self.rest.clone()
        }
    }
}

/// A canary pod and its workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodRow {
    /// The pod without its labels.
    pub(in crate::cache) rest: Pod,
    /// Its labels.
    pub(in crate::cache) labels: Packed,
    /// The target or canary that it belongs to; `None` if that has released the pod.
    pub(in crate::cache) workload: Option<WorkloadRef>,
    /// Kind and name of the Kanary in its labels.
    pub(in crate::cache) kanary: Option<(KanaryKind, String)>,
    /// Digest of the images in its spec, which can be changed in place.
    pub(in crate::cache) images: u64,
}

impl PodRow {
    /// The whole pod.
    pub(crate) fn pod(&self) -> Pod {
        Pod {
            labels: self.labels.unpack(),
            ..self.rest.clone()
        }
    }

    /// Takes over what only an observer of the pod's earlier version can know.
    pub(crate) fn follow(&mut self, former: &Self) {
        if self.rest.uid == former.rest.uid {
            self.inherit(former);
        }
    }

    /// Whether a label has this value.
    pub(in crate::cache) fn has_label(&self, name: &str, value: &str) -> bool {
        self.labels.get(name) == Some(value)
    }
}

impl View for WorkloadRow {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.rest.deleting)
    }

    fn inherit(&mut self, former: &Self) {
        let (now, former) = (&mut self.rest, &former.rest);
        now.outage = match (former.available_since, now.available_since) {
            (Some(before), None) => now.unavailable_since.map(|from| Outage { from, before }),
            // There was more than one outage in between, and the first was not observed.
            (Some(before), Some(since)) if before != since => None,
            _ => former.outage,
        };
        keep_text(&mut now.cause, former.cause.as_deref());
    }
}

/// The message for one cause differs between attempts. The first is kept, so that the others do not trigger reconciles.
fn keep_text(cause: &mut Option<Box<Cause>>, former: Option<&Cause>) {
    if let (Some(cause), Some(former)) = (cause, former)
        && cause.reason == former.reason
    {
        cause.message.clone_from(&former.message);
    }
}

impl View for ServiceRow {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.owned.deleting)
    }
}

impl View for Owned {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.deleting)
    }
}

impl View for PodRow {
    fn deleting_mut(&mut self) -> Option<&mut bool> {
        None
    }

    fn inherit(&mut self, former: &Self) {
        let run = former
            .rest
            .former_run
            .as_deref()
            .or_else(|| former.labels.get(names::RUN));
        self.rest.former_run = run.filter(|run| !self.has_label(names::RUN, run)).map(str::to_owned);
        self.rest.edited = former.rest.edited || self.images != former.images;
        keep_text(&mut self.rest.cause, former.rest.cause.as_deref());
    }
}
