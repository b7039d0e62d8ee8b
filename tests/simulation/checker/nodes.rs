//! Checks of canaries that are DaemonSets: each runs on a sample of its target's nodes, of the size that the spec asks for, and keeps
//! the nodes that stay.

use std::collections::{BTreeMap, BTreeSet};

use kanary_core::api::names::KANARY_NAME;
use kanary_sim::{cluster::Event, object::string_map};
use serde_json::Value;

use super::{Checker, Invariant, is_ours, last::named};
use crate::history::text;

/// The nodes that exist, and those that existed, with their labels.
#[derive(Default)]
pub(super) struct Nodes {
    there: BTreeMap<String, BTreeMap<String, String>>,
    gone: BTreeMap<String, BTreeMap<String, String>>,
}

impl Nodes {
    fn note(&mut self, event: &Event) {
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        let (name, labels) = (object.meta.name.clone(), object.meta.labels.clone());
        if event.change.new.is_some() {
            self.there.insert(name, labels);
        } else {
            self.there.remove(&name);
            self.gone.insert(name, labels);
        }
    }

    /// Nodes with these labels that exist or existed.
    fn ever<'a>(&'a self, wanted: &'a BTreeMap<String, String>) -> impl Iterator<Item = &'a str> {
        let all = self.there.iter().chain(&self.gone);
        let matching = all.filter(|(_, labels)| wanted.iter().all(|(name, value)| labels.get(name) == Some(value)));
        matching.map(|(name, _)| name.as_str())
    }
}

/// The node that an alternative of an affinity ends with, which is how a canary names its nodes.
fn node_in(term: &Value) -> Option<&str> {
    let last = term["matchFields"].as_array()?.last()?;
    let is_name = last["key"] == "metadata.name" && last["operator"] == "In";
    last["values"][0].as_str().filter(|_| is_name)
}

const REQUIRED: [&str; 3] = [
    "affinity",
    "nodeAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
];

fn terms(template: &Value) -> &[Value] {
    let required = REQUIRED.iter().fold(&template["spec"], |value, field| &value[*field]);
    required["nodeSelectorTerms"].as_array().map_or(&[], Vec::as_slice)
}

/// The nodes of a canary.
pub(super) fn chosen(workload: &Value) -> BTreeSet<String> {
    let terms = terms(&workload["spec"]["template"]).iter();
    terms.filter_map(node_in).map(str::to_owned).collect()
}

/// The template of a canary without the nodes that it was given. Users here name none.
pub(super) fn without_nodes(template: &Value) -> Value {
    let mut template = template.clone();
    if terms(&template).iter().any(|term| node_in(term).is_some())
        && let Some(spec) = template["spec"].as_object_mut()
    {
        spec.remove("affinity");
    }
    template
}

/// The largest number of nodes that a spec asks for, of this many.
fn most(scale: &Value, of: usize) -> usize {
    let number = |field: &Value, default: usize| {
        let number = field.as_u64().and_then(|number| usize::try_from(number).ok());
        number.unwrap_or(default)
    };
    let (percent, fixed) = (&scale["percent"], &scale["static"]["replicas"]);
    if percent.is_object() {
        let share = (of * number(&percent["value"], 0)).div_ceil(100);
        return share.max(number(&percent["min"], 1)).min(number(&percent["max"], of));
    }
    if scale["nodes"].is_object() {
        return of;
    }
    number(fixed, 1)
}

impl Checker {
    pub(super) fn look_at_node(&mut self, event: &Event) {
        self.nodes.note(event);
    }

    /// Checks the nodes that the controller gives a canary.
    pub(super) fn check_sample(&mut self, event: &Event, canary: &Value) {
        if canary["kind"] != "DaemonSet" || !is_ours(event) {
            return;
        }
        let name = text(&canary["metadata"]["labels"][KANARY_NAME]).to_owned();
        let (chosen, old) = (chosen(canary), event.change.old.as_ref().map(|old| old.json()));
        let former = old.map(|old| self::chosen(&old)).unwrap_or_default();
        let given_up = former.iter().find(|node| {
            let stays = self.nodes.there.contains_key(node.as_str());
            stays && !chosen.contains(*node)
        });
        let mut selector = string_map(&canary["spec"]["template"]["spec"]["nodeSelector"]);
        let of: BTreeSet<&str> = self.nodes.ever(&selector).collect();
        let other = chosen.iter().find(|node| !of.contains(node.as_str()));
        let spec = self.books.values().filter(|book| book.name == name);
        let spec = spec.max_by_key(|book| book.number).map(|book| book.object.clone());
        let scale = spec.map(|kanary| kanary["spec"]["scale"].clone()).unwrap_or_default();
        selector.extend(string_map(&scale["nodes"]["selector"]["matchLabels"]));
        let most = most(&scale, self.nodes.ever(&selector).count());
        let wrong = if chosen.is_empty() {
            Some("is not restricted to any nodes".to_owned())
        } else if let Some(node) = other {
            Some(format!("has the node {node}, which is not its target's"))
        } else if let Some(node) = given_up {
            Some(format!("gives up the node {node}, which stays"))
        } else if chosen.len() > most && former.len() < chosen.len() {
            Some(format!("has {} nodes, and at most {most} are asked for", chosen.len()))
        } else {
            None
        };
        let hostile = self.truth(&name).hostile;
        if let Some(wrong) = wrong.filter(|_| !hostile) {
            let what = format!("the canary {} {wrong}", named(canary, "name"));
            self.violated(Invariant::Sample, event.at, &name, &what);
        }
    }
}
