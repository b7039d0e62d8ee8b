//! The nodes of a canary that has no number of replicas.

use kanary_core::{api::names::NODES, decision::Action};
use kube::api::Patch;
use serde_json::json;

use super::{Writer, effect};
use crate::{cache::Workload, cluster::error::ApiError, shard::Right};

impl Writer {
    /// Gives a canary other nodes. The annotation says which generation that makes, so nobody may have changed the canary since.
    pub(super) async fn place<K: Workload>(
        &self,
        namespace: &str,
        action: &Action,
        right: Right,
    ) -> Result<(), ApiError> {
        let Action::PlaceCanary {
            canary,
            uid,
            nodes,
            affinity,
            chosen,
        } = action
        else {
            return Ok(());
        };
        let place = (namespace.to_owned(), canary.name.clone());
        let version = K::known_version(&self.cache, &place, uid).map(|version| version.to_string());
        let patch = json!({
            "metadata": {"uid": uid, "resourceVersion": version, "annotations": {NODES: chosen}},
            "spec": {"template": {"spec": {"affinity": affinity}}},
        });
        let placed = self
            .patch::<K>(namespace, &canary.name, Patch::Merge(patch), "place", right)
            .await?;
        effect::took_nodes(&placed, namespace, &canary.name, nodes)
    }
}
