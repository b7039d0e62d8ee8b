//! Which replica of the controller acts on a Kanary.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kanary::shard::{
    lease::{self, Read, identity, session_name, shard_name},
    map,
};
use kanary_core::ParsedKanary;
use kube::Api;

use crate::cluster::{Cluster, said};

/// The namespace in which the chart and the manifests install the controller.
pub(crate) const NAMESPACE: &str = "kanary-system";

/// The owner, in words. A Kanary can be explained without it, so a missing permission is no error.
pub(crate) async fn of(cluster: &Cluster, kanary: &ParsedKanary, namespace: &str) -> String {
    match find(cluster, kanary, namespace).await {
        Ok(owner) => owner,
        Err(error) => format!("unknown: {error:#}"),
    }
}

async fn find(cluster: &Cluster, kanary: &ParsedKanary, namespace: &str) -> anyhow::Result<String> {
    let Some((layout, _)) = map::stored(cluster.client.clone(), namespace).await? else {
        anyhow::bail!(
            "namespace {namespace} has no shards; name the namespace of the controller with --lease-namespace (a controller with \
             --standalone has none)"
        );
    };
    let (shards, index) = (layout.shards(), layout.shard_of(kanary.slot));
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let get = async |name: String| {
        let found = leases.get_opt(&name).await;
        found.map_err(|error| said(error, &format!("could not read Lease {name}")))
    };
    let shard = get(shard_name(shards, index)).await?;
    let Some(Read::Shard(shard)) = shard.as_ref().and_then(|shard| lease::read(shard, shards)) else {
        return Ok(format!("nobody yet (shard {index} of {shards})"));
    };
    let replica = identity(&shard.holder).to_owned();
    if replica.is_empty() {
        return Ok(format!("nobody (shard {index} of {shards})"));
    }
    let session = get(session_name(&replica)).await?;
    let session = session.as_ref().and_then(|session| lease::read(session, shards));
    let is_alive =
        matches!(session, Some(Read::Session(session)) if is_fresh(session.renewed, session.ttl, cluster.now()));
    let state = if is_alive {
        ""
    } else {
        ", whose session has ended: another replica takes over"
    };
    Ok(format!(
        "replica {replica}{state} (shard {index} of {shards}, epoch {})",
        shard.epoch
    ))
}

fn is_fresh(renewed: Option<Timestamp>, ttl: i32, now: Timestamp) -> bool {
    renewed.is_some_and(|renewed| now.duration_since(renewed).as_secs() <= i64::from(ttl))
}
