//! `cargo demo`: runs Kanary on an in-memory cluster for half a minute.

mod costs;
mod generate;
mod lines;
mod manifests;
mod model;
mod pace;
mod phrases;
mod script;
mod series;
mod serving;
mod show;
mod stage;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, process::ExitCode, str::FromStr};

use clap::Parser;
use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{
    pace::Pace,
    script::{Script, Start},
    serving::Serving,
    show::{Output, Show},
    stage::Stage,
};
use kanary::{cluster::clock::Clock, controller};

/// Runs Kanary on an in-memory cluster; needs no setup and takes half a minute.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "cargo demo", version)]
struct Options {
    /// Adds this many generated Kanaries, at most 10000. 1000 take about half a minute and 0.3 GB of memory, 10000 some minutes
    /// and 1.6 GB.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = canaries)]
    canaries: u32,
    /// Speed of the cluster's time relative to real time: a whole number from 1 to 10000.
    #[arg(long, value_name = "X", default_value_t = 30, value_parser = speed)]
    speed: u32,
    /// Serves the cluster to kubectl on this loopback address until Ctrl-C; port 0 selects a free port.
    #[arg(long, value_name = "ADDR", value_parser = serving::loopback)]
    listen: Option<SocketAddr>,
    /// Seed of the random numbers; the same seed gives the same demo.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = seed)]
    seed: u64,
}

fn canaries(text: &str) -> Result<u32, String> {
    whole(text, 0..=10_000, "1000")
}

fn speed(text: &str) -> Result<u32, String> {
    whole(text, 1..=10_000, "30")
}

fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX, "7")
}

/// Parses a whole number within a range.
fn whole<T: FromStr + PartialOrd + Display>(text: &str, taken: RangeInclusive<T>, example: &str) -> Result<T, String> {
    let number = text.parse::<T>().ok().filter(|number| taken.contains(number));
    let (first, last) = taken.into_inner();
    number.ok_or_else(|| format!("must be a whole number from {first} to {last}, such as {example}"))
}

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// All runs ended as the script expects.
    Complete,
    /// Interrupted by the user.
    Interrupted,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("kanary-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo on the terminal, or prints plain lines if standard output is not a terminal.
fn run(options: Options) -> anyhow::Result<Ending> {
    let now = Clock::default().now();
    // Start at a whole second, because the API server truncates times to seconds and the script's times would be shifted.
    let start = Start(Timestamp::from_second(now.as_second())?);
    let pace = Pace::new(Some(options.speed));
    on_paused_time(play(options, start, pace, Output::standard))
}

/// Runs on one thread with a paused clock, which only [`Pace`] advances.
fn on_paused_time<T>(what: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build()?.block_on(what)
}

async fn play(
    options: Options,
    start: Start,
    mut pace: Pace,
    output: impl FnOnce() -> anyhow::Result<Output>,
) -> anyhow::Result<Ending> {
    fastrand::seed(options.seed);
    let script = Script::new(options.seed, options.canaries);
    let (stage, receivers) = Stage::new(&script, start, options.seed)?;
    let serving = match options.listen {
        Some(address) => Some(Serving::start(address).await?),
        None => None,
    };
    let hints = serving.as_ref().map(|serving| serving.hints(options.speed));
    let mut term = signal(SignalKind::terminate())?;
    let mut show = Show::new(&script, &stage, receivers, hints.unwrap_or_default(), output()?)?;
    let mut tasks = tasks(script, stage, serving);
    let mut is_played = false;
    let ending = loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break Ending::Interrupted,
            _ = term.recv() => break Ending::Interrupted,
            Some(ended) = tasks.join_next() => match ended?? {
                SCRIPT => is_played = true,
                name => anyhow::bail!("{name} ended"),
            },
            () = pace.tick() => {
                let is_over = show.update(&pace.shown())? && is_played;
                if is_over && options.listen.is_none() {
                    break Ending::Complete;
                }
            }
        }
    };
    let unexpected = show.end()?;
    if options.listen.is_some() {
        return Ok(Ending::Complete);
    }
    if ending == Ending::Complete && !unexpected.is_empty() {
        anyhow::bail!("these Kanaries did not end as expected: {}", unexpected.join(", "));
    }
    Ok(ending)
}

/// The only task that may end.
const SCRIPT: &str = "the script";

/// All concurrent tasks.
fn tasks(script: Script, stage: Stage, serving: Option<Serving>) -> JoinSet<anyhow::Result<&'static str>> {
    let mut tasks = JoinSet::new();
    let controllers = stage.stack.run(Stage::behaviour(&script));
    tasks.spawn(async move {
        controllers.await;
        Ok("the cluster")
    });
    let (client, options) = stage.controller();
    tasks.spawn(async move {
        controller::run(client, options, CancellationToken::new()).await?;
        Ok("Kanary")
    });
    if let Some(serving) = serving {
        let server = stage.stack.server.clone();
        tasks.spawn(async move {
            serving.serve(server).await?;
            Ok("the API server")
        });
    }
    tasks.spawn(async move {
        stage.play(script).await?;
        Ok(SCRIPT)
    });
    tasks
}

#[cfg(test)]
mod options {
    use clap::Parser;

    use super::Options;

    #[test]
    fn numbers_are_reported_with_the_accepted_range() {
        for (arguments, why) in [
            (["--canaries", "x"], "a whole number from 0 to 10000, such as 1000"),
            (["--canaries", "10001"], "a whole number from 0 to 10000, such as 1000"),
            (["--speed", "1.5"], "a whole number from 1 to 10000, such as 30"),
            (["--speed", "0"], "a whole number from 1 to 10000, such as 30"),
            (
                ["--seed", "x"],
                "a whole number from 0 to 18446744073709551615, such as 7",
            ),
            (["--listen", "localhost:0"], "names like localhost are not supported"),
        ] {
            let arguments = [&["kanary-demo"], arguments.as_slice()].concat();
            let error = Options::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
