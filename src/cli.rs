//! Command line and environment variables.

use std::{
    ffi::OsStr,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};
use kanary::{prometheus::Allow, traces::Protocol};
use kanary_core::{
    api::{GoDuration, KanaryKind, Layout, WorkloadKind},
    convert::Version,
};
use reqwest::Url;

/// Canary deployments for Kubernetes, judged before they are promoted.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the controller, against the cluster of KUBECONFIG or the one it runs in.
    Run(Box<Run>),
    /// Show which replica owns which slots, with epochs, session ages and the number of Kanaries in each shard.
    Shards(Shards),
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`.
    Crds(Crds),
}

#[derive(clap::Args)]
pub(crate) struct Shards {
    /// Namespace of the Leases [default: the namespace of the context in KUBECONFIG].
    #[arg(long, short = 'n', env = "KANARY_LEASE_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    pub(crate) lease_namespace: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Crds {
    /// Write one file per definition into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Definitions of these kinds, too, which the controller serves only with `kanary run --kinds`, separated by commas, such as
    /// KanaryDaemonset,KanaryDeployment.kanary.k8s.io.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = kind)]
    pub(crate) kinds: Vec<KanaryKind>,
    /// Serve the version v1, too, which API servers convert by the conversion webhook of the controllers, at the Service of this
    /// namespace and name: kanary-system/kanary-conversion.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service)]
    pub(crate) conversion: Option<(String, String)>,
    /// The version that is stored: v1alpha1 or v1. The controller works with v1alpha1, so each of its requests is converted if v1 is
    /// stored.
    #[arg(long, default_value = "v1alpha1", value_name = "VERSION", value_parser = version, requires = "conversion")]
    pub(crate) stored: Version,
}

#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Run {
    /// Serve /livez, /readyz and /metrics on this address; port 0 selects a free port, which is logged.
    #[arg(
        long,
        env = "KANARY_ADMIN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR",
        value_parser = address
    )]
    pub(crate) admin_addr: SocketAddr,
    /// Serve only the Kanaries of this namespace [default: all namespaces].
    #[arg(long, env = "KANARY_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<String>,
    /// Kinds to serve besides KanaryDeployment and KanaryStatefulset, separated by commas, such as
    /// KanaryDaemonset,KanaryDeployment.kanary.k8s.io. Their definitions must exist (`kanary crds --kinds`), and all replicas need the
    /// same value [default: none].
    #[arg(long, env = "KANARY_KINDS", value_name = "LIST", value_delimiter = ',', value_parser = kind)]
    pub(crate) kinds: Vec<KanaryKind>,
    /// Log format.
    #[arg(long, env = "KANARY_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Log filter: a level, or directives like `info,kanary=debug`.
    #[arg(long, env = "KANARY_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// Name of this replica, used in Events and Leases. It must be unique among the replicas; in a cluster it is the pod name.
    #[arg(long, env = "HOSTNAME", default_value = "kanary", value_name = "NAME")]
    pub(crate) identity: String,
    /// Run as the only replica, without Leases. Two such controllers would act on the same Kanaries.
    #[arg(
        long,
        env = "KANARY_STANDALONE",
        value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["shards", "session_ttl", "lease_namespace"]
    )]
    pub(crate) standalone: bool,
    /// Number of shards that the Kanaries are divided into: a power of two up to 256, several times the number of replicas. Only
    /// the first replica uses it; afterwards the stored number applies.
    #[arg(long, env = "KANARY_SHARDS", default_value = "32", value_name = "NUMBER", value_parser = layout)]
    pub(crate) shards: Layout,
    /// How long the other replicas wait for a heartbeat before they take over. Each replica sends five heartbeats in that time.
    /// With 6s, takeover is complete within 7 s instead of 17 s.
    #[arg(long, env = "KANARY_SESSION_TTL", default_value = "15s", value_name = "DURATION", value_parser = session_ttl)]
    pub(crate) session_ttl: GoDuration,
    /// Namespace of the Leases [default: the namespace of the pod, or of the context in KUBECONFIG]. All controllers that act on
    /// the same Kanaries must use the same namespace; otherwise they do not see each other, and both act.
    #[arg(long, env = "KANARY_LEASE_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    pub(crate) lease_namespace: Option<String>,
    /// Maximum number of concurrent queries of all replicas to one Prometheus. Prometheus evaluates 20 at a time by default.
    #[arg(long, env = "KANARY_PROMETHEUS_CONCURRENCY", default_value = "10", value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) prometheus_concurrency: u32,
    /// Maximum number of queries per second of all replicas to one Prometheus. Up to 32 different queries are joined into one.
    #[arg(long, env = "KANARY_PROMETHEUS_QPS", default_value = "20", value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) prometheus_qps: u32,
    /// Other limits for some Prometheus servers, as URL=CONCURRENCY/QPS, separated by commas.
    #[arg(long, env = "KANARY_PROMETHEUS_LIMITS", value_name = "LIST", value_delimiter = ',', value_parser = limits)]
    pub(crate) prometheus_limits: Vec<(String, (usize, u32))>,
    /// Maximum number of different queries that are joined into one; 1 sends each query by itself.
    #[arg(long, env = "KANARY_PROMETHEUS_JOIN", default_value = "32", value_name = "NUMBER", value_parser = joined)]
    pub(crate) prometheus_join: usize,
    /// Prometheus servers that Kanaries may name: hosts like prometheus.monitoring or thanos:9090, networks like 10.0.0.0/8, and
    /// URLs with everything below them, separated by commas [default: all].
    #[arg(long, env = "KANARY_PROMETHEUS_ALLOW", value_name = "LIST", value_delimiter = ',')]
    pub(crate) prometheus_allow: Vec<Allow>,
    /// Maximum number of canaries that run at the same time; others wait, by spec.priority and in order [default: no limit]. All
    /// replicas need the same value.
    #[arg(long, env = "KANARY_MAX_CONCURRENT_CANARIES", value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) max_concurrent_canaries: Option<u32>,
    /// The same for each namespace [default: no limit].
    #[arg(
        long,
        env = "KANARY_MAX_CONCURRENT_CANARIES_PER_NAMESPACE",
        value_name = "NUMBER",
        value_parser = at_least_one
    )]
    pub(crate) max_concurrent_canaries_per_namespace: Option<u32>,
    /// Change routes of Gateway API and Istio, for the traffic sources weighted, tagged and mirror. This needs the right to get, list and
    /// patch them, and to list EndpointSlices.
    #[arg(long, env = "KANARY_ROUTES", value_parser = BoolishValueParser::new())]
    pub(crate) routes: bool,
    /// Kinds of targets beside Deployments, separated by commas: StatefulSet, DaemonSet [default: none]. Each needs the right to get,
    /// list, watch, create, patch and delete its objects.
    #[arg(long, env = "KANARY_TARGET_KINDS", value_name = "LIST", value_delimiter = ',', value_parser = target_kind)]
    pub(crate) target_kinds: Vec<WorkloadKind>,
    /// How long proxies may need to follow a route after the gateway reports that it has taken it over, or, for a VirtualService, after
    /// it was written. Raise it if the control plane delays updates.
    #[arg(
        long,
        env = "KANARY_ROUTE_SETTLING_TIME",
        default_value = "5s",
        value_name = "DURATION",
        value_parser = settling_time
    )]
    pub(crate) route_settling_time: GoDuration,
    /// Create ScaledObjects of KEDA for canaries (spec.scale.keda). This needs the right to get, list, watch, create and delete them.
    #[arg(long, env = "KANARY_KEDA", value_parser = BoolishValueParser::new())]
    pub(crate) keda: bool,
    /// Ask the Kubernetes metrics APIs for items of the kind metric. This needs the right to read them.
    #[arg(long, env = "KANARY_METRICS_APIS", value_parser = BoolishValueParser::new())]
    pub(crate) metrics_apis: bool,
    /// Convert Kanaries between the versions v1alpha1 and v1 for API servers, by a webhook on this address, such as 0.0.0.0:9443; port 0
    /// selects a free port, which is logged [default: off]. The definitions must refer to it (`kanary crds --conversion`).
    #[arg(
        long,
        env = "KANARY_CONVERSION_ADDR",
        value_name = "ADDR",
        value_parser = address,
        requires = "certificate_source"
    )]
    pub(crate) conversion_addr: Option<SocketAddr>,
    /// Names and addresses by which API servers reach the webhook, separated by commas, such as kanary-conversion.kanary-system.svc.
    /// The replicas make a certificate for them, share it in a Secret, renew it, and keep caBundle in the definitions.
    #[arg(
        long,
        env = "KANARY_CONVERSION_NAMES",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = host,
        group = "certificate_source"
    )]
    pub(crate) conversion_names: Vec<String>,
    /// The Secret with that certificate, in the namespace of the Leases.
    #[arg(
        long,
        env = "KANARY_CONVERSION_SECRET",
        default_value = "kanary-conversion",
        value_name = "NAME"
    )]
    pub(crate) conversion_secret: String,
    /// A folder with a certificate from elsewhere instead, as tls.crt and tls.key, such as a mounted Secret of cert-manager. Files that
    /// change are read again. The controller then leaves caBundle alone.
    #[arg(
        long,
        env = "KANARY_CONVERSION_CERTIFICATE",
        value_name = "FOLDER",
        group = "certificate_source"
    )]
    pub(crate) conversion_certificate: Option<PathBuf>,
    /// Send traces of runs to the collector of OpenTelemetry at this URL [default: no traces].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub(crate) otlp_endpoint: Option<Url>,
    /// Protocol of the collector: grpc, or http/protobuf, usually on port 4318.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        default_value = "grpc",
        value_name = "PROTOCOL"
    )]
    pub(crate) otlp_protocol: Protocol,
    /// Certificates of the authorities that the collector's certificate may be signed by, as PEM, instead of the system's.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub(crate) otlp_ca_file: Option<PathBuf>,
    /// Part of the good measurements that is sent, from 0 to 1. Runs, phases, writes and all other measurements are always sent.
    #[arg(long, env = "KANARY_OTLP_SAMPLE_RATIO", default_value = "1", value_name = "RATIO", value_parser = ratio)]
    pub(crate) otlp_sample_ratio: f64,
    /// Hash of this replica's pod template, from the label pod-template-hash: new replicas are preferred during a rolling
    /// update.
    #[arg(long, env = "KANARY_POD_TEMPLATE_HASH", default_value = "", value_name = "HASH")]
    pub(crate) pod_template_hash: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Parses the command line. Prints help or an error and exits where it does not contain a command.
pub(crate) fn parse() -> Command {
    let is_unset = |name: &OsStr| std::env::var_os(name).is_some_and(|value| says_nothing(name, &value));
    let matches = command(is_unset).get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    }
}

/// Whether an environment variable counts as unset: it is empty, or a flag that is off. Otherwise a flag that is off would
/// conflict with options that exclude the flag.
fn says_nothing(name: &OsStr, value: &OsStr) -> bool {
    let off = ["n", "no", "f", "false", "off", "0"];
    let is_off = value
        .to_str()
        .is_some_and(|value| off.contains(&&*value.to_lowercase()));
    value.is_empty()
        || ([
            "KANARY_STANDALONE",
            "KANARY_ROUTES",
            "KANARY_KEDA",
            "KANARY_METRICS_APIS",
        ]
        .iter()
        .any(|switch| name == *switch)
            && is_off)
}

/// The command-line definition, without the environment variables that count as unset.
fn command(is_unset: impl Fn(&OsStr) -> bool) -> clap::Command {
    let unless_unset = |arg: Arg| {
        if arg.get_env().is_some_and(&is_unset) {
            arg.env(None::<&'static str>)
        } else {
            arg
        }
    };
    Cli::command().mut_subcommands(|command| command.mut_args(unless_unset))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let why = "write an address and a port, like 127.0.0.1:8080 (port 0 takes any free one); names like localhost are \
               not supported";
    text.parse().map_err(|_| why.to_owned())
}

/// Validates the name of a namespace. An empty value counts as unset.
fn namespace(text: &str) -> Result<String, String> {
    let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = text.chars().all(|c| may(c) || c == '-');
    if text.is_empty() || (inside && text.starts_with(may) && text.ends_with(may) && text.len() <= 63) {
        return Ok(text.to_owned());
    }
    Err(
        "not a DNS label: must be lower-case letters, digits and '-', begin and end with a letter or digit, and have \
         63 characters at most, such as kanary-system"
            .to_owned(),
    )
}

/// Parses an optional kind.
fn kind(text: &str) -> Result<KanaryKind, String> {
    let optional = KanaryKind::OPTIONAL;
    let kind = KanaryKind::parse(text.trim()).filter(|kind| optional.contains(kind));
    kind.ok_or_else(|| format!("must be one of {}", optional.map(KanaryKind::id).join(", ")))
}

fn version(text: &str) -> Result<Version, String> {
    let version = Version::ALL.into_iter().find(|version| version.as_str() == text);
    version.ok_or_else(|| "must be v1alpha1 or v1".to_owned())
}

/// Parses a Service of a namespace.
fn service(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once('/')
        .filter(|(_, name)| !name.is_empty() && namespace(name).is_ok());
    let parts = parts.filter(|(space, _)| !space.is_empty() && namespace(space).is_ok());
    let parts = parts.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    parts.ok_or_else(|| "write NAMESPACE/NAME, such as kanary-system/kanary-conversion".to_owned())
}

/// Parses a name or an address in a certificate.
fn host(text: &str) -> Result<String, String> {
    let is_name = |text: &str| {
        text.split('.')
            .all(|label| !label.is_empty() && namespace(label).is_ok())
    };
    let text = text.trim();
    if text.parse::<IpAddr>().is_ok() || is_name(text) {
        return Ok(text.to_owned());
    }
    Err("must be a name in lower case or an address, such as kanary-conversion.kanary-system.svc".to_owned())
}

fn layout(text: &str) -> Result<Layout, String> {
    let layout = text.parse().ok().and_then(|shards| Layout::new(shards).ok());
    layout.ok_or_else(|| "must be a power of two between 1 and 256, such as 32".to_owned())
}

fn at_least_one(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| "must be a number between 1 and 10000, such as 20".to_owned())
}

/// Parses the limits of a server. The URL gets the form that a Kanary's has.
fn limits(text: &str) -> Result<(String, (usize, u32)), String> {
    let parsed = || {
        let (url, limits) = text.trim().rsplit_once('=')?;
        let (concurrency, per_second) = limits.split_once('/')?;
        let url = Url::parse(url)
            .ok()
            .filter(|url| url.has_host() && url.username().is_empty())?;
        let concurrency = usize::try_from(at_least_one(concurrency).ok()?).ok()?;
        Some((
            url.as_str().trim_end_matches('/').to_owned(),
            (concurrency, at_least_one(per_second).ok()?),
        ))
    };
    parsed().ok_or_else(|| "write URL=CONCURRENCY/QPS, such as http://prometheus.monitoring:9090=20/100".to_owned())
}

fn joined(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=32).contains(number));
    number.ok_or_else(|| "must be a number between 1 and 32, such as 32".to_owned())
}

fn collector(text: &str) -> Result<Url, String> {
    let is_one = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty();
    let url = Url::parse(text).ok().filter(is_one);
    url.ok_or_else(|| "must be an http or https URL, such as http://jaeger:4317".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "must be a number between 0 and 1, such as 0.1".to_owned())
}

fn session_ttl(text: &str) -> Result<GoDuration, String> {
    let ttl: GoDuration = text.parse()?;
    let seconds = ttl.0.as_secs();
    // A Lease stores its duration in whole seconds. Below 3 s, a short delay of the API server would expire the session.
    if ttl.0.subsec_nanos() > 0 || !(3..=300).contains(&seconds) {
        return Err("must be whole seconds between 3s and 5m, such as 15s".to_owned());
    }
    Ok(ttl)
}

fn target_kind(text: &str) -> Result<WorkloadKind, String> {
    WorkloadKind::parse(text.trim()).ok_or_else(|| "must be Deployment, StatefulSet or DaemonSet".to_owned())
}

fn settling_time(text: &str) -> Result<GoDuration, String> {
    let time: GoDuration = text.parse()?;
    if !(1..=600).contains(&time.0.as_secs()) {
        return Err("must be between 1s and 10m, such as 5s".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests;
