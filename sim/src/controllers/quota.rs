//! The `ResourceQuota` controller: reports the usage of each quota.

use serde_json::json;

use super::claim::unless_gone;
use crate::{
    admission::{QUOTAS, usage},
    cluster::Cluster,
    failure::Failure,
    store::Place,
    write::{Part, WriteOptions},
};

const ACTOR: &str = "system:serviceaccount:kube-system:resourcequota-controller";

/// Reconciles a quota.
pub(super) fn sync(cluster: &Cluster, place: &Place) -> Result<(), Failure> {
    let Some(quota) = cluster.object(QUOTAS, place) else {
        return Ok(());
    };
    let usage = usage(&cluster.lock().store, &quota);
    let (mut hard, mut used) = (json!({}), json!({}));
    for (limit, (most, present)) in usage {
        hard[&limit] = json!(most.to_string());
        used[&limit] = json!(present.to_string());
    }
    let mut object = quota.value();
    let status = json!({"hard": hard, "used": used});
    if object["status"] == status {
        return Ok(());
    }
    object["status"] = status;
    let written = cluster.transact(ACTOR, |txn| {
        let resource = txn.state.registry.named(QUOTAS).cloned();
        let options = WriteOptions::default();
        resource.map(|resource| txn.update(&resource, place, Part::Status, object, options))
    });
    written.map_or(Ok(()), |written| unless_gone(written).map(|_| ()))
}
