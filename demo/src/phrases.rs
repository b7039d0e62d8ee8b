//! Texts and numbers that describe a Kanary.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::{GoDuration, ItemState, ItemStatus, ManualVerdict, ValidationItem},
    status::{ERRORED, FAILED, RECONCILING, STALLED, SUCCEEDED, find, is_true},
};

use super::{
    model::{Measured, Row, State},
    script::Gauge,
};

/// `progressDeadline`, unless it is set.
const PATIENCE: Duration = Duration::from_mins(10);

/// `11:42:07`.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// `3m20s`.
pub(super) fn span(span: SignedDuration) -> String {
    let span = Duration::try_from(span).unwrap_or_default();
    GoDuration::from_secs(span.as_secs()).to_string()
}

impl State {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Starting => "starting",
            Self::WarmingUp => "warming up",
            Self::Judging => "judging",
            Self::Waiting => "waiting",
            Self::Promoting => "promoting",
            Self::Promoted => "promoted",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
        }
    }
}

impl Gauge {
    const fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "error rate",
            Self::P99 => "p99 latency",
        }
    }

    fn number(self, value: f64) -> String {
        match self {
            Self::ErrorRate => format!("{:.2} %", value * 100.0),
            Self::P99 => format!("{:.0} ms", value * 1000.0),
        }
    }

    fn limit_shown(self) -> &'static str {
        match self {
            Self::ErrorRate => "1 %",
            Self::P99 => "500 ms",
        }
    }

    /// `error rate 0.3 % ≤ 1 %`.
    fn judged(self, value: f64) -> String {
        let relation = if value <= self.limit() { '≤' } else { '>' };
        format!(
            "{} {} {relation} {}",
            self.name(),
            self.number(value),
            self.limit_shown()
        )
    }
}

/// The target Deployment of a Kanary.
pub(super) fn target(row: &Row) -> String {
    let name = |value: &serde_json::Value| value["name"].as_str().map(str::to_owned);
    let given = row.spec.deployment_name.clone().filter(|name| !name.is_empty());
    given
        .or_else(|| row.spec.template.metadata.as_ref().and_then(name))
        .unwrap_or_else(|| row.name.clone())
}

fn items(row: &Row) -> &[ValidationItem] {
    let validation = row.spec.validation.as_ref().or(row.spec.validations.as_ref());
    validation
        .and_then(|validation| validation.items.as_deref())
        .unwrap_or_default()
}

/// The check of a Kanary, with its last number.
pub(super) fn judged(row: &Row) -> String {
    let statuses = &row.status.items;
    let bad = statuses.iter().position(|item| item.state == ItemState::Bad);
    let at = bad.unwrap_or_default();
    let Some(item) = items(row).get(at) else {
        return manual(row, None);
    };
    let status = statuses.get(at);
    if let Some(manual) = &item.manual {
        return self::manual(row, manual.status);
    }
    if item.label_watch.is_some() {
        let is_bad = status.is_some_and(|status| status.state == ItemState::Bad);
        return if is_bad {
            "an alert on its pod"
        } else {
            "no alert on its pods"
        }
        .to_owned();
    }
    measured(row, status)
}

/// What the canary must meet to pass.
fn demand(row: &Row) -> String {
    match row.part.as_ref().and_then(|part| part.gauge) {
        Some(gauge) => format!("{} must stay ≤ {}", gauge.name(), gauge.limit_shown()),
        None => judged(row),
    }
}

fn manual(row: &Row, word: Option<ManualVerdict>) -> String {
    match row.spec.verdict.or(word) {
        Some(ManualVerdict::Valid) => "manual verdict: valid",
        Some(ManualVerdict::Invalid) => "manual verdict: invalid",
        None if row.state.is_end() => "a manual verdict",
        None => "needs a manual verdict",
    }
    .to_owned()
}

fn measured(row: &Row, status: Option<&ItemStatus>) -> String {
    let gauge = row.part.as_ref().and_then(|part| part.gauge);
    let name = gauge.map_or("query", Gauge::name);
    let stored = status.and_then(|status| status.last_value);
    let seen = row.measured;
    let is_decided = row.state.is_end() || row.state == State::Promoting;
    let value = if is_decided {
        stored.or(seen.value())
    } else {
        seen.value().or(stored)
    };
    let is_before = matches!(row.state, State::Scheduled | State::Starting | State::WarmingUp);
    let text = match (gauge, value) {
        (Some(gauge), Some(value)) => gauge.judged(value),
        (None, Some(value)) => format!("query {value:.3}"),
        (_, None) if seen == Measured::NoData => format!("{name}: no data"),
        (Some(gauge), None) if is_before => format!("{name} ≤ {}", gauge.limit_shown()),
        (_, None) if is_decided => format!("{name}: not measured"),
        (_, None) => format!("{name}: not measured yet"),
    };
    match share(row) {
        Some((percent, _)) => format!("{text} at {percent} %"),
        None => text,
    }
}

/// The share of the requests that a canary gets by its route, or got when it failed, in percent, and which step of how many it is.
fn share(row: &Row) -> Option<(u8, String)> {
    if matches!(row.state, State::Promoted | State::Passed) {
        return None;
    }
    let steps = &row.spec.traffic.as_ref()?.weighted.as_ref()?.steps;
    let step = row.status.traffic.as_ref()?.step;
    let percent = steps.get(usize::try_from(step.checked_sub(1)?).ok()?)?;
    Some((*percent, format!("step {step} of {}", steps.len())))
}

/// `v1 → v2`.
fn versions(row: &Row) -> String {
    let template = &row.spec.template.spec;
    let image = template.pointer("/template/spec/containers/0/image");
    let new = image.and_then(|image| image.as_str()).unwrap_or_default();
    let Some(old) = &row.former else {
        return format!("created with {new}");
    };
    match (old.rsplit_once(':'), new.rsplit_once(':')) {
        (Some((name, from)), Some((same, to))) if name == same => format!("{from} → {to}"),
        _ => format!("{old} → {new}"),
    }
}

/// The condition that explains the state.
fn why(row: &Row) -> (&str, &str) {
    let conditions = match row.state {
        State::Failed => [FAILED, FAILED],
        State::Errored => [ERRORED, ERRORED],
        State::Passed | State::Promoting | State::Promoted => [SUCCEEDED, SUCCEEDED],
        _ => [STALLED, RECONCILING],
    };
    let mut held = conditions.iter().filter(|condition| is_true(&row.status, condition));
    let condition = held.next().and_then(|condition| find(&row.status, condition));
    condition.map_or(("", ""), |condition| (&condition.reason, &condition.message))
}

/// Whether the number fully explains the failure.
pub(super) fn failed_by_number(row: &Row) -> bool {
    row.state == State::Failed && why(row).0 == "PromQLFailed"
}

/// The result; empty while the run is in progress.
pub(super) fn result(row: &Row) -> String {
    let target = target(row);
    match row.state {
        State::Promoted => format!("{target} {}", versions(row)),
        State::Promoting => format!("{target} {}, rolling out", versions(row)),
        State::Passed => format!("dry-run, {target} left alone"),
        State::Failed => failure(row),
        State::Errored => why(row).1.to_owned(),
        State::Waiting if row.status.paused_at.is_some() => "paused".to_owned(),
        State::Waiting => waiting(row),
        _ => String::new(),
    }
}

fn failure(row: &Row) -> String {
    let (reason, message) = why(row);
    match reason {
        "TargetChanged" => format!("{} was changed meanwhile", target(row)),
        "ProgressDeadlineExceeded" => "its pods never became ready".to_owned(),
        "LabelMatched" => "an alert labelled its pod".to_owned(),
        "ManualInvalid" | "VerdictInvalid" => "manual verdict: invalid".to_owned(),
        "PromQLFailed" => format!("{} left alone", target(row)),
        _ => format!("{reason}: {message}"),
    }
}

fn waiting(row: &Row) -> String {
    let (reason, message) = why(row);
    match reason {
        "NoData" => "no data: not promoted".to_owned(),
        "Inconclusive" => "no answers: not promoted".to_owned(),
        "WaitingForManual" => "waits for a person".to_owned(),
        _ => message.to_owned(),
    }
}

/// Description of a new state.
pub(super) fn news(row: &Row) -> String {
    let deadline = row.status.deadline.map(clock).unwrap_or_default();
    match row.state {
        State::Scheduled => {
            let at = row.spec.schedule.as_deref().and_then(|at| at.parse().ok());
            format!("nothing is created before {}", at.map(clock).unwrap_or_default())
        }
        State::Starting => format!("tries {} on {}", versions(row), target(row)),
        State::WarmingUp => {
            let start = row.status.validation_start_time.map(clock);
            format!("its pods are ready; it is judged from {}", start.unwrap_or_default())
        }
        State::Judging => match share(row) {
            Some((percent, step)) => format!("{percent} % of the requests ({step}): {}", demand(row)),
            None => format!("until {deadline}: {}", demand(row)),
        },
        State::Promoting => format!("passed: {}; now {}", judged(row), result(row)),
        State::Promoted | State::Passed => format!("{}: {}", result(row), judged(row)),
        State::Failed if failed_by_number(row) => format!("{}, {}", judged(row), result(row)),
        State::Waiting if row.status.paused_at.is_some() => result(row),
        State::Waiting | State::Failed | State::Errored => {
            let (reason, message) = why(row);
            format!("{reason}: {message}")
        }
    }
}

/// Short form of [`news`].
pub(super) fn brief(row: &Row) -> String {
    match row.state {
        State::WarmingUp => "its pods are ready".to_owned(),
        State::Judging => match share(row) {
            Some((percent, step)) => format!("{percent} % of the requests ({step})"),
            None => format!("until {}", row.status.deadline.map(clock).unwrap_or_default()),
        },
        State::Promoting => judged(row),
        State::Failed if failed_by_number(row) => judged(row),
        State::Scheduled | State::Starting => news(row),
        _ => result(row),
    }
}

/// Progress: a share of the time until the deadline plus a time, or only a text.
pub(super) fn progress(row: &Row, now: Timestamp) -> (Option<f64>, String) {
    let status = &row.status;
    let left = |until: Timestamp| span(until.duration_since(now));
    if let (true, Some(end)) = (row.state.is_end(), status.completed_at) {
        let passed = row.state != State::Failed;
        let way = if passed { Some(1.0) } else { way(row, end) };
        return (way.or(Some(0.0)), span(end.duration_since(row.created)));
    }
    match row.state {
        State::Scheduled => {
            let at = row.spec.schedule.as_deref().and_then(|at| at.parse().ok());
            (None, format!("starts in {}", at.map(left).unwrap_or_default()))
        }
        State::Starting => starting(row, now),
        State::Promoting => (None, "target rolls out".to_owned()),
        _ => match status.deadline {
            Some(deadline) if deadline <= now => (Some(1.0), format!("+{}", span(now.duration_since(deadline)))),
            Some(deadline) => (way(row, now), left(deadline)),
            None => (None, String::new()),
        },
    }
}

/// Progress towards the deadline for becoming available.
fn starting(row: &Row, now: Timestamp) -> (Option<f64>, String) {
    let Some(since) = row.pods.and_then(|pods| pods.since) else {
        return (None, "pods start".to_owned());
    };
    let given = row.spec.rollout.as_ref().and_then(|rollout| rollout.progress_deadline);
    let patience = SignedDuration::try_from(given.map_or(PATIENCE, |given| given.0)).unwrap_or(SignedDuration::MAX);
    let passed = now.duration_since(since);
    let share = passed.as_secs_f64() / patience.as_secs_f64().max(1.0);
    (Some(share), span(patience.saturating_sub(passed)))
}

/// The elapsed share of the time between becoming available and the deadline.
fn way(row: &Row, at: Timestamp) -> Option<f64> {
    let (from, until) = (row.status.available_at?, row.status.deadline?);
    let whole = until.duration_since(from).as_secs_f64();
    let part = at.duration_since(from).as_secs_f64();
    Some(if whole > 0.0 {
        (part / whole).clamp(0.0, 1.0)
    } else {
        1.0
    })
}
