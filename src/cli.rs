//! What is said on the command line and in the environment.

use std::{ffi::OsStr, net::SocketAddr, path::PathBuf};

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};
use kanary_core::api::{GoDuration, Layout};

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
    Run(Run),
    /// Show which replica acts on what: slots, owners, epochs, the age of sessions, and how many Kanaries each shard has.
    Shards(Shards),
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`.
    Crds(Crds),
}

#[derive(clap::Args)]
pub(crate) struct Shards {
    /// Where the Leases are [default: the namespace of the context in KUBECONFIG].
    #[arg(long, short = 'n', env = "KANARY_LEASE_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    pub(crate) lease_namespace: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Crds {
    /// Write a file for each into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Run {
    /// Serve /livez, /readyz and /metrics here; port 0 takes any free one (the log tells which).
    #[arg(
        long,
        env = "KANARY_ADMIN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR",
        value_parser = address
    )]
    pub(crate) admin_addr: SocketAddr,
    /// Serve the Kanaries of this namespace only [default: of all].
    #[arg(long, env = "KANARY_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<String>,
    /// Form of the log.
    #[arg(long, env = "KANARY_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level, or directives like `info,kanary=debug`.
    #[arg(long, env = "KANARY_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// Name of this replica: in Events, and among the others. Each needs its own; in a cluster it is the pod's.
    #[arg(long, env = "HOSTNAME", default_value = "kanary", value_name = "NAME")]
    pub(crate) identity: String,
    /// Run as the only replica, without Leases. Two of these at once act on the same Kanaries.
    #[arg(
        long,
        env = "KANARY_STANDALONE",
        value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["shards", "session_ttl", "lease_namespace"]
    )]
    pub(crate) standalone: bool,
    /// Parts that replicas divide the Kanaries into: a power of two up to 256, some times as many as there will be replicas.
    /// Counts when the first replica starts; afterwards it is what is stored.
    #[arg(long, env = "KANARY_SHARDS", default_value = "32", value_name = "NUMBER", value_parser = layout)]
    pub(crate) shards: Layout,
    /// How long the others wait before they take over from a replica that is not heard of. Each writes five times as often.
    /// With 6s they take over within 7 s and not 17.
    #[arg(long, env = "KANARY_SESSION_TTL", default_value = "15s", value_name = "DURATION", value_parser = session_ttl)]
    pub(crate) session_ttl: GoDuration,
    /// Where the Leases are [default: the namespace of the pod, or of the context in KUBECONFIG]. All controllers that act
    /// on the same Kanaries need the same one: in different ones they do not see each other, and both act.
    #[arg(long, env = "KANARY_LEASE_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    pub(crate) lease_namespace: Option<String>,
    /// Hash of the pod template of this replica, the label pod-template-hash: in a rolling update new replicas are preferred.
    #[arg(long, env = "KANARY_POD_TEMPLATE_HASH", default_value = "", value_name = "HASH")]
    pub(crate) pod_template_hash: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What is asked for. Where that cannot be told, or it is help, the program ends here.
pub(crate) fn parse() -> Command {
    let is_unset = |name: &OsStr| std::env::var_os(name).is_some_and(|value| says_nothing(name, &value));
    let matches = command(is_unset).get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    }
}

/// Whether a variable of the environment counts as not set: it is empty, or a flag that is off, which must not be in the way of
/// what the flag cannot be used with.
fn says_nothing(name: &OsStr, value: &OsStr) -> bool {
    let off = ["n", "no", "f", "false", "off", "0"];
    let is_off = value
        .to_str()
        .is_some_and(|value| off.contains(&&*value.to_lowercase()));
    value.is_empty() || (name == "KANARY_STANDALONE" && is_off)
}

/// All commands, without the variables of the environment that count as not set.
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
               not taken";
    text.parse().map_err(|_| why.to_owned())
}

/// The name of a namespace. Nothing is taken as well, and counts as not said.
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

fn layout(text: &str) -> Result<Layout, String> {
    let layout = text.parse().ok().and_then(|shards| Layout::new(shards).ok());
    layout.ok_or_else(|| "must be a power of two between 1 and 256, such as 32".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is understood, where no variable of the environment is set.
    fn said(arguments: &[&str]) -> Result<Command, String> {
        let command = command(|_| true);
        let matches = command.try_get_matches_from([&["kanary"], arguments].concat());
        let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
        cli.map(|cli| cli.command).map_err(|error| error.to_string())
    }

    fn run(arguments: &[&str]) -> Run {
        match said(&[&["run"], arguments].concat()) {
            Ok(Command::Run(run)) => run,
            Ok(_) => panic!("{arguments:?} is about something else"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_commands_are_well_formed() {
        command(|_| false).debug_assert();
    }

    #[test]
    fn what_is_refused_is_told_once_and_with_an_example() {
        for (arguments, why) in [
            (&["--shards", "3"], "a power of two between 1 and 256, such as 32"),
            (&["--shards", "many"], "a power of two between 1 and 256, such as 32"),
            (&["--session-ttl", "1s"], "between 3s and 5m, such as 15s"),
            (&["--admin-addr", "8080"], "like 127.0.0.1:8080"),
            (
                &["--admin-addr", "localhost:8080"],
                "names like localhost are not taken",
            ),
            (&["--namespace", "Bad NS"], "not a DNS label"),
            (&["--lease-namespace", "Bad NS"], "such as kanary-system"),
        ] {
            let error = said(&[&["run"], arguments.as_slice()].concat()).err().unwrap();
            assert!(error.contains(why), "{error}");
            assert_eq!(error.matches(arguments[0]).count(), 1, "{error}");
        }
        let error = said(&["shards", "-n", "Bad NS"]).err().unwrap();
        assert!(error.contains("not a DNS label"), "{error}");
    }

    #[test]
    fn a_namespace_is_a_dns_label_or_not_said() {
        for good in ["", "a", "0", "kanary-system", &"a".repeat(63)] {
            assert_eq!(namespace(good), Ok(good.to_owned()));
        }
        for bad in ["-a", "a-", "Shop", "a.b", "a_b", "a b", "café", &"a".repeat(64)] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_counts_as_not_set() {
        let command = command(|name| name == "KANARY_SHARDS");
        let reads = |name: &str| {
            let run = command.find_subcommand("run").unwrap();
            run.get_arguments().any(|arg| arg.get_env() == Some(OsStr::new(name)))
        };
        assert!(!reads("KANARY_SHARDS") && reads("KANARY_SESSION_TTL"));
        assert_eq!(run(&[]).shards, Layout::DEFAULT);
        assert!(run(&["--standalone"]).standalone && !run(&[]).standalone);
    }

    #[test]
    fn a_flag_that_is_off_is_not_set() {
        let says_nothing = |name: &str, value: &str| super::says_nothing(OsStr::new(name), OsStr::new(value));
        for off in ["", "0", "false", "No", "OFF"] {
            assert!(says_nothing("KANARY_STANDALONE", off), "{off}");
        }
        assert!(!says_nothing("KANARY_STANDALONE", "true") && !says_nothing("KANARY_SHARDS", "0"));
    }
}
