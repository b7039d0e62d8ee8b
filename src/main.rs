//! `kanary run`, `kanary shards` and `kanary crds`.

mod cli;

use std::{
    io::{self, Write},
    iter,
    process::ExitCode,
};

use anyhow::Context;
use kanary::{
    cluster::{
        calls::Calls,
        client,
        clock::{Clock, Monotonic},
        version::too_old,
    },
    controller,
    places::{self, CanaryLimits},
    prometheus::Budget,
    shard::{Sharding, leader::Election, lease::is_identity, show},
    traces::{self, Otlp, TraceOptions},
    webhook::{self, CertificateSource, WebhookOptions},
};
use kanary_core::{
    api::{KanaryKind, WorkloadKind, names::GROUP},
    convert::{self, Conversion},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::cli::{Command, Crds, LogFormat, Run, Shards};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Headers for the collector of traces. There is no flag, because arguments of processes are not secret.
const OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

fn main() -> ExitCode {
    let command = cli::parse();
    let prints = !matches!(command, Command::Run(_));
    let result = match command {
        Command::Run(options) => run(*options).map(|()| ExitCode::SUCCESS),
        Command::Shards(options) => shards(&options).map(|()| ExitCode::SUCCESS),
        Command::Crds(options) => crds(&options).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        // A reader that closes the pipe early, like `head`, is not an error.
        Err(error) if prints && is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kanary: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of standard output has closed the pipe.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes to standard output. `print!` would panic on a closed pipe.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn crds(options: &Crds) -> anyhow::Result<()> {
    let kinds = with_kinds(&options.kinds);
    let crds = match &options.conversion {
        None => kanary_core::api::crds(&kinds),
        Some((namespace, name)) => {
            let conversion = Conversion::by_service(namespace, name, webhook::PATH, options.stored);
            convert::crds(&kinds, &conversion)
        }
    };
    for crd in crds {
        let yaml = serde_yaml_ng::to_string(&crd)?;
        let Some(folder) = &options.output else {
            print(&format!("---\n{yaml}"))?;
            continue;
        };
        let name = crd.metadata.name.unwrap_or_default();
        let name = name.strip_suffix(&format!(".{GROUP}")).unwrap_or(&name);
        let file = folder.join(format!("{name}.yaml"));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, yaml))
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

/// The kinds that are always served, and these.
fn with_kinds(optional: &[KanaryKind]) -> Vec<KanaryKind> {
    let optional = KanaryKind::OPTIONAL.into_iter().filter(|kind| optional.contains(kind));
    KanaryKind::ALWAYS.into_iter().chain(optional).collect()
}

#[tokio::main]
async fn run(options: Run) -> anyhow::Result<()> {
    start_log(&options)?;
    let stop = CancellationToken::new();
    let (clock, calls) = (Clock::default(), Calls::default());
    let config = cluster().await?;
    tracing::info!(server = %config.cluster_url, version = env!("CARGO_PKG_VERSION"), "starting");
    let client = client::connect(config.clone(), clock.clone(), &options.identity, calls.clone())?;
    let places = places(&options, &config);
    let traces = trace_options(&options)?;
    let conversion = conversion(&options, &config);
    let sharding = sharding(&options, config, &clock, &calls)?;
    let options = controller::Options {
        namespace: options.namespace.filter(|namespace| !namespace.is_empty()),
        kinds: with_kinds(&options.kinds),
        admin_addr: Some(options.admin_addr),
        clock,
        calls,
        instance: options.identity,
        sharding,
        places,
        routes: options.routes.then_some(options.route_settling_time.0),
        keda: options.keda,
        metrics_apis: options.metrics_apis,
        target_kinds: iter::once(WorkloadKind::Deployment)
            .chain(options.target_kinds)
            .collect(),
        traces,
        conversion,
        queries: Budget {
            concurrency: usize::try_from(options.prometheus_concurrency)?,
            per_second: options.prometheus_qps,
            join: options.prometheus_join,
            endpoints: options.prometheus_limits.into_iter().collect(),
            ..Budget::default()
        },
        allow: options.prometheus_allow.into_iter().collect(),
        ..controller::Options::default()
    };
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signals = async || asked_to_end(&mut term, &mut interrupt).await;
    let controller = std::pin::pin!(controller::run(client.clone(), options, stop.clone()));
    let ended = tokio::select! {
        biased;
        error = too_old(&client) => return Err(error.into()),
        ended = until_reported_twice(controller, signals, &stop) => ended,
    };
    match ended {
        Ok(ended) => Ok(ended?),
        // Exits directly, because returning would wait for pending DNS lookups.
        Err(second) => std::process::exit(128 + second.as_raw_value()),
    }
}

/// Waits for SIGTERM or SIGINT, and returns which one arrived.
async fn asked_to_end(term: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        biased;
        _ = term.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

/// Runs `work` and returns its result. The first signal requests a graceful stop; the second returns immediately, with the
/// signal.
async fn until_reported_twice<T>(
    mut work: impl Future<Output = T> + Unpin,
    mut signals: impl AsyncFnMut() -> SignalKind,
    stop: &CancellationToken,
) -> Result<T, SignalKind> {
    tokio::select! {
        biased;
        ended = &mut work => return Ok(ended),
        _ = signals() => {}
    }
    tracing::info!("stopping; a second signal exits immediately");
    stop.cancel();
    tokio::select! {
        biased;
        ended = &mut work => Ok(ended),
        second = signals() => {
            tracing::warn!("received a second signal: exiting without completing the work in progress");
            Err(second)
        }
    }
}

async fn cluster() -> anyhow::Result<kube::Config> {
    let config = kube::Config::infer().await;
    config.map_err(|error| anyhow::anyhow!("no cluster to talk to: set KUBECONFIG, or run in a cluster ({error})"))
}

/// Namespace of the Leases. An empty name counts as unset.
fn lease_namespace(wanted: Option<&str>, config: &kube::Config) -> String {
    let wanted = wanted.filter(|namespace| !namespace.is_empty());
    wanted.unwrap_or(&config.default_namespace).to_owned()
}

/// Limits on canaries, if there are any. A single replica stores the places where others would have their Leases.
fn places(options: &Run, config: &kube::Config) -> Option<places::PlaceOptions> {
    let limits = CanaryLimits {
        total: options.max_concurrent_canaries,
        per_namespace: options.max_concurrent_canaries_per_namespace,
    };
    let namespace = lease_namespace(options.lease_namespace.as_deref(), config);
    limits.any().then(|| places::PlaceOptions::new(limits, namespace))
}

/// The conversion webhook, if it is on.
fn conversion(options: &Run, config: &kube::Config) -> Option<WebhookOptions> {
    let certificate = match &options.conversion_certificate {
        Some(folder) => CertificateSource::Folder(folder.clone()),
        None => CertificateSource::Secret {
            namespace: lease_namespace(options.lease_namespace.as_deref(), config),
            name: options.conversion_secret.clone(),
        },
    };
    Some(WebhookOptions {
        addr: options.conversion_addr?,
        names: options.conversion_names.clone(),
        certificate,
    })
}

/// Where traces are sent, if they are collected.
fn trace_options(options: &Run) -> anyhow::Result<Option<TraceOptions>> {
    let Some(endpoint) = &options.otlp_endpoint else {
        return Ok(None);
    };
    let headers = std::env::var(OTLP_HEADERS).unwrap_or_default();
    let ca = options.otlp_ca_file.as_ref();
    let ca = ca.map(|file| std::fs::read(file).with_context(|| format!("--otlp-ca-file {}", file.display())));
    let otlp = Otlp {
        endpoint: endpoint.clone(),
        protocol: options.otlp_protocol,
        authorities: ca.transpose()?,
        headers: traces::headers(&headers).map_err(|why| anyhow::anyhow!("{OTLP_HEADERS}: {why}"))?,
    };
    let collector = otlp
        .collector(&options.identity)
        .map_err(|error| anyhow::anyhow!("--otlp-endpoint {endpoint}: {error}"))?;
    tracing::info!(%endpoint, protocol = %options.otlp_protocol, "sending traces");
    Ok(Some(TraceOptions {
        collector,
        ratio: options.otlp_sample_ratio,
    }))
}

/// Configuration for sharing the work with other replicas.
fn sharding(options: &Run, config: kube::Config, clock: &Clock, calls: &Calls) -> anyhow::Result<Option<Sharding>> {
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
        // A separate client, so that Lease requests do not queue behind other requests.
        client: client::connect(config, clock.clone(), &options.identity, calls.clone())?,
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
    let server = format!("API server {}", config.cluster_url);
    let client = client::connect(config, clock.clone(), "shards", Calls::default())?;
    print(&show::text(client, &namespace, &clock).await.context(server)?)?;
    Ok(())
}

/// The directives of a filter. The client warns of each list of a kind that the cluster does not have, which Kanary asks for again and
/// again, and does not say which kind.
fn directives(filter: &str) -> String {
    let names_it = filter.contains("kube_client");
    let quiet = if names_it { "" } else { "kube_client::client=error," };
    format!("{quiet}{filter}")
}

fn start_log(options: &Run) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives(&options.log))
        .map_err(|error| anyhow::anyhow!("--log {}: {error}", options.log))?;
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

    #[test]
    fn only_a_reader_that_went_away_is_no_failure() {
        let of = |kind: io::ErrorKind| anyhow::Error::from(io::Error::from(kind));
        assert!(is_closed_pipe(&of(io::ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&of(io::ErrorKind::StorageFull)));
        assert!(!is_closed_pipe(&anyhow::anyhow!("something else")));
    }

    #[test]
    fn warnings_of_the_client_are_left_out_unless_a_filter_is_about_them() {
        assert_eq!(
            directives("info,kanary=debug"),
            "kube_client::client=error,info,kanary=debug"
        );
        assert_eq!(directives("kube_client=debug"), "kube_client=debug");
        assert!(EnvFilter::try_new(directives("info")).is_ok());
    }

    /// The result of `work` after `times` signals.
    async fn signalled<T>(
        times: u32,
        stop: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Result<T, SignalKind> {
        let mut left = times;
        let signals = async || {
            if left == 0 {
                pending::<()>().await;
            }
            left -= 1;
            SignalKind::terminate()
        };
        until_reported_twice(pin!(work), signals, stop).await
    }

    #[tokio::test]
    async fn without_a_signal_the_work_goes_on_until_it_ends() {
        let stop = CancellationToken::new();
        assert_eq!(signalled(0, &stop, async { 7 }).await, Ok(7));
        assert!(!stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_first_signal_asks_the_work_to_stop_and_waits_for_it() {
        let stop = CancellationToken::new();
        assert_eq!(signalled(1, &stop, stop.cancelled()).await, Ok(()));
    }

    #[tokio::test]
    async fn the_second_signal_waits_for_nothing() {
        let stop = CancellationToken::new();
        assert_eq!(signalled(2, &stop, pending::<()>()).await, Err(SignalKind::terminate()));
        assert!(stop.is_cancelled());
    }
}
