//! The output of the demo: a table that is redrawn, or plain lines.

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::server::Server;

use super::{
    costs::Costs,
    lines,
    model::{Model, News, Row, State},
    phrases::clock,
    script::{End, Script},
    stage::{Receivers, Stage},
    table::{self, Screen, Size},
    terminal::Terminal,
};

/// How many events are kept for the table.
const KEPT: usize = 50;
/// Time for cleanups after the last verdict.
const GRACE: SignedDuration = SignedDuration::from_secs(20);
/// The script is shorter than this, so a longer demo indicates a bug.
const TOO_LONG: SignedDuration = SignedDuration::from_hours(1);

/// The kind of output.
pub(super) enum Output {
    Table(Terminal),
    Lines(Box<dyn Write>),
}

impl Output {
    /// A terminal, or plain lines if standard output is not a terminal.
    pub(super) fn standard() -> anyhow::Result<Self> {
        Ok(match Terminal::enter()? {
            Some(terminal) => Self::Table(terminal),
            None => Self::Lines(Box::new(io::stdout())),
        })
    }
}

/// The output and its sources.
pub(super) struct Show {
    model: Model,
    news: Vec<News>,
    costs: Costs,
    server: Server,
    receivers: Receivers,
    started: Timestamp,
    /// Number of Kanaries in the script.
    parts: usize,
    /// When the last of them ended.
    settled: Option<Timestamp>,
    /// Whether the end has been reported.
    is_reported: bool,
    output: Output,
    /// How to use kubectl; empty without `--listen`.
    hints: Vec<String>,
}

impl Show {
    /// Starts the output.
    pub(super) fn new(
        script: &Script,
        stage: &Stage,
        receivers: Receivers,
        hints: Vec<String>,
        output: Output,
    ) -> io::Result<Self> {
        let mut show = Self {
            model: Model::new(script),
            news: Vec::new(),
            costs: Costs::default(),
            server: stage.stack.server.clone(),
            started: stage.stack.cluster.now(),
            receivers,
            parts: script.parts.len(),
            settled: None,
            is_reported: false,
            output,
            hints,
        };
        if let Output::Lines(out) = &mut show.output {
            let now = clock(show.started);
            writeln!(
                out,
                "{now}  {} Kanaries on a cluster in memory; times are the cluster's, in UTC",
                show.parts
            )?;
            for hint in &show.hints {
                writeln!(out, "{now}  {hint}")?;
            }
        }
        Ok(show)
    }

    /// Processes and shows what happened since the last call. Returns whether all runs have ended.
    pub(super) fn update(&mut self, speed: &str) -> io::Result<bool> {
        while let Ok((canary, value)) = self.receivers.measurements.try_recv() {
            self.model.measured(&canary, value);
        }
        let mut news = Vec::new();
        while let Ok(deed) = self.receivers.deeds.try_recv() {
            news.push(deed);
        }
        while let Ok(change) = self.receivers.changes.try_recv() {
            news.extend(self.model.notice(&change));
        }
        news.sort_by_key(|news| news.at);
        self.costs.count(&self.server.take_entries());
        self.costs.queries = self.receivers.prometheus.queries();
        let now = self.server.cluster().now();
        if self.settled.is_none() && self.is_settled() {
            self.settled = Some(now);
        }
        let is_over = self.is_over(now);
        let waits = (is_over && !self.hints.is_empty()).then_some("All runs have ended; Ctrl-C ends the cluster.");
        match &mut self.output {
            Output::Lines(out) => {
                for news in &news {
                    writeln!(out, "{}", lines::news(news))?;
                }
                if let Some(waits) = waits.filter(|_| !self.is_reported) {
                    writeln!(out, "{}  {waits}", clock(now))?;
                    self.is_reported = true;
                }
                out.flush()?;
            }
            Output::Table(terminal) => {
                self.news.append(&mut news);
                self.news.drain(..self.news.len().saturating_sub(KEPT));
                let mut footer = self.hints.clone();
                footer.push(
                    waits
                        .unwrap_or("An in-memory cluster: nothing is installed. Ctrl-C ends it.")
                        .to_owned(),
                );
                let screen = Screen {
                    model: &self.model,
                    news: &self.news,
                    costs: &self.costs,
                    started: self.started,
                    now,
                    speed,
                    footer: &footer,
                };
                Terminal::draw(&table::frame(&screen, Terminal::size(), terminal.coloured))?;
            }
        }
        Ok(is_over)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.settled.is_some_and(|settled| now.duration_since(settled) >= GRACE)
            || now.duration_since(self.started) >= TOO_LONG
    }

    /// The script's Kanaries, with their expected ends.
    fn scripted(&self) -> impl Iterator<Item = (&Row, End)> {
        let rows = self.model.rows.iter();
        rows.filter_map(|row| row.part.as_ref().map(|part| (row, part.end)))
    }

    fn is_settled(&self) -> bool {
        let settled = self
            .scripted()
            .filter(|(row, end)| row.state.is_end() || (*end == End::Waits && row.state == State::Waiting));
        settled.count() == self.parts
    }

    /// Restores the terminal and prints the summary. Returns the names of the Kanaries that did not end as expected.
    pub(super) fn end(self) -> io::Result<Vec<String>> {
        let unexpected = self.scripted().filter(|(row, end)| row.state != state_of(*end));
        let unexpected = unexpected.map(|(row, _)| row.name.clone()).collect();
        let (mut out, width, coloured): (Box<dyn Write>, _, _) = match self.output {
            Output::Lines(out) => (out, usize::MAX, false),
            Output::Table(terminal) => {
                let Size { width, .. } = Terminal::size();
                // Dropping it restores the screen.
                (Box::new(io::stdout()), width, terminal.coloured)
            }
        };
        let passed = self.server.cluster().now().duration_since(self.started);
        let summary = lines::summary(&self.model, &self.costs, passed, width, coloured);
        for line in summary.into_iter().chain(lines::hints(!self.hints.is_empty())) {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        Ok(unexpected)
    }
}

/// The state of a run that ended as expected.
fn state_of(end: End) -> State {
    match end {
        End::Promoted => State::Promoted,
        End::Failed => State::Failed,
        End::DryRun => State::Passed,
        End::Waits => State::Waiting,
    }
}
