//! A decision as text: one line for each write and for each change of the status.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::input::{self, Input, T0};
use crate::{
    api::{GoDuration, KanaryStatus},
    decision::{Action, Decision, SetTemplate},
    hash,
    status::{Phase, find},
};

pub(super) fn text(input: &Input, decision: &Decision) -> String {
    let mut lines = Vec::new();
    for action in &decision.actions {
        lines.push(act(action));
        if let Action::Create { manifest, .. } = action {
            show(input, manifest, &mut lines);
        }
    }
    if let Some(status) = &decision.status {
        status_lines(&input.kanary.status, status, input.now, &mut lines);
        show(input, &serde_json::to_value(status).unwrap(), &mut lines);
    }
    if !decision.checks.is_empty() {
        lines.push(format!("check items {:?}", decision.checks));
    }
    lines.extend(decision.wake.map(|wake| format!("wake at {}", relative(wake))));
    lines.extend(decision.needs.map(|need| format!("read {need:?}")));
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    let mut text = lines.join("\n");
    let hash = &input.kanary.spec.template_hash;
    if !hash.is_empty() {
        text = text.replace(hash, "<hash>");
    }
    text.push('\n');
    text
}

fn show(input: &Input, value: &Value, lines: &mut Vec<String>) {
    for path in &input.show {
        if let Some(found) = value.pointer(path) {
            let name = path.rsplit('/').next().unwrap_or_default();
            lines.push(format!("  {name}: {found}").replace("kanary.k8s-operators.dev/", "…/"));
        }
    }
}

fn act(action: &Action) -> String {
    match action {
        Action::Create { object, name, .. } => format!("create {} {name}", object.as_str()),
        Action::ScaleCanary { canary, replicas, .. } => format!("scale {} to {replicas}", canary.name),
        Action::PlaceCanary { canary, nodes, .. } => format!("place {} on {}", canary.name, nodes.join(", ")),
        Action::SetTemplate(SetTemplate {
            target,
            former,
            template,
            marker,
            ..
        }) => format!(
            "set template of {} from {} to {}, by {marker}",
            target.name,
            called(former),
            called(template)
        ),
        Action::Update(update) => format!("update {}", update.workload.name),
        Action::Hold { route, run } => format!("hold {route} for run {run}"),
        Action::Release => "release the route".to_owned(),
        Action::HoldInPlace => "hold this Kanary".to_owned(),
        Action::ReleaseInPlace => "release this Kanary".to_owned(),
        Action::Keep(keep) => format!("keep {}", keep.key()),
        Action::SetRoute { route, gives, .. } => format!("change {route}: {gives}"),
        Action::HandOver { target, .. } => format!("hand over the fields of {}", target.name),
        Action::Adopt { pod, .. } => format!("add an owner to pod {pod}"),
        Action::Unlabel { pod, labels, .. } => format!("unlabel pod {pod}: {}", labels.join(", ")),
        Action::Delete { object, name, .. } => format!("delete {} {name}", object.as_str()),
    }
}

fn called(template: &Value) -> String {
    let image = template.pointer("/spec/containers/0/image");
    let name = template.get("called").or(image).and_then(Value::as_str);
    name.unwrap_or("?").to_owned()
}

fn status_lines(former: &KanaryStatus, next: &KanaryStatus, now: Timestamp, lines: &mut Vec<String>) {
    let (from, to) = (Phase::of(former), Phase::of(next));
    let shown = format!("shows {} {}", next.report.status, next.report.duration);
    let mut first = vec![shown.trim_end().to_owned()];
    if from != to {
        first.insert(0, format!("phase {} → {}", from.as_str(), to.as_str()));
    }
    let (ended, lines_of_conditions) = conditions(former, next, now);
    first.extend(ended);
    lines.push(first.join(", "));
    lines.extend(lines_of_conditions);
    let removed = former.conditions.iter().filter(|old| find(next, &old.type_).is_none());
    let mut removed: Vec<String> = removed.map(|old| old.type_.clone()).collect();
    let changed = fields(former, next, &mut removed);
    lines.extend(Some(changed.join(", ")).filter(|changed| !changed.is_empty()));
    if !removed.is_empty() {
        lines.push(format!("removed {}", removed.join(", ")));
    }
    if former.items != next.items {
        for item in &next.items {
            let counts = match (item.good, item.bad, item.errors) {
                (0, 0, 0) => String::new(),
                (good, bad, errors) => format!(" ({good} good, {bad} bad, {errors} errors)"),
            };
            let reason = item
                .reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(" ({reason})"));
            let message = Some(&item.message)
                .filter(|m| !m.is_empty())
                .map_or(String::new(), |m| format!(": {m}"));
            lines.push(format!(
                "item {} {:?}{reason}{counts}{}",
                item.name,
                item.state,
                times_in(&message)
            ));
            lines.extend(item.warnings.iter().map(|warning| format!("  warning: {warning}")));
        }
    }
}

/// The text of the conditions that a failed run leaves behind.
const ENDED: &str = "False RunFailed: the run has ended";

/// The conditions that changed: first those that only show that the run has failed, in short, then one line for each
/// text.
fn conditions(former: &KanaryStatus, next: &KanaryStatus, now: Timestamp) -> (Option<String>, Vec<String>) {
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    for condition in &next.conditions {
        if find(former, &condition.type_) == Some(condition) {
            continue;
        }
        let mut text = format!("{} {}", condition.status, condition.reason);
        if !condition.message.is_empty() {
            let _infallible = write!(text, ": {}", times_in(&condition.message));
        }
        if condition.last_transition_time.0 != now {
            let _infallible = write!(text, " (since {})", relative(condition.last_transition_time.0));
        }
        match texts.iter_mut().find(|(other, _)| *other == text) {
            Some((_, types)) => types.push(&condition.type_),
            None => texts.push((text, vec![&condition.type_])),
        }
    }
    let mut ended = None;
    let mut lines = Vec::new();
    for (text, types) in texts {
        let types = types.join(", ");
        if text == ENDED {
            ended = Some(format!("ended {types}"));
        } else {
            lines.push(format!("{types}={text}"));
        }
    }
    (ended, lines)
}

/// Fields that changed, times first. `removed` gets the names of those that are gone.
fn fields(former: &KanaryStatus, next: &KanaryStatus, removed: &mut Vec<String>) -> Vec<String> {
    let mut changed = Vec::new();
    let (former, next) = (
        serde_json::to_value(former).unwrap(),
        serde_json::to_value(next).unwrap(),
    );
    let shown = [
        "run",
        "retry",
        "currentTraffic",
        "verdicts",
        "initialDelay",
        "validationPeriod",
        "promotedHash",
        "startTime",
        "availableAt",
        "availableSince",
        "unavailableFor",
        "validationStartTime",
        "deadline",
        "pausedAt",
        "resumedAt",
        "completedAt",
        "failedTemplates",
        "traffic",
        "place",
    ];
    for name in shown {
        if name == "availableSince" && next[name] == next["availableAt"] {
            continue;
        }
        let line = match (&former[name], &next[name]) {
            (old, new) if old == new => continue,
            (_, Value::Null) => {
                removed.push(name.to_owned());
                continue;
            }
            (_, Value::Array(new)) if new.len() > 2 => {
                format!("{name} {} of them, last {}", new.len(), new[new.len() - 1])
            }
            (_, Value::Object(place)) if name == "place" => {
                let parts = place.iter().map(|(name, part)| match part {
                    Value::String(text) => format!("{name} {}", times_in(text)),
                    part => format!("{name} {}", part["position"]),
                });
                format!("place: {}", parts.collect::<Vec<_>>().join(" "))
            }
            (_, Value::String(hash)) if name == "promotedHash" => format!("{name} of {}", template_of(hash)),
            (_, Value::String(time)) => format!("{name} {}", times_in(time)),
            (_, new) => format!("{name} {new}"),
        };
        changed.push(line);
    }
    changed
}

/// The template with this hash, by its name in the cases.
fn template_of(hash: &str) -> &str {
    let mut names = ["t1", "t2", "t3", "t7"].into_iter();
    let found = names.find(|name| hash::of(&input::template(name)) == hash);
    found.unwrap_or(hash)
}

fn relative(time: Timestamp) -> String {
    let length = time.duration_since(T0.parse().unwrap());
    let sign = if length.is_negative() { '-' } else { '+' };
    format!("{sign}{}", GoDuration(length.unsigned_abs()))
}

/// Converts every time in a text to one relative to T0.
fn times_in(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let (bare, rest) = word
            .strip_suffix([',', ';', '.'])
            .map_or((word, ""), |bare| (bare, &word[bare.len()..]));
        bare.parse()
            .map_or_else(|_| word.to_owned(), |time| relative(time) + rest)
    });
    words.collect::<Vec<_>>().join(" ")
}
