//! Load tests of Kanary on a real control plane: `just loadtest burst --canaries 50,200`. `docs/scale.md` explains the
//! scenarios and the figures.

#![allow(clippy::cast_precision_loss, reason = "the figures have few digits")]

mod api;
mod apiserver;
mod arrivals;
mod audit;
mod board;
mod cli;
mod disturbance;
mod figures;
mod floor;
mod plan;
mod plane;
mod processes;
mod prometheus;
mod replicas;
mod report;
mod run;
mod tenant;
mod watch;
mod webhook;
mod workload;

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use self::{plan::Plan, plane::Plane};

/// Starts and stops the control plane. The path is relative to the root of the repository.
const PLANE: &str = "hack/plane/plane";

fn main() -> ExitCode {
    let plan = cli::parse();
    let result = if Plane::is_running() {
        load(&plan)
    } else {
        Err(start_plane())
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Replaces this process by one that starts a control plane and runs this program again. Returns only if that fails.
fn start_plane() -> anyhow::Error {
    if !Path::new(PLANE).is_file() {
        return anyhow::anyhow!(
            "{PLANE} does not exist: run this program in the root of the repository, or under `hack/plane/plane run`"
        );
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut command = Command::new(PLANE);
    let command = command
        .args(["run", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1));
    anyhow::Error::from(command.exec()).context(PLANE)
}

/// Runs the plan and writes the results. Returns whether every canary was promoted.
#[tokio::main]
async fn load(plan: &Plan) -> anyhow::Result<bool> {
    processes::raise_file_limit();
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let runs = tokio::select! {
        biased;
        _ = term.recv() => anyhow::bail!("ended by SIGTERM; there are no results"),
        _ = interrupt.recv() => anyhow::bail!("ended by SIGINT; there are no results"),
        runs = run::all(plan) => runs?,
    };
    report::write(plan, &runs).context("could not write the results")?;
    Ok(runs.iter().all(run::Run::is_complete))
}
