//! The backend of `hack/dataplane`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use kanary_dataplane::backend::{Counters, serve_all, serve_metrics};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Answers for all pods of a cluster whose addresses are local.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kubeconfig of a user who may watch pods.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Where Prometheus asks for counts.
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The process has one crypto provider, whatever other crates bring along.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = Kubeconfig::read_from(&arguments.kubeconfig).context("the kubeconfig can't be read")?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.context("the kubeconfig is incomplete")?)?;
    let counters = Counters::default();
    let pods = tokio::spawn(serve_all(client, counters.clone()));
    let metrics = tokio::spawn(serve_metrics(arguments.listen, counters));
    tokio::select! {
        ended = pods => ended.context("the watch of pods ended"),
        ended = metrics => ended?.context("the metrics ended"),
        pressed = tokio::signal::ctrl_c() => pressed.context("no signals"),
    }
}
