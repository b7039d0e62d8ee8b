//! `kubectl kanary status`: where a run stands, with exit codes for CI.

use std::{pin::pin, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use kanary_core::{ParsedKanary, api::GoDuration, status::Phase};
use kube::{
    ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, watch_object},
    },
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::{
    cluster::{Cluster, Found},
    exit::{self, Exit},
    run::{self, Elapsed, Outcome},
    terminal::{Frame, Terminal, fitting, print, print_lines},
    text::{Cell, Colour, bar, clean, table, wrapped},
};

/// Show where the run of a Kanary stands. The exit code is for CI.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::CODES)]
pub(crate) struct Status {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    /// Wait until the run has ended. The run is the one of the template and `spec.retry` that the Kanary has now: another one
    /// ends the wait with exit code 5.
    #[arg(long, short = 'w')]
    wait: bool,
    /// How long --wait waits, like 30m [default: no limit].
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<GoDuration>,
}

pub(crate) async fn status(cluster: &Cluster, options: &Status) -> anyhow::Result<Exit> {
    let found = cluster.find(&options.name).await?;
    if options.wait {
        return Waiting::new(found.parsed, options.timeout).until_the_end(cluster).await;
    }
    let terminal = Terminal::of_stdout();
    print_lines(&lines(&found.parsed, cluster.now(), terminal))?;
    conclude(&found.parsed)
}

/// The exit code of an outcome.
fn conclude(kanary: &ParsedKanary) -> anyhow::Result<Exit> {
    match Outcome::of(kanary) {
        Outcome::Promoted | Outcome::DryRunPassed => Ok(Exit::Done),
        Outcome::Failed | Outcome::Otherwise(_) => Ok(Exit::Failed),
        Outcome::Unseen | Outcome::UnderWay => Ok(Exit::Unfinished),
        Outcome::Deleting => Ok(Exit::Gone),
        Outcome::Invalid(why) => anyhow::bail!("the spec of {} cannot be run: {why}", kanary.key.name),
    }
}

/// Everything about the run, for people.
fn lines(kanary: &ParsedKanary, now: Timestamp, terminal: Terminal) -> Vec<String> {
    let (shown, colour) = run::shown(kanary);
    let spec = &kanary.spec;
    let row = |name: &str, text: &str, colour: Colour| vec![Cell::new(name, Colour::Dim), Cell::new(text, colour)];
    let key = format!("{}/{} ({})", kanary.key.namespace, kanary.key.name, kanary.key.kind);
    let mut rows = vec![
        row("Kanary:", &key, Colour::Bold),
        row("Status:", &shown, colour),
        row("Run:", &run_line(kanary), Colour::Plain),
        row(&format!("{}:", spec.target.kind), &spec.target.name, Colour::Plain),
        row("Images:", &images(kanary), Colour::Plain),
    ];
    let duration = run::duration(kanary, now);
    if !duration.is_empty() {
        let bar = Elapsed::of(kanary, now).filter(|_| terminal.live);
        let bar = bar.map(|elapsed| format!("{} ", bar_of(elapsed))).unwrap_or_default();
        rows.push(row("Validation:", &format!("{bar}{duration}"), Colour::Plain));
    }
    let mut lines = table(&rows, 1, width_of(terminal), terminal.coloured);
    lines.extend(wrapped(&run::why(kanary), 0, terminal.text_width()));
    lines.extend(items(kanary, terminal));
    lines
}

fn bar_of(elapsed: Elapsed) -> String {
    bar(elapsed.share(), 20)
}

fn run_line(kanary: &ParsedKanary) -> String {
    let number = run::number(kanary);
    match (Outcome::of(kanary), Phase::of(&kanary.status)) {
        (Outcome::Unseen, _) => format!("{number} is the last that was reported, and is not about the present spec"),
        _ => number.to_string(),
    }
}

/// The images of the template, by container.
fn images(kanary: &ParsedKanary) -> String {
    let template = kanary.spec.template.pod_template();
    let containers = template
        .pointer("/spec/containers")
        .and_then(|containers| containers.as_array());
    let images = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("image")?.as_str());
    images.map(clean).collect::<Vec<_>>().join(", ")
}

fn items(kanary: &ParsedKanary, terminal: Terminal) -> Vec<String> {
    if kanary.status.items.is_empty() || Outcome::of(kanary) == Outcome::Unseen {
        return Vec::new();
    }
    let heads = ["ITEM", "STATE", "GOOD", "BAD", "VALUE", "MESSAGE"];
    let mut rows = vec![heads.map(|head| Cell::new(head, Colour::Bold)).to_vec()];
    for item in &kanary.status.items {
        let value = item.last_value.map(|value| value.to_string()).unwrap_or_default();
        rows.push(vec![
            item.name.as_str().into(),
            Cell::new(format!("{:?}", item.state), state_colour(item.state)),
            item.good.to_string().as_str().into(),
            item.bad.to_string().as_str().into(),
            value.as_str().into(),
            item.message.as_str().into(),
        ]);
    }
    let mut lines = vec![String::new()];
    lines.extend(table(&rows, 2, width_of(terminal), terminal.coloured));
    lines
}

/// A line of a live view that wraps would displace those after it.
fn width_of(terminal: Terminal) -> Option<usize> {
    terminal.live.then(|| Terminal::size().0.saturating_sub(1))
}

/// Colour of the state of an item.
pub(crate) fn state_colour(state: kanary_core::api::ItemState) -> Colour {
    use kanary_core::api::ItemState;
    match state {
        ItemState::Good => Colour::Green,
        ItemState::Bad => Colour::Red,
        ItemState::Pending => Colour::Plain,
        ItemState::NoData | ItemState::Error | ItemState::Inconclusive => Colour::Yellow,
    }
}

/// The run that is waited for.
struct Waiting {
    /// The Kanary as it was seen last.
    kanary: ParsedKanary,
    uid: String,
    template: String,
    retry: i64,
    until: Option<Instant>,
    timeout: Option<GoDuration>,
    terminal: Terminal,
    frame: Frame,
    /// What was printed last, where there is no terminal.
    printed: String,
}

impl Waiting {
    fn new(kanary: ParsedKanary, timeout: Option<GoDuration>) -> Self {
        Self {
            uid: kanary.uid.clone(),
            template: kanary.spec.template_hash.clone(),
            retry: kanary.spec.retry,
            // A time that cannot be represented is no limit.
            until: timeout.and_then(|timeout| Instant::now().checked_add(timeout.0)),
            timeout,
            terminal: Terminal::of_stdout(),
            frame: Frame::default(),
            printed: String::new(),
            kanary,
        }
    }

    async fn until_the_end(mut self, cluster: &Cluster) -> anyhow::Result<Exit> {
        let name = self.kanary.key.name.clone();
        let api = cluster.kanaries(self.kanary.key.kind);
        let mut changes = pin!(watch_object(api, &name).default_backoff());
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        if let Some(exit) = self.see(cluster)? {
            return Ok(exit);
        }
        loop {
            let end = self.until;
            let over = async move {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                change = changes.next() => match change {
                    Some(Ok(Some(object))) => {
                        if object.uid() != Some(self.uid.clone()) {
                            return Ok(self.gone("was deleted and created again"));
                        }
                        self.kanary = Found::of(self.kanary.key.kind, object)?.parsed;
                        if let Some(exit) = self.see(cluster)? {
                            return Ok(exit);
                        }
                    }
                    Some(Ok(None)) => return Ok(self.gone("was deleted")),
                    Some(Err(error)) => report_error(&error)?,
                    None => anyhow::bail!("the watch of {name} ended"),
                },
                () = over => return Ok(self.timed_out()),
                _ = ticks.tick(), if self.terminal.live => self.draw(cluster)?,
            }
        }
    }

    /// Shows the Kanary as it is now. Returns the exit code if the wait is over.
    fn see(&mut self, cluster: &Cluster) -> anyhow::Result<Option<Exit>> {
        let spec = &self.kanary.spec;
        if spec.template_hash != self.template || spec.retry != self.retry {
            let what = if spec.retry == self.retry {
                "template"
            } else {
                "spec.retry"
            };
            return Ok(Some(self.gone(&format!("has another {what} now, and so another run"))));
        }
        if self.terminal.live {
            self.draw(cluster)?;
        } else {
            let line = self.line();
            if line != self.printed {
                print(&format!("{} {line}\n", cluster.now().strftime("%H:%M:%SZ")))?;
                self.printed = line;
            }
        }
        if !Outcome::of(&self.kanary).is_final() {
            return Ok(None);
        }
        conclude(&self.kanary).map(Some)
    }

    /// The news of one status, in one line.
    fn line(&self) -> String {
        let name = &self.kanary.key.name;
        clean(&format!(
            "{name} {}: {}",
            run::shown(&self.kanary).0,
            run::why(&self.kanary)
        ))
    }

    fn draw(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let lines = lines(&self.kanary, cluster.now(), self.terminal);
        // Lines with colours were cut by the table; the others must not wrap, or the next frame would be drawn too high.
        let fitted = lines
            .into_iter()
            .map(|line| if line.contains('\x1b') { line } else { fitting(&line) });
        self.frame.draw(&fitted.collect::<Vec<_>>())?;
        Ok(())
    }

    fn gone(&self, how: &str) -> Exit {
        eprintln!("error: Kanary {} {how}", self.kanary.key.name);
        Exit::Gone
    }

    fn timed_out(&self) -> Exit {
        let (name, timeout) = (&self.kanary.key.name, self.timeout.unwrap_or_default());
        eprintln!(
            "error: the run of Kanary {name} has not ended within {timeout}: {}",
            run::why(&self.kanary)
        );
        Exit::Unfinished
    }
}

/// A refusal ends the wait. Everything else is tried again.
fn report_error(error: &watcher::Error) -> anyhow::Result<()> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.as_ref()),
        _ => None,
    };
    if let Some(status) = status.filter(|status| matches!(status.code, 401 | 403 | 404)) {
        anyhow::bail!("could not watch the Kanary: {}", status.message);
    }
    eprintln!("the API server does not answer: {error}; trying again");
    Ok(())
}
