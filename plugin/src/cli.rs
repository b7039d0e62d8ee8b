//! Command line.

use clap::{Parser, Subcommand};

use crate::{
    cluster::Connection,
    commands::{
        convert::Convert,
        explain::Explain,
        generate::Generate,
        get::Get,
        lint::Lint,
        migrate::Migrate,
        shards::Shards,
        status::Status,
        steer::{Pause, Resume, Retry},
        verdict::{Abort, Promote},
    },
    completion::{Complete, Completion},
};

/// Canary deployments with Kanary: generate, watch, judge, explain.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-kanary",
    bin_name = "kubectl kanary",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(Get),
    Status(Status),
    Explain(Explain),
    Promote(Promote),
    Abort(Abort),
    Retry(Retry),
    Pause(Pause),
    Resume(Resume),
    Generate(Box<Generate>),
    Lint(Lint),
    Convert(Convert),
    Migrate(Migrate),
    Shards(Shards),
    Completion(Completion),
    /// Print the version of the plugin, and of the API that it knows.
    Version,
    #[command(name = "__complete", hide = true)]
    Complete(Complete),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_kubectl_stand_before_or_behind_the_command() {
        for arguments in [["-n", "shop", "get"], ["get", "-n", "shop"]] {
            let cli = Cli::try_parse_from(["kubectl-kanary"].iter().chain(&arguments)).unwrap();
            assert_eq!(cli.connection.namespace.as_deref(), Some("shop"));
        }
        assert!(Cli::try_parse_from(["kubectl-kanary", "get", "-A", "-n", "shop"]).is_err());
        assert!(Cli::try_parse_from(["kubectl-kanary", "status", "x", "--timeout", "1m"]).is_err());
    }
}
