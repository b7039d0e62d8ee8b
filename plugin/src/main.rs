//! `kubectl kanary`: a kubectl plugin for people and scripts that work with Kanaries.

mod check;
mod cli;
mod cluster;
mod commands;
mod completion;
mod edit;
#[cfg(test)]
mod examples;
mod exit;
mod istio;
mod manifests;
mod owner;
mod run;
mod selector;
mod terminal;
mod text;

use std::process::ExitCode;

use clap::Parser;

use self::{
    cli::{Cli, Command},
    cluster::Cluster,
    commands::{convert, explain, generate, get, lint, migrate, shards, status, steer, verdict},
    exit::Exit,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(exit) => exit.into(),
        Err(error) => exit::of_error(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let cluster = async || Cluster::connect(&cli.connection).await;
    match &cli.command {
        Command::Get(options) => get::get(&cluster().await?, options).await,
        Command::Status(options) => status::status(&cluster().await?, options).await,
        Command::Explain(options) => explain::explain(&cluster().await?, options).await,
        Command::Promote(options) => verdict::promote(&cluster().await?, options).await,
        Command::Abort(options) => verdict::abort(&cluster().await?, options).await,
        Command::Retry(options) => steer::retry(&cluster().await?, options).await,
        Command::Pause(options) => steer::pause(&cluster().await?, options).await,
        Command::Resume(options) => steer::resume(&cluster().await?, options).await,
        Command::Generate(options) => generate::generate(&cluster().await?, options).await,
        Command::Lint(options) => lint::lint(options).await,
        Command::Convert(options) => convert::convert(options).await,
        Command::Migrate(options) => migrate::migrate(options, &cli.connection).await,
        Command::Shards(options) => shards::shards(&cluster().await?, options).await,
        Command::Completion(options) => completion::completion(options),
        Command::Version => shards::version(),
        Command::Complete(options) => completion::complete(options, &cli.connection).await,
    }
}
