//! Plain output: one line for each change of state, and the summary at the end.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use kanary_core::{
    api::OnFailure,
    status::{SCHEDULED, STALLED, SUCCEEDED, find, is_true},
};

use super::{
    costs::Costs,
    model::{Model, News, Row, State},
    phrases::{self, clock, span},
    text::{Colour, Line},
};

/// How many Kanaries per state the summary names.
const NAMED: usize = 8;

/// One line for an event.
pub(super) fn news(news: &News) -> String {
    let state = news.state.map_or("", State::label);
    let line = format!("{}  {:<16} {state:<10}  {}", clock(news.at), news.who, news.text);
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The summary at the end, in lines of at most `width` columns.
pub(super) fn summary(
    model: &Model,
    costs: &Costs,
    passed: SignedDuration,
    width: usize,
    coloured: bool,
) -> Vec<String> {
    let line = || Line::new(width, coloured);
    let mut by_state: BTreeMap<State, Vec<&Row>> = BTreeMap::new();
    let (named, extras) = model.in_order();
    for row in named.into_iter().chain(extras) {
        by_state.entry(row.state).or_default().push(row);
    }
    let named = by_state.values().flat_map(|rows| rows.iter().take(NAMED));
    let longest = named.map(|row| row.name.len()).max().unwrap_or_default();
    let mut lines = vec![format!("After {} of the cluster's time:", span(passed)), String::new()];
    for state in State::ALL {
        let Some(rows) = by_state.get(&state) else { continue };
        let head = line().add(&format!("{} {}", rows.len(), state.label()), Colour::of(state));
        lines.push(head.add(meaning(state, rows), Colour::Plain).end());
        for row in rows.iter().take(NAMED) {
            let line = line().space(2).column(&row.name, longest, Colour::Plain).space(2);
            lines.push(line.add(&reason(row), Colour::Plain).end());
        }
        if rows.len() > NAMED {
            let more = format!("… and {} more", rows.len() - NAMED);
            lines.push(line().space(2).add(&more, Colour::Dim).end());
        }
    }
    lines.push(String::new());
    lines.extend(self::costs(model.rows.len(), costs));
    lines
}

/// An explanation of a state that is true for all of `rows`.
fn meaning(state: State, rows: &[&Row]) -> &'static str {
    match state {
        State::Promoted => ": their Deployments run the new version",
        State::Passed => ": a dry-run leaves the Deployment alone",
        State::Failed if !rows.iter().all(|row| is_untouched(row)) => "",
        State::Failed if rows.iter().any(|row| is_retained(row)) => {
            ": out of traffic, and their Deployments were not changed"
        }
        State::Failed => ": removed, and their Deployments were not changed",
        State::Waiting if rows.iter().all(|row| is_without_data(row)) => {
            ": no data is not success, so they wait and are not promoted"
        }
        State::Waiting => ": no verdict yet, so they are not promoted",
        State::Errored => ": an error that is not the canary's fault",
        _ => "",
    }
}

/// The canary failed before its Deployment was updated, and Kanary did not create the Deployment.
fn is_untouched(row: &Row) -> bool {
    let created = find(&row.status, SCHEDULED).is_some_and(|scheduled| scheduled.reason == "TargetCreated");
    !created && find(&row.status, SUCCEEDED).is_none()
}

/// The failed canary is kept for debugging.
fn is_retained(row: &Row) -> bool {
    let rollout = row.spec.rollout.as_ref();
    rollout.is_some_and(|rollout| rollout.on_failure == Some(OnFailure::Retain))
}

fn is_without_data(row: &Row) -> bool {
    is_true(&row.status, STALLED) && find(&row.status, STALLED).is_some_and(|stalled| stalled.reason == "NoData")
}

fn reason(row: &Row) -> String {
    let (judged, result) = (phrases::judged(row), phrases::result(row));
    let took = row.status.completed_at.map(|end| span(end.duration_since(row.created)));
    let text = match row.state {
        State::Failed if phrases::failed_by_number(row) => format!("{judged}, {result}"),
        State::Promoted | State::Passed => format!("{result}: {judged}"),
        _ if result.is_empty() => judged,
        _ => result,
    };
    took.map_or(text.clone(), |took| format!("{text} (after {took})"))
}

fn costs(kanaries: usize, costs: &Costs) -> [String; 4] {
    #[allow(clippy::cast_precision_loss, reason = "a mean for display")]
    let each = |number: usize| number as f64 / kanaries.max(1) as f64;
    [
        format!(
            "Kanary sent {} writes to the API server, {:.1} per Kanary, and {} Events;",
            costs.writes,
            each(costs.writes),
            costs.events,
        ),
        format!(
            "it deleted {} objects after runs ended, read {} objects live, and sent {} queries to Prometheus.",
            costs.cleanups, costs.reads, costs.queries,
        ),
        "It guarantees at most 7 writes per run without a route, and 2 more for each step of one;".to_owned(),
        "a run without a route sends no requests to the API server while it waits.".to_owned(),
    ]
}

/// Next steps for the user.
pub(super) fn hints(listens: bool) -> Vec<String> {
    let mut lines = vec![String::new(), "Next:".to_owned()];
    if !listens {
        lines.push("  cargo demo --listen 127.0.0.1:0   use kubectl on the cluster".to_owned());
    }
    lines.push("  cargo demo --canaries 1000        a thousand more at once, which takes some minutes".to_owned());
    lines.push("  README.md, \"Try it\"                                on a cluster of your own".to_owned());
    lines
}
