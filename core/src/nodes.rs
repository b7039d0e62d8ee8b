//! The nodes on which the canary of a DaemonSet has pods: some of the target's.
//!
//! The canary itself remembers them: its node affinity names each. So every controller knows them, and pods on nodes that stay are left
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{hash, observation::Candidate};

/// The largest number of nodes. The affinity names each of them.
pub const LARGEST: usize = 500;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// The nodes of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Their names, in order.
    pub nodes: Vec<String>,
    /// How many nodes the target had.
    pub of: i32,
}

impl Choice {
    /// The annotation of a canary that has these nodes since this generation.
    #[must_use]
    pub fn annotation(&self, generation: i64) -> String {
        format!("{generation}/{}/{}", self.of, digest(&self.nodes))
    }
}

/// What the annotation of a canary says about the last choice of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The generation of the canary since then.
    pub generation: i64,
    /// How many nodes the target had.
    pub of: i32,
    /// Digest of the nodes. Earlier versions of Kanary did not write it.
    nodes: Option<String>,
}

impl Recorded {
    /// Parses an annotation.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        Some(Self {
            generation: parts.next()?.parse().ok()?,
            of: parts.next()?.parse().ok()?,
            nodes: parts.next().map(str::to_owned),
        })
    }

    /// Whether other nodes than these were chosen. Nodes are compared in order.
    #[must_use]
    pub fn differs(&self, nodes: &[impl AsRef<str>]) -> bool {
        self.nodes.as_ref().is_some_and(|chosen| *chosen != digest(nodes))
    }
}

fn digest(nodes: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = nodes.iter().map(AsRef::as_ref).collect();
    hash::digest(names.join(" ").as_bytes())
}

/// The place of a node in the order in which the nodes of a run are tried.
pub(super) fn rank(run: &str, node: &str) -> String {
    hash::digest(format!("{run} {node}").as_bytes())
}

/// Adds to `kept` as many nodes as are missing, in an order that depends on the run only. Nodes whose target is not ready come last.
pub(super) fn choose(run: &str, wanted: usize, candidates: &[Candidate], kept: &[&str]) -> Vec<String> {
    let kept: BTreeSet<&str> = kept.iter().copied().collect();
    let mut rest = BTreeMap::new();
    for candidate in candidates.iter().filter(|node| !kept.contains(node.name.as_str())) {
        *rest.entry(candidate.name.as_str()).or_insert(false) |= candidate.ready;
    }
    let mut rest: Vec<_> = rest.into_iter().collect();
    rest.sort_by_cached_key(|(name, ready)| (!ready, rank(run, name)));
    let missing = wanted.min(LARGEST).saturating_sub(kept.len());
    let added = rest.into_iter().map(|(name, _)| name).take(missing);
    let all: BTreeSet<&str> = kept.iter().copied().chain(added).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// Whether a term of a node selector has no requirement. It then matches no node.
fn is_empty(term: &Value) -> bool {
    let mut requirements = ["matchExpressions", "matchFields"].into_iter();
    requirements.all(|field| term.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty))
}

/// Whether an affinity matches no node, because all its terms are empty.
#[must_use]
pub fn matches_none(affinity: Option<&Value>) -> bool {
    let required = affinity.and_then(|affinity| affinity.get("nodeAffinity")?.get(REQUIRED));
    let terms = required.and_then(|required| required.get("nodeSelectorTerms")?.as_array());
    terms.is_some_and(|terms| terms.iter().all(is_empty))
}

/// An affinity that also requires one of these nodes. It must match some node ([`matches_none`]).
#[must_use]
pub fn pinned(affinity: Option<&Value>, nodes: &[String]) -> Value {
    let mut affinity = affinity.and_then(Value::as_object).cloned().unwrap_or_default();
    let of_nodes = affinity.remove("nodeAffinity");
    let mut of_nodes = of_nodes
        .and_then(|rules| rules.as_object().cloned())
        .unwrap_or_default();
    let terms = of_nodes
        .get(REQUIRED)
        .and_then(|required| required.get("nodeSelectorTerms")?.as_array().cloned());
    let terms: Vec<_> = terms
        .into_iter()
        .flatten()
        .filter(|term| !is_empty(term))
        .filter_map(|term| term.as_object().cloned())
        .collect();
    let terms = if terms.is_empty() { vec![Map::new()] } else { terms };
    // Terms are alternatives, and a requirement has one name. The last requirement of each term is ours.
    let on = |term: &Map<String, Value>, node: &String| {
        let mut term = term.clone();
        let name = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        match term.get_mut("matchFields").and_then(Value::as_array_mut) {
            Some(fields) => fields.push(name),
            None => drop(term.insert("matchFields".to_owned(), json!([name]))),
        }
        Value::Object(term)
    };
    let terms: Vec<_> = terms
        .iter()
        .flat_map(|term| nodes.iter().map(move |node| on(term, node)))
        .collect();
    of_nodes.insert(REQUIRED.to_owned(), json!({"nodeSelectorTerms": terms}));
    affinity.insert("nodeAffinity".to_owned(), Value::Object(of_nodes));
    Value::Object(affinity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let ready = |name: &&str| Candidate {
            name: (*name).to_owned(),
            ready: true,
        };
        names.iter().map(ready).collect()
    }

    #[test]
    fn a_choice_depends_on_the_run_and_not_on_the_order_in_which_nodes_are_read() {
        let names: Vec<_> = (0..20).map(|node| format!("node-{node}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let backwards: Vec<_> = names.iter().rev().copied().collect();
        let chosen = choose("run-1", 5, &candidates(&names), &[]);
        assert_eq!(chosen.len(), 5);
        assert_eq!(chosen, choose("run-1", 5, &candidates(&backwards), &[]));
        assert_ne!(chosen, choose("run-2", 5, &candidates(&names), &[]));
    }

    #[test]
    fn nodes_that_stay_are_kept_and_others_fill_up() {
        let all = candidates(&["a", "b", "c", "d"]);
        let chosen = choose("run-1", 3, &all, &["b", "gone"]);
        assert_eq!(chosen.len(), 3);
        assert!(
            chosen.contains(&"b".to_owned()) && chosen.contains(&"gone".to_owned()),
            "{chosen:?}"
        );
        assert_eq!(
            choose("run-1", 1, &all, &["a", "b"]),
            ["a", "b"],
            "a canary does not shrink"
        );
        assert_eq!(choose("run-1", 9, &all, &[]).len(), 4);
    }

    #[test]
    fn a_node_whose_target_is_not_ready_comes_last() {
        let mut all = candidates(&["a", "b", "c"]);
        all[1].ready = false;
        assert_eq!(choose("run-1", 2, &all, &[]), ["a", "c"]);
        assert_eq!(choose("run-1", 3, &all, &[]), ["a", "b", "c"]);
        let names: Vec<_> = (0..600).map(|node| node.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(choose("run-1", 600, &candidates(&names), &[]).len(), LARGEST);
    }

    #[test]
    fn each_alternative_of_the_user_is_restricted_to_each_node() {
        let nodes = ["a".to_owned(), "b".to_owned()];
        let name = |node: &str| json!({"key": "metadata.name", "operator": "In", "values": [node]});
        let required = |affinity: &Value| affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"].clone();
        let plain = pinned(None, &nodes);
        assert_eq!(
            required(&plain),
            json!([{"matchFields": [name("a")]}, {"matchFields": [name("b")]}])
        );
        let zone = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]});
        let not_c = json!({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["c"]}]});
        let user = json!({
            "podAntiAffinity": {"x": 1},
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [], REQUIRED: {"nodeSelectorTerms": [zone, not_c]}},
        });
        let both = pinned(Some(&user), &nodes);
        assert_eq!(both["podAntiAffinity"], user["podAntiAffinity"]);
        let terms = required(&both);
        assert_eq!(terms.as_array().unwrap().len(), 4);
        assert_eq!(
            terms[1],
            json!({"matchExpressions": zone["matchExpressions"], "matchFields": [name("b")]})
        );
        assert_eq!(terms[2], json!({"matchFields": [not_c["matchFields"][0], name("a")]}));
    }

    #[test]
    fn a_term_without_requirements_still_matches_no_node() {
        let affinity = |terms: Value| json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}});
        let zone = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}], "matchFields": []});
        let empty = json!({"matchExpressions": []});
        let pinned = pinned(Some(&affinity(json!([empty, zone]))), &["a".to_owned()]);
        let terms = &pinned["nodeAffinity"][REQUIRED]["nodeSelectorTerms"];
        assert_eq!(terms.as_array().unwrap().len(), 1, "{terms}");
        assert_eq!(terms[0]["matchExpressions"], zone["matchExpressions"]);
        assert!(matches_none(Some(&affinity(json!([empty, {}])))));
        for some in [None, Some(json!({})), Some(affinity(json!([empty, zone])))] {
            assert!(!matches_none(some.as_ref()), "{some:?}");
        }
    }

    #[test]
    fn an_annotation_says_since_when_of_how_many_and_which() {
        let choice = Choice {
            nodes: vec!["a".to_owned(), "b".to_owned()],
            of: 7,
        };
        let recorded = Recorded::parse(&choice.annotation(3)).unwrap();
        assert_eq!((recorded.generation, recorded.of), (3, 7));
        assert!(!recorded.differs(&choice.nodes));
        for other in [&["a"][..], &["a", "c"], &["a", "b", "c"], &[]] {
            assert!(recorded.differs(other), "{other:?}");
        }
        let former = Recorded::parse("3/7").unwrap();
        assert!(!former.differs(&["c"]), "an earlier version wrote it");
        for text in ["", "3", "3/x", "/7"] {
            assert_eq!(Recorded::parse(text), None, "{text}");
        }
    }
}
