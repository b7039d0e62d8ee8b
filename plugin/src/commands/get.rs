//! `kubectl kanary get`.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind},
    validation::Item,
};
use kube::{
    ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::{
    cluster::{Cluster, Found, kinds_of, place_of},
    exit::Exit,
    run::{self, Elapsed},
    terminal::{Frame, Terminal, print, print_lines},
    text::{Cell, Colour, bar, table},
};

/// Show Kanaries, with the columns of the published plugin.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// Names of Kanaries [default: all].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Kanaries of all namespaces.
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Go on showing changes until Ctrl-C: a live view on a terminal, one line for each change elsewhere.
    #[arg(long, short = 'w')]
    watch: bool,
}

const HEADS: [&str; 9] = [
    "NAMESPACE",
    "NAME",
    "STATUS",
    "DEPLOYMENT",
    "SERVICE",
    "SCALE",
    "TRAFFIC",
    "VALIDATION",
    "DURATION",
];

pub(crate) async fn get(cluster: &Cluster, options: &Get) -> anyhow::Result<Exit> {
    if options.watch {
        return watch(cluster, options).await;
    }
    let terminal = Terminal::of_stdout();
    let found = if options.names.is_empty() {
        cluster.list(options.all_namespaces).await?
    } else {
        anyhow::ensure!(
            !options.all_namespaces,
            "a name is looked for in one namespace: leave out -A, and write -n NAMESPACE"
        );
        let mut found = Vec::new();
        for name in &options.names {
            let Found { object, parsed } = cluster.find(name).await?;
            found.push((parsed.key.kind, object));
        }
        found
    };
    if found.is_empty() {
        let place = if options.all_namespaces {
            "this cluster".to_owned()
        } else {
            format!("namespace {}: -A shows those of all namespaces", cluster.namespace)
        };
        eprintln!("No Kanaries in {place}.");
        return Ok(Exit::Done);
    }
    let known = found.into_iter().map(|(kind, object)| row_of(kind, &object));
    print_lines(&rows(
        &known.collect::<Vec<_>>(),
        cluster.now(),
        None,
        terminal.coloured,
    ))?;
    Ok(Exit::Done)
}

/// A Kanary of the table. One that cannot be read is shown nevertheless.
#[derive(Clone, Debug)]
struct Row {
    kind: KanaryKind,
    namespace: String,
    name: String,
    parsed: Option<ParsedKanary>,
}

fn row_of(kind: KanaryKind, object: &Kanary) -> Row {
    Row {
        kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        parsed: ParsedKanary::parse(kind, object).ok(),
    }
}

impl Row {
    /// The columns before DURATION.
    fn cells(&self, is_ambiguous: bool) -> Vec<Cell> {
        let name = if is_ambiguous {
            format!("{}/{}", self.kind.singular_resource(), self.name)
        } else {
            self.name.clone()
        };
        let mut cells = vec![self.namespace.as_str().into(), name.as_str().into()];
        let Some(parsed) = &self.parsed else {
            cells.push(Cell::new("Unreadable", Colour::Red));
            return cells;
        };
        let (status, colour) = run::shown(parsed);
        let report = &parsed.status.report;
        let or = |stored: &str, spec: &str| {
            if stored.is_empty() {
                spec.to_owned()
            } else {
                stored.to_owned()
            }
        };
        let service = parsed.spec.service.as_deref().unwrap_or_default();
        cells.push(Cell::new(status, colour));
        cells.push(or(&report.deployment, &parsed.spec.target.name).as_str().into());
        cells.push(or(&report.service, service).as_str().into());
        cells.push(or(&report.scale, parsed.spec.scale.kind()).as_str().into());
        cells.push(or(&report.traffic, &parsed.spec.traffic.to_string()).as_str().into());
        cells.push(or(&report.validation, &kinds(parsed)).as_str().into());
        cells
    }

    fn duration(&self, now: Timestamp) -> String {
        self.parsed
            .as_ref()
            .map(|parsed| run::duration(parsed, now))
            .unwrap_or_default()
    }

    /// The duration as a bar and numbers.
    fn progress(&self, now: Timestamp, width: usize) -> Cell {
        let (text, Some(parsed)) = (self.duration(now), &self.parsed) else {
            return Cell::default();
        };
        match Elapsed::of(parsed, now).filter(|_| !text.is_empty()) {
            Some(elapsed) => Cell::new(format!("{} {text}", bar(elapsed.share(), width)), run::shown(parsed).1),
            None => text.as_str().into(),
        }
    }
}

fn kinds(parsed: &ParsedKanary) -> String {
    let mut kinds: Vec<_> = parsed.spec.validation.items.iter().map(Item::kind).collect();
    kinds.dedup();
    kinds.join(",")
}

fn heads() -> Vec<Cell> {
    HEADS.into_iter().map(|head| Cell::new(head, Colour::Bold)).collect()
}

/// The names that several kinds have in one namespace.
fn is_ambiguous(all: &[Row], row: &Row) -> bool {
    let same = |other: &&Row| (&other.namespace, &other.name) == (&row.namespace, &row.name);
    all.iter().filter(same).count() > 1
}

/// The lines of the table. With `live`, it is as wide as a terminal and has bars.
fn rows(all: &[Row], now: Timestamp, live: Option<usize>, coloured: bool) -> Vec<String> {
    let mut table_rows = vec![heads()];
    for row in all {
        let mut cells = row.cells(is_ambiguous(all, row));
        if cells.len() + 1 == HEADS.len() {
            cells.push(match live {
                Some(width) if width >= BARS => row.progress(now, if width >= WIDE { 20 } else { 6 }),
                _ => row.duration(now).as_str().into(),
            });
        }
        table_rows.push(cells);
    }
    let Some(width) = live else {
        return table(&table_rows, 3, None, coloured);
    };
    if width < BARS {
        // What is in the spec anyway makes room for what changes.
        for row in &mut table_rows {
            row.drain(4.min(row.len())..6.min(row.len()));
        }
    }
    let gap = if width >= WIDE { 3 } else { 1 };
    table(&table_rows, gap, Some(width.saturating_sub(1)), coloured)
}

/// From this width on, a terminal has room for progress bars and all columns.
const BARS: usize = 110;
/// From this width on, it has room for wide ones.
const WIDE: usize = 140;

type Key = (String, String, KanaryKind);

/// All Kanaries that are watched.
#[derive(Default)]
struct Watched {
    rows: BTreeMap<Key, Row>,
    /// Kinds whose first list is complete.
    listed: BTreeSet<KanaryKind>,
    /// Those that a new list has so far.
    relisted: BTreeMap<KanaryKind, Vec<Key>>,
}

enum Change {
    Put(Row),
    Gone(Row),
}

impl Watched {
    fn apply(&mut self, kind: KanaryKind, event: Event<Kanary>) -> Vec<Change> {
        let key = |object: &Kanary| place_of(&object.metadata, kind);
        match event {
            Event::Init => {
                self.relisted.insert(kind, Vec::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                self.relisted.entry(kind).or_default().push(key(&object));
                self.put(kind, &object)
            }
            Event::Apply(object) => self.put(kind, &object),
            Event::Delete(object) => self.rows.remove(&key(&object)).map(Change::Gone).into_iter().collect(),
            Event::InitDone => {
                self.listed.insert(kind);
                let kept = self.relisted.remove(&kind).unwrap_or_default();
                let gone = |key: &Key, row: &mut Row| row.kind == kind && !kept.contains(key);
                let gone = self.rows.extract_if(.., gone);
                gone.map(|(_, row)| Change::Gone(row)).collect()
            }
        }
    }

    fn put(&mut self, kind: KanaryKind, object: &Kanary) -> Vec<Change> {
        let row = row_of(kind, object);
        self.rows.insert(place_of(&object.metadata, kind), row.clone());
        vec![Change::Put(row)]
    }
}

/// Shows changes until the program is ended.
async fn watch(cluster: &Cluster, options: &Get) -> anyhow::Result<Exit> {
    let served = cluster.served(options.all_namespaces).await?;
    let wanted: Vec<_> = options
        .names
        .iter()
        .map(|name| kinds_of(name))
        .collect::<Result<_, _>>()?;
    let is_wanted = |kind: KanaryKind, row: &Row| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|(kinds, name)| kinds.contains(&kind) && row.name == *name)
    };
    let streams = served.iter().map(|&kind| {
        let api = cluster.kanaries_in(kind, options.all_namespaces);
        let events = watcher(api, watcher::Config::default()).default_backoff();
        events.map(move |event| (kind, event)).boxed()
    });
    let mut events = stream::select_all(streams);
    let terminal = Terminal::of_stdout();
    let (mut watched, mut frame) = (Watched::default(), Frame::default());
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    if !terminal.live {
        print(&format!("{}\n", spaced(&heads())))?;
    }
    loop {
        tokio::select! {
            biased;
            event = events.next() => {
                let Some((kind, event)) = event else { return Ok(Exit::Done) };
                let event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        eprintln!("watch {}: {error}; trying again", kind.resource());
                        continue;
                    }
                };
                for change in watched.apply(kind, event) {
                    if let (false, Change::Put(row) | Change::Gone(row)) = (terminal.live, &change)
                        && is_wanted(kind, row)
                    {
                        print(&line(row, matches!(change, Change::Gone(_)), cluster.now()))?;
                    }
                }
            }
            _ = ticks.tick(), if terminal.live && watched.listed.len() == served.len() => {
                let all: Vec<_> = watched.rows.values().filter(|row| is_wanted(row.kind, row)).cloned().collect();
                frame.draw(&rows(&all, cluster.now(), Some(Terminal::size().0), terminal.coloured))?;
            }
        }
    }
}

/// One line for a change, where columns cannot be aligned because the rest is not known yet.
fn line(row: &Row, is_gone: bool, now: Timestamp) -> String {
    let mut cells = row.cells(false);
    cells.push(row.duration(now).as_str().into());
    if is_gone && let Some(status) = cells.get_mut(2) {
        *status = "Deleted".into();
    }
    format!("{}\n", spaced(&cells))
}

/// Cells with fixed widths, which fit most names.
fn spaced(cells: &[Cell]) -> String {
    const WIDTHS: [usize; 9] = [15, 20, 17, 20, 20, 7, 14, 18, 0];
    let cells = cells.iter().zip(WIDTHS);
    let cells: Vec<_> = cells.map(|(cell, width)| format!("{:<width$}", cell.text)).collect();
    cells.join(" ").trim_end().to_owned()
}
