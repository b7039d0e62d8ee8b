//! Command line.

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kanary_core::api::GoDuration;

use crate::plan::{Arrivals, Disturbance, Operator, Plan, Template, Tenant};

/// Load tests of Kanary on a real control plane, which is started and stopped for it (hack/plane).
#[derive(Parser)]
#[command(name = "kanary-loadtest", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// All Kanaries are created at once.
    Burst(Common),
    /// As `burst`, but the load generator does the least work that a canary needs, without Kanary.
    Floor(Common),
    /// Kanaries are created at a rate, however long the earlier ones take.
    Steady(Steady),
    /// A replica is killed while its canaries are validated.
    Failover(Failover),
    /// All replicas are replaced one by one, as in a rolling update.
    Rolling(Rolling),
    /// Prometheus is slow and faulty for some time.
    Brownout(Brownout),
    /// A tenant's admission webhook answers late, beside Kanaries of others.
    Webhook(SlowWebhook),
    /// A tenant's Kanaries ask slow and dead Prometheus servers, beside Kanaries of others.
    Hostile(Hostile),
}

#[derive(Args)]
struct Common {
    /// Number of canaries, from 1 to 20000; several numbers make one run each.
    #[arg(long, default_value = "50", value_delimiter = ',', value_name = "N,…", value_parser = canaries)]
    canaries: Vec<usize>,
    /// Number of replicas of Kanary, from 1 to 5 [default: 1; 3 in failover and rolling].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: Option<u8>,
    /// Who does the work; several make one run each, on the same control plane.
    #[arg(
        long,
        default_value = "kanary",
        value_enum,
        value_delimiter = ',',
        value_name = "WHO,…"
    )]
    operator: Vec<Operator>,
    /// The validationPeriod of each Kanary, at least 5s.
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = validation)]
    validation: GoDuration,
    /// Time between the queries for a canary, at least 1s.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = interval)]
    interval: GoDuration,
    /// Size of the pod templates.
    #[arg(long, default_value = "small", value_enum, value_name = "SIZE")]
    template: Template,
    /// Largest number of writes of the load generator in flight.
    #[arg(long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    in_flight: u16,
    /// Seed of the arrival times.
    #[arg(long, default_value = "1", value_name = "N")]
    seed: u64,
    /// How much longer than planned the canaries may take before the run ends without them.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    patience: GoDuration,
    /// The program under test.
    #[arg(long, default_value = "target/release/kanary", value_name = "FILE")]
    kanary: PathBuf,
    /// An additional argument for `kanary run`, such as --kanary-arg=--session-ttl=6s; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    kanary_arg: Vec<String>,
    /// Folder for the results.
    #[arg(long, default_value = "loadtest/results", value_name = "FOLDER")]
    results: PathBuf,
    /// Name of the files in that folder [default: the scenario].
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    name: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Spacing {
    Poisson,
    Even,
}

#[derive(Args)]
struct Steady {
    #[command(flatten)]
    common: Common,
    /// Kanaries created each second.
    #[arg(long, default_value = "5", value_name = "NUMBER", value_parser = rate)]
    rate: f64,
    /// Distances between arrivals.
    #[arg(long, default_value = "poisson", value_enum, value_name = "KIND")]
    spacing: Spacing,
}

#[derive(Args)]
struct Failover {
    #[command(flatten)]
    common: Common,
    /// When the replica is killed, from the first arrival [default: half of the validation].
    #[arg(long, value_name = "DURATION")]
    after: Option<GoDuration>,
    /// Start the replica again at once, as the kubelet restarts a container. Otherwise its node is lost.
    #[arg(long)]
    restart: bool,
}

#[derive(Args)]
struct Rolling {
    #[command(flatten)]
    common: Common,
    /// When the update begins, from the first arrival [default: half of the validation].
    #[arg(long, value_name = "DURATION")]
    after: Option<GoDuration>,
}

#[derive(Args)]
struct Brownout {
    #[command(flatten)]
    common: Common,
    /// When it begins, from the first arrival [default: half of the validation].
    #[arg(long, value_name = "DURATION")]
    after: Option<GoDuration>,
    /// How long it lasts.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    lasts: GoDuration,
    /// How late Prometheus answers.
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    latency: GoDuration,
    /// How many of its answers are errors.
    #[arg(long, default_value = "50", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    errors: u8,
}

#[derive(Args)]
struct SlowWebhook {
    #[command(flatten)]
    common: Common,
    /// Number of the tenant's Kanaries, from 1 to 20000.
    #[arg(long, default_value = "320", value_name = "N", value_parser = canaries)]
    tenant: usize,
    /// How late the webhook answers; the API server gives up after 30s.
    #[arg(long, default_value = "20s", value_name = "DURATION")]
    delay: GoDuration,
}

#[derive(Args)]
struct Hostile {
    #[command(flatten)]
    common: Common,
    /// Number of the tenant's Prometheus servers, from 1 to 20000: half refuse connections, half never answer.
    #[arg(long, default_value = "1000", value_name = "N", value_parser = canaries)]
    endpoints: usize,
    /// Items of each of the tenant's Kanaries, from 1 to 100.
    #[arg(long, default_value = "10", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    items: u8,
}

fn canaries(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=20_000).contains(number));
    number.ok_or_else(|| "must be a number from 1 to 20000, such as 50".to_owned())
}

fn validation(text: &str) -> Result<GoDuration, String> {
    at_least(text, Duration::from_secs(5))
}

fn interval(text: &str) -> Result<GoDuration, String> {
    at_least(text, Duration::from_secs(1))
}

fn at_least(text: &str, least: Duration) -> Result<GoDuration, String> {
    let duration: GoDuration = text.parse()?;
    if duration.0 < least {
        return Err(format!("must be at least {}", GoDuration(least)));
    }
    Ok(duration)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=1000.0).contains(rate));
    rate.ok_or_else(|| "must be a number from 0.01 to 1000, such as 5".to_owned())
}

fn file_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err("must consist of letters, digits, '-' and '_', such as before".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses the command line. Prints help or an error and exits where it does not contain a plan.
pub(crate) fn parse() -> Plan {
    let command: Vec<_> = std::env::args().skip(1).collect();
    match plan(Cli::parse(), command.join(" ")) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("loadtest: {error}");
            std::process::exit(2);
        }
    }
}

fn plan(cli: Cli, command: String) -> Result<Plan, String> {
    match cli.scenario {
        Scenario::Burst(common) => base("burst", common, command),
        Scenario::Floor(common) => {
            let plan = base("floor", common, command)?;
            Ok(Plan {
                operators: vec![Operator::Floor],
                ..plan
            })
        }
        Scenario::Steady(Steady { common, rate, spacing }) => {
            let arrivals = match spacing {
                Spacing::Poisson => Arrivals::Poisson(rate),
                Spacing::Even => Arrivals::Even(rate),
            };
            Ok(Plan {
                arrivals,
                ..base("steady", common, command)?
            })
        }
        Scenario::Failover(Failover { common, after, restart }) => {
            let after = time(after, &common);
            disturbed("failover", common, command, Disturbance::Kill { after, restart })
        }
        Scenario::Rolling(Rolling { common, after }) => {
            let after = time(after, &common);
            disturbed("rolling", common, command, Disturbance::Roll { after })
        }
        Scenario::Brownout(options) => brownout(options, command),
        Scenario::Webhook(options) => Ok(Plan {
            tenant: Some(Tenant::Webhook {
                kanaries: options.tenant,
                delay: options.delay.0,
            }),
            ..base("webhook", options.common, command)?
        }),
        Scenario::Hostile(options) => Ok(Plan {
            tenant: Some(Tenant::Endpoints {
                endpoints: options.endpoints,
                items: usize::from(options.items),
            }),
            ..base("hostile", options.common, command)?
        }),
    }
}

fn brownout(options: Brownout, command: String) -> Result<Plan, String> {
    let disturbance = Disturbance::Brownout {
        after: time(options.after, &options.common),
        lasts: options.lasts.0,
        latency: options.latency.0,
        error_percent: options.errors,
    };
    disturbed("brownout", options.common, command, disturbance)
}

/// When a disturbance begins: in the middle of the validations, unless asked for otherwise.
fn time(after: Option<GoDuration>, common: &Common) -> Duration {
    after.map_or_else(|| common.validation.0 / 2, |after| after.0)
}

fn disturbed(
    scenario: &'static str,
    common: Common,
    command: String,
    disturbance: Disturbance,
) -> Result<Plan, String> {
    let plan = base(scenario, common, command)?;
    if plan.operators.contains(&Operator::Floor) {
        return Err(format!(
            "{scenario} is about Kanary: it cannot be combined with --operator floor"
        ));
    }
    Ok(Plan { disturbance, ..plan })
}

fn base(scenario: &'static str, common: Common, command: String) -> Result<Plan, String> {
    if common.interval.0 > common.validation.0 {
        return Err(format!(
            "--interval {}: must not be longer than --validation {}, or no query is due before the deadline",
            common.interval, common.validation
        ));
    }
    let replicas = common.replicas.unwrap_or(match scenario {
        "failover" | "rolling" => 3,
        _ => 1,
    });
    if scenario == "failover" && replicas < 2 {
        return Err("failover needs --replicas 2 or more, so that one can take over".to_owned());
    }
    Ok(Plan {
        scenario,
        canaries: common.canaries,
        operators: common.operator,
        replicas: usize::from(replicas),
        validation: common.validation.0,
        interval: common.interval.0,
        template: common.template,
        arrivals: Arrivals::Burst,
        disturbance: Disturbance::None,
        tenant: None,
        in_flight: usize::from(common.in_flight),
        seed: common.seed,
        patience: common.patience.0,
        program: common.kanary,
        program_arguments: common.kanary_arg,
        results: common.results,
        name: common.name.unwrap_or_else(|| scenario.to_owned()),
        command,
    })
}
