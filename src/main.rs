//! `kanary run`, `kanary shards`, `kanary crds` and `kanary demo`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use kanary::{
    api::GoDuration,
    client,
    clock::Clock,
    controller,
    shard::{Layout, Monotonic, Sharding, leader::Election, lease::is_identity, show},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    /// Show which replica acts on what: slots, owners, epochs, the age of sessions, and how many Kanaries each shard has.
    Shards(Shards),
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`.
    Crds(Crds),
    /// Show Kanary at work on a cluster in memory: needs nothing, takes half a minute.
    #[cfg(feature = "demo")]
    Demo(kanary::demo::Options),
}

#[derive(clap::Args)]
struct Shards {
    /// Where the Leases are [default: the namespace of the context in KUBECONFIG].
    #[arg(long, short = 'n', env = "KANARY_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
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
    /// Name of this replica: in Events, and among the others. Each needs its own; in a cluster it is the pod's.
    #[arg(long, env = "HOSTNAME", default_value = "kanary", value_name = "NAME")]
    identity: String,
    /// Run as the only replica, without Leases. Two of these at once act on the same Kanaries.
    #[arg(long, env = "KANARY_STANDALONE", conflicts_with_all = ["shards", "session_ttl", "lease_namespace"])]
    standalone: bool,
    /// Parts that replicas divide the Kanaries into: a power of two up to 256, some times as many as there will be replicas.
    /// Counts when the first replica starts; afterwards it is what is stored.
    #[arg(long, env = "KANARY_SHARDS", default_value = "32", value_name = "NUMBER", value_parser = layout)]
    shards: Layout,
    /// How long the others wait before they take over from a replica that is not heard of. Each writes five times as often.
    /// With 6s they take over within 7 s and not 17.
    #[arg(long, env = "KANARY_SESSION_TTL", default_value = "15s", value_name = "DURATION", value_parser = session_ttl)]
    session_ttl: GoDuration,
    /// Where the Leases are [default: the namespace of the pod, or of the context in KUBECONFIG].
    #[arg(long, env = "KANARY_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    /// Hash of the pod template of this replica, the label pod-template-hash: in a rolling update new replicas are preferred.
    #[arg(long, env = "KANARY_POD_TEMPLATE_HASH", default_value = "", value_name = "HASH")]
    pod_template_hash: String,
}

fn layout(text: &str) -> Result<Layout, String> {
    let shards = text.parse().map_err(|_| "a number is needed".to_owned())?;
    Layout::new(shards).map_err(|error| error.to_string())
}

fn session_ttl(text: &str) -> Result<GoDuration, String> {
    let ttl: GoDuration = text.parse()?;
    let seconds = ttl.0.as_secs();
    // Leases count in seconds, and below that the API server's own hiccups would cost the session.
    if ttl.0.subsec_nanos() > 0 || !(3..=300).contains(&seconds) {
        return Err("must be whole seconds between 3s and 5m, such as 15s".to_owned());
    }
    Ok(ttl)
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run(options).map(|()| ExitCode::SUCCESS),
        Command::Shards(options) => shards(&options).map(|()| ExitCode::SUCCESS),
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
    let config = cluster().await?;
    tracing::info!(server = %config.cluster_url, version = env!("CARGO_PKG_VERSION"), "starting");
    let client = client::connect(config.clone(), clock.clone(), &options.identity)?;
    let sharding = sharding(&options, config, &clock)?;
    let options = controller::Options {
        namespace: options.namespace.filter(|namespace| !namespace.is_empty()),
        admin_addr: Some(options.admin_addr),
        clock,
        instance: options.identity,
        sharding,
        ..controller::Options::default()
    };
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signals = async || asked_to_end(&mut term, &mut interrupt).await;
    let controller = std::pin::pin!(controller::run(client, options, stop.clone()));
    match until_told_twice(controller, signals, &stop).await {
        Ok(ended) => Ok(ended?),
        // Not by returning, which would wait for whatever still looks up a name.
        Err(second) => std::process::exit(128 + second.as_raw_value()),
    }
}

/// Waits for a signal that asks for the end, and tells which.
async fn asked_to_end(term: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        biased;
        _ = term.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

/// What `work` came to. The first signal asks it to stop; the second, which is returned, does not wait until it has.
async fn until_told_twice<T>(
    mut work: impl Future<Output = T> + Unpin,
    mut signals: impl AsyncFnMut() -> SignalKind,
    stop: &CancellationToken,
) -> Result<T, SignalKind> {
    tokio::select! {
        biased;
        ended = &mut work => return Ok(ended),
        _ = signals() => {}
    }
    tracing::info!("stopping; a second signal ends it at once");
    stop.cancel();
    tokio::select! {
        biased;
        ended = &mut work => Ok(ended),
        second = signals() => {
            tracing::warn!("ended at once by a second signal: what is under way is abandoned");
            Err(second)
        }
    }
}

async fn cluster() -> anyhow::Result<kube::Config> {
    let config = kube::Config::infer().await;
    config.map_err(|error| anyhow::anyhow!("no cluster to talk to: set KUBECONFIG, or run in a cluster ({error})"))
}

/// Where the Leases are. A variable of the environment that is set to nothing counts as not set.
fn lease_namespace(wanted: Option<&str>, config: &kube::Config) -> String {
    let wanted = wanted.filter(|namespace| !namespace.is_empty());
    wanted.unwrap_or(&config.default_namespace).to_owned()
}

/// How this replica shares the work with others.
fn sharding(options: &Run, config: kube::Config, clock: &Clock) -> anyhow::Result<Option<Sharding>> {
    if options.standalone {
        return Ok(None);
    }
    anyhow::ensure!(
        is_identity(&options.identity),
        "--identity {:?}: must be lower-case letters, digits, '-' and '.', begin and end with a letter or digit, and have \
         238 characters at most, like the name of a pod",
        options.identity
    );
    Ok(Some(Sharding {
        namespace: lease_namespace(options.lease_namespace.as_deref(), &config),
        // Of its own, so that Leases do not queue behind other calls.
        client: client::connect(config, clock.clone(), &options.identity)?,
        identity: options.identity.clone(),
        template: options.pod_template_hash.clone(),
        ttl: options.session_ttl.0,
        time: Monotonic::default(),
        shards: options.shards,
        election: Election::default(),
    }))
}

#[tokio::main]
async fn shards(options: &Shards) -> anyhow::Result<()> {
    let config = cluster().await?;
    let namespace = lease_namespace(options.lease_namespace.as_deref(), &config);
    let clock = Clock::default();
    let client = client::connect(config, clock.clone(), "shards")?;
    print!("{}", show::text(client, &namespace, &clock).await?);
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use super::*;

    /// What comes of `work` that is told to stop so many times.
    async fn told<T>(times: u32, stop: &CancellationToken, work: impl Future<Output = T>) -> Result<T, SignalKind> {
        let mut left = times;
        let signals = async || {
            if left == 0 {
                pending::<()>().await;
            }
            left -= 1;
            SignalKind::terminate()
        };
        until_told_twice(pin!(work), signals, stop).await
    }

    #[tokio::test]
    async fn without_a_signal_the_work_goes_on_until_it_ends() {
        let stop = CancellationToken::new();
        assert_eq!(told(0, &stop, async { 7 }).await, Ok(7));
        assert!(!stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_first_signal_asks_the_work_to_stop_and_waits_for_it() {
        let stop = CancellationToken::new();
        assert_eq!(told(1, &stop, stop.cancelled()).await, Ok(()));
    }

    #[tokio::test]
    async fn the_second_signal_waits_for_nothing() {
        let stop = CancellationToken::new();
        assert_eq!(told(2, &stop, pending::<()>()).await, Err(SignalKind::terminate()));
        assert!(stop.is_cancelled());
    }
}
