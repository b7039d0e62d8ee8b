//! `kubectl kanary explain`: what a run waits for, and on what its verdict depends.

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    api::{GoDuration, ItemStatus, MetricItem, PromQlItem, ValidationItem},
    status::Phase,
    validation::{Item, Window, next_check},
};
use serde_json::Value;

use super::status::state_colour;
use crate::{
    cluster::{Cluster, Found},
    exit::Exit,
    owner,
    run::{self, Outcome},
    terminal::{Terminal, print_lines},
    text::{Cell, Colour, clean, table, wrapped},
};

/// Explain a run: its items with their samples and thresholds, what it waits for, what happens next, and which replica acts on it.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    /// Namespace of the controller's Leases.
    #[arg(long, default_value = owner::NAMESPACE, env = "KANARY_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: String,
}

pub(crate) async fn explain(cluster: &Cluster, options: &Explain) -> anyhow::Result<Exit> {
    let found = cluster.find(&options.name).await?;
    let owner = owner::of(cluster, &found.parsed, &options.lease_namespace).await;
    let terminal = Terminal::of_stdout();
    print_lines(&lines(&found, &owner, cluster.now(), terminal))?;
    Ok(Exit::Done)
}

fn lines(found: &Found, owner: &str, now: Timestamp, terminal: Terminal) -> Vec<String> {
    let kanary = &found.parsed;
    let is_of_run = Outcome::of(kanary) != Outcome::Unseen;
    let (shown, colour) = run::shown(kanary);
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String, colour: Colour| {
        rows.push(vec![Cell::new(name, Colour::Dim), Cell::new(text, colour)]);
    };
    let key = &kanary.key;
    row(
        "Kanary:",
        format!("{}/{} ({})", key.namespace, key.name, key.kind),
        Colour::Bold,
    );
    row("Status:", shown, colour);
    row("Run:", run_of(kanary), Colour::Plain);
    row(
        "Target:",
        format!("{}, {}", kanary.spec.target, canary_of(kanary)),
        Colour::Plain,
    );
    if let Some(window) = Window::stored(&kanary.status).filter(|_| is_of_run) {
        let text = format!(
            "{} to {}, {}",
            time(window.start),
            time(window.deadline),
            run::duration(kanary, now)
        );
        row("Validation:", text, Colour::Plain);
    }
    if let Some(text) = traffic(kanary).filter(|_| is_of_run) {
        row("Traffic:", text, Colour::Plain);
    }
    row("Owner:", owner.to_owned(), Colour::Plain);
    row("Next:", next(kanary, now), Colour::Plain);
    let mut lines = table(&rows, 1, None, terminal.coloured);
    let width = terminal.text_width();
    lines.push(heading("Why:", terminal));
    lines.extend(wrapped(&run::why(kanary), 2, width));
    lines.push(heading("Items:", terminal));
    for (index, item) in kanary.spec.validation.items.iter().enumerate() {
        lines.extend(self::item(found, index, item, is_of_run, terminal));
    }
    if is_of_run && !kanary.status.conditions.is_empty() {
        lines.push(heading("Conditions:", terminal));
        lines.extend(conditions(kanary, terminal));
    }
    lines
}

/// What the template runs on.
fn canary_of(kanary: &ParsedKanary) -> String {
    match (&kanary.status.in_place, kanary.spec.scale.in_place()) {
        (Some(record), _) => format!("canary in place, on its pods from ordinal {} on", record.partition),
        (None, Some(pods)) => format!("canary in place, on {pods} of its pods"),
        (None, None) => format!("canary {}", kanary.spec.canary.name),
    }
}

fn heading(text: &str, terminal: Terminal) -> String {
    Colour::Bold.paint(text, terminal.coloured)
}

/// `11:42:20Z`, with the date.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn run_of(kanary: &ParsedKanary) -> String {
    let status = &kanary.status;
    let (generation, reported) = (kanary.generation, status.observed_generation.unwrap_or_default());
    let started = status
        .start_time
        .map(|at| format!(", started {}", time(at)))
        .unwrap_or_default();
    let ended = status
        .completed_at
        .map(|at| format!(", ended {}", time(at)))
        .unwrap_or_default();
    format!(
        "{}{started}{ended}, template {}, generation {generation} (reported: {reported})",
        run::number(kanary),
        kanary.spec.template_hash
    )
}

/// What a route sends to the canary.
fn traffic(kanary: &ParsedKanary) -> Option<String> {
    let traffic = kanary.status.traffic.as_ref()?;
    let steps = kanary.spec.routing.as_ref().map_or(1, |routing| routing.steps.len());
    let what = match traffic.weight {
        0 => "the canary's requests".to_owned(),
        weight => format!("{weight}% of the requests"),
    };
    let since = traffic.since.map_or_else(
        || "not in force".to_owned(),
        |since| format!("in force since {}", time(since)),
    );
    Some(format!(
        "{what}, {}, step {} of {steps}, {since}",
        traffic.route, traffic.step
    ))
}

/// What happens next, as far as the time of it is known.
fn next(kanary: &ParsedKanary, now: Timestamp) -> String {
    match Outcome::of(kanary) {
        Outcome::UnderWay => {}
        Outcome::Unseen => return "the controller reports on the present spec".to_owned(),
        Outcome::Deleting => return "the Kanary goes once its finalizers are gone".to_owned(),
        Outcome::Invalid(_) => return "nothing, until the spec is edited".to_owned(),
        _ => return "nothing: the run is over".to_owned(),
    }
    if kanary.spec.paused {
        return format!("nothing, until `kubectl kanary resume {}`", kanary.key.name);
    }
    let mut times = times(kanary, now);
    times.sort();
    match times.first() {
        Some((at, what)) => {
            let left = u64::try_from(at.duration_since(now).as_secs()).unwrap_or_default();
            format!("{} (in {}): {what}", time(*at), GoDuration::from_secs(left))
        }
        None => "no time is known: an event wakes the run".to_owned(),
    }
}

/// The times to come at which something happens.
fn times(kanary: &ParsedKanary, now: Timestamp) -> Vec<(Timestamp, String)> {
    let (spec, status) = (&kanary.spec, &kanary.status);
    let mut times = Vec::new();
    let mut add =
        |at: Option<Timestamp>, what: &str| times.extend(at.filter(|at| *at > now).map(|at| (at, what.to_owned())));
    let phase = Phase::of(status);
    if phase == Phase::Scheduled && status.available_at.is_none() {
        add(spec.schedule, "the run may start (spec.schedule)");
        let until = status
            .start_time
            .and_then(|start| start.checked_add(spec.progress_deadline).ok());
        add(until, "the run fails unless the canary is available (progressDeadline)");
    }
    let Some(window) = Window::stored(status).filter(|_| phase <= Phase::Running) else {
        return times;
    };
    add(Some(window.start), "the validation starts");
    add(Some(window.deadline), "the deadline: the verdict is due");
    let step = status.traffic.as_ref().and_then(|traffic| traffic.deadline);
    add(step, "the step of the traffic ends");
    let window = Window::of_step(status).unwrap_or(window);
    for (index, item) in spec.validation.items.iter().enumerate() {
        if let Some(terms) = item.terms() {
            let what = format!("{}[{index}] is measured", item.kind());
            add(next_check(terms, window, now), &what);
        }
    }
    times
}

/// One item: its samples, its threshold and what it says.
fn item(found: &Found, index: usize, item: &Item, is_of_run: bool, terminal: Terminal) -> Vec<String> {
    let name = format!("{}[{index}]", item.kind());
    let mut states = found.parsed.status.items.iter().filter(|_| is_of_run);
    let state = states.find(|state| state.name == name).cloned().unwrap_or_default();
    let shown = state_colour(state.state).paint(&format!("{:?}", state.state), terminal.coloured);
    let mut lines = vec![format!("  {name}  {shown}")];
    let mut add = |text: &str| lines.extend(wrapped(text, 4, terminal.text_width()));
    if let Some(terms) = item.terms() {
        add(&format!(
            "samples: {} good (needs {}), {} bad (tolerates {}), {} errors in a row (inconclusive at {}), every {}",
            state.good,
            terms.min_samples,
            state.bad,
            terms.failure_limit,
            state.errors,
            terms.error_limit,
            GoDuration(terms.interval)
        ));
    }
    if let Some(value) = last(&state) {
        add(&value);
    }
    let written = written(found, index);
    for text in threshold(&written) {
        add(&text);
    }
    if !state.message.is_empty() {
        add(&format!("message: {}", state.message));
    }
    for warning in &state.warnings {
        add(&format!("warning: {warning}"));
    }
    lines
}

fn last(state: &ItemStatus) -> Option<String> {
    let at = state.last_check?;
    let value = state
        .last_value
        .map_or_else(|| "no value".to_owned(), |value| value.to_string());
    Some(format!("last: {value} at {}", time(at)))
}

/// An item as the user wrote it.
fn written(found: &Found, index: usize) -> ValidationItem {
    let spec = &found.object.spec;
    let block = spec.get("validation").or_else(|| spec.get("validations"));
    let item = block.and_then(|block| block.pointer(&format!("/items/{index}")));
    item.and_then(|item| serde_json::from_value(item.clone()).ok())
        .unwrap_or_default()
}

/// What is good for an item.
fn threshold(item: &ValidationItem) -> Vec<String> {
    if let Some(query) = &item.prom_ql {
        return vec![
            format!("good is: {}", criterion(query)),
            format!("query: {}", query.query),
        ];
    }
    if let Some(metric) = &item.metric {
        return vec![format!("good is: {}", of_metric(metric))];
    }
    if let Some(watch) = &item.label_watch {
        let shown = |labels| {
            serde_json::to_value(labels)
                .as_ref()
                .map(Value::to_string)
                .unwrap_or_default()
        };
        let pods = watch.pod_invalidation_labels.as_ref();
        let deployment = watch.deployment_invalidation_labels.as_ref();
        return [
            pods.map(|labels| format!("bad is: a canary pod with {}", shown(labels))),
            deployment.map(|labels| format!("bad is: a canary Deployment with {}", shown(labels))),
        ]
        .into_iter()
        .flatten()
        .collect();
    }
    let manual = item.manual.clone().unwrap_or_default();
    let after = manual.status_after_deadline.unwrap_or_default();
    let given = manual
        .status
        .map_or_else(|| "no verdict".to_owned(), |status| format!("verdict `{status}`"));
    let after = serde_json::to_value(after).ok();
    let after = after.as_ref().and_then(Value::as_str).unwrap_or("none").to_owned();
    vec![format!("{given}; at the deadline without one: {after}")]
}

/// What is good for a metric.
fn of_metric(item: &MetricItem) -> String {
    let resource = item.resource.as_ref();
    let resource = resource.map(|metric| (format!("{} of each pod", metric.name), &metric.target));
    let container = item.container_resource.as_ref().map(|metric| {
        let what = format!("{} of the container {} of each pod", metric.name, metric.container);
        (what, &metric.target)
    });
    let pods = item.pods.as_ref();
    let pods = pods.map(|metric| (format!("{} of each pod", metric.metric.name), &metric.target));
    let object = item.object.as_ref().map(|metric| {
        let described = &metric.described_object;
        let what = format!("{} of {} {}", metric.metric.name, described.kind, described.name);
        (what, &metric.target)
    });
    let external = item.external.as_ref();
    let external = external.map(|metric| (format!("the external {}", metric.metric.name), &metric.target));
    let found = resource.or(container).or(pods).or(object).or(external);
    let Some((what, target)) = found else {
        return "unknown".to_owned();
    };
    let limit = match (target.average_utilization, &target.average_value, &target.value) {
        (Some(percent), ..) => format!("{percent} % of the request"),
        (None, Some(value), _) if item.object.is_some() || item.external.is_some() => format!("{value} per canary pod"),
        (None, Some(value), _) | (None, None, Some(value)) => value.to_string(),
        (None, None, None) => "an unknown target".to_owned(),
    };
    format!("{what}, at most {limit}")
}

fn criterion(query: &PromQlItem) -> String {
    if let Some(range) = &query.value_in_range {
        let (min, max) = (range.min.unwrap_or(0.0), range.max.unwrap_or(1.0));
        return format!("a value from {min} to {max}");
    }
    if let Some(list) = &query.discrete_value_out_of_list {
        let tolerance = list.tolerance.unwrap_or(0);
        let good = list.good_values.clone().unwrap_or_default();
        let (values, which) = if good.is_empty() {
            (list.bad_values.clone().unwrap_or_default(), "among")
        } else {
            (good, "other than")
        };
        return format!(
            "at most {tolerance} % of counts with {} {which} {}",
            list.key,
            values.join(", ")
        );
    }
    if let Some(deviation) = &query.continuous_value_deviation {
        return format!("at most {} % away from the mean", deviation.max_deviation_percent);
    }
    if query.boolean.is_some() {
        return "1".to_owned();
    }
    "no series at all, and evidence that there was something to find".to_owned()
}

fn conditions(kanary: &ParsedKanary, terminal: Terminal) -> Vec<String> {
    let conditions = kanary.status.conditions.iter();
    let lines = conditions.flat_map(|condition| {
        let head = format!("{}={} ({})", condition.type_, condition.status, condition.reason);
        wrapped(
            &clean(&format!("{head}: {}", condition.message)),
            2,
            terminal.text_width(),
        )
    });
    lines.collect()
}
