//! Status of a DaemonSet: whether it is available and rolled out, and the nodes of a canary. It has no times.

use std::{borrow::Cow, time::Duration};

use k8s_openapi::api::{
    apps::v1::{DaemonSet as KubeDaemonSet, DaemonSetStatus},
    core::v1::{NodeSelectorTerm, PodTemplateSpec},
};
use kanary_core::{
    api::names::NODES,
    nodes::Recorded,
    observation::{DaemonView, Versions, Workload},
    workload::host_ports,
};

use super::{annotation, common, is_kanary};

/// Trims a DaemonSet.
#[must_use]
pub(in crate::cache) fn daemon_set(object: &KubeDaemonSet) -> Workload {
    let status = object.status.as_ref();
    let is_canary = is_kanary(object.metadata.labels.as_ref());
    let mut view = DaemonView {
        nodes: status.map_or(0, |status| status.desired_number_scheduled),
        observed: observed(object).is_some(),
        on_delete: is_on_delete(object),
        min_ready: Duration::from_secs(
            object
                .spec
                .as_ref()
                .and_then(|spec| u64::try_from(spec.min_ready_seconds?).ok())
                .unwrap_or_default(),
        ),
        ..DaemonView::default()
    };
    let generation = object.metadata.generation.unwrap_or_default();
    let recorded = annotation(&object.metadata, NODES).and_then(|text| Recorded::parse(&text));
    let chosen_at = recorded.as_ref().map_or(0, |recorded| recorded.generation);
    if is_canary {
        view.chosen = chosen(object);
        view.chosen_of = recorded.as_ref().map_or(0, |recorded| recorded.of);
        view.moved = recorded.is_none_or(|recorded| recorded.differs(&view.chosen));
        view.whole = is_whole(object, view.chosen.len());
    } else {
        view.host_ports = ports(object).into();
    }
    let number = i32::try_from(view.chosen.len()).unwrap_or(i32::MAX);
    Workload {
        replicas: if is_canary { number } else { view.nodes },
        rolled_out: rolled_out(object),
        // Nothing counts templates. A change of the nodes, which is ours, says which generation it makes.
        versions: if is_canary && generation == chosen_at.max(1) {
            Versions::Untouched
        } else {
            Versions::Unknown
        },
        daemon: Some(Box::new(view)),
        ..common(object)
    }
}

fn ports(object: &KubeDaemonSet) -> Vec<kanary_core::observation::HostPort> {
    let pod = object.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let pod = pod.and_then(|pod| serde_json::to_value(pod).ok());
    pod.map(|pod| host_ports(&pod)).unwrap_or_default()
}

fn is_on_delete(object: &KubeDaemonSet) -> bool {
    let strategy = object.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
}

/// The status, if it is about the newest spec.
fn observed(object: &KubeDaemonSet) -> Option<&DaemonSetStatus> {
    let status = object.status.as_ref()?;
    let is_newest = status.observed_generation.unwrap_or_default() >= object.metadata.generation.unwrap_or_default();
    is_newest.then_some(status)
}

/// As in `kubectl rollout status`, whatever the update strategy: the pods of all nodes run the current template and are available.
fn rolled_out(object: &KubeDaemonSet) -> bool {
    observed(object).is_some_and(|status| {
        let wanted = Some(status.desired_number_scheduled);
        let is_wanted = |count: Option<i32>| Some(count.unwrap_or_default()) == wanted;
        is_wanted(status.updated_number_scheduled) && is_wanted(status.number_available)
    })
}

/// Whether it has an available pod on each of its nodes. Pods on nodes that stay have an older template, which differs in the nodes only.
fn is_whole(object: &KubeDaemonSet, nodes: usize) -> bool {
    observed(object).is_some_and(|status| {
        let wanted = status.desired_number_scheduled;
        usize::try_from(wanted) == Ok(nodes) && nodes > 0 && status.number_available.unwrap_or_default() == wanted
    })
}

fn terms(template: &PodTemplateSpec) -> &[NodeSelectorTerm] {
    let affinity = template.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let of_nodes = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let required = of_nodes.and_then(|rules| rules.required_during_scheduling_ignored_during_execution.as_ref());
    required.map_or(&[], |required| required.node_selector_terms.as_slice())
}

/// The name that the last requirement of a term asks for, which Kanary adds.
fn name_in(term: &NodeSelectorTerm) -> Option<&str> {
    let last = term.match_fields.as_ref()?.last()?;
    let names = last.values.as_deref().unwrap_or_default();
    let is_ours = last.key == "metadata.name" && last.operator == "In";
    match names {
        [name] if is_ours => Some(name),
        _ => None,
    }
}

/// The nodes of a canary, in order.
fn chosen(object: &KubeDaemonSet) -> Box<[Box<str>]> {
    let template = object.spec.as_ref().map(|spec| &spec.template);
    let mut nodes: Vec<Box<str>> = template
        .map_or(&[][..], terms)
        .iter()
        .filter_map(name_in)
        .map(Into::into)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into()
}

/// The pod template, for a canary without the nodes that Kanary chose.
pub(in crate::cache) fn without_nodes(object: &KubeDaemonSet) -> Option<Cow<'_, PodTemplateSpec>> {
    let template = &object.spec.as_ref()?.template;
    if !is_kanary(object.metadata.labels.as_ref()) || !terms(template).iter().any(|term| name_in(term).is_some()) {
        return Some(Cow::Borrowed(template));
    }
    let mut former: Vec<NodeSelectorTerm> = Vec::new();
    for term in terms(template) {
        let mut term = term.clone();
        if name_in(&term).is_some()
            && let Some(fields) = &mut term.match_fields
        {
            fields.pop();
        }
        term.match_fields = term.match_fields.filter(|fields| !fields.is_empty());
        if term != NodeSelectorTerm::default() && !former.contains(&term) {
            former.push(term);
        }
    }
    let mut template = template.clone();
    let of_nodes = template
        .spec
        .as_mut()
        .and_then(|spec| spec.affinity.as_mut()?.node_affinity.as_mut());
    if let Some(of_nodes) = of_nodes
        && let Some(required) = &mut of_nodes.required_during_scheduling_ignored_during_execution
    {
        required.node_selector_terms = former;
    }
    Some(Cow::Owned(template))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use kanary_core::nodes::Choice;

    use super::*;
    use crate::cache::template_hash;

    fn set(spec: &Value, status: &Value) -> KubeDaemonSet {
        let mut object = json!({
            "metadata": {"name": "agent", "generation": 2},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "x"}]}}},
            "status": {"observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberReady": 3,
                       "numberAvailable": 3, "updatedNumberScheduled": 3, "numberMisscheduled": 0},
        });
        for (part, changes) in [("spec", spec), ("status", status)] {
            for (name, value) in changes.as_object().unwrap() {
                object[part][name] = value.clone();
            }
        }
        serde_json::from_value(object).unwrap()
    }

    fn canary(nodes: &[&str], chosen: &str, affinity: Option<&Value>, status: &Value) -> KubeDaemonSet {
        let names: Vec<_> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let affinity = kanary_core::nodes::pinned(affinity, &names);
        let template = json!({"spec": {"containers": [{"name": "x"}], "affinity": affinity}});
        let mut set = set(&json!({"template": template}), status);
        let label = (kanary_core::api::names::IS_KANARY.to_owned(), "true".to_owned());
        set.metadata.labels = Some([label].into());
        set.metadata.annotations = Some([(NODES.to_owned(), chosen.to_owned())].into());
        set
    }

    #[test]
    fn it_has_rolled_out_when_all_its_pods_are_updated_and_available() {
        assert!(rolled_out(&set(&json!({}), &json!({}))));
        for status in [
            json!({"updatedNumberScheduled": 2}),
            json!({"numberAvailable": 2}),
            json!({"desiredNumberScheduled": 4}),
            json!({"observedGeneration": 1}),
        ] {
            assert!(!rolled_out(&set(&json!({}), &status)), "{status}");
        }
    }

    #[test]
    fn a_canary_is_whole_with_a_pod_on_each_of_its_nodes() {
        let whole =
            |nodes: &[&str], status: &Value| daemon_set(&canary(nodes, "2/5", None, status)).daemon.unwrap().whole;
        assert!(whole(&["a", "b", "c"], &json!({})));
        assert!(whole(&["a", "b", "c"], &json!({"updatedNumberScheduled": 1})));
        assert!(!whole(&["a", "b"], &json!({})));
        assert!(!whole(&["a", "b", "c"], &json!({"observedGeneration": 1})));
        assert!(!whole(&["a", "b", "c"], &json!({"numberAvailable": 2})));
        assert!(!whole(&[], &json!({"desiredNumberScheduled": 0, "numberAvailable": 0})));
    }

    #[test]
    fn a_change_of_its_nodes_is_no_change_of_a_canary() {
        let zone = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
            {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["c"]}]},
        ]}}});
        for affinity in [None, Some(&zone)] {
            let of = |nodes: &[&str]| canary(nodes, "2/5", affinity, &json!({}));
            let (two, other) = (of(&["b", "a"]), of(&["d"]));
            assert_eq!(template_hash(&two), template_hash(&other), "{affinity:?}");
            let view = daemon_set(&two);
            assert_eq!(view.versions, Versions::Untouched);
            let view = view.daemon.unwrap();
            assert_eq!((&*view.chosen, view.chosen_of), (&["a".into(), "b".into()][..], 5));
            assert_eq!(
                without_nodes(&two).is_some_and(|template| terms(&template).len() == 2),
                affinity.is_some()
            );
        }
        assert_ne!(
            template_hash(&canary(&["a"], "2/5", None, &json!({}))),
            template_hash(&canary(&["a"], "2/5", Some(&zone), &json!({})))
        );
        let touched = daemon_set(&canary(&["a"], "1/5", None, &json!({})));
        assert_eq!(touched.versions, Versions::Unknown, "somebody made another generation");
    }

    #[test]
    fn nodes_that_are_not_those_of_the_annotation_are_somebody_elses() {
        let names = |nodes: &[&str]| nodes.iter().map(|node| (*node).to_owned()).collect();
        let choice = |nodes: &[&str]| Choice {
            nodes: names(nodes),
            of: 5,
        };
        let is_moved = |nodes: &[&str], annotation: &str| {
            let canary = canary(nodes, annotation, None, &json!({}));
            daemon_set(&canary).daemon.unwrap().moved
        };
        let ours = choice(&["a", "b"]).annotation(2);
        assert!(!is_moved(&["b", "a"], &ours));
        assert!(!is_moved(&["a", "b"], "2/5"), "an earlier version chose them");
        assert!(!is_moved(&["a", "c"], &choice(&["a", "c"]).annotation(3)));
        for other in [&["a"][..], &["a", "b", "c"], &["a", "c"], &[]] {
            assert!(is_moved(other, &ours), "{other:?}");
        }
        assert!(is_moved(&["a", "b"], ""), "nothing says that they were chosen");
    }

    #[test]
    fn a_target_has_the_number_of_its_nodes_and_the_ports_that_its_pods_take() {
        let ports =
            json!({"spec": {"hostNetwork": true, "containers": [{"name": "x", "ports": [{"containerPort": 9100}]}]}});
        let view = daemon_set(&set(&json!({"template": ports}), &json!({})));
        assert_eq!(view.replicas, 3);
        let view = view.daemon.unwrap();
        assert_eq!((view.host_ports[0].port, &*view.host_ports[0].protocol), (9100, "TCP"));
        assert_eq!((view.chosen.len(), view.whole), (0, false));
    }
}
