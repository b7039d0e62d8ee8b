//! The nodes of a target that is a DaemonSet. They are read only before the nodes of a canary are chosen, because a watch of all pods, or
//! of all nodes, would cost every installation more than these few lists.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod};
use kanary_core::{
    ParsedKanary,
    observation::{Candidate, NodesFound, Workload},
    spec::{Scale, Spec},
};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::Observer;
use crate::cluster::{
    client::{CALL_TIMEOUT, within},
    error::ApiError,
};

/// Size of a page: some 4 MiB of pods.
const PAGE: u32 = 500;

impl Observer<'_> {
    /// The nodes on which the target has pods, as far as the scale asks for them.
    pub(super) async fn nodes(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        target: Option<&Workload>,
    ) -> Result<NodesFound, ApiError> {
        let Some((target, selector)) = target.and_then(|target| Some((target, target.selector.as_ref()?))) else {
            return Ok(NodesFound::Found(Vec::new()));
        };
        let (namespace, name) = (&kanary.key.namespace, &spec.target.name);
        let labelled = match &spec.scale {
            Scale::Nodes { selector } => {
                match pages(&Api::<Node>::all(self.client.clone()), selector, |node: Node| {
                    Some(node.name_any())
                })
                .await
                {
                    Ok(names) => Some(names.into_iter().collect::<BTreeSet<_>>()),
                    Err(kube::Error::Api(status)) if status.code == 403 => {
                        return Ok(NodesFound::Forbidden(status.message));
                    }
                    Err(error) => return Err(ApiError::new("list", Node::kind(&()), "", selector, error)),
                }
            }
            _ => None,
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = pages(&api, &selector.shown, |pod| candidate(&pod, &target.uid)).await;
        let mut candidates = pods.map_err(|error| {
            ApiError::new(
                "list the pods of",
                spec.target.kind.as_str().into(),
                namespace,
                name,
                error,
            )
        })?;
        candidates.retain(|node| labelled.as_ref().is_none_or(|labelled| labelled.contains(&node.name)));
        Ok(NodesFound::Found(candidates))
    }
}

/// What a list contains, page by page.
async fn pages<K, T>(api: &Api<K>, selector: &str, wanted: impl Fn(K) -> Option<T>) -> Result<Vec<T>, kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = ListParams::default().labels(selector).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = within(CALL_TIMEOUT, api.list(&params)).await?;
        let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        all.extend(page.items.into_iter().filter_map(&wanted));
        let Some(token) = next else { return Ok(all) };
        params = params.continue_token(&token);
    }
}

/// The node of a pod of this target. A pod that is not scheduled yet says it by its affinity.
fn candidate(pod: &Pod, target: &str) -> Option<Candidate> {
    let is_targets = pod.owner_references().iter().any(|owner| owner.uid == target);
    let spec = pod.spec.as_ref()?;
    let bound = || {
        let of_nodes = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = of_nodes.required_during_scheduling_ignored_during_execution.as_ref()?;
        required
            .node_selector_terms
            .first()?
            .match_fields
            .as_ref()?
            .first()?
            .values
            .as_ref()?
            .first()
    };
    let name = spec.node_name.as_ref().or_else(bound)?;
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ready =
        |condition: &k8s_openapi::api::core::v1::PodCondition| condition.type_ == "Ready" && condition.status == "True";
    (is_targets && pod.metadata.deletion_timestamp.is_none()).then(|| Candidate {
        name: name.clone(),
        ready: conditions.into_iter().flatten().any(is_ready),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_node_of_a_pod_is_that_of_its_binding_or_of_its_affinity() {
        let pod = |owner: &str, spec: Value, deleted: Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "x", "deletionTimestamp": deleted, "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": owner},
                ]},
                "spec": spec,
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }))
            .unwrap()
        };
        let name = |pod: &Pod| candidate(pod, "u").map(|node| (node.name, node.ready));
        let bound = json!({"containers": [], "nodeName": "a"});
        let of_a = Some(("a".to_owned(), true));
        assert_eq!(name(&pod("u", bound.clone(), Value::Null)), of_a);
        assert_eq!(name(&pod("other", bound.clone(), Value::Null)), None);
        assert_eq!(name(&pod("u", bound, json!("2026-01-01T00:00:00Z"))), None);
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]);
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let waiting = json!({"containers": [], "affinity": {"nodeAffinity": required}});
        assert_eq!(name(&pod("u", waiting, Value::Null)), of_a);
        assert_eq!(name(&pod("u", json!({"containers": []}), Value::Null)), None);
    }
}
