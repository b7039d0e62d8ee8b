//! `kubectl kanary shards` and `version`.

use anyhow::Context;
use kanary::shard::show;
use kanary_core::api::KanaryKind;

use crate::{cluster::Cluster, exit::Exit, owner, terminal::print};

/// Show which replica of the controller acts on which Kanaries.
#[derive(Debug, clap::Args)]
pub(crate) struct Shards {
    /// Namespace of the controller's Leases.
    #[arg(long, default_value = owner::NAMESPACE, env = "KANARY_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: String,
}

pub(crate) async fn shards(cluster: &Cluster, options: &Shards) -> anyhow::Result<Exit> {
    let shown = show::text(cluster.client.clone(), &options.lease_namespace, &cluster.clock).await;
    print(&shown.context("could not show the shards")?)?;
    Ok(Exit::Done)
}

pub(crate) fn version() -> anyhow::Result<Exit> {
    print(&format!(
        "kubectl-kanary {}, API {}\n",
        env!("CARGO_PKG_VERSION"),
        KanaryKind::Deployment.api_version()
    ))?;
    Ok(Exit::Done)
}
