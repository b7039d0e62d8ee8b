//! The DaemonSet controller: a pod on each node that the template allows. Taints are left out.
//!
//! It also removes the pods of nodes that are gone, which on a real cluster the pod garbage collector does after about a minute.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus},
        core::v1::{Node, NodeSelectorRequirement, Pod, PodSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde_json::json;

use super::{
    claim::{available_in, claim, controller_of, delete_pod, is_over, ready_since, unless_gone},
    history::{HASH, Keeper, name},
};
use crate::{cluster::Cluster, failure::Failure, object::string_map, selector::LabelSelector, store::Place};

const ACTOR: &str = "system:serviceaccount:kube-system:daemon-set-controller";

const KEEPER: Keeper = Keeper {
    actor: ACTOR,
    label: HASH,
};

type Labels = BTreeMap<String, String>;

/// One reconciliation of a DaemonSet.
struct Sync<'a> {
    cluster: &'a Cluster,
    set: &'a DaemonSet,
    spec: &'a DaemonSetSpec,
    /// Hash of the present template.
    hash: String,
    /// The nodes that should have a pod, with the pods that they have.
    wanted: BTreeMap<String, Vec<Arc<Pod>>>,
    /// Pods on other nodes.
    stray: Vec<Arc<Pod>>,
}

/// Reconciles a DaemonSet and returns when to reconcile it again.
pub(super) fn sync(cluster: &Cluster, place: &Place) -> Result<Option<Duration>, Failure> {
    let Some(set) = cluster.get::<DaemonSet>(&place.0, &place.1) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else { return Ok(None) };
    let pods: Vec<Arc<Pod>> = claim(cluster, ACTOR, &*set, &spec.selector)?;
    let history = KEEPER.history(cluster, &*set, &spec.selector, &spec.template)?;
    let update = history.update.as_ref();
    let hash = update.and_then(|update| update.metadata.labels.as_ref()?.get(HASH).cloned());
    let mut sync = Sync {
        cluster,
        set: &set,
        spec,
        hash: hash.unwrap_or_default(),
        wanted: wanted(cluster, spec),
        stray: Vec::new(),
    };
    sync.sort(pods);
    let managed = if set.metadata.deletion_timestamp.is_none() {
        sync.manage()
    } else {
        Ok(())
    };
    let live = update.map(|update| name(update)).unwrap_or_default();
    KEEPER.clean_up(cluster, &history.all, &[&live], spec.revision_history_limit)?;
    let (status, next) = sync.status();
    if set.status.as_ref() != Some(&status) {
        let mut written = Arc::unwrap_or_clone(set.clone());
        written.status = Some(status);
        unless_gone(cluster.update_status(ACTOR, written))?;
    }
    managed.map(|()| next)
}

/// The nodes that the template allows.
fn wanted(cluster: &Cluster, spec: &DaemonSetSpec) -> BTreeMap<String, Vec<Arc<Pod>>> {
    let pod = spec.template.spec.clone().unwrap_or_default();
    let nodes = cluster.list::<Node>(None);
    let allowed = nodes.iter().filter(|node| allows(&pod, node));
    let name = |node: &Arc<Node>| Some((node.metadata.name.clone()?, Vec::new()));
    allowed.filter_map(name).collect()
}

fn allows(pod: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let name = node.metadata.name.clone().unwrap_or_default();
    let selector = pod.node_selector.clone().unwrap_or_default();
    let is_named = pod.node_name.as_ref().is_none_or(|named| *named == name);
    let is_selected = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let rules = pod
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required = rules.and_then(|rules| rules.required_during_scheduling_ignored_during_execution.as_ref());
    let fields: Labels = [("metadata.name".to_owned(), name)].into();
    let is_required = required.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| {
            let (of_labels, of_fields) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
            (of_labels, of_fields) != (None, None)
                && holds(of_labels.unwrap_or_default(), &labels)
                && holds(of_fields.unwrap_or_default(), &fields)
        })
    });
    is_named && is_selected && is_required
}

/// Whether labels meet all requirements, whose format is that of a label selector.
fn holds(requirements: &[NodeSelectorRequirement], labels: &Labels) -> bool {
    let selector = LabelSelector::from_object(&json!({"matchExpressions": requirements}));
    selector.is_ok_and(|selector| selector.matches(&string_map(&json!(labels))))
}

impl Sync<'_> {
    fn sort(&mut self, pods: Vec<Arc<Pod>>) {
        for pod in pods {
            let node = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.node_name.clone())
                .unwrap_or_default();
            match self.wanted.get_mut(&node) {
                Some(pods) => pods.push(pod),
                None => self.stray.push(pod),
            }
        }
    }

    fn is_available(&self, pod: &Pod) -> bool {
        available_in(self.cluster, pod, self.spec.min_ready_seconds).is_some_and(|wait| wait.is_zero())
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        let labels = pod.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(HASH)) == Some(&self.hash)
    }

    /// Creates missing pods, deletes those that are over or on other nodes, and replaces some of a former template.
    fn manage(&self) -> Result<(), Failure> {
        for pod in self
            .stray
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        {
            delete_pod(self.cluster, ACTOR, pod)?;
        }
        for (node, pods) in &self.wanted {
            match pods.as_slice() {
                [] => drop(self.cluster.create(ACTOR, &self.draft(node))?),
                [pod, ..] if is_over(pod) => delete_pod(self.cluster, ACTOR, pod)?,
                _ => {}
            }
        }
        self.roll()
    }

    /// How many nodes may have no available pod during a rollout, or `None` if the user replaces the pods.
    fn max_unavailable(&self) -> Option<usize> {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let most = match rolling.and_then(|rolling| rolling.max_unavailable.clone()) {
            Some(IntOrString::Int(most)) => usize::try_from(most).unwrap_or_default(),
            Some(IntOrString::String(percent)) => {
                let percent: usize = percent.trim_end_matches('%').parse().unwrap_or_default();
                (self.wanted.len() * percent).div_ceil(100)
            }
            None => 1,
        };
        Some(most.max(1))
    }

    /// Pods of a former template that are not available go at once, and others as long as enough nodes have an available one.
    fn roll(&self) -> Result<(), Failure> {
        let Some(most) = self.max_unavailable() else {
            return Ok(());
        };
        let has_none = |pods: &Vec<Arc<Pod>>| !pods.iter().any(|pod| self.is_available(pod));
        let mut left = most.saturating_sub(self.wanted.values().filter(|pods| has_none(pods)).count());
        let old = self.wanted.values().flatten();
        for pod in old.filter(|pod| pod.metadata.deletion_timestamp.is_none() && !self.is_updated(pod)) {
            if self.is_available(pod) {
                if left == 0 {
                    continue;
                }
                left -= 1;
            }
            delete_pod(self.cluster, ACTOR, pod)?;
        }
        Ok(())
    }

    fn draft(&self, node: &str) -> Pod {
        let template = self.spec.template.clone();
        let meta = template.metadata.unwrap_or_default();
        let mut labels = meta.labels.unwrap_or_default();
        labels.insert(HASH.to_owned(), self.hash.clone());
        let generation = self.set.metadata.generation.unwrap_or(1);
        labels.insert("pod-template-generation".to_owned(), generation.to_string());
        let mut spec = template.spec.unwrap_or_default();
        spec.node_name = Some(node.to_owned());
        let name = self.set.metadata.name.as_deref().unwrap_or_default();
        Pod {
            metadata: ObjectMeta {
                generate_name: Some(format!("{name}-")),
                namespace: self.set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: meta.annotations,
                finalizers: meta.finalizers,
                owner_references: Some(vec![controller_of(self.set)]),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
            status: None,
        }
    }

    /// The status, and the time until it changes without an event.
    fn status(&self) -> (DaemonSetStatus, Option<Duration>) {
        let count = |is: &dyn Fn(&Pod) -> bool| {
            let nodes = self.wanted.values().filter(|pods| pods.iter().any(|pod| is(pod)));
            i32::try_from(nodes.count()).unwrap_or(i32::MAX)
        };
        let some = |number: i32| Some(number).filter(|number| *number != 0);
        let desired = i32::try_from(self.wanted.len()).unwrap_or(i32::MAX);
        let available = count(&|pod| self.is_available(pod));
        let status = DaemonSetStatus {
            desired_number_scheduled: desired,
            current_number_scheduled: count(&|_| true),
            number_misscheduled: i32::try_from(self.stray.len()).unwrap_or(i32::MAX),
            number_ready: count(&|pod| ready_since(pod).is_some()),
            number_available: some(available),
            number_unavailable: some(desired - available),
            updated_number_scheduled: some(count(&|pod| self.is_updated(pod))),
            observed_generation: self.set.metadata.generation,
            collision_count: None,
            conditions: None,
        };
        let waits = self.wanted.values().flatten();
        let waits = waits.filter_map(|pod| available_in(self.cluster, pod, self.spec.min_ready_seconds));
        (status, waits.filter(|wait| !wait.is_zero()).min())
    }
}
