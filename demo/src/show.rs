//! The demo as people see it: a table that is drawn again and again, or plain lines.

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::server::Server;

use super::{
    costs::Costs,
    lines,
    model::{Model, News, Row, State},
    script::{End, Script},
    stage::{Receivers, Stage},
    table::{self, Screen, Size},
    terminal::Terminal,
    words::clock,
};

/// News that are kept for the table.
const KEPT: usize = 50;
/// What is cleaned up after the last verdict takes so long.
const GRACE: SignedDuration = SignedDuration::from_secs(20);
/// Nothing in the script takes so long, so something is wrong.
const TOO_LONG: SignedDuration = SignedDuration::from_hours(1);

/// Where it is shown.
pub(super) enum Output {
    Table(Terminal),
    Lines(Box<dyn Write>),
}

impl Output {
    /// The terminal, or plain lines if standard output is none.
    pub(super) fn standard() -> anyhow::Result<Self> {
        Ok(match Terminal::enter()? {
            Some(terminal) => Self::Table(terminal),
            None => Self::Lines(Box::new(io::stdout())),
        })
    }
}

/// What is shown, and where from.
pub(super) struct Show {
    model: Model,
    news: Vec<News>,
    costs: Costs,
    server: Server,
    receivers: Receivers,
    started: Timestamp,
    /// How many Kanaries the script has.
    parts: usize,
    /// When the last of them came to its end.
    settled: Option<Timestamp>,
    /// It was said that all has come to its end.
    is_told: bool,
    output: Output,
    /// How kubectl is used; empty if it cannot be.
    hints: Vec<String>,
}

impl Show {
    /// Begins.
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
            server: stage.server.clone(),
            started: stage.cluster.now(),
            receivers,
            parts: script.parts.len(),
            settled: None,
            is_told: false,
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

    /// Takes note of what happened since the last time, and shows it. Tells whether all has come to its end.
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
        let waits = (is_over && !self.hints.is_empty()).then_some("All has come to its end; Ctrl-C ends the cluster.");
        match &mut self.output {
            Output::Lines(out) => {
                for news in &news {
                    writeln!(out, "{}", lines::news(news))?;
                }
                if let Some(waits) = waits.filter(|_| !self.is_told) {
                    writeln!(out, "{}  {waits}", clock(now))?;
                    self.is_told = true;
                }
                out.flush()?;
            }
            Output::Table(terminal) => {
                self.news.append(&mut news);
                self.news.drain(..self.news.len().saturating_sub(KEPT));
                let mut footer = self.hints.clone();
                footer.push(
                    waits
                        .unwrap_or("A cluster in memory: nothing is installed. Ctrl-C ends it.")
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

    /// The script's Kanaries, with how they are to end.
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

    /// Gives the terminal back and sums it up. Returns the names of those that did not end as the script says.
    pub(super) fn end(self) -> io::Result<Vec<String>> {
        let unexpected = self.scripted().filter(|(row, end)| row.state != state_of(*end));
        let unexpected = unexpected.map(|(row, _)| row.name.clone()).collect();
        let (mut out, width, coloured): (Box<dyn Write>, _, _) = match self.output {
            Output::Lines(out) => (out, usize::MAX, false),
            Output::Table(terminal) => {
                let Size { width, .. } = Terminal::size();
                // Dropping it gives the screen back.
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

/// Where a run is that ended as it was to.
fn state_of(end: End) -> State {
    match end {
        End::Promoted => State::Promoted,
        End::Failed => State::Failed,
        End::DryRun => State::Passed,
        End::Waits => State::Waiting,
    }
}
