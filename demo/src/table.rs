//! The table, as lines that fit the terminal.

use jiff::Timestamp;

use super::{
    costs::Costs,
    model::{Measured, Model, News, Row, State},
    phrases::{self, clock, span},
    text::{Colour, Line, bar},
};

/// Everything to show.
pub(super) struct Screen<'a> {
    pub(super) model: &'a Model,
    /// The latest event is last.
    pub(super) news: &'a [News],
    pub(super) costs: &'a Costs,
    pub(super) started: Timestamp,
    pub(super) now: Timestamp,
    /// `30× real time`.
    pub(super) speed: &'a str,
    pub(super) footer: &'a [String],
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Minimum number of lines for events.
const NEWS: usize = 3;
/// Minimum width at which the result has its own column.
const WIDE: usize = 130;

/// Widths of the columns.
struct Columns {
    name: usize,
    state: usize,
    bar: usize,
    time: usize,
    pods: usize,
    /// 0: the check and the result share the remaining width.
    judged: usize,
    gap: usize,
}

impl Columns {
    fn of(rows: &[&Row], width: usize) -> Self {
        use unicode_width::UnicodeWidthStr;
        let longest = rows.iter().map(|row| row.name.width()).max().unwrap_or_default();
        if width >= WIDE {
            return Self {
                name: longest.clamp(8, 32),
                state: 10,
                bar: 20,
                time: 8,
                pods: 5,
                judged: 31,
                gap: 2,
            };
        }
        Self {
            name: longest.clamp(8, 15),
            state: 10,
            bar: 8,
            time: 7,
            pods: 4,
            judged: 0,
            gap: 1,
        }
    }
}

/// The table for a terminal of this size, with at most as many lines.
pub(super) fn frame(screen: &Screen<'_>, size: Size, coloured: bool) -> Vec<String> {
    let line = || Line::new(size.width, coloured);
    let mut lines = vec![
        header(screen, size.width >= WIDE, line()),
        counts(screen, line()),
        String::new(),
    ];
    let footer = if screen.footer.is_empty() {
        0
    } else {
        screen.footer.len() + 1
    };
    let room = size.height.saturating_sub(lines.len() + 1 + 1 + NEWS + footer);
    let total = screen.model.rows.len();
    let rows = screen
        .model
        .interesting(if total > room { room.saturating_sub(1) } else { room });
    let columns = Columns::of(&rows, size.width);
    lines.push(heads(&columns, line()));
    lines.extend(rows.iter().map(|row| self::row(row, screen.now, &columns, line())));
    if rows.len() < total {
        let more = format!("… and {} more", total - rows.len());
        lines.push(line().add(&more, Colour::Dim).end());
    }
    lines.push(String::new());
    let room = size.height.saturating_sub(lines.len() + footer);
    let latest = screen.news.iter().rev().take(room.min(8)).rev();
    lines.extend(latest.map(|news| self::news(news, &columns, line())));
    if footer > 0 {
        lines.push(String::new());
    }
    lines.extend(screen.footer.iter().map(|text| line().add(text, Colour::Dim).end()));
    lines.truncate(size.height);
    lines
}

fn header(screen: &Screen<'_>, is_wide: bool, line: Line) -> String {
    let passed = span(screen.now.duration_since(screen.started));
    let Costs {
        writes,
        queries,
        events,
        reads,
        ..
    } = screen.costs;
    let costs = if is_wide {
        format!("Kanary so far: {writes} writes, {events} Events, {reads} live reads, {queries} queries")
    } else {
        format!("{writes} writes, {queries} queries")
    };
    line.add("kanary demo", Colour::Bold)
        .space(2)
        .add(&format!("{} UTC, {passed} in", clock(screen.now)), Colour::Plain)
        .space(2)
        .add(screen.speed, Colour::Plain)
        .space(2)
        .add(&costs, Colour::Plain)
        .end()
}

fn counts(screen: &Screen<'_>, mut line: Line) -> String {
    let counts = screen.model.counts();
    line = line.add(&format!("{} Kanaries", screen.model.rows.len()), Colour::Plain);
    for state in State::ALL {
        if let Some(number) = counts.get(&state) {
            line = line
                .space(2)
                .add(&format!("{number} {}", state.label()), Colour::of(state));
        }
    }
    line.end()
}

fn heads(columns: &Columns, line: Line) -> String {
    let line = line
        .column("NAME", columns.name, Colour::Bold)
        .space(columns.gap)
        .column("STATE", columns.state, Colour::Bold)
        .space(columns.gap)
        .column("TO DEADLINE", columns.bar + 1 + columns.time, Colour::Bold)
        .space(columns.gap)
        .column("PODS", columns.pods, Colour::Bold)
        .space(columns.gap);
    if columns.judged == 0 {
        return line.add("JUDGED BY, RESULT", Colour::Bold).end();
    }
    line.column("JUDGED BY", columns.judged, Colour::Bold)
        .space(columns.gap)
        .add("RESULT", Colour::Bold)
        .end()
}

fn row(row: &Row, now: Timestamp, columns: &Columns, line: Line) -> String {
    let colour = Colour::of(row.state);
    let line = line
        .column(&row.name, columns.name, Colour::Plain)
        .space(columns.gap)
        .column(row.state.label(), columns.state, colour)
        .space(columns.gap);
    let line = progress(row, now, columns, line).space(columns.gap);
    let pods = row.pods.map(|pods| format!("{}/{}", pods.ready, pods.wanted));
    let line = line
        .column(&pods.unwrap_or_else(|| "-".to_owned()), columns.pods, Colour::Plain)
        .space(columns.gap);
    let (judged, result) = (phrases::judged(row), phrases::result(row));
    if columns.judged == 0 {
        let says_it_all = result.is_empty() || phrases::failed_by_number(row);
        return if says_it_all {
            line.add(&judged, numbers(row)).end()
        } else {
            line.add(&result, colour).end()
        };
    }
    let line = line.column(&judged, columns.judged, numbers(row)).space(columns.gap);
    match (&row.part, result.as_str()) {
        (Some(part), "") => line.add(part.about, Colour::Dim).end(),
        _ => line.add(&result, colour).end(),
    }
}

/// Numbers have the colour of the state they result in.
fn numbers(row: &Row) -> Colour {
    match (phrases::failed_by_number(row), row.measured) {
        (true, _) => Colour::Red,
        (_, Measured::NoData) => Colour::Yellow,
        _ => Colour::Plain,
    }
}

fn progress(row: &Row, now: Timestamp, columns: &Columns, line: Line) -> Line {
    let (share, time) = phrases::progress(row, now);
    let Some(share) = share else {
        return line.column(&time, columns.bar + 1 + columns.time, Colour::Dim);
    };
    let (full, empty) = bar(share, columns.bar);
    line.add(&full, Colour::of(row.state))
        .add(&empty, Colour::Dim)
        .space(1)
        .column(&time, columns.time, Colour::Plain)
}

fn news(news: &News, columns: &Columns, line: Line) -> String {
    let line = line
        .column(&clock(news.at), 8, Colour::Dim)
        .space(columns.gap)
        .column(&news.who, columns.name, Colour::Plain)
        .space(columns.gap);
    let text = if columns.judged == 0 { &news.brief } else { &news.text };
    let Some(state) = news.state else {
        return line.add(text, Colour::Plain).end();
    };
    line.column(state.label(), columns.state, Colour::of(state))
        .space(columns.gap)
        .add(text, Colour::Plain)
        .end()
}
