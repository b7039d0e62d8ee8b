//! `kanary run`, `kanary crds` and `kanary demo`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use kanary::{client, clock::Clock, controller};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Canary deployments for Kubernetes, judged before they are promoted.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controller, against the cluster of KUBECONFIG or the one it runs in.
    Run(Run),
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`.
    Crds(Crds),
    /// Show Kanary at work on a cluster in memory: needs nothing, takes half a minute.
    #[cfg(feature = "demo")]
    Demo(kanary::demo::Options),
}

#[derive(clap::Args)]
struct Crds {
    /// Write a file for each into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Run {
    /// Serve /livez, /readyz and /metrics here; port 0 takes any free one (the log tells which).
    #[arg(
        long,
        env = "KANARY_ADMIN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    admin_addr: SocketAddr,
    /// Serve the Kanaries of this namespace only [default: of all].
    #[arg(long, env = "KANARY_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
    /// Form of the log.
    #[arg(long, env = "KANARY_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged: a level, or directives like `info,kanary=debug`.
    #[arg(long, env = "KANARY_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// Name of this replica in Events.
    #[arg(long, env = "HOSTNAME", default_value = "kanary", value_name = "NAME")]
    identity: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run(options).map(|()| ExitCode::SUCCESS),
        Command::Crds(options) => crds(&options).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "demo")]
        Command::Demo(options) => kanary::demo::run(options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kanary: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn crds(options: &Crds) -> anyhow::Result<()> {
    for crd in kanary::api::crds() {
        let yaml = serde_yaml_ng::to_string(&crd)?;
        let Some(folder) = &options.output else {
            print!("---\n{yaml}");
            continue;
        };
        let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, yaml))
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

#[tokio::main]
async fn run(options: Run) -> anyhow::Result<()> {
    start_log(&options)?;
    let stop = CancellationToken::new();
    let clock = Clock::default();
    let config = kube::Config::infer()
        .await
        .map_err(|error| anyhow::anyhow!("no cluster to talk to: set KUBECONFIG, or run in a cluster ({error})"))?;
    tracing::info!(server = %config.cluster_url, version = env!("CARGO_PKG_VERSION"), "starting");
    let client = client::connect(config, clock.clone())?;
    let options = controller::Options {
        namespace: options.namespace.filter(|namespace| !namespace.is_empty()),
        admin_addr: Some(options.admin_addr),
        clock,
        instance: options.identity,
        ..controller::Options::default()
    };
    let mut term = signal(SignalKind::terminate())?;
    let mut controller = std::pin::pin!(controller::run(client, options, stop.clone()));
    tokio::select! {
        biased;
        ended = &mut controller => return Ok(ended?),
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    Ok(controller.await?)
}

fn start_log(options: &Run) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| anyhow::anyhow!("--log {}: {error}", options.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
